/* The JSON parser (RFC 8259): a document becomes an array of values. */
#include <string.h>

#include "base/ensure.h"
#include "codec/json_internal.h"
#include "kms/codec.h"

typedef struct parser {
	char *at;
	char *end;
	kms_json *json;
	size_t max_values;
	unsigned depth;
} parser;

static void skip_space(parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

/* The next byte, or NUL at the end: the grammar allows NUL nowhere. */
static char peek(const parser *p)
{
	return p->at < p->end ? *p->at : '\0';
}

static bool accept(parser *p, char wanted)
{
	if (p->at == p->end || *p->at != wanted) return false;
	p->at++;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static kms_status add_token(uint32_t *index, parser *p, kms_json_type type)
{
	return kms_json_add_token(index, p->json, type, p->max_values);
}

/* ---- numbers and words ---- */

/* One digit or more; whether their value, after the first `number`, fits. */
static kms_status parse_digits(uint64_t *number, bool *fits, parser *p)
{
	ENSURE(is_digit(peek(p)), KMS_ERR_JSON);
	for (; is_digit(peek(p)); p->at++)
		*fits = *fits && KMS_MUL(number, *number, 10u) &&
			KMS_ADD(number, *number, (uint64_t)(*p->at - '0'));
	return KMS_OK;
}

static kms_status parse_number(parser *p)
{
	uint32_t index;
	uint64_t number = 0, ignored = 0;
	bool integer = true, unused = true;
	GUARD(add_token(&index, p, KMS_JSON_INTEGER));
	bool negative = accept(p, '-');
	if (accept(p, '0'))
		ENSURE(!is_digit(peek(p)), KMS_ERR_JSON);
	else
		GUARD(parse_digits(&number, &integer, p));
	if (accept(p, '.')) {
		GUARD(parse_digits(&ignored, &unused, p));
		integer = false;
	}
	if (accept(p, 'e') || accept(p, 'E')) {
		if (!accept(p, '+')) (void)accept(p, '-');
		GUARD(parse_digits(&ignored, &unused, p));
		integer = false;
	}
	kms_json_value *value = &p->json->values[index];
	value->type = integer ? KMS_JSON_INTEGER : KMS_JSON_FRACTION;
	value->number = integer ? number : 0;
	value->negative = integer && negative && number != 0;
	return KMS_OK;
}

static kms_status parse_word(parser *p, const char *word, kms_json_type type)
{
	uint32_t index;
	size_t len = strlen(word);
	ENSURE((size_t)(p->end - p->at) >= len && memcmp(p->at, word, len) == 0, KMS_ERR_JSON);
	p->at += len;
	return add_token(&index, p, type);
}

/* ---- strings, decoded where they stand ---- */

static kms_status parse_hex4(uint32_t *unit, parser *p)
{
	ENSURE(p->end - p->at >= 4, KMS_ERR_JSON);
	*unit = 0;
	for (int i = 0; i < 4; i++) {
		char c = *p->at++;
		uint32_t digit = 16;
		if (is_digit(c)) digit = (uint32_t)(c - '0');
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
static kms_status parse_unicode_escape(char **out, parser *p)
{
	uint32_t point, low;
	GUARD(parse_hex4(&point, p));
	ENSURE(point < 0xdc00 || point > 0xdfff, KMS_ERR_UTF8);
	if (point >= 0xd800 && point <= 0xdbff) {
		ENSURE(accept(p, '\\') && accept(p, 'u'), KMS_ERR_UTF8);
		GUARD(parse_hex4(&low, p));
		ENSURE(low >= 0xdc00 && low <= 0xdfff, KMS_ERR_UTF8);
		point = 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00));
	}
	*out = put_utf8(*out, point);
	return KMS_OK;
}

/* After a backslash. */
static kms_status parse_escape(char **out, parser *p)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	char letter = peek(p);
	ENSURE(letter, KMS_ERR_JSON);
	p->at++;
	if (letter == 'u') return parse_unicode_escape(out, p);
	const char *found = strchr(letters, letter);
	ENSURE(found, KMS_ERR_JSON);
	*(*out)++ = meanings[found - letters];
	return KMS_OK;
}

static kms_status parse_string(parser *p)
{
	uint32_t index;
	GUARD(add_token(&index, p, KMS_JSON_STRING));
	p->at++;
	char *text = p->at;
	char *out = text;
	for (;;) {
		size_t run = kms_json_plain_run(kms_text_of(p->at, (size_t)(p->end - p->at)));
		if (out != p->at) memmove(out, p->at, run);
		out += run;
		p->at += run;
		if (accept(p, '"')) break;
		ENSURE(accept(p, '\\'), KMS_ERR_JSON);
		GUARD(parse_escape(&out, p));
	}
	/* Escapes decode to whole characters, so this finds every mistake in the raw bytes too. */
	ENSURE(kms_utf8_valid(kms_text_of(text, (size_t)(out - text))), KMS_ERR_UTF8);
	p->json->values[index].text = text;
	p->json->values[index].len = (size_t)(out - text);
	return KMS_OK;
}

/* ---- containers ---- */

static kms_status parse_value(parser *p);

static kms_status parse_array(parser *p)
{
	uint32_t index, count = 0;
	GUARD(add_token(&index, p, KMS_JSON_ARRAY));
	p->at++;
	skip_space(p);
	if (accept(p, ']')) return KMS_OK;
	do {
		GUARD(parse_value(p));
		count++;
		skip_space(p);
	} while (accept(p, ','));
	ENSURE(accept(p, ']'), KMS_ERR_JSON);
	p->json->values[index].count = count;
	p->json->values[index].next = (uint32_t)p->json->count;
	return KMS_OK;
}

static kms_status check_duplicates(const kms_json *json, const kms_json_value *object)
{
	DEFER(kms_json_order_free) kms_json_order order = { 0 };
	GUARD(kms_json_order_make(&order, json, object));
	for (uint32_t i = 1; i < object->count; i++) {
		const kms_json_value *a = &json->values[order.keys[i - 1]];
		const kms_json_value *b = &json->values[order.keys[i]];
		ENSURE(kms_text_compare(kms_json_text(a), kms_json_text(b)) != 0, KMS_ERR_JSON_DUPLICATE);
	}
	return KMS_OK;
}

static kms_status parse_member(parser *p)
{
	skip_space(p);
	ENSURE(peek(p) == '"', KMS_ERR_JSON);
	GUARD(parse_string(p));
	skip_space(p);
	ENSURE(accept(p, ':'), KMS_ERR_JSON);
	return parse_value(p);
}

static kms_status parse_object(parser *p)
{
	uint32_t index, count = 0;
	GUARD(add_token(&index, p, KMS_JSON_OBJECT));
	p->at++;
	skip_space(p);
	if (accept(p, '}')) return KMS_OK;
	do {
		GUARD(parse_member(p));
		count++;
		skip_space(p);
	} while (accept(p, ','));
	ENSURE(accept(p, '}'), KMS_ERR_JSON);
	p->json->values[index].count = count;
	p->json->values[index].next = (uint32_t)p->json->count;
	return check_duplicates(p->json, &p->json->values[index]);
}

static kms_status parse_container(parser *p, kms_status (*parse)(parser *))
{
	ENSURE(p->depth < KMS_JSON_MAX_DEPTH, KMS_ERR_JSON_DEPTH);
	p->depth++;
	GUARD(parse(p));
	p->depth--;
	return KMS_OK;
}

static kms_status parse_value(parser *p)
{
	skip_space(p);
	switch (peek(p)) {
	case '{':
		return parse_container(p, parse_object);
	case '[':
		return parse_container(p, parse_array);
	case '"':
		return parse_string(p);
	case 'n':
		return parse_word(p, "null", KMS_JSON_NULL);
	case 't':
		return parse_word(p, "true", KMS_JSON_TRUE);
	case 'f':
		return parse_word(p, "false", KMS_JSON_FALSE);
	default:
		return parse_number(p);
	}
}

/* One value at the front of `p`, with the tokens that `p->json` has room for. */
static kms_status parse_front(parser *p)
{
	p->json->count = 0;
	kms_status status = parse_value(p);
	if (status != KMS_OK) p->json->count = 0;
	return status;
}

kms_status kms_json_parse_front(size_t *used, kms_json *json, char *text, size_t len, size_t max_values,
				unsigned depth)
{
	ENSURE_REF(used);
	*used = 0;
	ENSURE_REF(json);
	ENSURE_REF(text);
	if (max_values > UINT32_MAX) max_values = UINT32_MAX;
	char *end = text + len;
	parser p = { text, end, json, max_values, depth };
	GUARD(parse_front(&p));
	*used = (size_t)(p.at - text);
	return KMS_OK;
}

static kms_status parse_document(parser *p)
{
	GUARD(parse_front(p));
	skip_space(p);
	ENSURE(p->at == p->end, KMS_ERR_JSON);
	return KMS_OK;
}

kms_status kms_json_parse(kms_json *json, char *text, size_t len, size_t max_values)
{
	ENSURE_REF(json);
	*json = (kms_json){ 0 };
	ENSURE(text || !len, KMS_ERR_ARGUMENT);
	ENSURE(len, KMS_ERR_JSON);
	if (max_values > UINT32_MAX) max_values = UINT32_MAX;
	char *end = text + len;
	parser p = { text, end, json, max_values, 0 };
	kms_status status = parse_document(&p);
	if (status != KMS_OK) kms_json_free(json);
	return status;
}
