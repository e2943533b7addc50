/*
 * LRU eviction. A write that finds no capacity frees bytes in this order: records that are due; when the
 * namespace's or the store's total is reached, dead records that may be dropped; then live records of this
 * namespace, least recently used first, and only if that will be enough. When the whole store is short and
 * another namespace is further above its share, the write fails, and its caller makes that one give records
 * up (store_collect.c). Bytes freed on the way are kept as credit, so that no other namespace takes what this
 * one freed for its own write.
 */
#include "store/store_evict.h"

#include "base/ensure.h"
#include "store/store_expire.h"
#include "store/store_internal.h"
#include "store/store_share.h"
#include "store/store_state.h"

typedef struct reservation {
	store_namespace *ns;
	const store_record *existing; /* to be replaced; NULL: none */
	uint64_t now_ms;
	uint64_t total_bytes; /* wanted of the store's total */
	uint64_t live_bytes;  /* wanted of the namespace's quota */
	uint64_t own_max;     /* of the namespace's total */
	const store_allowance *allowance;
	uint64_t credit; /* freed, and still charged */
} reservation;

/* How far a write is beyond the limits. */
typedef struct shortage {
	uint64_t live;  /* of the namespace's quota */
	uint64_t own;   /* of the namespace's total */
	uint64_t total; /* of both totals, the larger one */
} shortage;

/* The evictions that a write needs. */
typedef struct plan {
	size_t count; /* 0: even all of them would not be enough */
	size_t stubs; /* how many of them leave a stub */
} plan;

/* How far a sum is beyond its limit. */
static uint64_t excess(uint64_t held, uint64_t less, uint64_t more, uint64_t max)
{
	uint64_t wanted = held - less + more;
	return wanted > max ? wanted - max : 0;
}

static uint64_t existing_charge(const reservation *r)
{
	return r->existing ? kms_record_charge(r->existing) : 0;
}

/* Bytes of the total that a successful reservation gives back. */
static uint64_t returned_bytes(const reservation *r)
{
	return r->credit + existing_charge(r);
}

static uint64_t total_excess(const reservation *r)
{
	uint64_t held = atomic_load(&r->ns->store->totals.bytes);
	return excess(held, returned_bytes(r), r->total_bytes, r->allowance->bytes);
}

static uint64_t live_excess(const reservation *r)
{
	uint64_t old = r->existing ? kms_record_live_bytes(r->existing) : 0;
	return excess(r->ns->stats.live_bytes, old, r->live_bytes, r->ns->store->config.max_app_bytes);
}

static uint64_t own_excess(const reservation *r)
{
	return excess(r->ns->stats.total_bytes, existing_charge(r), r->total_bytes, r->own_max);
}

/* Whether a stub would hold most of what its record holds, and may be missing: no later write has a smaller
 * stamp. */
static bool is_bulky_stub(const store_record *record, uint64_t now_ms)
{
	return record->updated_at_ms < now_ms &&
	       kms_record_value_charge(record) < kms_record_charge(record) / 2;
}

/*
 * Whether an eviction leaves no stub. A quota of live bytes always leaves stubs; the store's total those that
 * may not be dropped; a namespace at its own total may not leave bulky ones either.
 */
static bool goes_whole(const store_namespace *ns, const store_record *record, const shortage *s,
		       uint64_t now_ms)
{
	if (s->own > 0 && is_bulky_stub(record, now_ms)) return true;
	return s->total > 0 && kms_dead_droppable(ns, record, now_ms);
}

static uint64_t evict_one(store_namespace *ns, store_record *record, bool whole, uint64_t now_ms)
{
	return whole ? kms_record_evict_whole(ns, record) : kms_record_evict(ns, record, now_ms);
}

static plan make_plan(const reservation *r, const shortage *s)
{
	uint64_t live_over = s->live, total_over = s->total;
	plan p = { 0, 0 };
	for (const store_record *at = r->ns->oldest; at && (live_over || total_over); at = at->newer) {
		if (at == r->existing) continue;
		bool whole = goes_whole(r->ns, at, s, r->now_ms);
		uint64_t freed = whole ? kms_record_charge(at) : kms_record_value_charge(at);
		live_over -= at->value_len < live_over ? at->value_len : live_over;
		total_over -= freed < total_over ? freed : total_over;
		p.count++;
		p.stubs += !whole;
	}
	return live_over || total_over ? (plan){ 0, 0 } : p;
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
static bool evict(reservation *r, const shortage *s)
{
	plan p = make_plan(r, s);
	ENSURE(p.count > 0 && reserve_stubs(r, p.stubs), false);
	store_record *at = r->ns->oldest;
	while (p.count > 0) {
		store_record *newer = at->newer;
		if (at != r->existing) {
			bool whole = goes_whole(r->ns, at, s, r->now_ms);
			r->credit += evict_one(r->ns, at, whole, r->now_ms);
			p.count--;
		}
		at = newer;
	}
	return true;
}

/* One step towards enough capacity; false when there is none left, or another namespace is to pay. */
static bool free_some(reservation *r, bool store_short, const shortage *s)
{
	if (kms_due_handle(&r->credit, r->ns, r->now_ms)) return true;
	if (s->total > 0 && kms_dead_drop(&r->credit, r->ns, r->now_ms)) return true;
	if (r->allowance->spares_live) return false;
	uint64_t held = r->ns->stats.total_bytes - existing_charge(r) + r->total_bytes;
	if (!store_short) return evict(r, s);
	uint64_t share = kms_share_of(r->ns->store, r->allowance, 0);
	if (!kms_share_pays(r->ns, held, share)) return false;
	/* For the store it pays what it holds above its share; the rest is collected from others. */
	uint64_t over = kms_share_excess(held, share);
	shortage due = *s;
	if (due.total > over) due.total = over > s->own ? over : s->own;
	return evict(r, &due);
}

static kms_status reserve(reservation *r)
{
	store_totals *totals = &r->ns->store->totals;
	for (;;) {
		uint64_t store_over = total_excess(r);
		shortage s = { live_excess(r), own_excess(r), 0 };
		s.total = store_over > s.own ? store_over : s.own;
		if (s.total == 0 && s.live == 0) {
			if (kms_store_charge_within(totals, r->total_bytes, returned_bytes(r),
						    r->allowance->bytes))
				return KMS_OK;
			continue; /* another namespace took the bytes */
		}
		if (free_some(r, store_over > 0, &s)) continue;
		(void)kms_store_charge(totals, 0, r->credit);
		return KMS_ERR_STORE_FULL;
	}
}

/* What a namespace may hold in all. A deletion is always possible: it replaces a larger record. */
static uint64_t own_limit(const store_namespace *ns, const store_record *existing, const store_record *made)
{
	uint64_t max = ns->store->config.max_app_total;
	return max == 0 || (existing && made->state == KMS_RECORD_TOMBSTONE) ? UINT64_MAX : max;
}

kms_status kms_capacity_reserve(store_namespace *ns, store_record *existing, const store_record *made,
				const store_allowance *allowance, uint64_t now_ms)
{
	reservation r = {
		.ns = ns,
		.existing = existing,
		.now_ms = now_ms,
		.total_bytes = kms_record_charge(made),
		.live_bytes = kms_record_live_bytes(made),
		.own_max = own_limit(ns, existing, made),
		.allowance = allowance,
	};
	ENSURE(r.live_bytes <= ns->store->config.max_app_bytes, KMS_ERR_STORAGE_SIZE);
	ENSURE(r.total_bytes <= r.own_max, KMS_ERR_STORAGE_SIZE);
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

/* Dead records go last: while peers may send older versions, they are missed most. */
bool kms_capacity_give_up(uint64_t *freed, store_namespace *ns, uint64_t now_ms)
{
	if (kms_due_handle(freed, ns, now_ms) || kms_dead_drop(freed, ns, now_ms)) return true;
	store_record *record = ns->oldest;
	if (record) {
		bool no_stub =
		    ns->dead.count >= kms_dead_limit(ns->store) || kms_dead_droppable(ns, record, now_ms);
		bool whole = no_stub || is_bulky_stub(record, now_ms);
		*freed += evict_one(ns, record, whole, now_ms);
		return true;
	}
	record = kms_min_heap_first(NULL, &ns->dead);
	if (record) *freed += kms_record_drop(ns, record);
	return record != NULL;
}
