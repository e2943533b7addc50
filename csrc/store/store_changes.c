#include "store/store_changes.h"

#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"
#include "store/testing.h"

/* ---- the list ---- */

/*
 * Numbers a change. The namespace is marked as changed before the number becomes visible:
 * a reader of kms_store_sequence then finds every change up to it.
 */
static void change_number(store_namespace *ns, store_record *record)
{
	kms_store *store = ns->store;
	pthread_mutex_lock(&store->sequence_lock);
	record->sequence = atomic_load(&store->sequence) + 1;
	atomic_store(&kms_namespace_summary(ns)->last_change, record->sequence);
	atomic_store(&store->sequence, record->sequence);
	pthread_mutex_unlock(&store->sequence_lock);
}

void kms_change_add(store_namespace *ns, store_record *record)
{
	change_number(ns, record);
	record->next_change = NULL;
	record->previous_change = ns->last_change;
	if (ns->last_change)
		ns->last_change->next_change = record;
	else
		ns->first_change = record;
	ns->last_change = record;
}

void kms_change_remove(store_namespace *ns, store_record *record)
{
	for (size_t i = 0; i < KMS_CHANGES_READERS; i++) {
		if (ns->change_hints[i] == record) ns->change_hints[i] = record->previous_change;
	}
	if (record->next_change)
		record->next_change->previous_change = record->previous_change;
	else
		ns->last_change = record->previous_change;
	if (record->previous_change)
		record->previous_change->next_change = record->next_change;
	else
		ns->first_change = record->next_change;
}

/* ---- reading ---- */

/* The hint that is nearest before the first change above `since`, or else the first change. */
static store_record *best_hint(const store_namespace *ns, uint64_t since)
{
	store_record *best = ns->first_change;
	for (size_t i = 0; i < KMS_CHANGES_READERS; i++) {
		store_record *hint = ns->change_hints[i];
		if (hint && hint->sequence <= since && hint->sequence > best->sequence) best = hint;
	}
	return best;
}

/*
 * The first change above `since`, or NULL. Searches from the newest end backwards and, in step with
 * that, forwards from a reader's hint: both a peer that is up to date and one that pages through
 * everything find their change at once.
 */
store_record *kms_change_first_above(const store_namespace *ns, uint64_t since)
{
	store_record *back = ns->last_change;
	ENSURE(back && back->sequence > since, NULL);
	store_record *ahead = best_hint(ns, since);
	for (;; back = back->previous_change, ahead = ahead->next_change) {
		if (!back->previous_change || back->previous_change->sequence <= since) return back;
		if (ahead->sequence > since) return ahead;
	}
}

static bool step_locked(kms_changes_walk *walk, store_namespace *ns, kms_changes_visitor visit, void *context)
{
	kms_record view;
	size_t left = walk->max;
	store_record *record = kms_change_first_above(ns, walk->since);
	for (bool more = true; record && record->sequence <= walk->until && left > 0 && more; left--) {
		kms_record_view(&view, record);
		more = visit(context, &view);
		walk->since = record->sequence;
		ns->change_hints[walk->reader] = record;
		record = record->next_change;
	}
	return record && record->sequence <= walk->until;
}

bool kms_store_changes_step(kms_changes_walk *walk, kms_store *store, kms_changes_visitor visit,
			    void *context)
{
	ENSURE(walk && store && visit, false);
	store_namespace *ns = kms_namespace_enter_in_turn(store, walk->app_id);
	ENSURE(ns, false);
	bool more = step_locked(walk, ns, visit, context);
	kms_namespace_unlock(ns);
	return more;
}

static kms_status changes_locked(store_namespace *ns, uint64_t since, size_t max,
				 kms_store_record_visitor visit, void *context)
{
	kms_record view;
	store_record *record = kms_change_first_above(ns, since);
	for (size_t seen = 0; record && (max == 0 || seen < max); seen++, record = record->next_change) {
		kms_record_view(&view, record);
		GUARD(visit(context, &view));
		ns->change_hints[KMS_CHANGES_WRITE] = record;
	}
	return KMS_OK;
}

kms_status kms_store_changes(kms_store *store, uint64_t app_id, uint64_t since, size_t max,
			     kms_store_record_visitor visit, void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(visit);
	store_namespace *ns = kms_namespace_enter(store, app_id);
	ENSURE(ns, KMS_OK);
	kms_status status = changes_locked(ns, since, max, visit, context);
	kms_namespace_unlock(ns);
	return status;
}

kms_status kms_store_changed_apps(uint64_t **ids, size_t *count, kms_store *store, uint64_t since)
{
	ENSURE_REF(ids);
	ENSURE_REF(count);
	*ids = NULL;
	*count = 0;
	ENSURE_REF(store);
	size_t namespaces = kms_namespace_made(store), found = 0;
	if (namespaces == 0) return KMS_OK;
	uint64_t *list = kms_heap_alloc(namespaces, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	for (size_t i = 0; i < namespaces; i++) {
		if (atomic_load(&store->namespaces.summaries[i].last_change) <= since) continue;
		list[found++] = atomic_load(&kms_namespace_at(store, i)->app_id);
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
