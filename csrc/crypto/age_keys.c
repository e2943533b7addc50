/* Keys of age files, and their recipients. */
#include <string.h>

#include "codec/bech32.h"
#include "crypto/age_internal.h"
#include "kms/crypto.h"

#define WRAP_INFO "age-encryption.org/v1/X25519"
#define KEY 32

const uint8_t kms_age_chunk_nonce12[12] = { [11] = 1 };
const uint8_t kms_age_wrap_nonce12[12] = { 0 };

kms_status kms_age_wrap_key(uint8_t key32[32], const kms_secret *shared32, const uint8_t ephemeral32[32],
			    const uint8_t recipient32[32])
{
	uint8_t salt[2 * KEY];
	memcpy(salt, ephemeral32, KEY);
	memcpy(salt + KEY, recipient32, KEY);
	return kms_hkdf_sha256(kms_out_of(key32, KEY), kms_secret_span(shared32), KMS_SPAN(salt),
			       KMS_BYTES(WRAP_INFO));
}

kms_status kms_age_header_mac(uint8_t mac32[32], const uint8_t file_key16[16], kms_span header)
{
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY);
	DEFER(kms_secret_release) kms_secret *handle = NULL;
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hkdf_sha256(kms_out_of(key, KEY), kms_span_of(file_key16, AGE_FILE_KEY), KMS_NO_BYTES,
			      KMS_BYTES("header")));
	GUARD(kms_secret_new(&handle, kms_span_of(key, KEY)));
	return kms_hmac_sha256(mac32, handle, header);
}

kms_status kms_age_payload_key(uint8_t key32[32], const uint8_t file_key16[16], const uint8_t nonce16[16])
{
	return kms_hkdf_sha256(kms_out_of(key32, KEY), kms_span_of(file_key16, AGE_FILE_KEY),
			       kms_span_of(nonce16, AGE_NONCE), KMS_BYTES("payload"));
}

kms_status kms_age_recipient_parse(uint8_t key32[32], kms_text text)
{
	DEFER(kms_x25519_release) kms_x25519 *own = NULL;
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	ENSURE_REF(key32);
	GUARD(kms_bech32_decode32(key32, KMS_TEXT("age"), text));
	kms_status status = kms_x25519_generate(&own);
	if (status == KMS_OK) status = kms_x25519_agree(&shared, own, key32);
	if (status != KMS_OK) memset(key32, 0, KEY);
	return status == KMS_ERR_PEER_KEY ? KMS_ERR_RECIPIENT : status;
}

void kms_age_recipient_format(char *text, const uint8_t key32[32])
{
	kms_bech32_encode32(text, KMS_TEXT("age"), key32);
}
