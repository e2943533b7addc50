/* Reading: get, list, peek. Changes: store_changes.c. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"
#include "store/store_lru.h"
#include "store/store_state.h"
#include "store/testing.h"

/* ---- get ---- */

static kms_status get_locked(uint64_t *updated_at_ms, kms_buf *ciphertext, store_namespace *ns, kms_text key,
			     uint64_t now_ms)
{
	store_record *record = kms_record_live(ns, key, now_ms);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	GUARD(kms_buf_append(ciphertext, kms_span_of(record->value, record->value_len)));
	kms_lru_use(ns, record);
	*updated_at_ms = record->updated_at_ms;
	return KMS_OK;
}

kms_status kms_store_get(uint64_t *updated_at_ms, kms_buf *ciphertext, kms_store *store, uint64_t app_id,
			 kms_text key, uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(ciphertext);
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	store_namespace *ns = kms_namespace_find(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_namespace_lock(ns);
	kms_status status = get_locked(updated_at_ms, ciphertext, ns, key, now_ms);
	kms_namespace_unlock(ns);
	return status;
}

/* ---- list ---- */

/* The first bytes of a key decide most comparisons without touching the record. */
typedef struct listed {
	uint64_t prefix;
	const store_record *record;
} listed;

static uint64_t key_prefix(const store_record *record)
{
	uint8_t bytes[8] = { 0 };
	memcpy(bytes, record->key, record->key_len < 8 ? record->key_len : 8);
	return kms_load64_be(bytes);
}

static int compare_listed(const void *a, const void *b)
{
	const listed *x = a, *y = b;
	if (x->prefix != y->prefix) return x->prefix < y->prefix ? -1 : 1;
	uint32_t x_len = x->record->key_len, y_len = y->record->key_len;
	int order = memcmp(x->record->key, y->record->key, x_len < y_len ? x_len : y_len);
	if (order != 0) return order;
	return (x_len > y_len) - (x_len < y_len);
}

static size_t collect(listed *list, const store_namespace *ns, uint64_t now_ms)
{
	size_t count = 0;
	for (const store_record *r = ns->newest; r; r = r->older) {
		if (!kms_record_expired(r, now_ms)) list[count++] = (listed){ key_prefix(r), r };
	}
	return count;
}

static kms_status visit_all(const listed *list, size_t count, kms_store_key_visitor visit, void *context)
{
	for (size_t i = 0; i < count; i++)
		GUARD(visit(context, kms_record_key(list[i].record)));
	return KMS_OK;
}

static kms_status list_locked(const store_namespace *ns, uint64_t now_ms, kms_store_key_visitor visit,
			      void *context)
{
	if (ns->stats.live_keys == 0) return KMS_OK;
	listed *list = kms_heap_alloc(ns->stats.live_keys, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	size_t count = collect(list, ns, now_ms);
	qsort(list, count, sizeof(*list), compare_listed);
	kms_status status = visit_all(list, count, visit, context);
	kms_heap_free(list);
	return status;
}

kms_status kms_store_list(kms_store *store, uint64_t app_id, uint64_t now_ms, kms_store_key_visitor visit,
			  void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(visit);
	store_namespace *ns = kms_namespace_find(store, app_id);
	ENSURE(ns, KMS_OK);
	kms_namespace_lock(ns);
	kms_status status = list_locked(ns, now_ms, visit, context);
	kms_namespace_unlock(ns);
	return status;
}

/* ---- peek ---- */

static kms_status peek_locked(store_namespace *ns, kms_text key, uint64_t now_ms,
			      kms_store_record_visitor visit, void *context)
{
	kms_record view;
	const store_record *record = kms_record_current(ns, kms_store_hash(ns->store, key), key, now_ms);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	kms_record_view(&view, record);
	return visit(context, &view);
}

kms_status kms_store_peek(kms_store *store, uint64_t app_id, kms_text key, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	ENSURE_REF(visit);
	store_namespace *ns = kms_namespace_find(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_namespace_lock(ns);
	kms_status status = peek_locked(ns, key, now_ms, visit, context);
	kms_namespace_unlock(ns);
	return status;
}
