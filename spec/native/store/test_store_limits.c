/* Quotas, eviction, retention, expiry: each limit at it and past it. */
#include "store_kit.h"

#define SELF 1
#define BIG 1000 /* bytes of a ciphertext where the quota counts */

static kms_store *quota_store(size_t app_bytes, size_t total_bytes, size_t tombstones)
{
	kms_store *s = NULL;
	kms_store_config config = kit_config(SELF);
	config.max_app_bytes = app_bytes;
	config.max_total_bytes = total_bytes;
	config.max_tombstones = tombstones;
	if (kms_store_new(&s, &config) != KMS_OK) abort();
	return s;
}

static kms_status put_big(kms_store *s, const char *key, uint8_t first, uint64_t now_ms)
{
	uint64_t at_ms;
	return kit_put_at(&at_ms, s, key, first, BIG, 0, now_ms);
}

static const char *numbered(size_t i)
{
	static char text[24];
	snprintf(text, sizeof(text), "%06zu", i);
	return text;
}

static kms_record_state state_of(kms_store *s, const char *key, uint64_t now_ms)
{
	record_copy r;
	return kit_peek(&r, s, key, now_ms) == KMS_OK ? r.record.state : (kms_record_state)99;
}

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
	CHECK(kit_counter(&r, SELF) == 1 && r.record.sequence == 2);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "b", NOW));
	kms_store_stats stats = kit_stats(s);
	CHECK(stats.live_keys == 3 && stats.stubs == 1 && stats.evictions == 1 &&
	      stats.live_bytes == 3 * BIG);
	/* A write over the stub goes on from its clock and stamp. */
	CHECK_OK(put_big(s, "b", 5, NOW));
	CHECK_OK(kit_peek(&r, s, "b", NOW));
	CHECK(r.record.updated_at_ms == NOW + 1 && kit_counter(&r, SELF) == 2);
	CHECK(kit_stats(s).stubs == 1 && kit_get(s, "a", NOW) == -1);
	kms_store_free(s);
}

TEST(replacing_a_record_makes_room_for_itself)
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
	CHECK_OK(kit_put_at(&at_ms, s, "a", 6, 3 * BIG, 0, NOW)); /* alone it fits exactly */
	CHECK(kit_get(s, "b", NOW) == -1 && kit_get(s, "a", NOW) == 6);
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, kit_put_at(&at_ms, s, "a", 7, 3 * BIG + 1, 0, NOW));
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, kit_put_at(&at_ms, s, "new", 7, 3 * BIG + 1, 0, NOW));
	CHECK(kit_get(s, "a", NOW) == 6 && kit_stats(s).evictions == 2);
	kms_store_free(s);
}

TEST(what_has_expired_makes_room_before_anything_is_evicted)
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
	kms_record r = { .key = kms_text_from("m"),
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
	/* One that loses is no use of what it lost to. */
	CHECK(kit_get(s, "a", NOW) == 1);
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW));
	CHECK(outcome == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK_OK(put_big(s, "d", 4, NOW));
	CHECK(kit_get(s, "m", NOW) == -1 && kit_get(s, "a", NOW) == 1);
	/* What fits not even alone. */
	clock.counter = 2;
	r.value.len = 3 * BIG + 1;
	CHECK_STATUS(KMS_ERR_STORE_FULL, kms_store_merge(&outcome, s, APP, &r, NOW));
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

/* ---- stubs in merges ---- */

typedef struct stubbed {
	kms_store *store;
	kms_clock_entry clock[2];
	uint8_t value[BIG];
	kms_record record; /* the version that was evicted: key "k", {2: 5} */
} stubbed;

static kms_merge merge_stubbed(stubbed *t)
{
	kms_merge outcome;
	if (kms_store_merge(&outcome, t->store, APP, &t->record, NOW) != KMS_OK) return KMS_MERGE_REJECTED;
	return outcome;
}

static void stubbed_make(int *failed_, stubbed *t)
{
	*t = (stubbed){ .store = quota_store(2 * BIG, 512u << 20, 100), .clock = { { { 2 }, 5 } } };
	memset(t->value, 0x55, sizeof(t->value));
	t->record = (kms_record){ .key = kms_text_from("k"),
				  .value = kms_span_of(t->value, BIG),
				  .clock = { t->clock, 1 },
				  .updated_at_ms = NOW };
	CHECK(merge_stubbed(t) == KMS_MERGE_INSERTED);
	CHECK_OK(put_big(t->store, "x", 1, NOW));
	CHECK_OK(put_big(t->store, "y", 1, NOW));
	CHECK(state_of(t->store, "k", NOW) == KMS_RECORD_STUB);
}

TEST(a_stub_stands_for_its_record)
{
	static stubbed t;
	CALL(stubbed_make, &t);
	uint64_t before = kms_store_sequence(t.store);
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	t.clock[0].counter = 4;
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION);
	CHECK(state_of(t.store, "k", NOW) == KMS_RECORD_STUB && kms_store_sequence(t.store) == before);
	t.clock[0].counter = 6;
	CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(kit_get(t.store, "k", NOW) == 0x55);
	kms_store_free(t.store);
}

/* Every byte of the first twelve decides as it would against the whole ciphertext. */
TEST(a_stub_decides_ties_as_its_ciphertext_would)
{
	for (size_t i = 0; i < 12; i++) {
		static stubbed t;
		CALL(stubbed_make, &t);
		t.clock[0] = (kms_clock_entry){ { 3 }, 1 };
		CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK); /* the same write */
		t.value[i] = 0x54;
		CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
		t.value[i] = 0x56;
		CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
		kms_store_free(t.store);
	}
	static stubbed t;
	CALL(stubbed_make, &t);
	t.clock[0] = (kms_clock_entry){ { 3 }, 1 };
	t.record.state = KMS_RECORD_TOMBSTONE;
	t.record.value.bytes = NULL;
	t.record.value.len = 0;
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	t.record.updated_at_ms++;
	CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CHECK(state_of(t.store, "k", NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(t.store);
}

TEST(a_stub_expires_like_its_record)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 100);
	uint64_t at_ms;
	CHECK_OK(kit_put_at(&at_ms, s, "t", 1, BIG, 50, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 1, NOW));
	CHECK(state_of(s, "t", NOW + 50) == KMS_RECORD_STUB);
	CHECK(kms_store_expire(s, NOW + 50, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 51, 10) == 1);
	CHECK(state_of(s, "t", NOW + 51) == KMS_RECORD_TOMBSTONE);
	CHECK(kit_stats(s).stubs == 0 && kit_stats(s).tombstones == 1);
	CHECK(kms_store_expire(s, NOW + 50 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 51 + RETENTION, 10) == 1);
	kms_store_free(s);
}

TEST(a_stub_leaves_after_the_retention_of_its_eviction)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 100);
	CHECK_OK(put_big(s, "old", 1, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 1, NOW + 1000));
	CHECK(kms_store_expire(s, NOW + 1000 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 1001 + RETENTION, 10) == 1);
	CHECK(kit_stats(s).stubs == 0 && kit_stats(s).live_keys == 2);
	kms_store_free(s);
}

/* A write that fails leaves a stub exactly as it was, its end included. */
TEST(a_refused_write_does_not_prolong_a_stub)
{
	kms_store *s = quota_store(BIG, 12000, 100);
	uint64_t at_ms;
	CHECK_OK(put_big(s, "old", 1, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	for (size_t i = 0; i < 100; i++) { /* another namespace takes the rest */
		static uint8_t value[BIG];
		if (kms_store_put(&at_ms, s, APP + 1, kms_text_from(numbered(i)), kms_span_of(value, 100), 0,
				  NOW) != KMS_OK)
			break;
	}
	CHECK_OK(kit_delete(s, "a", NOW));
	kms_status status = KMS_OK;
	for (uint64_t later = 1; status == KMS_OK && later < 50; later++)
		status = kms_store_put(&at_ms, s, APP + 1, kms_text_from(numbered(1000 + later)),
				       kms_span_of((uint8_t[28]){ 0 }, 28), 0, NOW);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "old", 1, NOW + 5000));
	CHECK(state_of(s, "old", NOW) == KMS_RECORD_STUB);
	CHECK(kms_store_expire(s, NOW + RETENTION + 10, 10000) > 0);
	CHECK(state_of(s, "old", NOW) == (kms_record_state)99);
	kms_store_free(s);
}

/* ---- tombstones ---- */

TEST(keeps_every_tombstone_until_members_acknowledge)
{
	kms_store *s = quota_store(1u << 20, 512u << 20, 10);
	for (size_t i = 0; i < 100; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		CHECK_OK(kit_delete(s, numbered(i), NOW));
	}
	CHECK(kit_stats(s).tombstones == 100);
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW)); /* ten times the cap */
	CHECK(kit_get(s, "x", NOW) == 1);
	/* The oldest is acknowledged: one may be deleted for it. Change 2 is its tombstone. */
	kms_store_set_acknowledged(s, 1);
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW));
	kms_store_set_acknowledged(s, 2);
	/* Its stamp is NOW + 1: as long as a write could be stamped no later, it stays. */
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW + 1));
	CHECK_OK(kit_delete(s, "x", NOW + 2));
	CHECK(state_of(s, numbered(0), NOW) == (kms_record_state)99);
	CHECK(state_of(s, numbered(1), NOW) == KMS_RECORD_TOMBSTONE && kit_stats(s).tombstones == 100);
	/* All are: they leave, oldest first, down to the cap and no further. */
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 20; i++)
		CHECK_OK(kit_put(s, "y", 1, NOW + 5));
	CHECK(kit_stats(s).tombstones == 10);
	CHECK(state_of(s, numbered(90), NOW) == (kms_record_state)99);
	CHECK(state_of(s, numbered(91), NOW) == KMS_RECORD_TOMBSTONE);
	CHECK(state_of(s, "x", NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(s);
}

TEST(keeps_up_to_the_cap_whatever_is_acknowledged)
{
	kms_store *s = quota_store(1u << 20, 512u << 20, 10);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 11; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW + 2 * i));
		CHECK_OK(kit_delete(s, numbered(i), NOW + 2 * i));
		CHECK(kit_stats(s).tombstones == (i < 10 ? i + 1 : 10));
	}
	CHECK(state_of(s, numbered(0), NOW) == (kms_record_state)99);
	CHECK(state_of(s, numbered(1), NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(s);
}

TEST(stubs_are_bounded_like_tombstones)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 1);
	for (size_t i = 0; i < 12; i++)
		CHECK_OK(put_big(s, numbered(i), 1, NOW));
	CHECK(kit_stats(s).stubs == 10);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "x", 1, NOW));
	CHECK(kit_stats(s).stubs == 10 && kit_stats(s).live_keys == 2 && kit_stats(s).evictions == 10);
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, numbered(11), NOW));
	kms_store_set_acknowledged(s, 1);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "x", 1, NOW));
	CHECK_OK(put_big(s, "x", 1, NOW + 1));
	CHECK(kit_stats(s).stubs == 10 && state_of(s, numbered(0), NOW) == (kms_record_state)99);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 5; i++)
		CHECK_OK(put_big(s, numbered(20 + i), 1, NOW + 2 + i));
	CHECK(kit_stats(s).stubs == 1);
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
	for (size_t i = 0; i < 4; i++) { /* namespace, key, value, tombstone: each costs something */
		if (i == 0) CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "x", NOW)); /* makes no namespace */
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

/* Fills a namespace until the total refuses; returns how many records that took. */
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
	/* Another namespace has nothing to give, and takes nothing from this one. */
	CHECK_STATUS(KMS_ERR_STORE_FULL, kms_store_put(&at_ms, s, APP + 1, kms_text_from("k"),
						       kms_span_of((uint8_t[28]){ 0 }, 28), 0, NOW));
	CHECK(kit_stats(s).evictions == 1);
	/* What fits only if everything went is refused before anything goes. */
	uint64_t live = kit_stats(s).live_keys;
	CHECK_STATUS(KMS_ERR_STORE_FULL, kit_put_at(&at_ms, s, "huge", 1, TOTAL, 0, NOW));
	CHECK(kit_stats(s).live_keys == live && kit_stats(s).evictions == 1);
	CHECK_OK(kit_delete(s, numbered(5), NOW)); /* deleting is always possible */
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
	CHECK_STATUS(KMS_ERR_STORE_FULL, kms_store_merge(&outcome, s, APP + 1, &r, NOW));
	kms_store_set_acknowledged(s, UINT64_MAX); /* now the oldest may go */
	CHECK_OK(kms_store_merge(&outcome, s, APP, &r, NOW + 1));
	CHECK(outcome == KMS_MERGE_INSERTED);
	kms_store_free(s);
}

/* In a full store acknowledged stubs make room for new records, without an end. */
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
		CHECK_OK(kms_store_put(&at_ms, s, app, kms_text_from("k"), KMS_SPAN(v), 0, NOW));
	CHECK_STATUS(KMS_ERR_NAMESPACES,
		     kms_store_put(&at_ms, s, 4, kms_text_from("k"), KMS_SPAN(v), 0, NOW));
	kms_clock_entry clock = { { 2 }, 1 };
	kms_merge outcome;
	kms_record r = { .key = kms_text_from("k"),
			 .clock = { &clock, 1 },
			 .updated_at_ms = NOW,
			 .state = KMS_RECORD_TOMBSTONE };
	CHECK_STATUS(KMS_ERR_NAMESPACES, kms_store_merge(&outcome, s, UINT64_MAX, &r, NOW));
	CHECK_OK(kms_store_put(&at_ms, s, 3, kms_text_from("l"), KMS_SPAN(v), 0, NOW));
	kms_store_get_stats(&stats, s);
	CHECK(stats.namespaces == 3 && stats.live_keys == 4);
	kms_store_get_app_stats(&stats, s, 4);
	CHECK(stats.namespaces == 0);
	kms_store_get_app_stats(&stats, s, 3);
	CHECK(stats.namespaces == 1 && stats.live_keys == 2);
	kms_store_free(s);
}

/* ---- expiry ---- */

TEST(expires_at_its_millisecond)
{
	kms_store *s = kit_store(SELF);
	record_copy r;
	uint64_t at_ms;
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 100, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "l", 1, MIN_VALUE, 100, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "never", 1, MIN_VALUE, 0, NOW));
	CHECK(kit_get(s, "k", NOW + 100) == 1);
	CHECK(kit_get(s, "k", NOW + 101) == -1); /* without kms_store_expire */
	CHECK(kms_store_expire(s, NOW + 100, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 101, 10) == 1);
	CHECK(kms_store_expire(s, NOW + 101, 10) == 0);
	CHECK_OK(kit_peek(&r, s, "l", NOW));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && r.record.updated_at_ms == NOW);
	CHECK(kit_counter(&r, SELF) == 1 && r.record.ttl_ms == 100 && r.record.sequence == 2);
	CHECK(kms_store_expire(s, NOW + 100 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 101 + RETENTION, 10) == 2);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_peek(&r, s, "l", NOW));
	CHECK(kit_get(s, "never", NOW + 1000 * RETENTION) == 1);
	kms_store_stats stats = kit_stats(s);
	CHECK(stats.live_keys == 1 && stats.tombstones == 0 && stats.live_bytes == MIN_VALUE);
	kms_store_free(s);
}

TEST(expires_in_bounded_steps_and_in_turns)
{
	enum { APPS = 5, EACH = 200, STEP = 100 };
	kms_store *s = kit_store(SELF);
	kms_store_stats stats;
	uint64_t at_ms;
	uint8_t v[28] = { 0 };
	for (uint64_t app = 0; app < APPS; app++) {
		for (size_t i = 0; i < EACH; i++)
			CHECK_OK(kms_store_put(&at_ms, s, APP + app, kms_text_from(numbered(i)), KMS_SPAN(v),
					       1 + i, NOW));
	}
	CHECK(kms_store_expire(s, NOW + EACH + 1, 0) == 0);
	/* Two calls of 100 reach every namespace; none takes it all. */
	CHECK(kms_store_expire(s, NOW + EACH + 1, STEP) == STEP);
	CHECK(kms_store_expire(s, NOW + EACH + 1, STEP) == STEP);
	for (uint64_t app = 0; app < APPS; app++) {
		kms_store_get_app_stats(&stats, s, APP + app);
		CHECK(stats.tombstones > 0 && stats.tombstones < STEP);
	}
	size_t handled = 2 * STEP, more;
	while ((more = kms_store_expire(s, NOW + EACH + 1, STEP)) > 0) {
		CHECK(more <= STEP);
		handled += more;
	}
	CHECK(handled == APPS * EACH);
	kms_store_get_stats(&stats, s);
	CHECK(stats.live_keys == 0 && stats.tombstones == APPS * EACH);
	kms_store_free(s);
}

/* In order of time, whatever order they came in. */
TEST(expires_the_due_ones_and_no_other)
{
	enum { KEYS = 500 };
	kms_store *s = kit_store(SELF);
	uint64_t seed = 3, ends[KEYS], at_ms;
	for (size_t i = 0; i < KEYS; i++) {
		ends[i] = 1 + kit_random(&seed, 1000);
		CHECK_OK(kit_put_at(&at_ms, s, numbered(i), 1, MIN_VALUE, ends[i], NOW));
		if (i % 3 == 0) CHECK_OK(kit_put_at(&at_ms, s, numbered(i), 1, MIN_VALUE, --ends[i], NOW));
		if (i % 3 == 0) ends[i]++; /* the second write is stamped a millisecond later */
		if (ends[i] == 1 && i % 3 == 0) ends[i] = UINT64_MAX / 2;
	}
	for (uint64_t t = 0; t <= 1001; t += 7) {
		uint64_t live = 0;
		while (kms_store_expire(s, NOW + t, 3) > 0)
			;
		for (size_t i = 0; i < KEYS; i++)
			live += ends[i] >= t;
		CHECK(kit_stats(s).live_keys == live);
	}
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(evicts_what_was_used_least_recently),
	  T(replacing_a_record_makes_room_for_itself),
	  T(what_has_expired_makes_room_before_anything_is_evicted),
	  T(merged_records_count_like_written_ones), T(one_namespace_never_evicts_another),
	  T(a_stub_stands_for_its_record), T(a_stub_decides_ties_as_its_ciphertext_would),
	  T(a_stub_expires_like_its_record), T(a_stub_leaves_after_the_retention_of_its_eviction),
	  T(a_refused_write_does_not_prolong_a_stub), T(keeps_every_tombstone_until_members_acknowledge),
	  T(keeps_up_to_the_cap_whatever_is_acknowledged), T(stubs_are_bounded_like_tombstones),
	  T(everything_counts_in_the_total), T(a_full_store_evicts_within_the_namespace_that_writes),
	  T(merges_are_bound_by_the_total_too), T(a_full_store_of_one_node_goes_on_writing),
	  T(namespaces_are_bounded), T(expires_at_its_millisecond), T(expires_in_bounded_steps_and_in_turns),
	  T(expires_the_due_ones_and_no_other))
