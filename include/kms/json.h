/*
 * Strict JSON (RFC 8259): one value and nothing after it, no duplicate keys, valid UTF-8, no lone
 * surrogate escapes, depth at most 16. Strings are decoded in place, so that a secret in a body
 * never leaves the buffer that it arrived in.
 * Threads: one thread at a time per document.
 */
#ifndef KMS_JSON_H
#define KMS_JSON_H

#include "kms/buf.h"

#define KMS_JSON_MAX_DEPTH 16

typedef enum kms_json_type {
	KMS_JSON_NULL,
	KMS_JSON_FALSE,
	KMS_JSON_TRUE,
	KMS_JSON_INTEGER,  /* no fraction, no exponent, magnitude fits uint64_t */
	KMS_JSON_FRACTION, /* any other number; its value is not kept */
	KMS_JSON_STRING,
	KMS_JSON_ARRAY,
	KMS_JSON_OBJECT,
} kms_json_type;

/* A value; in an object, keys and values alternate in the token array. */
typedef struct kms_json_value {
	kms_json_type type;
	bool negative;  /* INTEGER: the value is -number */
	uint32_t count; /* ARRAY: elements, OBJECT: members */
	uint32_t next;  /* index of the token after this value and all within it */
	union {
		uint64_t number;
		struct {
			char *text; /* STRING: decoded UTF-8, may contain NUL, not terminated */
			size_t len;
		};
	};
} kms_json_value;

/* The text of a STRING. */
static inline kms_text kms_json_text(const kms_json_value *string)
{
	return kms_text_of(string->text, string->len);
}

typedef struct kms_json {
	kms_json_value *values; /* values[0] is the root */
	size_t count;
	size_t cap;
} kms_json;

/*
 * Parses a document. The values live in ordinary memory: they hold positions, no content.
 * Returns: KMS_OK; ERR_JSON; ERR_UTF8; ERR_JSON_DUPLICATE; ERR_JSON_DEPTH; ERR_JSON_SIZE beyond
 * `max_values`; ERR_MEMORY; ERR_ARGUMENT.
 * Out: json - owned by the caller, free with kms_json_free; empty on failure.
 * In: text - changed by the parser; must outlive the document. max_values - limit of values and
 * keys together.
 */
kms_status kms_json_parse(kms_json *json, char *text, size_t len, size_t max_values);

/* Frees the values and leaves an empty document. NULL is fine. */
void kms_json_free(kms_json *json);

/* A member of an object; NULL when there is none or `object` is not an OBJECT. */
const kms_json_value *kms_json_get(const kms_json *json, const kms_json_value *object, const char *name);

/* The first child (element, or key of the first member) and what follows a value; NULL: none. */
const kms_json_value *kms_json_first(const kms_json *json, const kms_json_value *parent);
const kms_json_value *kms_json_next(const kms_json *json, const kms_json_value *value);

/*
 * Appends a value as canonical JSON: keys sorted bytewise, no spaces, UTF-8 as it is, control
 * characters as \b \t \n \f \r or \u00xx.
 * Returns: KMS_OK; ERR_JSON when there is a FRACTION; ERR_MEMORY; as kms_buf_append.
 */
kms_status kms_json_canonical(kms_buf *out, const kms_json *json, const kms_json_value *value);

/* Bytes of a text as a JSON string, with quotes and escapes. Returns: SIZE_MAX when it overflows. */
size_t kms_json_text_size(kms_text text);

/*
 * Appends a text as a JSON string, escaped as in canonical JSON.
 * Returns: KMS_OK; ERR_UTF8; as kms_buf_append.
 */
kms_status kms_buf_append_json(kms_buf *buf, kms_text text);

#endif
