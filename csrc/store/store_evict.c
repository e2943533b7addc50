/*
 * Room for a write. What costs nobody anything goes first: what has expired, then, when the
 * whole store is full, dead records that every member has acknowledged. Only then are live
 * records evicted, of this namespace only, least recently used first, and only if that is
 * going to be enough. Bytes freed on the way are kept as credit, so that no other namespace
 * takes what this one gave up for its own write.
 */
#include "base/ensure.h"
#include "store/store_internal.h"

#define TRIM_EACH 8 /* dead records that one write lets go */

typedef struct room {
	kms_store *store;
	store_space *space;
	const store_record *existing;
	uint64_t now_ms;
	uint64_t need; /* bytes of the total */
	uint64_t live; /* bytes of the namespace's quota */
	uint64_t credit;
} room;

/* How far a sum is beyond its limit. */
static uint64_t excess(uint64_t held, uint64_t less, uint64_t more, uint64_t max)
{
	uint64_t wanted = held - less + more;
	return wanted > max ? wanted - max : 0;
}

static uint64_t total_excess(const room *r)
{
	uint64_t old = r->existing ? kms_record_charge(r->existing) : 0;
	return excess(atomic_load(&r->store->totals.bytes), old + r->credit, r->need,
		      r->store->config.max_total_bytes);
}

static uint64_t live_excess(const room *r)
{
	uint64_t old = r->existing ? kms_record_live_bytes(r->existing) : 0;
	return excess(r->space->stats.live_bytes, old, r->live, r->store->config.max_app_bytes);
}

static size_t hard_limit(const kms_store *store)
{
	return store->config.max_tombstones * KMS_STORE_HARD_FACTOR;
}

/* Lets the oldest dead record go if every member knows it. */
static bool dead_drop(uint64_t *freed, kms_store *store, store_space *space, uint64_t now_ms)
{
	store_record *record = kms_order_first(NULL, &space->dead);
	ENSURE(record && kms_record_may_leave(store, record, now_ms), false);
	*freed += kms_record_drop(store, space, record);
	return true;
}

/* Number of records to evict, or 0 when even all of them would not be enough. */
static size_t plan(const room *r)
{
	uint64_t live_over = live_excess(r), total_over = total_excess(r);
	size_t count = 0;
	for (const store_record *at = r->space->oldest; at && (live_over || total_over); at = at->newer) {
		if (at == r->existing) continue;
		/* The stub of an acknowledged record may follow at once. */
		uint64_t freed = kms_record_may_leave(r->store, at, r->now_ms) ? kms_record_charge(at)
									       : kms_record_value_charge(at);
		live_over -= at->value_len < live_over ? at->value_len : live_over;
		total_over -= freed < total_over ? freed : total_over;
		count++;
	}
	return live_over || total_over ? 0 : count;
}

/* Each eviction leaves a dead record, and those are bounded too. */
static bool plan_fits(room *r, size_t count)
{
	size_t limit = hard_limit(r->store);
	ENSURE(count <= limit, false);
	while (r->space->dead.count + count > limit) {
		if (!dead_drop(&r->credit, r->store, r->space, r->now_ms)) return false;
	}
	return true;
}

static bool evict(room *r)
{
	size_t count = plan(r);
	ENSURE(count > 0 && plan_fits(r, count), false);
	store_record *at = r->space->oldest;
	while (count > 0) {
		store_record *newer = at->newer;
		if (at != r->existing) {
			r->credit += kms_record_evict(r->store, r->space, at, r->now_ms);
			count--;
		}
		at = newer;
	}
	return true;
}

/* One step towards room; false when there is none left. */
static bool make_some(room *r, bool total_short)
{
	if (kms_due_handle(&r->credit, r->store, r->space, r->now_ms)) return true;
	if (total_short && dead_drop(&r->credit, r->store, r->space, r->now_ms)) return true;
	return evict(r);
}

static kms_status make_all(room *r)
{
	for (;;) {
		bool total_short = total_excess(r) > 0;
		if (!total_short && live_excess(r) == 0) {
			uint64_t old = r->existing ? kms_record_charge(r->existing) : 0;
			if (kms_total_exchange(r->store, r->need, old + r->credit)) return KMS_OK;
			continue; /* another namespace was faster */
		}
		if (make_some(r, total_short)) continue;
		(void)kms_total_exchange(r->store, 0, r->credit);
		return KMS_ERR_STORE_FULL;
	}
}

kms_status kms_room_make(kms_store *store, store_space *space, store_record *existing,
			 const store_record *made, uint64_t now_ms)
{
	room r = {
		.store = store,
		.space = space,
		.existing = existing,
		.now_ms = now_ms,
		.need = kms_record_charge(made),
		.live = kms_record_live_bytes(made),
	};
	ENSURE(r.live <= store->config.max_app_bytes, KMS_ERR_STORAGE_SIZE);
	/* What is about to be replaced must not leave meanwhile. */
	uint64_t due = existing ? kms_order_key(&space->due, existing) : 0;
	bool dead = existing && existing->state != KMS_RECORD_LIVE;
	if (due) kms_order_remove(&space->due, existing);
	if (dead) kms_order_remove(&space->dead, existing);
	kms_status status = make_all(&r);
	if (due) kms_order_set(&space->due, existing, due);
	if (dead) kms_order_set(&space->dead, existing, kms_record_dead_key(existing));
	return status;
}

void kms_dead_trim(kms_store *store, store_space *space, uint64_t now_ms)
{
	uint64_t freed = 0;
	for (int i = 0; i < TRIM_EACH && space->dead.count > store->config.max_tombstones; i++) {
		if (!dead_drop(&freed, store, space, now_ms)) break;
	}
	(void)kms_total_exchange(store, 0, freed);
}

kms_status kms_dead_reserve(kms_store *store, store_space *space, uint64_t now_ms)
{
	uint64_t freed = 0;
	ENSURE(space->dead.count < hard_limit(store) || dead_drop(&freed, store, space, now_ms),
	       KMS_ERR_TOMBSTONES);
	(void)kms_total_exchange(store, 0, freed);
	return KMS_OK;
}
