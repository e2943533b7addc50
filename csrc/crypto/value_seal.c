/* Stored values: IV || AES-256-GCM(data key, value) || tag (docs/protocol.md section 8). */
#include "crypto/gcm.h"
#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/value_seal.h"

#define KEY_BYTES 32
#define PIECE 4096

kms_status kms_value_seal(kms_buf *record, const kms_secret *data_key32, const uint8_t *value, size_t len)
{
	static const uint8_t nothing;
	size_t total;
	ENSURE_REF(record);
	ENSURE_REF(data_key32);
	ENSURE(value || !len, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(KMS_ADD(&total, len, (size_t)KMS_VALUE_SEAL_OVERHEAD), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(record, total));
	uint8_t *iv = record->data + record->len;
	GUARD(kms_random(iv, KMS_GCM_IV));
	GUARD(kms_gcm_seal(iv + KMS_GCM_IV, kms_secret_bytes(data_key32), iv, len ? value : &nothing, len));
	record->len += total;
	return KMS_OK;
}

kms_status kms_value_open(kms_buf *value, const kms_secret *data_key32, const uint8_t *record, size_t len)
{
	uint8_t nothing = 0;
	ENSURE_REF(value);
	ENSURE_REF(data_key32);
	ENSURE(record || !len, KMS_ERR_ARGUMENT);
	ENSURE(value->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	size_t plain_len = len - KMS_VALUE_SEAL_OVERHEAD;
	GUARD(kms_buf_reserve(value, plain_len));
	uint8_t *plain = plain_len ? value->data + value->len : &nothing;
	GUARD(
	    kms_gcm_open(plain, kms_secret_bytes(data_key32), record, record + KMS_GCM_IV, len - KMS_GCM_IV));
	value->len += plain_len;
	return KMS_OK;
}

static kms_status verify_pieces(EVP_CIPHER_CTX *context, uint8_t *piece, const uint8_t *sealed, size_t len)
{
	while (len > KMS_GCM_TAG) {
		size_t left = len - KMS_GCM_TAG, part = left < PIECE ? left : PIECE;
		GUARD(kms_gcm_update(piece, context, sealed, part));
		sealed += part;
		len -= part;
	}
	return kms_gcm_verify(context, sealed);
}

kms_status kms_value_verify(const kms_secret *data_key32, const uint8_t *record, size_t len)
{
	uint8_t piece[PIECE];
	ENSURE_REF(data_key32);
	ENSURE(record || !len, KMS_ERR_ARGUMENT);
	ENSURE(kms_secret_len(data_key32) == KEY_BYTES, KMS_ERR_RANGE);
	ENSURE(len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, kms_secret_bytes(data_key32), record, false));
	kms_status status = verify_pieces(context, piece, record + KMS_GCM_IV, len - KMS_GCM_IV);
	kms_wipe(piece, len < sizeof(piece) ? len : sizeof(piece));
	return status;
}
