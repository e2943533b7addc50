#include "core/nsm_cbor.h"

#include <string.h>

#include "core/safe.h"

#define SHIFT 5          /* of the major type in a head's first byte */
#define ARGUMENT 0x1f    /* the rest of that byte */
#define ONE_BYTE 24      /* the argument follows in 1, 2, 4 or 8 bytes: 24 to 27 */
#define EIGHT_BYTES 27   /* 28 to 30 are reserved, 31 is an indefinite length */
#define NULL_BYTE "\xf6" /* simple value 22 */

/* A head's argument (section 3): in its first byte, or in the bytes that follow, big-endian. */
static kms_status read_argument(uint64_t *number, kms_reader *reader, uint8_t first)
{
	const uint8_t *bytes;
	unsigned inside = first & ARGUMENT;
	*number = inside;
	if (inside < ONE_BYTE) return KMS_OK;
	ENSURE(inside <= EIGHT_BYTES, KMS_ERR_NSM_ANSWER);
	size_t len = (size_t)1 << (inside - ONE_BYTE);
	ENSURE(kms_reader_take(&bytes, reader, len) == KMS_OK, KMS_ERR_NSM_ANSWER);
	*number = 0;
	for (size_t i = 0; i < len; i++)
		*number = *number << 8 | bytes[i];
	return KMS_OK;
}

static bool is_string(kms_cbor_kind kind)
{
	return kind == KMS_CBOR_BYTES || kind == KMS_CBOR_TEXT;
}

static bool is_container(kms_cbor_kind kind)
{
	return kind == KMS_CBOR_ARRAY || kind == KMS_CBOR_MAP;
}

kms_status kms_nsm_read(kms_cbor_item *item, kms_reader *reader)
{
	uint8_t first;
	*item = (kms_cbor_item){ 0 };
	ENSURE(kms_reader_u8(&first, reader) == KMS_OK, KMS_ERR_NSM_ANSWER);
	kms_cbor_item read = { .kind = (kms_cbor_kind)(first >> SHIFT) };
	ENSURE(read.kind == KMS_CBOR_UINT || is_string(read.kind) || is_container(read.kind),
	       KMS_ERR_NSM_ANSWER);
	GUARD(read_argument(&read.number, reader, first));
	/* Every member takes a byte at least: no count that the input cannot have. */
	if (read.kind != KMS_CBOR_UINT) ENSURE(read.number <= kms_reader_left(reader), KMS_ERR_NSM_ANSWER);
	if (is_string(read.kind)) GUARD(kms_reader_take(&read.bytes, reader, (size_t)read.number));
	*item = read;
	return KMS_OK;
}

kms_status kms_nsm_read_kind(kms_cbor_item *item, kms_reader *reader, kms_cbor_kind kind)
{
	GUARD(kms_nsm_read(item, reader));
	if (item->kind == kind) return KMS_OK;
	*item = (kms_cbor_item){ 0 };
	return KMS_ERR_NSM_ANSWER;
}

bool kms_nsm_is_text(const kms_cbor_item *item, const char *text)
{
	return item->kind == KMS_CBOR_TEXT && item->number == strlen(text) &&
	       strncmp((const char *)item->bytes, text, (size_t)item->number) == 0;
}

/* The shortest form (section 4.2.1). */
kms_status kms_nsm_write_head(kms_buf *out, kms_cbor_kind kind, uint64_t number)
{
	uint8_t head[9];
	unsigned log = number <= UINT8_MAX ? 0 : number <= UINT16_MAX ? 1 : number <= UINT32_MAX ? 2 : 3;
	size_t len = (size_t)1 << log;
	unsigned inside = ONE_BYTE + log;
	if (number < ONE_BYTE) {
		inside = (unsigned)number;
		len = 0;
	}
	head[0] = (uint8_t)((unsigned)kind << SHIFT | inside);
	for (size_t i = 0; i < len; i++)
		head[1 + i] = (uint8_t)(number >> 8 * (len - 1 - i));
	return kms_buf_append(out, head, 1 + len);
}

kms_status kms_nsm_write_text(kms_buf *out, const char *text)
{
	GUARD(kms_nsm_write_head(out, KMS_CBOR_TEXT, strlen(text)));
	return kms_buf_append_text(out, text);
}

kms_status kms_nsm_write_bytes(kms_buf *out, const uint8_t *bytes, size_t len)
{
	if (!bytes) return kms_buf_append(out, NULL_BYTE, 1);
	GUARD(kms_nsm_write_head(out, KMS_CBOR_BYTES, len));
	return kms_buf_append(out, bytes, len);
}
