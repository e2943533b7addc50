#include "kms/json.h"

#include <string.h>

#include "codec/json_order.h"
#include "codec/json_parser.h"
#include "base/mem.h"
#include "base/ensure.h"

#define FIRST_TOKENS 32

static kms_status parse_value(kms_json_parser *p);

/* ---- tokens ---- */

static kms_status grow_tokens(kms_json *json, size_t max_values)
{
	size_t cap = json->cap ? json->cap * 2 : FIRST_TOKENS;
	if (cap > max_values) cap = max_values;
	kms_json_value *values = kms_heap_resize(json->values, cap * sizeof(*values));
	ENSURE(values, KMS_ERR_MEMORY);
	json->values = values;
	json->cap = cap;
	return KMS_OK;
}

kms_status kms_json_add_token(uint32_t *index, kms_json_parser *p, kms_json_type type)
{
	kms_json *json = p->json;
	ENSURE(json->count < p->max_values, KMS_ERR_JSON_SIZE);
	if (json->count == json->cap) GUARD(grow_tokens(json, p->max_values));
	*index = (uint32_t)json->count++;
	json->values[*index] = (kms_json_value){ .type = type, .next = *index + 1 };
	return KMS_OK;
}

/* ---- numbers and words ---- */

/* One digit or more; whether their value, after the first `number`, fits. */
static kms_status parse_digits(uint64_t *number, bool *fits, kms_json_parser *p)
{
	ENSURE(kms_json_is_digit(kms_json_peek(p)), KMS_ERR_JSON);
	for (; kms_json_is_digit(kms_json_peek(p)); p->at++)
		*fits = *fits && KMS_MUL(number, *number, 10u) &&
			KMS_ADD(number, *number, (uint64_t)(*p->at - '0'));
	return KMS_OK;
}

static kms_status parse_number(kms_json_parser *p)
{
	uint32_t index;
	uint64_t number = 0, ignored = 0;
	bool integer = true, unused = true;
	GUARD(kms_json_add_token(&index, p, KMS_JSON_INTEGER));
	bool negative = kms_json_accept(p, '-');
	if (kms_json_accept(p, '0'))
		ENSURE(!kms_json_is_digit(kms_json_peek(p)), KMS_ERR_JSON);
	else
		GUARD(parse_digits(&number, &integer, p));
	if (kms_json_accept(p, '.')) {
		GUARD(parse_digits(&ignored, &unused, p));
		integer = false;
	}
	if (kms_json_accept(p, 'e') || kms_json_accept(p, 'E')) {
		if (!kms_json_accept(p, '+')) (void)kms_json_accept(p, '-');
		GUARD(parse_digits(&ignored, &unused, p));
		integer = false;
	}
	kms_json_value *value = &p->json->values[index];
	value->type = integer ? KMS_JSON_INTEGER : KMS_JSON_FRACTION;
	value->number = integer ? number : 0;
	value->negative = integer && negative && number != 0;
	return KMS_OK;
}

static kms_status parse_word(kms_json_parser *p, const char *word, kms_json_type type)
{
	uint32_t index;
	size_t len = strlen(word);
	ENSURE((size_t)(p->end - p->at) >= len && memcmp(p->at, word, len) == 0, KMS_ERR_JSON);
	p->at += len;
	return kms_json_add_token(&index, p, type);
}

/* ---- containers ---- */

static kms_status parse_array(kms_json_parser *p)
{
	uint32_t index, count = 0;
	GUARD(kms_json_add_token(&index, p, KMS_JSON_ARRAY));
	p->at++;
	kms_json_skip_space(p);
	if (kms_json_accept(p, ']')) return KMS_OK;
	do {
		GUARD(parse_value(p));
		count++;
		kms_json_skip_space(p);
	} while (kms_json_accept(p, ','));
	ENSURE(kms_json_accept(p, ']'), KMS_ERR_JSON);
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
		ENSURE(kms_json_text_compare(a, b) != 0, KMS_ERR_JSON_DUPLICATE);
	}
	return KMS_OK;
}

static kms_status parse_member(kms_json_parser *p)
{
	kms_json_skip_space(p);
	ENSURE(kms_json_peek(p) == '"', KMS_ERR_JSON);
	GUARD(kms_json_parse_string(p));
	kms_json_skip_space(p);
	ENSURE(kms_json_accept(p, ':'), KMS_ERR_JSON);
	return parse_value(p);
}

static kms_status parse_object(kms_json_parser *p)
{
	uint32_t index, count = 0;
	GUARD(kms_json_add_token(&index, p, KMS_JSON_OBJECT));
	p->at++;
	kms_json_skip_space(p);
	if (kms_json_accept(p, '}')) return KMS_OK;
	do {
		GUARD(parse_member(p));
		count++;
		kms_json_skip_space(p);
	} while (kms_json_accept(p, ','));
	ENSURE(kms_json_accept(p, '}'), KMS_ERR_JSON);
	p->json->values[index].count = count;
	p->json->values[index].next = (uint32_t)p->json->count;
	return check_duplicates(p->json, &p->json->values[index]);
}

static kms_status parse_container(kms_json_parser *p, kms_status (*parse)(kms_json_parser *))
{
	ENSURE(p->depth < KMS_JSON_MAX_DEPTH, KMS_ERR_JSON_DEPTH);
	p->depth++;
	GUARD(parse(p));
	p->depth--;
	return KMS_OK;
}

static kms_status parse_value(kms_json_parser *p)
{
	kms_json_skip_space(p);
	switch (kms_json_peek(p)) {
	case '{':
		return parse_container(p, parse_object);
	case '[':
		return parse_container(p, parse_array);
	case '"':
		return kms_json_parse_string(p);
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
static kms_status parse_front(kms_json_parser *p)
{
	p->json->count = 0;
	kms_status status = parse_value(p);
	if (status != KMS_OK) p->json->count = 0;
	return status;
}

kms_status kms_json_parse_front(kms_json *json, size_t *used, char *text, size_t len, size_t max_values,
				unsigned depth)
{
	ENSURE_REF(used);
	*used = 0;
	ENSURE_REF(json);
	ENSURE_REF(text);
	if (max_values > UINT32_MAX) max_values = UINT32_MAX;
	char *end = text + len;
	kms_json_parser p = { text, end, json, max_values, depth };
	GUARD(parse_front(&p));
	*used = (size_t)(p.at - text);
	return KMS_OK;
}

static kms_status parse_document(kms_json_parser *p)
{
	GUARD(parse_front(p));
	kms_json_skip_space(p);
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
	kms_json_parser p = { text, end, json, max_values, 0 };
	kms_status status = parse_document(&p);
	if (status != KMS_OK) kms_json_free(json);
	return status;
}

void kms_json_free(kms_json *json)
{
	if (!json) return;
	kms_heap_free(json->values);
	*json = (kms_json){ 0 };
}

/* ---- access ---- */

const kms_json_value *kms_json_first(const kms_json *json, const kms_json_value *parent)
{
	(void)json;
	if (parent->type != KMS_JSON_ARRAY && parent->type != KMS_JSON_OBJECT) return NULL;
	return parent->count ? parent + 1 : NULL;
}

const kms_json_value *kms_json_next(const kms_json *json, const kms_json_value *value)
{
	return value->next < json->count ? &json->values[value->next] : NULL;
}

const kms_json_value *kms_json_get(const kms_json *json, const kms_json_value *object, const char *name)
{
	if (object->type != KMS_JSON_OBJECT) return NULL;
	size_t len = strlen(name);
	const kms_json_value *key = object + 1;
	for (uint32_t i = 0; i < object->count; i++) {
		if (key->len == len && memcmp(key->text, name, len) == 0) return key + 1;
		key = &json->values[key[1].next];
	}
	return NULL;
}
