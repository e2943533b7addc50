/* AES-256-GCM with the ciphertext in hexadecimal, in pieces (kms/crypto.h says why). */
#include "crypto/gcm.h"
#include "base/ensure.h"
#include "kms/codec.h"

#define PIECE 4096

static kms_status seal_pieces(kms_buf *hex, EVP_CIPHER_CTX *context, const uint8_t *plain, size_t len)
{
	uint8_t piece[PIECE]; /* ciphertext: need not be wiped */
	while (len) {
		size_t part = len < PIECE ? len : PIECE;
		GUARD(kms_gcm_update(piece, context, plain, part));
		GUARD(kms_buf_append_hex(hex, piece, part));
		plain += part;
		len -= part;
	}
	GUARD(kms_gcm_tag(piece, context));
	return kms_buf_append_hex(hex, piece, KMS_GCM_TAG);
}

static kms_status open_pieces(kms_buf *plain, EVP_CIPHER_CTX *context, const char *hex, size_t len)
{
	uint8_t piece[PIECE];
	while (len) {
		size_t part = len < PIECE ? len : PIECE;
		GUARD(kms_hex_decode(piece, part, hex, 2 * part));
		GUARD(kms_gcm_update(plain->data + plain->len, context, piece, part));
		plain->len += part;
		hex += 2 * part;
		len -= part;
	}
	GUARD(kms_hex_decode(piece, KMS_GCM_TAG, hex, (size_t)2 * KMS_GCM_TAG));
	return kms_gcm_verify(context, piece);
}

/* Takes back what a failed call appended. */
static kms_status undo_unless_ok(kms_buf *buf, size_t len, kms_status status)
{
	if (status == KMS_OK) return KMS_OK;
	if (buf->data) kms_wipe(buf->data + len, buf->cap - len);
	buf->len = len;
	return status;
}

kms_status kms_gcm_seal_hex(kms_buf *hex, const uint8_t key32[32], const uint8_t iv12[12],
			    const uint8_t *plain, size_t len)
{
	size_t digits;
	ENSURE_REF(hex);
	ENSURE_REF(key32);
	ENSURE_REF(iv12);
	ENSURE(plain || len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_ADD(&digits, len, (size_t)KMS_GCM_TAG) && KMS_MUL(&digits, digits, 2), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(hex, digits));
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, true));
	size_t before = hex->len;
	return undo_unless_ok(hex, before, seal_pieces(hex, context, plain, len));
}

kms_status kms_gcm_open_hex(kms_buf *plain, const uint8_t key32[32], const uint8_t iv12[12], const char *hex,
			    size_t hex_len)
{
	ENSURE_REF(plain);
	ENSURE_REF(key32);
	ENSURE_REF(iv12);
	ENSURE_REF(hex);
	ENSURE(hex_len % 2 == 0, KMS_ERR_HEX);
	ENSURE(hex_len / 2 >= KMS_GCM_TAG, KMS_ERR_DECRYPT);
	size_t len = hex_len / 2 - KMS_GCM_TAG;
	GUARD(kms_buf_reserve(plain, len));
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, false));
	size_t before = plain->len;
	return undo_unless_ok(plain, before, open_pieces(plain, context, hex, len));
}
