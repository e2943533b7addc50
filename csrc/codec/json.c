/* The values of a JSON document: their memory, access to them, the order of an object's keys. */
#include "codec/json_internal.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"

#define FIRST_TOKENS 32

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

kms_status kms_json_add_token(uint32_t *index, kms_json *json, kms_json_type type, size_t max_values)
{
	ENSURE(json->count < max_values, KMS_ERR_JSON_SIZE);
	if (json->count == json->cap) GUARD(grow_tokens(json, max_values));
	*index = (uint32_t)json->count++;
	json->values[*index] = (kms_json_value){ .type = type, .next = *index + 1 };
	return KMS_OK;
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

/* ---- order ---- */

static bool text_below(const kms_json *json, uint32_t a, uint32_t b)
{
	return kms_text_compare(kms_json_text(&json->values[a]), kms_json_text(&json->values[b])) < 0;
}

static void sift_down(const kms_json *json, uint32_t *keys, size_t root, size_t count)
{
	for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
		if (child + 1 < count && text_below(json, keys[child], keys[child + 1])) child++;
		if (!text_below(json, keys[root], keys[child])) return;
		uint32_t larger = keys[child];
		keys[child] = keys[root];
		keys[root] = larger;
		root = child;
	}
}

/* Heap sort: n log n also for hostile keys, in place, no recursion. */
static void sort_keys(const kms_json *json, uint32_t *keys, size_t count)
{
	for (size_t root = count / 2; root-- > 0;)
		sift_down(json, keys, root, count);
	for (size_t last = count; last-- > 1;) {
		uint32_t largest = keys[0];
		keys[0] = keys[last];
		keys[last] = largest;
		sift_down(json, keys, 0, last);
	}
}

kms_status kms_json_order_make(kms_json_order *order, const kms_json *json, const kms_json_value *object)
{
	order->keys = order->small;
	if (object->count > KMS_JSON_ORDER_SMALL) {
		order->keys = kms_heap_alloc(object->count, sizeof(order->keys[0]));
		ENSURE(order->keys, KMS_ERR_MEMORY);
	}
	uint32_t key = (uint32_t)(object - json->values) + 1;
	for (uint32_t i = 0; i < object->count; i++) {
		order->keys[i] = key;
		key = json->values[key + 1].next;
	}
	sort_keys(json, order->keys, object->count);
	return KMS_OK;
}

void kms_json_order_free(kms_json_order *order)
{
	if (order->keys != order->small) kms_heap_free(order->keys);
	order->keys = NULL;
}
