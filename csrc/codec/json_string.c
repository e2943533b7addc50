/* Strings of the JSON parser, decoded where they stand. */
#include <string.h>

#include "codec/json_parser.h"
#include "codec/json_text.h"
#include "base/ensure.h"
#include "kms/codec.h"

static kms_status parse_hex4(uint32_t *unit, kms_json_parser *p)
{
	ENSURE(p->end - p->at >= 4, KMS_ERR_JSON);
	*unit = 0;
	for (int i = 0; i < 4; i++) {
		char c = *p->at++;
		uint32_t digit = 16;
		if (kms_json_is_digit(c)) digit = (uint32_t)(c - '0');
		if (c >= 'a' && c <= 'f') digit = (uint32_t)(c - 'a') + 10;
		if (c >= 'A' && c <= 'F') digit = (uint32_t)(c - 'A') + 10;
		ENSURE(digit < 16, KMS_ERR_JSON);
		*unit = *unit << 4 | digit;
	}
	return KMS_OK;
}

/* At most four bytes: never more than the escape that they replace. */
static char *put_utf8(char *out, uint32_t point)
{
	if (point < 0x80) {
		*out++ = (char)point;
		return out;
	}
	if (point < 0x800) {
		*out++ = (char)(0xc0 | point >> 6);
		*out++ = (char)(0x80 | (point & 0x3f));
		return out;
	}
	if (point < 0x10000) {
		*out++ = (char)(0xe0 | point >> 12);
		*out++ = (char)(0x80 | (point >> 6 & 0x3f));
		*out++ = (char)(0x80 | (point & 0x3f));
		return out;
	}
	*out++ = (char)(0xf0 | point >> 18);
	*out++ = (char)(0x80 | (point >> 12 & 0x3f));
	*out++ = (char)(0x80 | (point >> 6 & 0x3f));
	*out++ = (char)(0x80 | (point & 0x3f));
	return out;
}

/* After "\u": one UTF-16 unit, or a pair of surrogates. */
static kms_status parse_unicode_escape(char **out, kms_json_parser *p)
{
	uint32_t point, low;
	GUARD(parse_hex4(&point, p));
	ENSURE(point < 0xdc00 || point > 0xdfff, KMS_ERR_UTF8);
	if (point >= 0xd800 && point <= 0xdbff) {
		ENSURE(kms_json_accept(p, '\\') && kms_json_accept(p, 'u'), KMS_ERR_UTF8);
		GUARD(parse_hex4(&low, p));
		ENSURE(low >= 0xdc00 && low <= 0xdfff, KMS_ERR_UTF8);
		point = 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00));
	}
	*out = put_utf8(*out, point);
	return KMS_OK;
}

/* After a backslash. */
static kms_status parse_escape(char **out, kms_json_parser *p)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	char letter = kms_json_peek(p);
	ENSURE(letter, KMS_ERR_JSON);
	p->at++;
	if (letter == 'u') return parse_unicode_escape(out, p);
	const char *found = strchr(letters, letter);
	ENSURE(found, KMS_ERR_JSON);
	*(*out)++ = meanings[found - letters];
	return KMS_OK;
}

kms_status kms_json_parse_string(kms_json_parser *p)
{
	uint32_t index;
	GUARD(kms_json_add_token(&index, p, KMS_JSON_STRING));
	p->at++;
	char *text = p->at;
	char *out = text;
	for (;;) {
		size_t run = kms_json_plain_run(p->at, (size_t)(p->end - p->at));
		if (out != p->at) memmove(out, p->at, run);
		out += run;
		p->at += run;
		if (kms_json_accept(p, '"')) break;
		ENSURE(kms_json_accept(p, '\\'), KMS_ERR_JSON);
		GUARD(parse_escape(&out, p));
	}
	/* Escapes give whole characters, so this finds every fault of the raw bytes too. */
	ENSURE(kms_utf8_valid(text, (size_t)(out - text)), KMS_ERR_UTF8);
	p->json->values[index].text = text;
	p->json->values[index].len = (size_t)(out - text);
	return KMS_OK;
}
