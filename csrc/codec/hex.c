/* Hexadecimal, eight digits at a time in the lanes of a word: no branch or table on a digit. */
#include <string.h>

#include "base/bits.h"
#include "base/declassify.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/secret.h"

kms_text kms_hex_strip(kms_text text)
{
	if (text.len < 2) return text;
	/* Whether it is there may be known, but not whether a secret's first digit is a zero. */
	unsigned other = ((unsigned)text.text[0] ^ '0') | (((unsigned)text.text[1] | 0x20) ^ 'x');
	unsigned absent = (other & 0xff) + 0xff; /* bit 8 is set unless other is 0 */
	absent >>= 8;
	KMS_DECLASSIFY(absent);
	return absent ? text : kms_text_of(text.text + 2, text.len - 2);
}

/* Eight digits to four bytes (in the low half); a lane of `bad` is set for each wrong digit. */
static uint64_t decode_lanes(uint64_t *bad, uint64_t x)
{
	*bad |= x & KMS_LANES(0x80);
	x &= KMS_LANES(0x7f);
	uint64_t digit = kms_lanes_in(x, '0', '9');
	uint64_t letter = kms_lanes_in(x | KMS_LANES(0x20), 'a', 'f');
	*bad |= KMS_LANES(0x80) & ~(digit | letter);
	uint64_t v = (x & KMS_LANES(0x0f)) + kms_lanes_pick(letter, 9);
	v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ffu;
	v = (v | v >> 8) & 0x0000ffff0000ffffu;
	return (v | v >> 16) & 0xffffffffu;
}

/* Four bytes to eight digits. */
static uint64_t encode_lanes(uint64_t v)
{
	v = (v | v << 16) & 0x0000ffff0000ffffu;
	v = (v | v << 8) & 0x00ff00ff00ff00ffu;
	v = (v >> 4 | v << 8) & KMS_LANES(0x0f);
	return v + KMS_LANES('0') + kms_lanes_pick(kms_lanes_ge(v, 10), 'a' - '0' - 10);
}

/*
 * Decodes 2 * len digits; whether one was wrong. Four bytes are written only once their digits
 * are read, so that `bytes` may begin where `text` does, or before.
 */
static bool decode_digits(uint8_t *bytes, size_t len, const char *text)
{
	uint64_t bad = 0;
	uint8_t lanes[8];
	size_t i = 0;
	for (; i + 4 <= len; i += 4) {
		uint64_t eight = kms_load64_le((const uint8_t *)text + 2 * i);
		kms_store32_le(bytes + i, (uint32_t)decode_lanes(&bad, eight));
	}
	if (i < len) {
		memset(lanes, '0', sizeof(lanes));
		memcpy(lanes, text + 2 * i, 2 * (len - i));
		kms_store64_le(lanes, decode_lanes(&bad, kms_load64_le(lanes)));
		memcpy(bytes + i, lanes, len - i);
		kms_wipe(lanes, sizeof(lanes));
	}
	KMS_DECLASSIFY(bad);
	return bad != 0;
}

kms_status kms_hex_decode(kms_out bytes, kms_text text)
{
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	kms_wipe(bytes.bytes, bytes.len);
	ENSURE(text.text || text.len == 0, KMS_ERR_ARGUMENT);
	kms_text digits = kms_hex_strip(text);
	ENSURE(digits.len % 2 == 0 && digits.len / 2 == bytes.len, KMS_ERR_HEX);
	if (!decode_digits(bytes.bytes, bytes.len, digits.text)) return KMS_OK;
	kms_wipe(bytes.bytes, bytes.len);
	return KMS_ERR_HEX;
}

kms_status kms_secret_from_hex(kms_secret **secret, kms_text hex, size_t len)
{
	ENSURE_REF(secret);
	*secret = NULL;
	ENSURE_REF(hex.text);
	ENSURE(len >= 1 && len <= KMS_SECRET_MAX, KMS_ERR_RANGE);
	DEFER(kms_guarded_release) uint8_t *bytes = kms_guarded_alloc(len);
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hex_decode(kms_out_of(bytes, len), hex));
	return kms_secret_new(secret, kms_span_of(bytes, len));
}

kms_status kms_hex_decode_in_place(size_t *len, char *text, size_t text_len)
{
	ENSURE_REF(len);
	*len = 0;
	ENSURE(text || text_len == 0, KMS_ERR_ARGUMENT);
	kms_text digits = kms_hex_strip(kms_text_of(text, text_len));
	ENSURE(digits.len % 2 == 0, KMS_ERR_HEX);
	ENSURE(!decode_digits((uint8_t *)text, digits.len / 2, digits.text), KMS_ERR_HEX);
	*len = digits.len / 2;
	return KMS_OK;
}

void kms_hex_encode(char *text, kms_span bytes)
{
	uint8_t lanes[8];
	uint8_t *out = (uint8_t *)text;
	size_t i = 0;
	for (; i + 4 <= bytes.len; i += 4)
		kms_store64_le(out + 2 * i, encode_lanes(kms_load32_le(bytes.bytes + i)));
	if (i == bytes.len) return;
	memset(lanes, 0, sizeof(lanes));
	memcpy(lanes, bytes.bytes + i, bytes.len - i);
	kms_store64_le(lanes, encode_lanes(kms_load32_le(lanes)));
	memcpy(out + 2 * i, lanes, 2 * (bytes.len - i));
	kms_wipe(lanes, sizeof(lanes));
}

kms_status kms_buf_append_hex(kms_buf *buf, kms_span bytes)
{
	size_t digits;
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_MUL(&digits, bytes.len, 2), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, digits));
	if (digits) kms_hex_encode((char *)buf->data + buf->len, bytes);
	buf->len += digits;
	return KMS_OK;
}
