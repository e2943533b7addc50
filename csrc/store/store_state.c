#include "store/store_state.h"

#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_changes.h"
#include "store/store_internal.h"
#include "store/store_lru.h"
#include "store/store_tree_follow.h"

/* ---- counts ---- */

static void count_add(uint64_t *own, atomic_uint_fast64_t *total, uint64_t more)
{
	*own += more;
	atomic_fetch_add_explicit(total, more, memory_order_relaxed);
}

static void count_subtract(uint64_t *own, atomic_uint_fast64_t *total, uint64_t less)
{
	*own -= less;
	atomic_fetch_sub_explicit(total, less, memory_order_relaxed);
}

/* Counts a record in, except for the bytes of the total, which callers charge. */
static void count_in(store_namespace *ns, const store_record *record)
{
	kms_store_stats *own = &ns->stats;
	store_totals *totals = &ns->store->totals;
	own->total_bytes += kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_add(&own->tombstones, &totals->tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_add(&own->stubs, &totals->stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_add(&own->live_keys, &totals->live_keys, 1);
	count_add(&own->live_bytes, &totals->live_bytes, record->value_len);
}

static void count_out(store_namespace *ns, const store_record *record)
{
	kms_store_stats *own = &ns->stats;
	store_totals *totals = &ns->store->totals;
	own->total_bytes -= kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_subtract(&own->tombstones, &totals->tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_subtract(&own->stubs, &totals->stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_subtract(&own->live_keys, &totals->live_keys, 1);
	count_subtract(&own->live_bytes, &totals->live_bytes, record->value_len);
}

/* ---- states ---- */

/*
 * A stub that a peer gave as a stub ends by its version's stamp. If it ended later, members would give it to
 * each other for ever, each time for a whole retention.
 */
static uint64_t stub_end(const kms_store *store, const store_record *record, uint64_t now_ms)
{
	uint64_t retention = store->config.tombstone_retention_ms;
	if (!record->given || record->refused) return now_ms + retention + 1;
	uint64_t end = record->updated_at_ms + retention + 1, least = now_ms + KMS_STORE_RECENT_MS;
	return end > least ? end : least;
}

/* First millisecond at which something happens to a record; 0: never. */
static uint64_t due_time(const kms_store *store, const store_record *record, uint64_t now_ms)
{
	uint64_t expiry = record->ttl_ms ? record->updated_at_ms + record->ttl_ms + 1 : 0;
	uint64_t retention = store->config.tombstone_retention_ms;
	if (record->state == KMS_RECORD_LIVE) return expiry;
	if (record->state == KMS_RECORD_TOMBSTONE)
		return retention + (kms_record_expired(record, now_ms) ? expiry : record->updated_at_ms + 1);
	uint64_t end = stub_end(store, record, now_ms);
	return expiry && expiry < end ? expiry : end;
}

/*
 * Key in the heap of dead records: the change number, with records written here before all others, which
 * may have to stay and would keep those from being dropped.
 */
static uint64_t dead_key(const store_record *record)
{
	return record->origin == 0 ? record->sequence : record->sequence | 1ull << 63;
}

static void state_enter(store_namespace *ns, store_record *record, uint64_t now_ms)
{
	uint64_t due_ms = due_time(ns->store, record, now_ms);
	count_in(ns, record);
	if (due_ms) kms_min_heap_set(&ns->due, record, due_ms);
	if (record->state == KMS_RECORD_LIVE)
		kms_lru_add(ns, record);
	else
		kms_min_heap_set(&ns->dead, record, dead_key(record));
}

static void state_leave(store_namespace *ns, store_record *record)
{
	count_out(ns, record);
	if (record->state == KMS_RECORD_LIVE) kms_lru_remove(ns, record);
	kms_min_heap_remove(&ns->due, record);
	kms_min_heap_remove(&ns->dead, record);
}

/* Turns a record into one without a value; returns the bytes freed. */
static uint64_t state_change(store_namespace *ns, store_record *record, kms_record_state state,
			     uint64_t now_ms)
{
	uint64_t before = kms_record_charge(record);
	state_leave(ns, record);
	kms_heap_free(record->value);
	record->value = NULL;
	record->value_len = 0;
	record->state = (uint8_t)state;
	state_enter(ns, record, now_ms);
	return before - kms_record_charge(record);
}

/* ---- steps ---- */

void kms_record_commit(store_namespace *ns, store_record *existing, store_record *record, uint64_t now_ms)
{
	record->app_id = ns->app_id;
	if (existing) {
		state_leave(ns, existing);
		kms_change_remove(ns, existing);
		kms_map_replace(&ns->map, existing, record);
		kms_tree_let_go(ns, existing);
	} else {
		kms_map_insert(&ns->map, record);
	}
	kms_change_add(ns, record);
	kms_tree_mark(ns);
	state_enter(ns, record, now_ms);
}

uint64_t kms_record_evict(store_namespace *ns, store_record *record, uint64_t now_ms)
{
	count_add(&ns->stats.evictions, &ns->store->totals.evictions, 1);
	return state_change(ns, record, KMS_RECORD_STUB, now_ms);
}

uint64_t kms_record_expire(store_namespace *ns, store_record *record, uint64_t now_ms)
{
	return state_change(ns, record, KMS_RECORD_TOMBSTONE, now_ms);
}

uint64_t kms_record_drop(store_namespace *ns, store_record *record)
{
	uint64_t freed = kms_record_charge(record);
	uint64_t own = kms_clock_counter(kms_record_clock(record), ns->store->config.self20);
	if (own > ns->floor) ns->floor = own;
	kms_tree_forget_hour(&ns->store->tree, record);
	state_leave(ns, record);
	kms_change_remove(ns, record);
	kms_map_remove(&ns->map, record);
	kms_tree_let_go(ns, record);
	kms_namespace_trim(ns);
	return freed;
}

uint64_t kms_record_evict_whole(store_namespace *ns, store_record *record)
{
	count_add(&ns->stats.evictions, &ns->store->totals.evictions, 1);
	return kms_record_drop(ns, record);
}

store_record *kms_record_current(store_namespace *ns, uint64_t hash, kms_text key, uint64_t now_ms)
{
	store_record *record = kms_map_find(&ns->map, hash, key);
	ENSURE(record, NULL);
	if (record->state == KMS_RECORD_TOMBSTONE || !kms_record_expired(record, now_ms)) return record;
	(void)kms_store_charge(&ns->store->totals, 0, kms_record_expire(ns, record, now_ms));
	return record;
}

store_record *kms_record_live(store_namespace *ns, kms_text key, uint64_t now_ms)
{
	store_record *record = kms_record_current(ns, kms_store_hash(ns->store, key), key, now_ms);
	return record && record->state == KMS_RECORD_LIVE ? record : NULL;
}
