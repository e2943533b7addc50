/*
 * A growing byte buffer with a limit, in ordinary memory, in ordinary memory that is wiped
 * on free, or in guarded memory. Not shared between threads.
 */
#ifndef KMS_BUF_H
#define KMS_BUF_H

#include "kms/view.h"

typedef enum kms_buf_kind {
	KMS_BUF_PLAIN = 0,   /* public bytes: ciphertext, hex of it */
	KMS_BUF_WIPED = 1,   /* confidential names: ordinary memory, wiped on growth and free */
	KMS_BUF_GUARDED = 2, /* secrets and plaintext: the arena of secret.h */
} kms_buf_kind;

typedef struct kms_buf {
	uint8_t *data; /* NULL while empty */
	size_t len;
	size_t cap;
	size_t max; /* appending beyond it is ERR_TOO_LARGE */
	kms_buf_kind kind;
} kms_buf;

/* An empty buffer; owns nothing until the first append. */
static inline kms_buf kms_buf_make(kms_buf_kind kind, size_t max)
{
	kms_buf b = { NULL, 0, 0, max, kind };
	return b;
}

/* What it holds; valid until it grows or is freed. */
static inline kms_span kms_buf_span(const kms_buf *buf)
{
	return kms_span_of(buf->data, buf->len);
}

static inline kms_text kms_buf_text(const kms_buf *buf)
{
	return kms_span_text(kms_buf_span(buf));
}

/* Frees (wiping unless PLAIN) and leaves an empty buffer of the same kind and limit. */
void kms_buf_free(kms_buf *buf);
/* Forgets the content (wiped unless PLAIN) and keeps the memory. */
void kms_buf_clear(kms_buf *buf);

/*
 * Room for `extra` more bytes. Growth copies and wipes the old block unless PLAIN.
 * Returns: KMS_OK, ERR_TOO_LARGE, ERR_MEMORY, ERR_LOCKED_MEMORY; the content never changes.
 */
kms_status kms_buf_reserve(kms_buf *buf, size_t extra);
kms_status kms_buf_append(kms_buf *buf, const void *bytes, size_t len);
/* Appends a NUL-terminated text without its NUL. */
kms_status kms_buf_append_text(kms_buf *buf, const char *text);
/* Appends a number in decimal. */
kms_status kms_buf_append_u64(kms_buf *buf, uint64_t number);
/* Appends 2 * len lower-case digits. Constant time in the bytes. */
kms_status kms_buf_append_hex(kms_buf *buf, const uint8_t *bytes, size_t len);
/* Appends standard base64 with padding (RFC 4648 section 4). */
kms_status kms_buf_append_base64(kms_buf *buf, const uint8_t *bytes, size_t len);
/* Bytes that a text takes as a JSON string, with quotes and escapes; SIZE_MAX: too many. */
size_t kms_json_text_size(const char *text, size_t len);
/* Appends a JSON string with quotes, escaped as canonical JSON has it (json.h). */
kms_status kms_buf_append_json(kms_buf *buf, const char *text, size_t len);

#endif
