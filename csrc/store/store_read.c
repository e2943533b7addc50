/* What is read beside values: names for a listing, single records. Changes: store_changes.c. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"

/* The first bytes of a name decide most comparisons without touching the record. */
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

static size_t collect(listed *list, const store_space *space, uint64_t now_ms)
{
	size_t count = 0;
	for (const store_record *r = space->newest; r; r = r->older) {
		if (!kms_record_expired(r, now_ms)) list[count++] = (listed){ key_prefix(r), r };
	}
	return count;
}

static kms_status visit_all(const listed *list, size_t count, kms_store_key_visitor visit, void *context)
{
	for (size_t i = 0; i < count; i++)
		GUARD(visit(context, list[i].record->key, list[i].record->key_len));
	return KMS_OK;
}

static kms_status list_locked(const store_space *space, uint64_t now_ms, kms_store_key_visitor visit,
			      void *context)
{
	if (space->stats.live_keys == 0) return KMS_OK;
	listed *list = kms_heap_alloc(space->stats.live_keys, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	size_t count = collect(list, space, now_ms);
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
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, KMS_OK);
	kms_space_lock(space);
	kms_status status = list_locked(space, now_ms, visit, context);
	kms_space_unlock(store, space);
	return status;
}

static kms_status visit_record(const store_record *record, kms_store_record_visitor visit, void *context)
{
	kms_record view;
	kms_record_view(&view, record);
	return visit(context, &view);
}

kms_status kms_store_peek(kms_store *store, uint64_t app_id, const char *key, size_t key_len, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(key);
	ENSURE_REF(visit);
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, KMS_ERR_NOT_FOUND);
	kms_space_lock(space);
	uint64_t hash = kms_key_hash(store, key, key_len);
	const store_record *record = kms_record_current(store, space, hash, key, key_len, now_ms);
	kms_status status = record ? visit_record(record, visit, context) : KMS_ERR_NOT_FOUND;
	kms_space_unlock(store, space);
	return status;
}
