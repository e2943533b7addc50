/* What the files of the JSON parser and writer share. */
#ifndef KMS_CODEC_JSON_INTERNAL_H
#define KMS_CODEC_JSON_INTERNAL_H

#include "base/bits.h"
#include "kms/json.h"

/*
 * Appends a value that ends where it begins.
 * Returns: KMS_OK; ERR_JSON_SIZE beyond `max_values`; ERR_MEMORY.
 * Out: index - its place, since growth moves the array.
 */
kms_status kms_json_add_token(uint32_t *index, kms_json *json, kms_json_type type, size_t max_values);

/*
 * Parses the one value that `text` begins with, whatever follows it. `json` is empty at first and
 * used again for the next value; free it at the end. After a failure it holds no value.
 * Returns: as kms_json_parse.
 * Out: used - bytes up to the end of the value.
 * In: depth - number of containers around it.
 */
kms_status kms_json_parse_front(size_t *used, kms_json *json, char *text, size_t len, size_t max_values,
				unsigned depth);

/* ---- order of an object's keys: for duplicates and for canonical JSON ---- */

/* Up to this many members no memory is allocated for their order. */
#define KMS_JSON_ORDER_SMALL 32

typedef struct kms_json_order {
	uint32_t *keys; /* indices of the object's keys, bytewise ascending */
	uint32_t small[KMS_JSON_ORDER_SMALL];
} kms_json_order;

/* Sorts the keys of an object. Do not copy an order; free it with kms_json_order_free. */
kms_status kms_json_order_make(kms_json_order *order, const kms_json *json, const kms_json_value *object);
void kms_json_order_free(kms_json_order *order);

/* ---- strings ---- */

/* A byte that ends a string, or begins or needs an escape. */
static inline bool kms_json_is_special(uint8_t byte)
{
	return byte < 0x20 || byte == '"' || byte == '\\';
}

/* Bytes before the first special one, eight at a time; bytes above 0x7f are never special. */
static inline size_t kms_json_plain_run(kms_text text)
{
	const uint8_t *bytes = (const uint8_t *)text.text;
	size_t i = 0;
	for (; i + 8 <= text.len; i += 8) {
		uint64_t eight = kms_load64_le(bytes + i);
		uint64_t x = eight & KMS_LANES(0x7f);
		uint64_t special =
		    ~kms_lanes_ge(x, 0x20) | kms_lanes_in(x, '"', '"') | kms_lanes_in(x, '\\', '\\');
		if (special & ~eight & KMS_LANES(0x80)) break;
	}
	while (i < text.len && !kms_json_is_special(bytes[i]))
		i++;
	return i;
}

#endif
