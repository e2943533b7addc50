/* The master secret on its way to a new node: ECIES to an ephemeral key (docs/protocol.md section 9). */
#include <string.h>

#include "base/ensure.h"
#include "crypto/testing.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/p384.h"
#include "kms/sealed.h"

#define SEAL_SALT "nova-kms:sealed-master-secret"
#define SEAL_INFO "aes-gcm-key"
#define KEY_BYTES 32

/* The AES key of an exchange, the same from both sides. In: key32 - guarded memory. */
static kms_status sealing_key(uint8_t *key32, const kms_p384 *own, const uint8_t peer_point97[97])
{
	DEFER(kms_secret_release) kms_secret *x48 = NULL;
	GUARD(kms_p384_ecdh(&x48, own, peer_point97));
	return kms_hkdf_sha256(kms_out_of(key32, KEY_BYTES), kms_secret_span(x48), KMS_BYTES(SEAL_SALT),
			       KMS_BYTES(SEAL_INFO));
}

kms_status kms_master_seal_with(kms_sealed *sealed, const kms_secret *master32,
				const uint8_t requester_point97[97], const kms_p384 *ephemeral,
				const uint8_t iv12[12])
{
	ENSURE_REF(sealed);
	*sealed = (kms_sealed){ 0 };
	ENSURE_REF(master32);
	ENSURE_REF(requester_point97);
	ENSURE_REF(ephemeral);
	ENSURE_REF(iv12);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);

	kms_sealed made = { 0 };
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(sealing_key(key, ephemeral, requester_point97));
	GUARD(kms_gcm_seal(made.data48, key, iv12, kms_secret_span(master32)));
	memcpy(made.ephemeral_point97, kms_p384_public(ephemeral), sizeof(made.ephemeral_point97));
	memcpy(made.iv12, iv12, sizeof(made.iv12));
	*sealed = made;
	return KMS_OK;
}

kms_status kms_master_seal(kms_sealed *sealed, const kms_secret *master32,
			   const uint8_t requester_point97[97])
{
	ENSURE_REF(sealed);
	*sealed = (kms_sealed){ 0 };
	uint8_t iv[KMS_GCM_IV];
	DEFER(kms_p384_release) kms_p384 *ephemeral = NULL;
	GUARD(kms_p384_generate(&ephemeral));
	GUARD(kms_random(KMS_OUT(iv)));
	return kms_master_seal_with(sealed, master32, requester_point97, ephemeral, iv);
}

kms_status kms_master_unseal(kms_secret **master32, const kms_sealed *sealed, const kms_p384 *requester)
{
	ENSURE_REF(master32);
	*master32 = NULL;
	ENSURE_REF(sealed);
	ENSURE_REF(requester);
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	DEFER(kms_guarded_release) uint8_t *plain = kms_guarded_alloc(KMS_MASTER_BYTES);
	ENSURE(key && plain, KMS_ERR_LOCKED_MEMORY);
	GUARD(sealing_key(key, requester, sealed->ephemeral_point97));
	kms_status status = kms_gcm_open(plain, key, sealed->iv12, KMS_SPAN(sealed->data48));
	ENSURE(status != KMS_ERR_DECRYPT, KMS_ERR_SEALED);
	GUARD(status);
	return kms_secret_new(master32, kms_span_of(plain, KMS_MASTER_BYTES));
}
