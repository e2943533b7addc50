/* Stored values: IV || AES-256-GCM(data key, value) || tag (docs/protocol.md section 8). */
#include "crypto/gcm_internal.h"
#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/value_seal.h"

#define KEY_BYTES 32
#define PIECE 4096

kms_status kms_value_seal(kms_buf *sealed, const kms_secret *data_key32, kms_span value)
{
	size_t total;
	ENSURE_REF(sealed);
	ENSURE_REF(data_key32);
	ENSURE(value.bytes || !value.len, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(KMS_ADD(&total, value.len, (size_t)KMS_VALUE_SEAL_OVERHEAD), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(sealed, total));
	uint8_t *iv = sealed->data + sealed->len;
	GUARD(kms_random(kms_out_of(iv, KMS_GCM_IV)));
	GUARD(kms_gcm_seal(iv + KMS_GCM_IV, kms_secret_bytes(data_key32), iv, value));
	sealed->len += total;
	return KMS_OK;
}

kms_status kms_value_open(kms_buf *value, const kms_secret *data_key32, kms_span sealed)
{
	ENSURE_REF(value);
	ENSURE_REF(data_key32);
	ENSURE(sealed.bytes || !sealed.len, KMS_ERR_ARGUMENT);
	ENSURE(value->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(sealed.len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	size_t len = sealed.len - KMS_VALUE_SEAL_OVERHEAD;
	GUARD(kms_buf_reserve(value, len));
	uint8_t *plain = len ? value->data + value->len : NULL;
	kms_span ciphertext = kms_span_of(sealed.bytes + KMS_GCM_IV, sealed.len - KMS_GCM_IV);
	GUARD(kms_gcm_open(plain, kms_secret_bytes(data_key32), sealed.bytes, ciphertext));
	value->len += len;
	return KMS_OK;
}

/* Decrypts piece by piece, each over the last. In: sealed - ciphertext and tag. */
static kms_status verify_pieces(EVP_CIPHER_CTX *context, uint8_t piece[PIECE], kms_span sealed)
{
	size_t len = sealed.len - KMS_GCM_TAG;
	for (size_t done = 0; done < len; done += PIECE) {
		size_t part = len - done < PIECE ? len - done : PIECE;
		GUARD(kms_gcm_update(piece, context, kms_span_of(sealed.bytes + done, part)));
	}
	return kms_gcm_verify(context, sealed.bytes + len);
}

kms_status kms_value_verify(const kms_secret *data_key32, kms_span sealed)
{
	uint8_t piece[PIECE];
	ENSURE_REF(data_key32);
	ENSURE(sealed.bytes || !sealed.len, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(sealed.len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, kms_secret_bytes(data_key32), sealed.bytes, false));
	kms_span ciphertext = kms_span_of(sealed.bytes + KMS_GCM_IV, sealed.len - KMS_GCM_IV);
	kms_status status = verify_pieces(context, piece, ciphertext);
	kms_wipe(piece, sealed.len < sizeof(piece) ? sealed.len : sizeof(piece));
	return status;
}
