/*
 * Strict JSON (RFC 8259): one value, no duplicate keys, valid UTF-8 and no lone surrogate
 * escapes, depth at most 16, nothing after it. Strings are decoded in place, so that a
 * secret in a body is never copied out of the buffer it arrived in.
 * A document belongs to one thread at a time.
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
 * Parses `len` bytes of `text`, which is changed and must outlive the document.
 * Token memory is ordinary (it holds positions, no content).
 * In: max_values - bound on values and keys together (ERR_JSON_SIZE beyond).
 * Returns: KMS_OK, ERR_JSON, ERR_UTF8, ERR_JSON_DUPLICATE, ERR_JSON_DEPTH, ERR_JSON_SIZE,
 * ERR_MEMORY. Release with kms_json_free, also after a failure.
 */
kms_status kms_json_parse(kms_json *json, char *text, size_t len, size_t max_values);
void kms_json_free(kms_json *json);

/*
 * Parses the one value that `text` begins with, whatever follows it: for documents too large
 * to hold the tokens of at once. `json` is empty at first, is used again for the next value, and
 * is freed at last; after a failure it holds no value.
 * Out: used - bytes up to the end of the value. In: depth - containers that it stands in.
 * Returns: as kms_json_parse.
 */
kms_status kms_json_parse_front(kms_json *json, size_t *used, char *text, size_t len, size_t max_values,
				unsigned depth);

/* Member of an object by name, or NULL; `object` must be of type OBJECT. */
const kms_json_value *kms_json_get(const kms_json *json, const kms_json_value *object, const char *name);
/* First child (array element, or key of the first member) and the one after a value. */
const kms_json_value *kms_json_first(const kms_json *json, const kms_json_value *parent);
const kms_json_value *kms_json_next(const kms_json *json, const kms_json_value *value);

/*
 * Writes a value as canonical JSON: keys sorted bytewise, no spaces, UTF-8 raw, control
 * characters as \b \t \n \f \r or \u00xx. A FRACTION anywhere: ERR_JSON.
 */
kms_status kms_json_canonical(kms_buf *out, const kms_json *json, const kms_json_value *value);

#endif
