/* Base64 (RFC 4648 section 4), eight characters at a time: no branch or table on a character. */
#include <string.h>

#include "base/bits.h"
#include "base/declassify.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/secret.h"

/* Eight characters (first one highest) to 48 bits; sets lanes of `bad` outside the alphabet. */
static uint64_t decode_lanes(uint64_t *bad, uint64_t x)
{
	*bad |= x & KMS_LANES(0x80);
	x &= KMS_LANES(0x7f);
	uint64_t upper = kms_lanes_in(x, 'A', 'Z');
	uint64_t lower = kms_lanes_in(x, 'a', 'z');
	uint64_t digit = kms_lanes_in(x, '0', '9');
	uint64_t plus = kms_lanes_in(x, '+', '+');
	uint64_t slash = kms_lanes_in(x, '/', '/');
	*bad |= KMS_LANES(0x80) & ~(upper | lower | digit | plus | slash);
	/* What each class adds, modulo 64. */
	uint64_t v = x + kms_lanes_pick(upper, 64 - 'A' % 64) + kms_lanes_pick(lower, 26 + 128 - 'a') +
		     kms_lanes_pick(digit, 52 - '0') + kms_lanes_pick(plus, 62 - '+') +
		     kms_lanes_pick(slash, 63 - '/');
	v &= KMS_LANES(0x3f);
	v = (v >> 2 & 0x0fc00fc00fc00fc0u) | (v & 0x003f003f003f003fu);
	v = (v >> 4 & 0x00fff00000fff000u) | (v & 0x00000fff00000fffu);
	return (v >> 8 & 0x0000ffffff000000u) | (v & 0x0000000000ffffffu);
}

/* 48 bits to eight characters, first one highest. */
static uint64_t encode_lanes(uint64_t v)
{
	v = (v << 8 & 0x00ffffff00000000u) | (v & 0x0000000000ffffffu);
	v = (v << 4 & 0x0fff00000fff0000u) | (v & 0x00000fff00000fffu);
	v = (v << 2 & 0x3f003f003f003f00u) | (v & 0x003f003f003f003fu);
	uint64_t upper = ~kms_lanes_ge(v, 26) & KMS_LANES(0x80);
	uint64_t lower = kms_lanes_in(v, 26, 51);
	uint64_t digit = kms_lanes_in(v, 52, 61);
	uint64_t plus = kms_lanes_in(v, 62, 62);
	uint64_t slash = kms_lanes_in(v, 63, 63);
	/* Each lane holds one class, so the sums stay below 0x80 (digits wrap into bit 7). */
	v += kms_lanes_pick(upper, 'A') + kms_lanes_pick(lower, 'a' - 26) +
	     kms_lanes_pick(digit, 128 + '0' - 52) + kms_lanes_pick(plus, 128 + '+' - 62) +
	     kms_lanes_pick(slash, 128 + '/' - 63);
	return v & KMS_LANES(0x7f);
}

static void store48(uint8_t out6[6], uint64_t v)
{
	v = __builtin_bswap64(v << 16);
	kms_store32_le(out6, (uint32_t)v);
	out6[4] = (uint8_t)(v >> 32);
	out6[5] = (uint8_t)(v >> 40);
}

static uint64_t load48(const uint8_t in6[6])
{
	uint64_t v = (uint64_t)in6[4] << 32 | (uint64_t)in6[5] << 40 | kms_load32_le(in6);
	return __builtin_bswap64(v) >> 16;
}

size_t kms_base64_bound(size_t text_len)
{
	return text_len / 4 * 3;
}

/* The last 4 or 8 characters, padding included. Returns: the number of bytes. */
static size_t decode_tail(uint8_t *bytes, uint64_t *bad, kms_text text)
{
	uint8_t chars[8], out[8] = { 0 };
	const char *end = text.text + text.len;
	unsigned last = (unsigned)end[-1] ^ '=', before = (unsigned)end[-2] ^ '=';
	last = ((last & 0xff) + 0xff) >> 8; /* 0 where it is '=' */
	before = ((before & 0xff) + 0xff) >> 8;
	/* They tell the length of the content, and whether it is malformed. */
	KMS_DECLASSIFY(last);
	KMS_DECLASSIFY(before);
	size_t padding = last ? 0 : before ? 1 : 2;
	size_t count = text.len / 4 * 3 - padding;
	/* 'A' is zero: with it in place of the padding, what follows the last byte must decode to zero. */
	memset(chars, 'A', sizeof(chars));
	memcpy(chars, text.text, text.len - padding);
	store48(out, decode_lanes(bad, kms_load64_be(chars)));
	if (padding) *bad |= out[count];
	memcpy(bytes, out, count);
	kms_wipe(chars, sizeof(chars));
	kms_wipe(out, sizeof(out));
	return count;
}

static bool decode(uint8_t *bytes, size_t *len, kms_text text)
{
	if (text.len % 4 != 0) return false;
	uint64_t bad = 0;
	size_t body = (text.len - 4) / 8 * 8, out = 0;
	/* In place each store ends before the next load begins. */
	for (size_t i = 0; i < body; i += 8, out += 6)
		store48(bytes + out, decode_lanes(&bad, kms_load64_be((const uint8_t *)text.text + i)));
	*len = out + decode_tail(bytes + out, &bad, kms_text_of(text.text + body, text.len - body));
	KMS_DECLASSIFY(bad);
	return bad == 0;
}

kms_status kms_base64_decode(uint8_t *bytes, size_t *len, kms_text text)
{
	ENSURE_REF(len);
	*len = 0;
	ENSURE((bytes && text.text) || text.len == 0, KMS_ERR_ARGUMENT);
	if (text.len == 0 || decode(bytes, len, text)) return KMS_OK;
	kms_wipe(bytes, kms_base64_bound(text.len));
	*len = 0;
	return KMS_ERR_BASE64;
}

size_t kms_base64_encode(char *text, kms_span bytes)
{
	uint8_t *out = (uint8_t *)text;
	uint8_t chars[8], last[6] = { 0 };
	size_t i = 0;
	for (; i + 6 <= bytes.len; i += 6, out += 8)
		kms_store64_be(out, encode_lanes(load48(bytes.bytes + i)));
	size_t left = bytes.len - i;
	if (left == 0) return (size_t)(out - (uint8_t *)text);
	memcpy(last, bytes.bytes + i, left);
	kms_store64_be(chars, encode_lanes(load48(last)));
	size_t written = (left + 2) / 3 * 4;
	size_t used = left + (left + 2) / 3;
	memset(chars + used, '=', written - used);
	memcpy(out, chars, written);
	kms_wipe(chars, sizeof(chars));
	kms_wipe(last, sizeof(last));
	return (size_t)(out - (uint8_t *)text) + written;
}

kms_status kms_buf_append_base64(kms_buf *buf, kms_span bytes)
{
	size_t chars;
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_MUL(&chars, bytes.len / 3 + (bytes.len % 3 != 0), 4), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, chars));
	buf->len += chars ? kms_base64_encode((char *)buf->data + buf->len, bytes) : 0;
	return KMS_OK;
}
