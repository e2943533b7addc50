/*
 * LRU eviction. A write that finds no capacity frees bytes in this order: records that are due; when the
 * whole store is full, dead records that may be dropped; then live records, of this namespace only, least
 * recently used first, and only if that will be enough. Bytes freed on the way are kept as credit, so that no
 * other namespace takes what this one freed for its own write.
 */
#include "store/store_evict.h"

#include "base/ensure.h"
#include "store/store_expire.h"
#include "store/store_internal.h"
#include "store/store_state.h"

typedef struct reservation {
	store_namespace *ns;
	const store_record *existing; /* to be replaced; NULL: none */
	uint64_t now_ms;
	uint64_t total_bytes; /* wanted of the store's total */
	uint64_t live_bytes;  /* wanted of the namespace's quota */
	uint64_t credit;      /* freed, and still charged */
} reservation;

/* How far a sum is beyond its limit. */
static uint64_t excess(uint64_t held, uint64_t less, uint64_t more, uint64_t max)
{
	uint64_t wanted = held - less + more;
	return wanted > max ? wanted - max : 0;
}

/* Bytes of the total that a successful reservation gives back. */
static uint64_t returned_bytes(const reservation *r)
{
	return r->credit + (r->existing ? kms_record_charge(r->existing) : 0);
}

static uint64_t total_excess(const reservation *r)
{
	store_totals *totals = &r->ns->store->totals;
	return excess(atomic_load(&totals->bytes), returned_bytes(r), r->total_bytes, totals->max_bytes);
}

static uint64_t live_excess(const reservation *r)
{
	uint64_t old = r->existing ? kms_record_live_bytes(r->existing) : 0;
	return excess(r->ns->stats.live_bytes, old, r->live_bytes, r->ns->store->config.max_app_bytes);
}

/* The number of records to evict; 0 when even all of them would not be enough. */
static size_t eviction_count(const reservation *r)
{
	uint64_t live_over = live_excess(r), total_over = total_excess(r);
	size_t count = 0;
	for (const store_record *at = r->ns->oldest; at && (live_over || total_over); at = at->newer) {
		if (at == r->existing) continue;
		/* A stub that may be dropped frees the rest of its record too. */
		uint64_t freed = kms_dead_droppable(r->ns, at, r->now_ms) ? kms_record_charge(at)
									  : kms_record_value_charge(at);
		live_over -= at->value_len < live_over ? at->value_len : live_over;
		total_over -= freed < total_over ? freed : total_over;
		count++;
	}
	return live_over || total_over ? 0 : count;
}

/* Drops dead records until `count` stubs more are within the limit; false when that fails. */
static bool reserve_stubs(reservation *r, size_t count)
{
	size_t limit = kms_dead_limit(r->ns->store);
	ENSURE(count <= limit, false);
	while (r->ns->dead.count + count > limit) {
		if (!kms_dead_drop(&r->credit, r->ns, r->now_ms)) return false;
	}
	return true;
}

/* Evicts as many of the least recently used records as the write needs; false when that cannot be enough. */
static bool evict(reservation *r)
{
	size_t count = eviction_count(r);
	ENSURE(count > 0 && reserve_stubs(r, count), false);
	store_record *at = r->ns->oldest;
	while (count > 0) {
		store_record *newer = at->newer;
		if (at != r->existing) {
			r->credit += kms_record_evict(r->ns, at, r->now_ms);
			count--;
		}
		at = newer;
	}
	return true;
}

/* One step towards enough capacity; false when there is none left. */
static bool free_some(reservation *r, bool total_short)
{
	if (kms_due_handle(&r->credit, r->ns, r->now_ms)) return true;
	if (total_short && kms_dead_drop(&r->credit, r->ns, r->now_ms)) return true;
	return evict(r);
}

static kms_status reserve(reservation *r)
{
	store_totals *totals = &r->ns->store->totals;
	for (;;) {
		bool total_short = total_excess(r) > 0;
		if (!total_short && live_excess(r) == 0) {
			if (kms_store_charge(totals, r->total_bytes, returned_bytes(r))) return KMS_OK;
			continue; /* another namespace took the bytes */
		}
		if (free_some(r, total_short)) continue;
		(void)kms_store_charge(totals, 0, r->credit);
		return KMS_ERR_STORE_FULL;
	}
}

kms_status kms_capacity_reserve(store_namespace *ns, store_record *existing, const store_record *made,
				uint64_t now_ms)
{
	reservation r = {
		.ns = ns,
		.existing = existing,
		.now_ms = now_ms,
		.total_bytes = kms_record_charge(made),
		.live_bytes = kms_record_live_bytes(made),
	};
	ENSURE(r.live_bytes <= ns->store->config.max_app_bytes, KMS_ERR_STORAGE_SIZE);
	/* While capacity is freed, the record to be replaced must not be dropped. */
	uint64_t due_key = existing ? kms_min_heap_key(&ns->due, existing) : 0;
	uint64_t dead_key = existing ? kms_min_heap_key(&ns->dead, existing) : 0;
	if (due_key) kms_min_heap_remove(&ns->due, existing);
	if (dead_key) kms_min_heap_remove(&ns->dead, existing);
	kms_status status = reserve(&r);
	if (due_key) kms_min_heap_set(&ns->due, existing, due_key);
	if (dead_key) kms_min_heap_set(&ns->dead, existing, dead_key);
	return status;
}
