#include "codec/json_order.h"

#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"

int kms_json_bytes_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t shorter = a_len < b_len ? a_len : b_len;
	int order = shorter ? memcmp(a, b, shorter) : 0;
	return order ? order : (a_len > b_len) - (a_len < b_len);
}

int kms_json_text_compare(const kms_json_value *a, const kms_json_value *b)
{
	return kms_json_bytes_compare(a->text, a->len, b->text, b->len);
}

static bool text_below(const kms_json *json, uint32_t a, uint32_t b)
{
	return kms_json_text_compare(&json->values[a], &json->values[b]) < 0;
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
