/*
 * Views of memory that somebody else owns: bytes and text to read, bytes to fill, and a cursor
 * that every decoder reads bytes through. A view never frees what it shows and is valid only
 * while the owner keeps the memory. Views are values: pass them by value, on any thread.
 */
#ifndef KMS_VIEW_H
#define KMS_VIEW_H

#include <string.h>

#include "kms/kms.h"

/* Borrowed bytes. `bytes` may be NULL only where `len` is 0. */
typedef struct kms_span {
	const uint8_t *bytes;
	size_t len;
} kms_span;

/* Borrowed text: `len` bytes, not NUL-terminated. `text` NULL: absent, which is not the same as empty. */
typedef struct kms_text {
	const char *text;
	size_t len;
} kms_text;

/* Memory of the caller that a function fills, all of it. `bytes` may be NULL only where `len` is 0. */
typedef struct kms_out {
	uint8_t *bytes;
	size_t len;
} kms_out;

static inline kms_span kms_span_of(const void *bytes, size_t len)
{
	kms_span span = { bytes, len };
	return span;
}

/* A whole array: KMS_SPAN(digest32). Never a pointer. */
#define KMS_SPAN(array) kms_span_of((array), sizeof(array))

static inline kms_out kms_out_of(void *bytes, size_t len)
{
	kms_out out = { bytes, len };
	return out;
}

/* A whole array to fill: KMS_OUT(digest32). Never a pointer. */
#define KMS_OUT(array) kms_out_of((array), sizeof(array))

static inline kms_text kms_text_of(const char *text, size_t len)
{
	kms_text view = { text, len };
	return view;
}

/* A string literal, which may contain NUL, as text or as bytes: KMS_TEXT("data_key"). */
#define KMS_TEXT(literal) kms_text_of("" literal, sizeof(literal) - 1)
#define KMS_BYTES(literal) kms_span_of("" literal, sizeof(literal) - 1)

#define KMS_NO_TEXT kms_text_of(NULL, 0)
#define KMS_NO_BYTES kms_span_of(NULL, 0)

/* A NUL-terminated text without its NUL; NULL gives an absent text. */
static inline kms_text kms_text_from(const char *text)
{
	kms_text view = { text, text ? strlen(text) : 0 };
	return view;
}

/* The bytes of a text. */
static inline kms_span kms_text_span(kms_text text)
{
	return kms_span_of(text.text, text.len);
}

/* The text that bytes are; says nothing about whether they are valid UTF-8. */
static inline kms_text kms_span_text(kms_span span)
{
	kms_text view = { (const char *)span.bytes, span.len };
	return view;
}

/* A read cursor. `at` never passes `end`. One thread at a time. */
typedef struct kms_reader {
	const uint8_t *at;
	const uint8_t *end;
} kms_reader;

static inline kms_reader kms_reader_make(kms_span bytes)
{
	/* NULL + 0 is undefined, so an empty span gets an end of its own. */
	kms_reader r = { bytes.bytes, bytes.len ? bytes.bytes + bytes.len : bytes.bytes };
	return r;
}

static inline size_t kms_reader_left(const kms_reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

/*
 * The next `len` bytes.
 * Returns: KMS_OK; ERR_TRUNCATED when there are fewer (nothing is consumed); ERR_ARGUMENT.
 * Out: bytes - borrowed from what the cursor reads; NULL on failure.
 */
kms_status kms_reader_take(const uint8_t **bytes, kms_reader *reader, size_t len);

/* The next byte. Returns: as kms_reader_take. */
kms_status kms_reader_u8(uint8_t *byte, kms_reader *reader);

/* Returns: KMS_OK when everything was consumed; ERR_TRAILING; ERR_ARGUMENT. */
kms_status kms_reader_end(const kms_reader *reader);

#endif
