/*
 * Records from peers. Both sides of a concurrent pair must choose the same winner from what
 * travels between them, so a record is compared as what it would be sent as: a tombstone, an
 * expired one too, as an empty ciphertext; a stub as the ciphertext that it stands for. Of that
 * the stub keeps IV and tag. A fresh IV of 96 bits decides any comparison with another write,
 * and both together say whether it is the same one.
 */
#include <string.h>

#include "base/ensure.h"
#include "store/store_internal.h"

DEFINE_DEFER(record_release, store_record, kms_record_free)

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

static int compare_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t shared = a_len < b_len ? a_len : b_len;
	int order = shared ? memcmp(a, b, shared) : 0;
	if (order != 0) return order;
	return (a_len > b_len) - (a_len < b_len);
}

/* Whether the incoming one of two concurrent versions wins. */
static bool incoming_wins(const store_record *held, const kms_record *incoming)
{
	if (incoming->updated_at_ms != held->updated_at_ms)
		return incoming->updated_at_ms > held->updated_at_ms;
	if (held->state != KMS_RECORD_STUB)
		return compare_bytes(incoming->value, incoming->value_len, held->value, held->value_len) > 0;
	ENSURE(incoming->state == KMS_RECORD_LIVE, false);
	uint8_t fingerprint[KMS_FINGERPRINT];
	kms_fingerprint(fingerprint, incoming->value, incoming->value_len);
	return memcmp(fingerprint, held->fingerprint, KMS_FINGERPRINT) > 0;
}

static kms_merge decide(const store_record *held, const kms_record *incoming, const clock_draft *clock)
{
	ENSURE(held, KMS_MERGE_INSERTED);
	switch (kms_clock_compare(clock->entries, clock->len, kms_record_clock(held), held->clock_len)) {
	case KMS_CLOCK_AFTER:
		return KMS_MERGE_REPLACED_BY_VERSION;
	case KMS_CLOCK_EQUAL:
		return KMS_MERGE_IGNORED_EQUAL_VERSION;
	case KMS_CLOCK_BEFORE:
		return KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION;
	case KMS_CLOCK_CONCURRENT:
		break;
	}
	return incoming_wins(held, incoming) ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
					     : KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK;
}

static void raise_floor(const kms_store *store, store_space *space, const store_record *held,
			const clock_draft *clock)
{
	uint64_t own = kms_clock_counter(clock->entries, clock->len, store->config.self20);
	uint64_t known =
	    held ? kms_clock_counter(kms_record_clock(held), held->clock_len, store->config.self20) : 0;
	if (own > known && own > space->floor) space->floor = own;
}

/* Takes the incoming record's content with this clock. */
static kms_status take_over(kms_store *store, store_space *space, store_record *held, uint64_t hash,
			    const kms_record *incoming, const clock_draft *clock, uint64_t now_ms)
{
	kms_record source = *incoming;
	DEFER(record_release) store_record *made = NULL;
	if (source.ttl_ms > 0 && now_ms > source.updated_at_ms + source.ttl_ms) {
		source.state = KMS_RECORD_TOMBSTONE; /* expired on its way: nothing is evicted for it */
		source.value = NULL;
		source.value_len = 0;
	}
	GUARD(kms_record_new(&made, &source, hash, clock));
	GUARD(kms_space_reserve(space));
	kms_status status = kms_room_make(store, space, held, made, now_ms);
	ENSURE(status != KMS_ERR_STORAGE_SIZE, KMS_ERR_STORE_FULL);
	GUARD(status);
	kms_record_commit(store, space, held, made, now_ms);
	made = NULL;
	kms_dead_trim(store, space, now_ms);
	return KMS_OK;
}

static kms_status merge_locked(kms_merge *outcome, kms_store *store, store_space *space,
			       const kms_record *incoming, clock_draft *clock, uint64_t now_ms)
{
	uint64_t hash = kms_key_hash(store, incoming->key, incoming->key_len);
	store_record *held = kms_record_current(store, space, hash, incoming->key, incoming->key_len, now_ms);
	clock_draft joined;
	const clock_draft *result = clock;
	raise_floor(store, space, held, clock);
	kms_merge decision = decide(held, incoming, clock);
	if (decision == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW) {
		kms_clock_join(&joined, clock->entries, clock->len, kms_record_clock(held), held->clock_len);
		kms_clock_trim(&joined, store, KMS_STORE_MAX_CLOCK);
		result = &joined;
	}
	bool wins = decision == KMS_MERGE_INSERTED || decision == KMS_MERGE_REPLACED_BY_VERSION ||
		    decision == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW;
	if (wins) GUARD(take_over(store, space, held, hash, incoming, result, now_ms));
	*outcome = decision;
	return KMS_OK;
}

kms_status kms_store_merge(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			   uint64_t now_ms)
{
	ENSURE_REF(outcome);
	*outcome = KMS_MERGE_REJECTED;
	ENSURE_REF(store);
	ENSURE_REF(record);
	clock_draft clock;
	store_space *space;
	GUARD(kms_peer_record_check(&clock, store, record, now_ms));
	GUARD(kms_space_get(&space, store, app_id));
	kms_space_lock(space);
	kms_status status = merge_locked(outcome, store, space, record, &clock, now_ms);
	kms_space_unlock(store, space);
	return status;
}

static void note_locked(kms_store *store, store_space *space, const kms_record *stub,
			const clock_draft *clock, uint64_t now_ms)
{
	uint64_t hash = kms_key_hash(store, stub->key, stub->key_len);
	raise_floor(store, space, kms_record_current(store, space, hash, stub->key, stub->key_len, now_ms),
		    clock);
}

kms_status kms_store_note_stub(kms_store *store, uint64_t app_id, const kms_record *stub, uint64_t now_ms)
{
	ENSURE_REF(store);
	ENSURE_REF(stub);
	ENSURE(stub->state == KMS_RECORD_STUB, KMS_ERR_ARGUMENT);
	clock_draft clock;
	store_space *space;
	kms_record checked = *stub;
	checked.state = KMS_RECORD_TOMBSTONE;
	GUARD(kms_peer_record_check(&clock, store, &checked, now_ms));
	/* No namespace for somebody else's news alone. */
	if (kms_clock_counter(clock.entries, clock.len, store->config.self20) == 0) return KMS_OK;
	GUARD(kms_space_get(&space, store, app_id));
	kms_space_lock(space);
	note_locked(store, space, stub, &clock, now_ms);
	kms_space_unlock(store, space);
	return KMS_OK;
}
