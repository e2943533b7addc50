#include "codec/cbor.h"

#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"

#define DIRECT 24 /* numbers below stand in the first byte */

/* A number of 1, 2, 4 or 8 bytes, which must not fit fewer. */
static kms_status read_number(uint64_t *number, kms_reader *reader, unsigned info)
{
	const uint8_t *at;
	ENSURE(info < DIRECT + 4, KMS_ERR_FIELD_VALUE);
	size_t len = (size_t)1 << (info - DIRECT);
	GUARD(kms_reader_take(&at, reader, len));
	uint64_t value = 0;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | at[i];
	ENSURE(len == 1 ? value >= DIRECT : value >> (len * 4) != 0, KMS_ERR_FIELD_VALUE);
	*number = value;
	return KMS_OK;
}

kms_status kms_cbor_head(kms_cbor_major *major, uint64_t *number, kms_reader *reader)
{
	uint8_t first;
	*major = KMS_CBOR_UINT;
	*number = 0;
	GUARD(kms_reader_u8(&first, reader));
	unsigned info = first & 0x1f;
	if (info >= DIRECT)
		GUARD(read_number(number, reader, info));
	else
		*number = info;
	*major = (kms_cbor_major)(first >> 5);
	return KMS_OK;
}

static kms_status read_of(uint64_t *number, kms_reader *reader, kms_cbor_major want, uint64_t min,
			  uint64_t max)
{
	kms_cbor_major major;
	uint64_t value;
	*number = 0;
	GUARD(kms_cbor_head(&major, &value, reader));
	ENSURE(major == want, KMS_ERR_FIELD_TYPE);
	ENSURE(value >= min && value <= max, KMS_ERR_FIELD_VALUE);
	*number = value;
	return KMS_OK;
}

kms_status kms_cbor_uint(uint64_t *number, kms_reader *reader, uint64_t min, uint64_t max)
{
	return read_of(number, reader, KMS_CBOR_UINT, min, max);
}

static kms_status read_span(kms_span *span, kms_reader *reader, kms_cbor_major want, size_t min, size_t max)
{
	uint64_t len;
	*span = (kms_span){ NULL, 0 };
	GUARD(read_of(&len, reader, want, min, max));
	GUARD(kms_reader_take(&span->bytes, reader, (size_t)len));
	span->len = (size_t)len;
	return KMS_OK;
}

kms_status kms_cbor_bytes(kms_span *bytes, kms_reader *reader, size_t min, size_t max)
{
	return read_span(bytes, reader, KMS_CBOR_BYTES, min, max);
}

kms_status kms_cbor_text(kms_span *text, kms_reader *reader, size_t min, size_t max)
{
	GUARD(read_span(text, reader, KMS_CBOR_TEXT, min, max));
	if (kms_utf8_valid(kms_span_text(*text))) return KMS_OK;
	*text = (kms_span){ NULL, 0 };
	return KMS_ERR_UTF8;
}

static kms_status read_count(size_t *count, kms_reader *reader, kms_cbor_major want, size_t min, size_t max)
{
	uint64_t number;
	kms_status status = read_of(&number, reader, want, min, max);
	*count = (size_t)number;
	return status;
}

kms_status kms_cbor_array(size_t *count, kms_reader *reader, size_t min, size_t max)
{
	return read_count(count, reader, KMS_CBOR_ARRAY, min, max);
}

kms_status kms_cbor_map(size_t *count, kms_reader *reader, size_t min, size_t max)
{
	return read_count(count, reader, KMS_CBOR_MAP, min, max);
}

bool kms_cbor_skip(kms_reader *reader, uint8_t byte)
{
	if (kms_reader_left(reader) == 0 || *reader->at != byte) return false;
	reader->at++;
	return true;
}

/* ---- items of no interest ---- */

#define INDEFINITE 31

/* As read_number, in any form: floats are not in a shortest one. */
static kms_status read_any_number(uint64_t *number, kms_reader *reader, unsigned info)
{
	const uint8_t *at;
	*number = info;
	if (info < DIRECT) return KMS_OK;
	ENSURE(info < DIRECT + 4, KMS_ERR_FIELD_VALUE);
	size_t len = (size_t)1 << (info - DIRECT);
	GUARD(kms_reader_take(&at, reader, len));
	*number = 0;
	for (size_t i = 0; i < len; i++)
		*number = *number << 8 | at[i];
	return KMS_OK;
}

/* Each item takes a byte or more, so that a false count ends with the input. */
static kms_status pass_items(kms_reader *reader, uint64_t count, unsigned depth)
{
	for (; count; count--)
		GUARD(kms_cbor_pass(reader, depth));
	return KMS_OK;
}

/* The rest of an item of indefinite length: strings in chunks of their type, elements, or pairs. */
static kms_status pass_indefinite(kms_reader *reader, kms_cbor_major major, unsigned depth)
{
	bool chunks = major == KMS_CBOR_BYTES || major == KMS_CBOR_TEXT;
	ENSURE(chunks || major == KMS_CBOR_ARRAY || major == KMS_CBOR_MAP, KMS_ERR_FIELD_VALUE);
	while (!kms_cbor_skip(reader, KMS_CBOR_BREAK)) {
		ENSURE(kms_reader_left(reader), KMS_ERR_TRUNCATED);
		bool is_chunk = *reader->at >> 5 == major && (*reader->at & 0x1f) != INDEFINITE;
		ENSURE(!chunks || is_chunk, KMS_ERR_FIELD_VALUE);
		GUARD(pass_items(reader, major == KMS_CBOR_MAP ? 2 : 1, depth));
	}
	return KMS_OK;
}

kms_status kms_cbor_pass(kms_reader *reader, unsigned depth)
{
	const uint8_t *at;
	uint8_t first;
	uint64_t number;
	ENSURE(depth, KMS_ERR_FIELD_VALUE);
	GUARD(kms_reader_u8(&first, reader));
	kms_cbor_major major = (kms_cbor_major)(first >> 5);
	unsigned info = first & 0x1f;
	if (info == INDEFINITE) return pass_indefinite(reader, major, depth - 1);
	GUARD(read_any_number(&number, reader, info));
	switch (major) {
	case KMS_CBOR_BYTES:
	case KMS_CBOR_TEXT:
		ENSURE(number <= kms_reader_left(reader), KMS_ERR_TRUNCATED);
		return kms_reader_take(&at, reader, (size_t)number);
	case KMS_CBOR_ARRAY:
	case KMS_CBOR_TAG:
		return pass_items(reader, major == KMS_CBOR_TAG ? 1 : number, depth - 1);
	case KMS_CBOR_MAP:
		GUARD(pass_items(reader, number, depth - 1));
		return pass_items(reader, number, depth - 1);
	case KMS_CBOR_UINT:
	case KMS_CBOR_NEGATIVE:
	case KMS_CBOR_SIMPLE:
	default:
		return KMS_OK;
	}
}

/* ---- writing ---- */

kms_status kms_cbor_put_byte(kms_buf *out, uint8_t byte)
{
	return kms_buf_append(out, kms_span_of(&byte, 1));
}

kms_status kms_cbor_put_head(kms_buf *out, kms_cbor_major major, uint64_t number)
{
	uint8_t head[9];
	uint8_t type = (uint8_t)(major << 5);
	if (number < DIRECT) return kms_cbor_put_byte(out, (uint8_t)(type | number));
	unsigned log2 = number > UINT32_MAX ? 3 : number > UINT16_MAX ? 2 : number > UINT8_MAX ? 1 : 0;
	size_t len = (size_t)1 << log2;
	kms_store64_be(head + 1, number);
	head[8 - len] = (uint8_t)(type | (DIRECT + log2));
	return kms_buf_append(out, kms_span_of(head + 8 - len, len + 1));
}

kms_status kms_cbor_put_text(kms_buf *out, const char *text)
{
	GUARD(kms_cbor_put_head(out, KMS_CBOR_TEXT, strlen(text)));
	return kms_buf_append_text(out, text);
}

kms_status kms_cbor_put_bytes(kms_buf *out, kms_span bytes)
{
	if (!bytes.bytes) return kms_cbor_put_byte(out, KMS_CBOR_NULL);
	GUARD(kms_cbor_put_head(out, KMS_CBOR_BYTES, bytes.len));
	return kms_buf_append(out, bytes);
}
