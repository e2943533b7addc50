/*
 * A growing byte buffer with a limit, in ordinary memory, in ordinary memory that is wiped
 * before it is freed, or in guarded memory. Appending text encodings: codec.h and json.h.
 * Appending returns KMS_OK; ERR_TOO_LARGE beyond `max`; ERR_MEMORY; ERR_LOCKED_MEMORY (guarded
 * buffers); ERR_ARGUMENT. A failed append leaves the content unchanged.
 * Threads: one thread at a time per buffer.
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
	size_t max; /* limit of len */
	kms_buf_kind kind;
} kms_buf;

/* An empty buffer; owns nothing until the first append. Free with kms_buf_free. */
static inline kms_buf kms_buf_make(kms_buf_kind kind, size_t max)
{
	kms_buf b = { NULL, 0, 0, max, kind };
	return b;
}

/* The content: borrowed, valid until the buffer grows or is freed. */
static inline kms_span kms_buf_span(const kms_buf *buf)
{
	return kms_span_of(buf->data, buf->len);
}

static inline kms_text kms_buf_text(const kms_buf *buf)
{
	return kms_span_text(kms_buf_span(buf));
}

/* Frees (wiping unless PLAIN) and leaves an empty buffer of the same kind and limit. NULL is fine. */
void kms_buf_free(kms_buf *buf);

/* Drops the content (wiped unless PLAIN) and keeps the memory. NULL is fine. */
void kms_buf_clear(kms_buf *buf);

/*
 * Makes room for `extra` more bytes. Unless PLAIN, growth wipes the old block.
 * Returns: as appending.
 */
kms_status kms_buf_reserve(kms_buf *buf, size_t extra);

/* Appends bytes. */
kms_status kms_buf_append(kms_buf *buf, kms_span bytes);

/* Appends a NUL-terminated text without its NUL. */
kms_status kms_buf_append_text(kms_buf *buf, const char *text);

/* Appends a number in decimal. */
kms_status kms_buf_append_u64(kms_buf *buf, uint64_t number);

#define KMS_DECIMAL_MAX 20 /* digits of 2^64 - 1 */

/* A number in decimal. Returns: its digits, which lie in `storage`. */
kms_text kms_decimal_format(char storage[KMS_DECIMAL_MAX], uint64_t number);

#endif
