/*
 * Base64 (RFC 4648 section 4), sixteen characters at a time: no branch or table on a character. In vectors,
 * since words of eight characters took three times as long: an eighth of what reading a record costs.
 */
#include <string.h>

#include "base/bits.h"
#include "base/declassify.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/secret.h"

#define CHARS 16 /* at a time */
#define BYTES 12

/* An extension of gcc and clang: comparisons give -1 or 0 in each lane. */
typedef signed char lanes __attribute__((vector_size(CHARS)));
typedef uint16_t pairs __attribute__((vector_size(CHARS)));
typedef uint32_t fours __attribute__((vector_size(CHARS)));
typedef uint64_t halves __attribute__((vector_size(CHARS)));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the first of the lanes that become one is its lowest");

/* Characters to their six bits each; sets lanes of `bad` outside the alphabet. */
static inline lanes bits_of(lanes *bad, lanes x)
{
	lanes upper = (x >= 'A') & (x <= 'Z'), lower = (x >= 'a') & (x <= 'z'),
	      digit = (x >= '0') & (x <= '9');
	lanes plus = x == '+', slash = x == '/';
	*bad |= ~(upper | lower | digit | plus | slash);
	return x + ((upper & -'A') | (lower & (26 - 'a')) | (digit & (52 - '0')) | (plus & (62 - '+')) |
		    (slash & (63 - '/')));
}

/* Six bits each to characters. */
static inline lanes chars_of(lanes v)
{
	return v + ('A' + ((v > 25) & ('a' - 26 - 'A')) + ((v > 51) & ('0' - 52 - ('a' - 26))) +
		    ((v > 61) & ('+' - 62 - ('0' - 52))) + ((v > 62) & ('/' - 63 - ('+' - 62))));
}

/* Six bits each to 24 bits each; and back. */
static inline fours join(lanes v)
{
	pairs twelve = ((pairs)v & 0x3f) << 6 | (pairs)v >> 8;
	return ((fours)twelve & 0xfff) << 12 | (fours)twelve >> 16;
}

static inline lanes part(fours v)
{
	pairs twelve = (pairs)(v >> 12 | (v & 0xfff) << 16);
	return (lanes)(twelve >> 6 | (twelve & 0x3f) << 8);
}

/* CHARS characters to BYTES bytes. All are read before one is written. */
static inline void decode_lanes(uint8_t *bytes, lanes *bad, const void *text)
{
	lanes x;
	memcpy(&x, text, sizeof(x));
	halves v = (halves)join(bits_of(bad, x));
	uint64_t first48 = (v[0] & 0xffffff) << 24 | v[0] >> 32,
		 second48 = (v[1] & 0xffffff) << 24 | v[1] >> 32;
	kms_store64_be(bytes, first48 << 16 | second48 >> 32);
	kms_store32_be(bytes + 8, (uint32_t)second48);
}

/* BYTES bytes to CHARS characters. */
static inline void encode_lanes(uint8_t *text, const uint8_t *bytes)
{
	uint64_t first64 = kms_load64_be(bytes), last32 = kms_load32_be(bytes + 8);
	uint64_t first48 = first64 >> 16, second48 = (first64 & 0xffff) << 32 | last32;
	halves v = { first48 >> 24 | (first48 & 0xffffff) << 32, second48 >> 24 | (second48 & 0xffffff)
										      << 32 };
	lanes chars = chars_of(part((fours)v));
	memcpy(text, &chars, sizeof(chars));
}

size_t kms_base64_bound(size_t text_len)
{
	return text_len / 4 * 3;
}

/* The last 4 to CHARS characters, padding included. Returns: the number of bytes. */
static size_t decode_tail(uint8_t *bytes, lanes *bad, kms_text text)
{
	uint8_t chars[CHARS], out[BYTES];
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
	decode_lanes(out, bad, chars);
	if (padding) (*bad)[0] |= (signed char)out[count];
	memcpy(bytes, out, count);
	kms_wipe(chars, sizeof(chars));
	kms_wipe(out, sizeof(out));
	return count;
}

static bool decode(uint8_t *bytes, size_t *len, kms_text text)
{
	if (text.len % 4 != 0) return false;
	lanes bad = { 0 };
	size_t body = (text.len - 1) / CHARS * CHARS, out = 0;
	/* In place each store ends before the next load begins. */
	for (size_t i = 0; i < body; i += CHARS, out += BYTES)
		decode_lanes(bytes + out, &bad, text.text + i);
	*len = out + decode_tail(bytes + out, &bad, kms_text_of(text.text + body, text.len - body));
	uint64_t any = ((halves)bad)[0] | ((halves)bad)[1];
	KMS_DECLASSIFY(any);
	return any == 0;
}

kms_status kms_base64_decode(uint8_t *bytes, size_t *len, kms_text text)
{
	ENSURE_REF(len);
	*len = 0;
	ENSURE(text.text || text.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(bytes || kms_base64_bound(text.len) == 0, KMS_ERR_ARGUMENT);
	if (text.len == 0 || decode(bytes, len, text)) return KMS_OK;
	kms_wipe(bytes, kms_base64_bound(text.len));
	*len = 0;
	return KMS_ERR_BASE64;
}

size_t kms_base64_encode(char *text, kms_span bytes)
{
	uint8_t *out = (uint8_t *)text;
	uint8_t chars[CHARS], last[BYTES] = { 0 };
	size_t i = 0;
	for (; i + BYTES <= bytes.len; i += BYTES, out += CHARS)
		encode_lanes(out, bytes.bytes + i);
	size_t left = bytes.len - i;
	if (left == 0) return (size_t)(out - (uint8_t *)text);
	memcpy(last, bytes.bytes + i, left);
	encode_lanes(chars, last);
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
