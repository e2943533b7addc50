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
	if (record->state == KMS_RECORD_TOMBSTONE) {
		ENSURE(!record->value.bytes && record->value.len == 0, KMS_ERR_RECORD);
		/* Only an expired record had a value. */
		if (record->fingerprint.len == 0) return KMS_OK;
		ENSURE(record->ttl_ms > 0, KMS_ERR_RECORD);
		return value_len_check(store, record->fingerprint.len);
	}
	ENSURE(record->state == KMS_RECORD_LIVE && record->value.bytes, KMS_ERR_RECORD);
	return value_len_check(store, record->value.len);
}

static kms_status clock_check(clock_draft *sorted, kms_clock clock, uint64_t latest)
{
	ENSURE(clock.entries && clock.len > 0, KMS_ERR_RECORD);
	ENSURE(clock.len <= KMS_STORE_MAX_CLOCK, KMS_ERR_CLOCK_ENTRIES);
	ENSURE(kms_clock_sort(sorted, clock), KMS_ERR_RECORD);
	for (size_t i = 0; i < sorted->len; i++)
		ENSURE(sorted->entries[i].counter <= latest, KMS_ERR_CLOCK_ENTRIES);
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
	GUARD(clock_check(clock, record->clock, latest));
	/* Last: a sender may send a record again later if only its stamp is wrong. */
	ENSURE(record->updated_at_ms <= latest, KMS_ERR_FUTURE);
	return KMS_OK;
}

/* ---- the decision ---- */

static kms_merge decide(const store_record *held, const kms_record *incoming, kms_clock clock)
{
	ENSURE(held, KMS_MERGE_INSERTED);
	switch (kms_clock_compare(clock, kms_record_clock(held))) {
	case KMS_CLOCK_AFTER:
		return KMS_MERGE_REPLACED_BY_VERSION;
	case KMS_CLOCK_EQUAL:
		return KMS_MERGE_IGNORED_EQUAL_VERSION;
	case KMS_CLOCK_BEFORE:
		return KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION;
	case KMS_CLOCK_CONCURRENT:
		break;
	}
	return kms_tie_won(held, incoming) ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
					   : KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK;
}

/* ---- merging ---- */

/* Raises the floor to this node's counter in `clock`, if that is beyond the record that is held. */
static void raise_floor(store_namespace *ns, const store_record *held, kms_clock clock)
{
	const uint8_t *self20 = ns->store->config.self20;
	uint64_t own = kms_clock_counter(clock, self20);
	uint64_t known = held ? kms_clock_counter(kms_record_clock(held), self20) : 0;
	if (own > known && own > ns->floor) ns->floor = own;
}

/* Replaces the held record by the incoming one with this clock. */
static kms_status take_over(store_namespace *ns, store_record *held, uint64_t hash,
			    const kms_record *incoming, kms_clock clock, const store_allowance *allowance,
			    uint64_t now_ms)
{
	kms_record source = *incoming;
	DEFER(kms_record_release) store_record *made = NULL;
	if (source.ttl_ms > 0 && now_ms > source.updated_at_ms + source.ttl_ms) {
		/* Expired on its way: nothing is evicted for it. */
		if (source.state == KMS_RECORD_LIVE) source.fingerprint = kms_fingerprint_of(source.value);
		source.state = KMS_RECORD_TOMBSTONE;
		source.value = (kms_span){ NULL, 0 };
	}
	GUARD(kms_record_new(&made, &source, hash, clock));
	GUARD(kms_namespace_reserve(ns));
	kms_status status = kms_capacity_reserve(ns, held, made, allowance, now_ms);
	ENSURE(status != KMS_ERR_STORAGE_SIZE, KMS_ERR_STORE_FULL);
	GUARD(status);
	kms_record_commit(ns, held, made, now_ms);
	made = NULL;
	kms_dead_trim(ns, now_ms);
	return KMS_OK;
}

static kms_status merge_locked(kms_merge *outcome, store_namespace *ns, const kms_record *incoming,
			       kms_clock clock, const store_allowance *allowance, uint64_t now_ms)
{
	uint64_t hash = kms_store_hash(ns->store, incoming->key);
	store_record *held = kms_record_current(ns, hash, incoming->key, now_ms);
	clock_draft joined;
	raise_floor(ns, held, clock);
	kms_merge decision = decide(held, incoming, clock);
	if (decision == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW) {
		kms_clock_join(&joined, clock, kms_record_clock(held));
		kms_clock_trim(&joined, &ns->store->members, KMS_STORE_MAX_CLOCK);
		clock = kms_clock_of(&joined);
	}
	bool wins = decision == KMS_MERGE_INSERTED || decision == KMS_MERGE_REPLACED_BY_VERSION ||
		    decision == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW;
	if (wins) GUARD(take_over(ns, held, hash, incoming, clock, allowance, now_ms));
	*outcome = decision;
	return KMS_OK;
}

static kms_status merge_once(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			     kms_clock clock, const store_allowance *allowance, uint64_t now_ms)
{
	store_namespace *ns;
	GUARD(kms_namespace_open(&ns, store, app_id, allowance));
	kms_status status = merge_locked(outcome, ns, record, clock, allowance, now_ms);
	kms_namespace_unlock(ns);
	return status;
}

kms_status kms_store_merge(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			   uint64_t now_ms)
{
	ENSURE_REF(outcome);
	*outcome = KMS_MERGE_REJECTED;
	ENSURE_REF(store);
	ENSURE_REF(record);
	ENSURE(kms_store_has_self(store), KMS_ERR_STATE);
	clock_draft clock;
	kms_status status;
	unsigned collections = 0;
	GUARD(record_check(&clock, store, record, now_ms));
	store_allowance allowance = kms_share_allowance(store, record->origin);
	do
		status = merge_once(outcome, store, app_id, record, kms_clock_of(&clock), &allowance, now_ms);
	while (status == KMS_ERR_STORE_FULL && collections++ < KMS_SHARE_COLLECTIONS &&
	       kms_share_collect(store, app_id, record->key.len + record->value.len, &allowance, now_ms));
	return status;
}

kms_status kms_store_note_stub(kms_store *store, uint64_t app_id, const kms_record *stub, uint64_t now_ms)
{
	ENSURE_REF(store);
	ENSURE_REF(stub);
	ENSURE(stub->state == KMS_RECORD_STUB, KMS_ERR_ARGUMENT);
	ENSURE(kms_store_has_self(store), KMS_ERR_STATE);
	clock_draft clock;
	kms_record checked = *stub;
	checked.state = KMS_RECORD_TOMBSTONE;
	GUARD(record_check(&clock, store, &checked, now_ms));
	uint64_t own = kms_clock_counter(kms_clock_of(&clock), store->config.self20);
	if (own == 0) return KMS_OK;
	store_namespace *ns = kms_namespace_enter(store, app_id);
	if (!ns) kms_namespaces_raise_floor(store, own); /* nothing is stored, so no namespace is made */
	if (!ns) return KMS_OK;
	uint64_t hash = kms_store_hash(store, stub->key);
	raise_floor(ns, kms_record_current(ns, hash, stub->key, now_ms), kms_clock_of(&clock));
	kms_namespace_unlock(ns);
	return KMS_OK;
}
