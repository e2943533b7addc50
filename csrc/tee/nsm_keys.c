/* Secrets and keys from the generators of module and kernel together (kms/nsm.h). */
#include <string.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/nsm.h"

#define SALT "nova-kms:nsm"
#define MODULE_BYTES 64
#define KERNEL_BYTES 64
#define WALLET_BYTES 32
#define P384_BYTES 48
#define ROUNDS 4 /* a scalar is out of range with a probability of at most 2^-128 */

kms_status kms_nsm_secret(kms_secret **secret, kms_nsm *nsm, size_t len, kms_text use)
{
	ENSURE_REF(secret);
	*secret = NULL;
	ENSURE_REF(nsm);
	ENSURE_REF(use.text);
	ENSURE(len >= 1 && len <= KMS_NSM_SECRET_MAX, KMS_ERR_RANGE);
	DEFER(kms_guarded_release) uint8_t *drawn = kms_guarded_alloc(MODULE_BYTES + KERNEL_BYTES);
	DEFER(kms_guarded_release) uint8_t *made = kms_guarded_alloc(len);
	ENSURE(drawn && made, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_nsm_random(kms_out_of(drawn, MODULE_BYTES), nsm));
	/* Drawn second, so that the module cannot choose its bytes to fit these. */
	GUARD(kms_random(kms_out_of(drawn + MODULE_BYTES, KERNEL_BYTES)));
	GUARD(kms_hkdf_sha256(kms_out_of(made, len), kms_span_of(drawn, MODULE_BYTES + KERNEL_BYTES),
			      KMS_BYTES(SALT), kms_text_span(use)));
	return kms_secret_new(secret, kms_span_of(made, len));
}

static kms_status make_wallet(kms_wallet **wallet, kms_nsm *nsm)
{
	kms_status status = KMS_ERR_PRIVATE_KEY;
	for (int round = 0; round < ROUNDS && status == KMS_ERR_PRIVATE_KEY; round++) {
		DEFER(kms_secret_release) kms_secret *key = NULL;
		GUARD(kms_nsm_secret(&key, nsm, WALLET_BYTES, KMS_TEXT("wallet")));
		status = kms_wallet_new(wallet, key);
	}
	return status;
}

static kms_status make_p384(kms_p384 **p384, kms_nsm *nsm)
{
	kms_status status = KMS_ERR_PRIVATE_KEY;
	for (int round = 0; round < ROUNDS && status == KMS_ERR_PRIVATE_KEY; round++) {
		DEFER(kms_secret_release) kms_secret *scalar = NULL;
		GUARD(kms_nsm_secret(&scalar, nsm, P384_BYTES, KMS_TEXT("p384")));
		status = kms_p384_new(p384, scalar);
	}
	return status;
}

kms_status kms_nsm_identity(kms_wallet **wallet, kms_p384 **p384, kms_nsm *nsm)
{
	ENSURE_REF(wallet);
	ENSURE_REF(p384);
	*wallet = NULL;
	*p384 = NULL;
	ENSURE_REF(nsm);
	DEFER(kms_wallet_release) kms_wallet *made = NULL;
	GUARD(make_wallet(&made, nsm));
	GUARD(make_p384(p384, nsm));
	*wallet = made;
	made = NULL;
	return KMS_OK;
}
