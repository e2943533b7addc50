/* Text between quotes of JSON: how much of it stands for itself. */
#ifndef KMS_CODEC_JSON_TEXT_H
#define KMS_CODEC_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bits.h"

/* A byte that ends a string, or begins or needs an escape. */
static inline bool kms_json_is_special(uint8_t byte)
{
	return byte < 0x20 || byte == '"' || byte == '\\';
}

/* Bytes before the first special one, eight at a time; those above 0x7f are never special. */
static inline size_t kms_json_plain_run(const char *text, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t i = 0;
	for (; i + 8 <= len; i += 8) {
		uint64_t eight = kms_load64_le(bytes + i);
		uint64_t x = eight & KMS_LANES(0x7f);
		uint64_t special =
		    ~kms_lanes_ge(x, 0x20) | kms_lanes_in(x, '"', '"') | kms_lanes_in(x, '\\', '\\');
		if (special & ~eight & KMS_LANES(0x80)) break;
	}
	while (i < len && !kms_json_is_special(bytes[i]))
		i++;
	return i;
}

#endif
