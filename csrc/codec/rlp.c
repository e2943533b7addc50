#include "codec/rlp.h"

#include "base/bits.h"
#include "base/ensure.h"

#define STRING 0x80
#define LIST 0xc0
#define SHORT 55 /* longest content whose length fits the first byte */

static kms_status append_header(kms_buf *out, uint8_t base, size_t len)
{
	uint8_t header[9];
	if (len <= SHORT) {
		header[0] = (uint8_t)(base + len);
		return kms_buf_append(out, kms_span_of(header, 1));
	}
	kms_store64_be(header + 1, len);
	size_t zeros = (size_t)__builtin_clzll(len) / 8;
	header[zeros] = (uint8_t)(base + SHORT + 8 - zeros);
	return kms_buf_append(out, kms_span_of(header + zeros, sizeof(header) - zeros));
}

kms_status kms_rlp_bytes(kms_buf *out, kms_span bytes)
{
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	/* A single byte below 0x80 is its own encoding. */
	if (bytes.len != 1 || bytes.bytes[0] >= STRING) GUARD(append_header(out, STRING, bytes.len));
	return kms_buf_append(out, bytes);
}

kms_status kms_rlp_number(kms_buf *out, kms_span number)
{
	ENSURE(number.bytes || number.len == 0, KMS_ERR_ARGUMENT);
	for (; number.len && *number.bytes == 0; number.bytes++)
		number.len--;
	return kms_rlp_bytes(out, number);
}

kms_status kms_rlp_u64(kms_buf *out, uint64_t number)
{
	uint8_t bytes[8];
	kms_store64_be(bytes, number);
	return kms_rlp_number(out, KMS_SPAN(bytes));
}

kms_status kms_rlp_list(kms_buf *out, size_t len)
{
	return append_header(out, LIST, len);
}
