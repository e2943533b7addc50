/* Changes of the store in the order of their numbers, as sync reads them. */
#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"

/* The hint that is nearest in front of what follows `since`, or the first change. */
static store_record *best_hint(const store_space *space, uint64_t since)
{
	store_record *best = space->first_change;
	for (size_t i = 0; i < KMS_CHANGE_HINTS; i++) {
		store_record *hint = space->change_hints[i];
		if (hint && hint->sequence <= since && hint->sequence > best->sequence) best = hint;
	}
	return best;
}

/*
 * The first change above `since`. Looked for from the newest end backwards and, in step with
 * that, forwards from where a reader ended: both peers that are up to date and one that pages
 * through everything find their place at once.
 */
static store_record *first_above(const store_space *space, uint64_t since)
{
	store_record *back = space->last_change;
	ENSURE(back && back->sequence > since, NULL);
	store_record *ahead = best_hint(space, since);
	for (;; back = back->previous_change, ahead = ahead->next_change) {
		if (!back->previous_change || back->previous_change->sequence <= since) return back;
		if (ahead->sequence > since) return ahead;
	}
}

static kms_status changes_locked(store_space *space, uint64_t since, size_t max,
				 kms_store_record_visitor visit, void *context)
{
	kms_record view;
	store_record *record = first_above(space, since);
	for (size_t seen = 0; record && (max == 0 || seen < max); seen++, record = record->next_change) {
		kms_record_view(&view, record);
		GUARD(visit(context, &view));
		space->change_hints[KMS_READER_FOLLOW] = record;
	}
	return KMS_OK;
}

kms_status kms_store_changes(kms_store *store, uint64_t app_id, uint64_t since, size_t max,
			     kms_store_record_visitor visit, void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(visit);
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, KMS_OK);
	kms_space_lock(space);
	kms_status status = changes_locked(space, since, max, visit, context);
	kms_space_unlock(store, space);
	return status;
}

bool kms_changes_step(kms_store *store, uint64_t app_id, uint64_t *since, uint64_t until, size_t max,
		      change_reader reader, kms_change_visitor visit, void *context)
{
	kms_record view;
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, false);
	kms_space_lock(space);
	store_record *record = first_above(space, *since);
	for (bool more = true; record && record->sequence <= until && max > 0 && more; max--) {
		kms_record_view(&view, record);
		more = visit(context, &view);
		*since = record->sequence;
		space->change_hints[reader] = record;
		record = record->next_change;
	}
	bool left = record && record->sequence <= until;
	kms_space_unlock(store, space);
	return left;
}

kms_status kms_store_changed_apps(uint64_t **ids, size_t *count, kms_store *store, uint64_t since)
{
	ENSURE_REF(ids);
	ENSURE_REF(count);
	*ids = NULL;
	*count = 0;
	ENSURE_REF(store);
	size_t spaces = atomic_load_explicit(&store->space_count, memory_order_acquire), found = 0;
	if (spaces == 0) return KMS_OK;
	uint64_t *list = kms_heap_alloc(spaces, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	for (size_t i = 0; i < spaces; i++) {
		if (atomic_load(&store->notices[i].changed) <= since) continue;
		list[found++] = atomic_load_explicit(&store->spaces[i], memory_order_acquire)->app_id;
	}
	*count = found;
	*ids = list;
	if (found > 0) return KMS_OK;
	kms_heap_free(list);
	*ids = NULL;
	return KMS_OK;
}

void kms_store_ids_free(uint64_t *ids)
{
	kms_heap_free(ids);
}
