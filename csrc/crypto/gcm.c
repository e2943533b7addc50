/* AES-256-GCM (SP 800-38D) with the context of the thread. */
#include "crypto/gcm_internal.h"

#include <limits.h>
#include <string.h>

#include "crypto/crypto.h"
#include "base/ensure.h"
#include "kms/codec.h"

#define MAX_UPDATE (1u << 30) /* OpenSSL counts in int */
#define PIECE 4096

kms_status kms_gcm_start(EVP_CIPHER_CTX **context, const uint8_t key32[32], const uint8_t iv12[12],
			 bool sealing)
{
	kms_crypto_thread *thread;
	*context = NULL;
	GUARD(kms_crypto_thread_get(&thread));
	*context = thread->gcm;
	const EVP_CIPHER *cipher = kms_crypto_shared_get()->aes_gcm;
	GUARD_OPENSSL(EVP_CipherInit_ex2(thread->gcm, cipher, key32, iv12, sealing, NULL));
	return KMS_OK;
}

kms_status kms_gcm_update(uint8_t *out, EVP_CIPHER_CTX *context, kms_span in)
{
	for (size_t done = 0; done < in.len;) {
		int written;
		size_t part = in.len - done < MAX_UPDATE ? in.len - done : MAX_UPDATE;
		GUARD_OPENSSL(EVP_CipherUpdate(context, out + done, &written, in.bytes + done, (int)part));
		done += part;
	}
	return KMS_OK;
}

kms_status kms_gcm_tag(uint8_t tag16[16], EVP_CIPHER_CTX *context)
{
	int written;
	GUARD_OPENSSL(EVP_CipherFinal_ex(context, tag16, &written));
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, KMS_GCM_TAG, tag16));
	return KMS_OK;
}

kms_status kms_gcm_verify(EVP_CIPHER_CTX *context, const uint8_t tag16[16])
{
	int written;
	uint8_t tag[KMS_GCM_TAG], none[KMS_GCM_TAG];
	memcpy(tag, tag16, sizeof(tag)); /* OpenSSL's parameter is not const */
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag));
	ENSURE(EVP_CipherFinal_ex(context, none, &written) == 1, KMS_ERR_DECRYPT);
	return KMS_OK;
}

void kms_gcm_end(EVP_CIPHER_CTX **context)
{
	if (*context) EVP_CIPHER_CTX_reset(*context);
}

static kms_status seal_bytes(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12], kms_span plain)
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, true));
	GUARD(kms_gcm_update(sealed, context, plain));
	return kms_gcm_tag(sealed + plain.len, context);
}

static kms_status open_bytes(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12],
			     kms_span ciphertext, const uint8_t tag16[16])
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, false));
	GUARD(kms_gcm_update(plain, context, ciphertext));
	return kms_gcm_verify(context, tag16);
}

kms_status kms_gcm_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12], kms_span plain)
{
	size_t total;
	ENSURE_REF(sealed);
	ENSURE(KMS_ADD(&total, plain.len, (size_t)KMS_GCM_TAG), KMS_ERR_RANGE);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && (plain.bytes || plain.len == 0)) status = seal_bytes(sealed, key32, iv12, plain);
	if (status != KMS_OK) kms_wipe(sealed, total);
	return status;
}

kms_status kms_gcm_open(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12], kms_span sealed)
{
	ENSURE(sealed.len >= KMS_GCM_TAG, KMS_ERR_DECRYPT);
	size_t len = sealed.len - KMS_GCM_TAG;
	ENSURE(plain || len == 0, KMS_ERR_ARGUMENT);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && sealed.bytes)
		status = open_bytes(plain, key32, iv12, kms_span_of(sealed.bytes, len), sealed.bytes + len);
	if (status != KMS_OK) kms_wipe(plain, len);
	return status;
}

/* ---- where the text stands, with additional data ---- */

static kms_status authenticate(EVP_CIPHER_CTX *context, kms_span aad)
{
	int len;
	ENSURE(aad.len <= MAX_UPDATE, KMS_ERR_RANGE);
	if (aad.len) GUARD_OPENSSL(EVP_CipherUpdate(context, NULL, &len, aad.bytes, (int)aad.len));
	return KMS_OK;
}

static kms_status seal_in_place(uint8_t tag16[16], kms_out bytes, const uint8_t key32[32],
				const uint8_t iv12[12], kms_span aad)
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, true));
	GUARD(authenticate(context, aad));
	GUARD(kms_gcm_update(bytes.bytes, context, kms_span_of(bytes.bytes, bytes.len)));
	return kms_gcm_tag(tag16, context);
}

static kms_status open_in_place(kms_out bytes, const uint8_t key32[32], const uint8_t iv12[12], kms_span aad,
				const uint8_t tag16[16])
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, false));
	GUARD(authenticate(context, aad));
	GUARD(kms_gcm_update(bytes.bytes, context, kms_span_of(bytes.bytes, bytes.len)));
	return kms_gcm_verify(context, tag16);
}

kms_status kms_gcm_seal_in_place(uint8_t tag16[16], kms_out bytes, const uint8_t key32[32],
				 const uint8_t iv12[12], kms_span aad)
{
	ENSURE_REF(tag16);
	memset(tag16, 0, KMS_GCM_TAG);
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && (aad.bytes || aad.len == 0))
		status = seal_in_place(tag16, bytes, key32, iv12, aad);
	if (status != KMS_OK) kms_wipe(bytes.bytes, bytes.len);
	return status;
}

kms_status kms_gcm_open_in_place(kms_out bytes, const uint8_t key32[32], const uint8_t iv12[12], kms_span aad,
				 const uint8_t tag16[16])
{
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && tag16 && (aad.bytes || aad.len == 0))
		status = open_in_place(bytes, key32, iv12, aad, tag16);
	if (status != KMS_OK) kms_wipe(bytes.bytes, bytes.len);
	return status;
}

/* ---- ciphertext in hexadecimal, in pieces (kms/crypto.h says why) ---- */

static kms_status seal_pieces(kms_buf *hex, EVP_CIPHER_CTX *context, kms_span plain)
{
	uint8_t piece[PIECE]; /* ciphertext: need not be wiped */
	for (size_t done = 0; done < plain.len;) {
		size_t part = plain.len - done < PIECE ? plain.len - done : PIECE;
		GUARD(kms_gcm_update(piece, context, kms_span_of(plain.bytes + done, part)));
		GUARD(kms_buf_append_hex(hex, kms_span_of(piece, part)));
		done += part;
	}
	GUARD(kms_gcm_tag(piece, context));
	return kms_buf_append_hex(hex, kms_span_of(piece, KMS_GCM_TAG));
}

/* In: len - bytes of the plaintext. */
static kms_status open_pieces(kms_buf *plain, EVP_CIPHER_CTX *context, const char *hex, size_t len)
{
	uint8_t piece[PIECE];
	while (len) {
		size_t part = len < PIECE ? len : PIECE;
		GUARD(kms_hex_decode(kms_out_of(piece, part), kms_text_of(hex, 2 * part)));
		GUARD(kms_gcm_update(plain->data + plain->len, context, kms_span_of(piece, part)));
		plain->len += part;
		hex += 2 * part;
		len -= part;
	}
	GUARD(kms_hex_decode(kms_out_of(piece, KMS_GCM_TAG), kms_text_of(hex, (size_t)2 * KMS_GCM_TAG)));
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

kms_status kms_gcm_seal_hex(kms_buf *hex, const uint8_t key32[32], const uint8_t iv12[12], kms_span plain)
{
	size_t digits;
	ENSURE_REF(hex);
	ENSURE_REF(key32);
	ENSURE_REF(iv12);
	ENSURE(plain.bytes || plain.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_ADD(&digits, plain.len, (size_t)KMS_GCM_TAG) && KMS_MUL(&digits, digits, 2),
	       KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(hex, digits));
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, true));
	size_t before = hex->len;
	return undo_unless_ok(hex, before, seal_pieces(hex, context, plain));
}

kms_status kms_gcm_open_hex(kms_buf *plain, const uint8_t key32[32], const uint8_t iv12[12], kms_text hex)
{
	ENSURE_REF(plain);
	ENSURE_REF(key32);
	ENSURE_REF(iv12);
	ENSURE_REF(hex.text);
	ENSURE(hex.len % 2 == 0, KMS_ERR_HEX);
	ENSURE(hex.len / 2 >= KMS_GCM_TAG, KMS_ERR_DECRYPT);
	size_t len = hex.len / 2 - KMS_GCM_TAG;
	GUARD(kms_buf_reserve(plain, len));
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, false));
	size_t before = plain->len;
	return undo_unless_ok(plain, before, open_pieces(plain, context, hex.text, len));
}
