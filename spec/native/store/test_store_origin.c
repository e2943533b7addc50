/* Where a record came from, and which dead records may therefore be dropped early. */
#include "store_kit.h"

static void merge_from(kms_store *s, const char *key, uint64_t counter, uint32_t origin,
		       kms_record_state state, uint64_t at_ms)
{
	static const uint8_t value[MIN_VALUE];
	const kms_clock_entry clock = { { 2 }, counter };
	kms_merge outcome;
	bool live = state == KMS_RECORD_LIVE;
	kms_record r = { .key = kms_text_from(key),
			 .value = kms_span_of(live ? value : NULL, live ? MIN_VALUE : 0),
			 .clock = { &clock, 1 },
			 .updated_at_ms = at_ms,
			 .state = state,
			 .origin = origin };
	if (kms_store_merge(&outcome, s, APP, &r, NOW) != KMS_OK) abort();
}

/* UINT32_MAX: there is no such record. */
static uint32_t origin_of(kms_store *s, const char *key)
{
	record_copy r;
	return kit_peek(&r, s, key, NOW) == KMS_OK ? r.record.origin : UINT32_MAX;
}

TEST(a_record_keeps_its_origin_through_every_state)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	config.max_app_bytes = 2 * MIN_VALUE;
	CHECK_OK(kms_store_new(&s, &config));
	merge_from(s, "a", 1, 5, KMS_RECORD_LIVE, NOW);
	CHECK(origin_of(s, "a") == 5);
	merge_from(s, "a", 1, 6, KMS_RECORD_LIVE, NOW); /* ignored */
	CHECK(origin_of(s, "a") == 5);
	merge_from(s, "a", 2, 7, KMS_RECORD_LIVE, NOW);
	CHECK(origin_of(s, "a") == 7);
	CHECK_OK(kit_put(s, "b", 1, NOW));
	CHECK_OK(kit_put(s, "c", 1, NOW)); /* evicts a */
	CHECK(kit_stats(s).stubs == 1 && origin_of(s, "a") == 7);
	merge_from(s, "a", 3, UINT32_MAX - 1, KMS_RECORD_TOMBSTONE, NOW);
	CHECK(origin_of(s, "a") == UINT32_MAX - 1);
	CHECK_OK(kit_put(s, "a", 1, NOW));
	CHECK(origin_of(s, "a") == 0 && origin_of(s, "c") == 0);
	merge_from(s, "c", 9, 5, KMS_RECORD_LIVE, NOW + 1);
	CHECK(origin_of(s, "c") == 5);
	CHECK_OK(kit_delete(s, "c", NOW));
	CHECK(origin_of(s, "c") == 0);
	kms_store_free(s);
}

/* ---- dropping early ---- */

TEST(merged_dead_records_stay_whatever_is_acknowledged)
{
	kms_store *s = capped_store(1);
	for (int i = 0; i < 5; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		merge_from(s, key, 1, 5, KMS_RECORD_TOMBSTONE, NOW - 10);
	}
	kms_store_set_acknowledged(s, kms_store_sequence(s) + 100);
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 5);
	kms_store_set_acknowledged(s, UINT64_MAX - 1); /* an ordinary number */
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 5);
	/* Without other members nobody can send an older version. */
	kms_store_set_acknowledged(s, UINT64_MAX);
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 1 && origin_of(s, "e") == 5);
	kms_store_free(s);
}

/* Merged dead records are older here, and own ones are dropped all the same. */
TEST(own_dead_records_leave_past_merged_ones)
{
	kms_store *s = capped_store(2);
	merge_from(s, "m", 1, 5, KMS_RECORD_TOMBSTONE, NOW - 10);
	merge_from(s, "n", 1, 5, KMS_RECORD_TOMBSTONE, NOW - 10);
	for (int i = 0; i < 3; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		CHECK_OK(kit_put(s, key, 1, NOW - 10));
		CHECK_OK(kit_delete(s, key, NOW - 9));
	}
	CHECK(kit_stats(s).tombstones == 5);
	kms_store_set_acknowledged(s, 6); /* covers a and b */
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 3 && origin_of(s, "a") == UINT32_MAX &&
	      origin_of(s, "b") == UINT32_MAX);
	CHECK(origin_of(s, "c") == 0 && origin_of(s, "m") == 5 && origin_of(s, "n") == 5);
	kms_store_free(s);
}

/* A full store plans evictions by what they will free: the stub of a merged record is not dropped. */
TEST(evictions_are_planned_without_merged_stubs)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	record_copy r;
	uint64_t at_ms;
	config.max_total_bytes = 7000; /* peers may use 6125 of them */
	CHECK_OK(kms_store_new(&s, &config));
	for (char name = 'a'; name <= 'e'; name++) {
		const char key[2] = { name, 0 };
		merge_from(s, key, 1, 5, KMS_RECORD_LIVE, NOW - 10);
	}
	CHECK(kit_stats(s).live_keys == 5);
	kms_store_set_acknowledged(s, UINT64_MAX - 1);
	/* With all evicted their stubs would still take too much: nothing is evicted. */
	CHECK_STATUS(KMS_ERR_STORE_FULL, kit_put_at(&at_ms, s, "own", 1, 950, 0, NOW));
	CHECK(kit_stats(s).live_keys == 5 && kit_stats(s).evictions == 0);
	kms_store_set_acknowledged(s, UINT64_MAX);
	CHECK_OK(kit_put_at(&at_ms, s, "own", 1, 950, 0, NOW));
	CHECK_OK(kit_peek(&r, s, "own", NOW));
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_record_keeps_its_origin_through_every_state),
	  T(merged_dead_records_stay_whatever_is_acknowledged), T(own_dead_records_leave_past_merged_ones),
	  T(evictions_are_planned_without_merged_stubs))
