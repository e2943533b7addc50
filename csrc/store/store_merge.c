/* Merging records from peers. */
#include <string.h>

#include "base/ensure.h"
#include "store/store_collect.h"
#include "store/store_evict.h"
#include "store/store_expire.h"
#include "store/store_internal.h"
#include "store/store_state.h"
#include "store/store_tie.h"
#include "kms/codec.h"

#define PEER_SLACK 128 /* bytes by which a peer's ciphertext may exceed max_value */

const char *kms_merge_name(kms_merge outcome)
{
	static const char *const names[] = {
		[KMS_MERGE_REJECTED] = "rejected",
		[KMS_MERGE_INSERTED] = "inserted",
		[KMS_MERGE_REPLACED_BY_VERSION] = "replaced_by_version",
		[KMS_MERGE_IGNORED_EQUAL_VERSION] = "ignored_equal_version",
		[KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION] = "ignored_existing_newer_version",
		[KMS_MERGE_REPLACED_BY_CONCURRENT_LWW] = "replaced_by_concurrent_lww",
		[KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK] = "ignored_concurrent_tie_break",
	};
	ENSURE((size_t)outcome < KMS_ARRAY_LEN(names), "unknown");
	return names[outcome];
}

/* ---- checks ---- */

static kms_status value_len_check(const kms_store *store, size_t len)
{
	ENSURE(len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	ENSURE(len <= store->config.max_value + PEER_SLACK, KMS_ERR_VALUE_SIZE);
	return KMS_OK;
}

static kms_status value_check(const kms_store *store, const kms_record *record)
{
	if (record->state == KMS_RECORD_LIVE) {
		ENSURE(record->value.bytes, KMS_ERR_RECORD);
		return value_len_check(store, record->value.len);
	}
	ENSURE(!record->value.bytes && record->value.len == 0, KMS_ERR_RECORD);
	bool deleted = record->state == KMS_RECORD_TOMBSTONE && record->fingerprint.len == 0;
	if (deleted) return KMS_OK;
	/* Of the tombstones, only that of an expired record had a value. */
	ENSURE(record->state == KMS_RECORD_STUB || record->ttl_ms > 0, KMS_ERR_RECORD);
	/* A value that it cannot hold may be a stub: the length is a peer's in any case. */
	ENSURE(record->fingerprint.len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	return KMS_OK;
}

static kms_status clock_check(clock_draft *sorted, kms_clock clock)
{
	ENSURE(clock.entries && clock.len > 0, KMS_ERR_RECORD);
	ENSURE(clock.len <= KMS_STORE_MAX_CLOCK, KMS_ERR_CLOCK_ENTRIES);
	ENSURE(kms_clock_sort(sorted, clock), KMS_ERR_RECORD);
	for (size_t i = 0; i < sorted->len; i++)
		ENSURE(sorted->entries[i].counter <= KMS_STORE_MAX_NUMBER, KMS_ERR_CLOCK_ENTRIES);
	return KMS_OK;
}

static kms_status time_check(const kms_record *record, uint64_t latest)
{
	ENSURE(record->updated_at_ms <= latest, KMS_ERR_FUTURE);
	for (size_t i = 0; i < record->clock.len; i++)
		ENSURE(record->clock.entries[i].counter <= latest, KMS_ERR_FUTURE);
	return KMS_OK;
}

/* Checks a record from a peer, and sorts its clock. */
static kms_status record_check(clock_draft *clock, const kms_store *store, const kms_record *record,
			       uint64_t now_ms)
{
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	uint64_t latest = now_ms + store->config.max_clock_skew_ms;
	if (latest > KMS_STORE_MAX_NUMBER) latest = KMS_STORE_MAX_NUMBER;
	GUARD(kms_record_key_check(record->key, KMS_STORE_MAX_PEER_KEY));
	GUARD(value_check(store, record));
	ENSURE(record->ttl_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_TTL);
	GUARD(clock_check(clock, record->clock));
	/* Last: sending the record again later helps if only the time is wrong. */
	return time_check(record, latest);
}

/*
 * A counter of this node's that it does not know is of an earlier run, or made up. It cannot be beyond this
 * node's clock unless that was set back. Taking it would let a peer push this node's counters ahead of what
 * others accept.
 */
static kms_status own_entry_check(const store_namespace *ns, const store_record *held, kms_clock clock,
				  uint64_t now_ms)
{
	const uint8_t *self20 = ns->store->config.self20;
	uint64_t own = kms_clock_counter(clock, self20);
	uint64_t known = held ? kms_clock_counter(kms_record_clock(held), self20) : 0;
	if (own <= known || own <= ns->floor) return KMS_OK;
	atomic_store(&ns->store->earlier_run_seen, true);
	ENSURE(own <= now_ms, KMS_ERR_FUTURE);
	return KMS_OK;
}

/* ---- the decision ---- */

typedef struct merging {
	kms_store *store;
	uint64_t app_id;
	const kms_record *incoming;
	bool settles;     /* whether equal clocks with different content are settled */
	bool spares_live; /* whether nothing live is evicted for it */
	bool refused;     /* whether it is a stub that this store made, of a value that had to stay out */
	store_allowance allowance;
	uint64_t now_ms;
} merging;

/* Whether the held record is this very version, expired, and its fingerprint, which it lacks, comes now. */
static bool brings_fingerprint(const store_record *held, const kms_record *incoming)
{
	ENSURE(held->state == KMS_RECORD_TOMBSTONE && held->fingerprint.len == 0 && held->ttl_ms > 0, false);
	ENSURE(incoming->updated_at_ms == held->updated_at_ms && incoming->ttl_ms == held->ttl_ms, false);
	return incoming->state == KMS_RECORD_LIVE || incoming->fingerprint.len > 0;
}

/* Whether the held record is a peer's stub of this very version, which comes with its value now. */
static bool brings_value(const store_record *held, const kms_record *incoming)
{
	ENSURE(held->state == KMS_RECORD_STUB && held->given, false);
	ENSURE(incoming->state == KMS_RECORD_LIVE && incoming->updated_at_ms == held->updated_at_ms, false);
	return kms_tie_equal(held, incoming);
}

/*
 * Equal clocks normally name the same version. Stores of earlier releases and existing nodes use counters
 * again after a restart; of two such versions the larger wins everywhere.
 */
static kms_merge decide_equal(const store_record *held, const kms_record *incoming, bool settles)
{
	if (brings_value(held, incoming) || brings_fingerprint(held, incoming))
		return KMS_MERGE_REPLACED_BY_VERSION;
	/* An expired record without a fingerprint says nothing of its value: it may be the same one. */
	bool unknown = held->state == KMS_RECORD_TOMBSTONE && held->ttl_ms > 0 && held->fingerprint.len == 0;
	bool comparable = !unknown || incoming->updated_at_ms != held->updated_at_ms;
	return settles && comparable && kms_tie_won(held, incoming) ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
								    : KMS_MERGE_IGNORED_EQUAL_VERSION;
}

/*
 * Whether a stub comes for a version whose value is held. Clocks say nothing then: each side may have joined
 * the clocks of losers that the other has not met. A stub takes no value away, or the last one could be lost.
 */
static bool takes_value(const store_record *held, const kms_record *incoming)
{
	ENSURE(incoming->state == KMS_RECORD_STUB && held->state == KMS_RECORD_LIVE, false);
	return incoming->updated_at_ms == held->updated_at_ms && kms_tie_equal(held, incoming);
}

/*
 * Whether a stub comes as one, past its retention. Where nothing is held it would protect nothing, and two
 * members would give it to each other for ever.
 */
static bool is_over(const merging *m)
{
	ENSURE(m->incoming->state == KMS_RECORD_STUB && !m->refused, false);
	return m->now_ms > m->incoming->updated_at_ms + m->store->config.tombstone_retention_ms;
}

static kms_merge decide(const store_record *held, const merging *m, kms_clock clock)
{
	const kms_record *incoming = m->incoming;
	if (!held) return is_over(m) ? KMS_MERGE_IGNORED_EQUAL_VERSION : KMS_MERGE_INSERTED;
	clock_relation order = kms_clock_compare(clock, kms_record_clock(held));
	if (takes_value(held, incoming)) return KMS_MERGE_IGNORED_EQUAL_VERSION;
	/* The value comes, with both clocks. */
	if (order != KMS_CLOCK_EQUAL && brings_value(held, incoming))
		return KMS_MERGE_REPLACED_BY_CONCURRENT_LWW;
	switch (order) {
	case KMS_CLOCK_AFTER:
		return KMS_MERGE_REPLACED_BY_VERSION;
	case KMS_CLOCK_EQUAL:
		return decide_equal(held, incoming, m->settles);
	case KMS_CLOCK_BEFORE:
		return KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION;
	case KMS_CLOCK_CONCURRENT:
		break;
	}
	return kms_tie_won(held, incoming) ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
					   : KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK;
}

/* ---- merging ---- */

/* Replaces the held record by `source` with this clock. */
static kms_status take_over(store_namespace *ns, store_record *held, kms_record source, kms_clock clock,
			    const merging *m)
{
	uint64_t now_ms = m->now_ms;
	DEFER(kms_record_release) store_record *made = NULL;
	if (source.ttl_ms > 0 && now_ms > source.updated_at_ms + source.ttl_ms) {
		/* Expired on its way: nothing is evicted for it. */
		if (source.state == KMS_RECORD_LIVE) source.fingerprint = kms_fingerprint_of(source.value);
		source.state = KMS_RECORD_TOMBSTONE;
		source.value = (kms_span){ NULL, 0 };
	}
	GUARD(kms_record_new(&made, &source, kms_store_hash(ns->store, source.key), clock));
	made->refused = m->refused;
	GUARD(kms_namespace_reserve(ns));
	GUARD(kms_capacity_reserve(ns, held, made, &m->allowance, now_ms));
	kms_record_commit(ns, held, made, now_ms);
	made = NULL;
	kms_dead_trim(ns, now_ms);
	return KMS_OK;
}

/* Takes the winner of a tie. Where the clocks were equal, the outcome is a new version, by this node. */
static kms_status take_tie(store_namespace *ns, store_record *held, kms_clock clock, const merging *m)
{
	clock_draft next;
	kms_record source = *m->incoming;
	store_members *members = &ns->store->members;
	if (kms_clock_compare(clock, kms_record_clock(held)) == KMS_CLOCK_EQUAL) {
		source.origin = 0;
		kms_clock_advance(&next, members, clock, ns->floor,
				  kms_store_least_counter(ns->store, m->now_ms));
	} else {
		kms_clock_join(&next, clock, kms_record_clock(held));
	}
	kms_clock_trim(&next, members, KMS_STORE_MAX_CLOCK);
	return take_over(ns, held, source, kms_clock_of(&next), m);
}

static kms_status merge_locked(kms_merge *outcome, store_namespace *ns, const merging *m, kms_clock clock)
{
	const kms_record *incoming = m->incoming;
	uint64_t hash = kms_store_hash(ns->store, incoming->key);
	store_record *held = kms_record_current(ns, hash, incoming->key, m->now_ms);
	GUARD(own_entry_check(ns, held, clock, m->now_ms));
	kms_merge decision = decide(held, m, clock);
	if (decision == KMS_MERGE_INSERTED || decision == KMS_MERGE_REPLACED_BY_VERSION)
		GUARD(take_over(ns, held, *incoming, clock, m));
	if (decision == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW) GUARD(take_tie(ns, held, clock, m));
	*outcome = decision;
	return KMS_OK;
}

static kms_status merge_once(kms_merge *outcome, const merging *m, kms_clock clock)
{
	store_namespace *ns;
	kms_status status = kms_namespace_open(&ns, m->store, m->app_id, &m->allowance);
	/* A record of an earlier run that is not taken: this node's next counters must not fall behind it. */
	if (status != KMS_OK && kms_clock_counter(clock, m->store->config.self20) > 0)
		atomic_store(&m->store->earlier_run_seen, true);
	GUARD(status);
	status = merge_locked(outcome, ns, m, clock);
	kms_namespace_unlock(ns);
	return status;
}

static kms_status merge(kms_merge *outcome, merging m)
{
	const kms_record *record = m.incoming;
	clock_draft clock;
	kms_status status;
	unsigned collections = 0;
	ENSURE_REF(outcome);
	*outcome = KMS_MERGE_REJECTED;
	ENSURE_REF(m.store);
	ENSURE_REF(record);
	ENSURE(kms_store_has_self(m.store), KMS_ERR_STATE);
	GUARD(record_check(&clock, m.store, record, m.now_ms));
	m.allowance = kms_share_allowance(m.store, record->origin);
	m.allowance.spares_live = m.spares_live;
	do
		status = merge_once(outcome, &m, kms_clock_of(&clock));
	while (status == KMS_ERR_STORE_FULL && !m.spares_live && collections++ < KMS_SHARE_COLLECTIONS &&
	       kms_share_collect(m.store, m.app_id, record->key.len + record->value.len, &m.allowance,
				 m.now_ms));
	return status;
}

kms_status kms_store_merge(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			   uint64_t now_ms)
{
	return merge(outcome,
		     (merging){ .store = store, .app_id = app_id, .incoming = record, .now_ms = now_ms });
}

kms_status kms_store_settle(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			    uint64_t now_ms)
{
	return merge(
	    outcome,
	    (merging){
		.store = store, .app_id = app_id, .incoming = record, .settles = true, .now_ms = now_ms });
}

/* The version without its value. */
static kms_record stub_of(const kms_record *record)
{
	kms_record stub = *record;
	stub.state = KMS_RECORD_STUB;
	stub.fingerprint = kms_fingerprint_of(record->value);
	stub.value = (kms_span){ NULL, 0 };
	return stub;
}

static kms_status repair(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			 bool refused, uint64_t now_ms)
{
	bool old = now_ms > record->updated_at_ms && now_ms - record->updated_at_ms > KMS_STORE_RECENT_MS;
	return merge(outcome, (merging){ .store = store,
					 .app_id = app_id,
					 .incoming = record,
					 .settles = true,
					 .spares_live = old,
					 .refused = refused,
					 .now_ms = now_ms });
}

kms_status kms_store_repair(kms_merge *outcome, bool *without_value, kms_store *store, uint64_t app_id,
			    const kms_record *record, bool refused, uint64_t now_ms)
{
	ENSURE_REF(outcome);
	*outcome = KMS_MERGE_REJECTED;
	ENSURE_REF(without_value);
	*without_value = false;
	ENSURE_REF(record);
	kms_status status = KMS_ERR_STORE_FULL;
	bool live = record->state == KMS_RECORD_LIVE && record->value.bytes &&
		    record->value.len >= KMS_VALUE_SEAL_OVERHEAD;
	if (!refused || !live) status = repair(outcome, store, app_id, record, false, now_ms);
	bool is_forbidden =
	    status == KMS_ERR_STORE_FULL || status == KMS_ERR_STORAGE_SIZE || status == KMS_ERR_VALUE_SIZE;
	if (!live || !is_forbidden) return status;
	kms_record stub = stub_of(record);
	GUARD(repair(outcome, store, app_id, &stub, true, now_ms));
	*without_value = true;
	return KMS_OK;
}
