/* Quotas and LRU eviction: each limit at it and past it. */
#include "store_kit.h"

/* ---- the quota of a namespace ---- */

TEST(evicts_what_was_used_least_recently)
{
	kms_store *s = quota_store(3 * BIG, 512u << 20, 100);
	record_copy r;
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 2, NOW));
	CHECK_OK(put_big(s, "c", 3, NOW)); /* full to the byte */
	CHECK(kit_stats(s).live_bytes == 3 * BIG && kit_stats(s).evictions == 0);
	CHECK(kit_get(s, "a", NOW) == 1);
	CHECK_OK(put_big(s, "d", 4, NOW));
	CHECK(kit_get(s, "b", NOW) == -1); /* reads as 404 */
	CHECK(kit_get(s, "a", NOW) == 1 && kit_get(s, "c", NOW) == 3 && kit_get(s, "d", NOW) == 4);
	CHECK_OK(kit_peek(&r, s, "b", NOW));
	CHECK(r.record.state == KMS_RECORD_STUB && !r.record.value.bytes && r.record.updated_at_ms == NOW);
	CHECK(kit_counter(&r, SELF) == NOW && r.record.sequence == 2);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "b", NOW));
	kms_store_stats stats = kit_stats(s);
	CHECK(stats.live_keys == 3 && stats.stubs == 1 && stats.evictions == 1 &&
	      stats.live_bytes == 3 * BIG);
	/* A write over the stub continues its clock and stamp. */
	CHECK_OK(put_big(s, "b", 5, NOW));
	CHECK_OK(kit_peek(&r, s, "b", NOW));
	CHECK(r.record.updated_at_ms == NOW + 1 && kit_counter(&r, SELF) == NOW + 1);
	CHECK(kit_stats(s).stubs == 1 && kit_get(s, "a", NOW) == -1);
	kms_store_free(s);
}

TEST(replacing_a_record_frees_its_own_bytes)
{
	kms_store *s = quota_store(3 * BIG, 512u << 20, 100);
	uint64_t at_ms;
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 2, NOW));
	CHECK_OK(put_big(s, "c", 3, NOW));
	CHECK_OK(put_big(s, "a", 4, NOW));
	CHECK(kit_stats(s).evictions == 0);
	CHECK_OK(kit_put_at(&at_ms, s, "b", 5, BIG + 1, 0, NOW)); /* one byte too many: c is the oldest */
	CHECK(kit_get(s, "c", NOW) == -1 && kit_get(s, "a", NOW) == 4 && kit_get(s, "b", NOW) == 5);
	CHECK_OK(kit_put_at(&at_ms, s, "a", 6, 3 * BIG, 0, NOW)); /* fits exactly into an empty namespace */
	CHECK(kit_get(s, "b", NOW) == -1 && kit_get(s, "a", NOW) == 6);
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, kit_put_at(&at_ms, s, "a", 7, 3 * BIG + 1, 0, NOW));
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, kit_put_at(&at_ms, s, "new", 7, 3 * BIG + 1, 0, NOW));
	CHECK(kit_get(s, "a", NOW) == 6 && kit_stats(s).evictions == 2);
	kms_store_free(s);
}

TEST(expired_records_go_before_any_is_evicted)
{
	kms_store *s = quota_store(3 * BIG, 512u << 20, 100);
	uint64_t at_ms;
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 2, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "c", 3, BIG, 10, NOW)); /* used last */
	CHECK_OK(put_big(s, "d", 4, NOW + 11));
	CHECK(kit_stats(s).evictions == 0 && kit_stats(s).live_keys == 3 && kit_stats(s).tombstones == 1);
	CHECK(kit_get(s, "a", NOW) == 1 && kit_get(s, "b", NOW) == 2);
	kms_store_free(s);
}

TEST(merged_records_count_like_written_ones)
{
	kms_store *s = quota_store(3 * BIG, 512u << 20, 100);
	static uint8_t value[3 * BIG + 1];
	kms_clock_entry clock = { { 2 }, 1 };
	kms_merge outcome;
	kms_record r = { .key = KMS_TEXT("m"),
			 .value = kms_span_of(value, 2 * BIG),
			 .clock = { &clock, 1 },
			 .updated_at_ms = NOW };
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 2, NOW));
	CHECK_OK(put_big(s, "c", 3, NOW));
	CHECK(kit_get(s, "a", NOW) == 1);
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW));
	CHECK(outcome == KMS_MERGE_INSERTED);
	CHECK(kit_get(s, "m", NOW) == 0 && kit_get(s, "a", NOW) == 1); /* b and c were older */
	CHECK(kit_get(s, "b", NOW) == -1 && kit_get(s, "c", NOW) == -1);
	/* A merge that loses does not count as a use of the record that is held. */
	CHECK(kit_get(s, "a", NOW) == 1);
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW));
	CHECK(outcome == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK_OK(put_big(s, "d", 4, NOW));
	CHECK(kit_get(s, "m", NOW) == -1 && kit_get(s, "a", NOW) == 1);
	/* A record that an empty namespace could not hold. */
	clock.counter = 2;
	r.value.len = 3 * BIG + 1;
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, kms_store_merge(&outcome, s, APP, &r, NOW));
	CHECK(outcome == KMS_MERGE_REJECTED && kit_get(s, "a", NOW) == 1 && kit_get(s, "d", NOW) == 4);
	r.value.len--;
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW));
	CHECK(outcome == KMS_MERGE_REPLACED_BY_VERSION && kit_stats(s).live_keys == 1);
	kms_store_free(s);
}

TEST(one_namespace_never_evicts_another)
{
	kms_store *s = quota_store(3 * BIG, 512u << 20, 100);
	uint64_t at_ms;
	static uint8_t value[BIG];
	CHECK_OK(put_big(s, "a", 1, NOW));
	for (size_t i = 0; i < 10; i++)
		CHECK_OK(kms_store_put(&at_ms, s, APP + 1, kms_text_from(numbered(i)),
				       kms_span_of(value, BIG), 0, NOW));
	CHECK(kit_get(s, "a", NOW) == 1);
	kms_store_free(s);
}

/* ---- the total ---- */

TEST(everything_counts_in_the_total)
{
	kms_store *s = quota_store(10u << 20, 1u << 20, 100000);
	kms_store_stats stats;
	uint64_t at_ms, before = 0;
	static char key[4096];
	memset(key, 'k', sizeof(key));
	kms_store_get_stats(&stats, s);
	CHECK(stats.total_bytes == 0 && stats.namespaces == 0);
	for (size_t i = 0; i < 4; i++) { /* namespace, key, value, tombstone: each is charged */
		if (i == 0)
			CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "x", NOW)); /* creates no namespace */
		if (i == 1) CHECK_OK(kit_put(s, "x", 1, NOW));
		if (i == 2)
			CHECK_OK(kms_store_put(&at_ms, s, APP, kms_text_of(key, sizeof(key)),
					       kms_span_of((uint8_t[28]){ 0 }, 28), 0, NOW));
		if (i == 3) CHECK_OK(kit_put_at(&at_ms, s, "x", 1, 5000, 0, NOW));
		kms_store_get_stats(&stats, s);
		uint64_t more[] = { 0, 28 + 4096, 28 + sizeof(key), 5000 - 28 };
		CHECK(stats.total_bytes - before >= more[i] && stats.total_bytes - before <= more[i] + 512);
		before = stats.total_bytes;
	}
	CHECK_OK(kms_store_delete(&at_ms, s, APP, kms_text_of(key, sizeof(key)), NOW));
	CHECK_OK(kit_delete(s, "x", NOW));
	kms_store_get_stats(&stats, s);
	CHECK(stats.total_bytes > 2 * 4096 && stats.total_bytes < before - 5000);
	kms_store_free(s);
}

/* Fills a namespace until the total is reached; returns the number of records. */
static size_t fill(kms_store *s, uint64_t app_id, size_t value_len)
{
	static uint8_t value[BIG];
	uint64_t at_ms;
	size_t count = 0;
	kms_store_stats stats;
	for (; count < 100000; count++) {
		kms_store_get_stats(&stats, s);
		if (stats.evictions > 0) return count;
		if (kms_store_put(&at_ms, s, app_id, kms_text_from(numbered(count)),
				  kms_span_of(value, value_len), 0, NOW) != KMS_OK)
			return count;
	}
	return count;
}

TEST(a_full_store_evicts_within_the_namespace_that_writes)
{
	enum { TOTAL = 200000 };
	kms_store *s = quota_store(10u << 20, TOTAL, 100000);
	kms_store_stats total;
	uint64_t at_ms;
	size_t count = fill(s, APP, BIG);
	CHECK(count > 100 && kit_stats(s).evictions == 1);
	kms_store_get_stats(&total, s);
	CHECK(total.total_bytes <= TOTAL && total.total_bytes > TOTAL - 2 * BIG);
	CHECK(state_of(s, numbered(0), NOW) == KMS_RECORD_STUB);
	CHECK(kit_get(s, numbered(1), NOW) == 0);
	/* A write that all evictions together could not make fit evicts nothing. */
	uint64_t live = kit_stats(s).live_keys;
	CHECK_STATUS(KMS_ERR_STORE_FULL, kit_put_at(&at_ms, s, "huge", 1, TOTAL, 0, NOW));
	CHECK(kit_stats(s).live_keys == live && kit_stats(s).evictions == 1);
	/* Another namespace gets its share: test_store_share.c. */
	CHECK_OK(
	    kms_store_put(&at_ms, s, APP + 1, KMS_TEXT("k"), kms_span_of((uint8_t[28]){ 0 }, 28), 0, NOW));
	CHECK(kit_stats(s).evictions > 1 && kit_stats(s).live_keys > 50);
	CHECK_OK(kit_delete(s, numbered(count - 1), NOW)); /* deleting is always possible */
	kms_store_free(s);
}

TEST(merges_are_bound_by_the_total_too)
{
	kms_store *s = quota_store(10u << 20, 100000, 100000);
	kms_clock_entry clock = { { 2 }, 1 };
	kms_merge outcome = KMS_MERGE_INSERTED;
	kms_record r = { .clock = { &clock, 1 }, .updated_at_ms = NOW, .state = KMS_RECORD_TOMBSTONE };
	kms_status status = KMS_OK;
	size_t count = 0;
	for (; status == KMS_OK && count < 10000; count++) {
		r.key = kms_text_from(numbered(count));
		status = kms_store_merge(&outcome, s, APP, &r, NOW);
	}
	CHECK(status == KMS_ERR_STORE_FULL && outcome == KMS_MERGE_REJECTED && count > 100);
	CHECK(kit_stats(s).tombstones == count - 1);
	CHECK_OK(kms_store_merge(&outcome, s, APP + 1, &r, NOW)); /* another has its share */
	CHECK(kit_stats(s).tombstones < count - 1);
	kms_store_set_acknowledged(s, UINT64_MAX); /* the oldest may be dropped now */
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW + 1));
	CHECK(outcome == KMS_MERGE_INSERTED);
	kms_store_free(s);
}

/* In a full store acknowledged stubs are dropped for new records, again and again. */
TEST(a_full_store_of_one_node_goes_on_writing)
{
	kms_store *s = quota_store(10u << 20, 100000, 100000);
	kms_store_stats total;
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 5000; i++) {
		CHECK_OK(put_big(s, numbered(i), (uint8_t)i, NOW + i));
		CHECK(kit_get(s, numbered(i), NOW + i) == (uint8_t)i);
		kms_store_get_stats(&total, s);
		CHECK(total.total_bytes <= 100000);
	}
	CHECK(total.live_keys > 50);
	kms_store_free(s);
}

TEST(namespaces_are_bounded)
{
	kms_store *s = NULL;
	kms_store_config config = kit_config(SELF);
	kms_store_stats stats;
	uint64_t at_ms;
	uint8_t v[28] = { 0 };
	config.max_namespaces = 3;
	CHECK_OK(kms_store_new(&s, &config));
	for (uint64_t app = 1; app <= 3; app++)
		CHECK_OK(kms_store_put(&at_ms, s, app, KMS_TEXT("k"), KMS_SPAN(v), 0, NOW));
	CHECK_STATUS(KMS_ERR_NAMESPACES, kms_store_put(&at_ms, s, 4, KMS_TEXT("k"), KMS_SPAN(v), 0, NOW));
	kms_clock_entry clock = { { 2 }, 1 };
	kms_merge outcome;
	kms_record r = { .key = KMS_TEXT("k"),
			 .clock = { &clock, 1 },
			 .updated_at_ms = NOW,
			 .state = KMS_RECORD_TOMBSTONE };
	CHECK_STATUS(KMS_ERR_NAMESPACES, kms_store_merge(&outcome, s, UINT64_MAX, &r, NOW));
	CHECK_OK(kms_store_put(&at_ms, s, 3, KMS_TEXT("l"), KMS_SPAN(v), 0, NOW));
	kms_store_get_stats(&stats, s);
	CHECK(stats.namespaces == 3 && stats.live_keys == 4);
	kms_store_get_app_stats(&stats, s, 4);
	CHECK(stats.namespaces == 0);
	kms_store_get_app_stats(&stats, s, 3);
	CHECK(stats.namespaces == 1 && stats.live_keys == 2);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(evicts_what_was_used_least_recently),
	  T(replacing_a_record_frees_its_own_bytes), T(expired_records_go_before_any_is_evicted),
	  T(merged_records_count_like_written_ones), T(one_namespace_never_evicts_another),
	  T(everything_counts_in_the_total), T(a_full_store_evicts_within_the_namespace_that_writes),
	  T(merges_are_bound_by_the_total_too), T(a_full_store_of_one_node_goes_on_writing),
	  T(namespaces_are_bounded))
