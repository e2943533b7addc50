/* The writer of age files. */
#include <string.h>

#include "base/declassify.h"
#include "crypto/age_internal.h"
#include "crypto/chacha_internal.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define KEY 32
#define WRAPPED (AGE_FILE_KEY + KMS_CHACHA_TAG)

/* Base64 without padding. */
static kms_status append_base64(kms_buf *buf, kms_span bytes)
{
	GUARD(kms_buf_append_base64(buf, bytes));
	while (buf->len && buf->data[buf->len - 1] == '=')
		buf->len--;
	return KMS_OK;
}

/* The file key under the recipient's key. */
static kms_status wrap(uint8_t wrapped32[WRAPPED], const uint8_t recipient32[32], const kms_age_draws *draws)
{
	DEFER(kms_secret_release) kms_secret *shared = NULL;
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_x25519_agree(&shared, draws->ephemeral, recipient32));
	GUARD(kms_age_wrap_key(key, shared, kms_x25519_public(draws->ephemeral), recipient32));
	GUARD(kms_chacha_seal(wrapped32, key, kms_age_wrap_nonce12,
			      kms_span_of(draws->file_key16, AGE_FILE_KEY)));
	KMS_DECLASSIFY_BYTES(wrapped32, WRAPPED);
	return KMS_OK;
}

static kms_status append_header(kms_buf *out, const uint8_t recipient32[32], const kms_age_draws *draws)
{
	uint8_t wrapped[WRAPPED], mac[32];
	GUARD(wrap(wrapped, recipient32, draws));
	GUARD(kms_buf_append_text(out, AGE_VERSION "\n-> " AGE_STANZA " "));
	GUARD(append_base64(out, kms_span_of(kms_x25519_public(draws->ephemeral), KMS_X25519_BYTES)));
	GUARD(kms_buf_append_text(out, "\n"));
	GUARD(append_base64(out, KMS_SPAN(wrapped)));
	GUARD(kms_buf_append_text(out, "\n---"));
	GUARD(kms_age_header_mac(mac, draws->file_key16, kms_buf_span(out)));
	KMS_DECLASSIFY_BYTES(mac, sizeof(mac));
	GUARD(kms_buf_append_text(out, " "));
	GUARD(append_base64(out, KMS_SPAN(mac)));
	return kms_buf_append_text(out, "\n");
}

static kms_status append_payload(kms_buf *out, kms_span plain, const kms_age_draws *draws)
{
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	size_t sealed = plain.len + KMS_CHACHA_TAG;
	GUARD(kms_age_payload_key(key, draws->file_key16, draws->nonce16));
	GUARD(kms_buf_append(out, kms_span_of(draws->nonce16, AGE_NONCE)));
	GUARD(kms_buf_reserve(out, sealed));
	GUARD(kms_chacha_seal(out->data + out->len, key, kms_age_chunk_nonce12, plain));
	KMS_DECLASSIFY_BYTES(out->data + out->len, sealed);
	out->len += sealed;
	return KMS_OK;
}

static kms_status append_armored(kms_buf *file, kms_span bytes)
{
	DEFER(kms_buf_free) kms_buf base64 = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(kms_buf_append_base64(&base64, bytes));
	GUARD(kms_buf_append_text(file, AGE_BEGIN "\n"));
	for (size_t at = 0; at < base64.len; at += AGE_LINE) {
		size_t len = base64.len - at < AGE_LINE ? base64.len - at : AGE_LINE;
		GUARD(kms_buf_append(file, kms_span_of(base64.data + at, len)));
		GUARD(kms_buf_append_text(file, "\n"));
	}
	return kms_buf_append_text(file, AGE_END "\n");
}

kms_status kms_age_seal_with(kms_buf *file, const uint8_t recipient32[32], kms_span plain,
			     const kms_age_draws *draws)
{
	DEFER(kms_buf_free) kms_buf bytes = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(append_header(&bytes, recipient32, draws));
	GUARD(append_payload(&bytes, plain, draws));
	size_t before = file->len;
	kms_status status = append_armored(file, kms_buf_span(&bytes));
	if (status != KMS_OK) file->len = before;
	return status;
}

kms_status kms_age_seal(kms_buf *file, const uint8_t recipient32[32], kms_span plain)
{
	uint8_t nonce[AGE_NONCE];
	ENSURE_REF(file);
	ENSURE_REF(recipient32);
	ENSURE(plain.bytes || plain.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(plain.len <= KMS_AGE_MAX_PLAIN, KMS_ERR_TOO_LARGE);
	DEFER(kms_x25519_release) kms_x25519 *ephemeral = NULL;
	DEFER(kms_secret_release) kms_secret *file_key = NULL;
	GUARD(kms_x25519_generate(&ephemeral));
	GUARD(kms_secret_random(&file_key, AGE_FILE_KEY));
	GUARD(kms_random(KMS_OUT(nonce)));
	const kms_age_draws draws = { ephemeral, kms_secret_bytes(file_key), nonce };
	return kms_age_seal_with(file, recipient32, plain, &draws);
}
