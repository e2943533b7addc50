#include "store/store_expire.h"

#include "base/ensure.h"
#include "store/store_internal.h"
#include "store/store_state.h"

#define DEAD_FACTOR 10 /* dead records of a namespace: at most that many times max_tombstones */
#define TRIM_EACH 8    /* dead records that one write drops */
#define TURN 32        /* records that one namespace handles before the next has its turn */

/* ---- dead records ---- */

/*
 * Every member must have acknowledged the change, which must therefore be one written here, or there must be
 * no other member. It must also be stamped before this time: otherwise a later write of the same key, by a
 * clock that is behind, could carry a smaller stamp than the dead record, and a peer that still
 * holds that one would ignore the write.
 */
bool kms_dead_droppable(const store_namespace *ns, const store_record *record, uint64_t now_ms)
{
	uint64_t acknowledged = atomic_load(&ns->store->acknowledged);
	ENSURE(record->updated_at_ms < now_ms, false);
	/* A peer's stub never had its value here: without it this node knows what it knew before. */
	if (record->state == KMS_RECORD_STUB && record->given) return true;
	return acknowledged == UINT64_MAX || (record->origin == 0 && record->sequence <= acknowledged);
}

bool kms_dead_drop(uint64_t *freed, store_namespace *ns, uint64_t now_ms)
{
	store_record *record = kms_min_heap_first(NULL, &ns->dead);
	ENSURE(record && kms_dead_droppable(ns, record, now_ms), false);
	*freed += kms_record_drop(ns, record);
	return true;
}

void kms_dead_trim(store_namespace *ns, uint64_t now_ms)
{
	uint64_t freed = 0;
	for (int i = 0; i < TRIM_EACH && ns->dead.count > ns->store->config.max_tombstones; i++) {
		if (!kms_dead_drop(&freed, ns, now_ms)) break;
	}
	(void)kms_store_charge(&ns->store->totals, 0, freed);
}

size_t kms_dead_limit(const kms_store *store)
{
	return store->config.max_tombstones * DEAD_FACTOR;
}

kms_status kms_dead_reserve(store_namespace *ns, uint64_t now_ms)
{
	uint64_t freed = 0;
	ENSURE(ns->dead.count < kms_dead_limit(ns->store) || kms_dead_drop(&freed, ns, now_ms),
	       KMS_ERR_TOMBSTONES);
	(void)kms_store_charge(&ns->store->totals, 0, freed);
	return KMS_OK;
}

/* ---- records that are due ---- */

bool kms_due_handle(uint64_t *freed, store_namespace *ns, uint64_t now_ms)
{
	uint64_t due_ms;
	store_record *record = kms_min_heap_first(&due_ms, &ns->due);
	ENSURE(record && due_ms <= now_ms, false);
	bool expires = record->state != KMS_RECORD_TOMBSTONE && kms_record_expired(record, now_ms);
	*freed += expires ? kms_record_expire(ns, record, now_ms) : kms_record_drop(ns, record);
	return true;
}

static kms_status forget(uint64_t *freed, store_namespace *ns, kms_text key, uint64_t before_ms)
{
	store_record *record = kms_map_find(&ns->map, kms_store_hash(ns->store, key), key);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	ENSURE(record->updated_at_ms < before_ms, KMS_ERR_STATE);
	*freed = kms_record_drop(ns, record);
	return KMS_OK;
}

kms_status kms_store_forget(kms_store *store, uint64_t app_id, kms_text key, uint64_t before_ms)
{
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	uint64_t freed = 0;
	store_namespace *ns = kms_namespace_enter(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_status status = forget(&freed, ns, key, before_ms);
	(void)kms_store_charge(&store->totals, 0, freed);
	kms_namespace_unlock(ns);
	return status;
}

static size_t take_turn(store_namespace *ns, uint64_t now_ms, size_t max)
{
	size_t handled = 0;
	uint64_t freed = 0;
	kms_namespace_lock(ns);
	while (handled < max && kms_due_handle(&freed, ns, now_ms))
		handled++;
	kms_dead_trim(ns, now_ms);
	(void)kms_store_charge(&ns->store->totals, 0, freed);
	kms_namespace_unlock(ns);
	return handled;
}

/* One round over all namespaces that have something due; returns how many records were handled. */
static size_t take_round(kms_store *store, size_t namespaces, uint64_t now_ms, size_t max)
{
	size_t handled = 0, from = atomic_load(&store->expire_from);
	for (size_t i = 0; i < namespaces && handled < max; i++) {
		size_t index = (from + i) % namespaces, left = max - handled;
		const namespace_summary *summary = &store->namespaces.summaries[index];
		atomic_store(&store->expire_from, index + 1);
		if (atomic_load_explicit(&summary->due_ms, memory_order_relaxed) > now_ms) continue;
		handled += take_turn(kms_namespace_at(store, index), now_ms, left < TURN ? left : TURN);
	}
	return handled;
}

size_t kms_store_expire(kms_store *store, uint64_t now_ms, size_t max)
{
	ENSURE(store, 0);
	size_t namespaces = kms_namespace_made(store), handled = 0;
	while (handled < max) {
		size_t round = take_round(store, namespaces, now_ms, max - handled);
		if (round == 0) break;
		handled += round;
	}
	return handled;
}
