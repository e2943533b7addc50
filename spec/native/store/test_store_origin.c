/* Who brought a record, and what follows for dead ones; readers of changes that keep their place. */
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

/* ---- leaving early ---- */

static kms_store *capped_store(size_t max_tombstones)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	config.max_tombstones = max_tombstones;
	if (kms_store_new(&s, &config) != KMS_OK) abort();
	return s;
}

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
	kms_store_set_acknowledged(s, UINT64_MAX - 1); /* a number like any other */
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 5);
	/* Alone: nobody else has anything that could come back. */
	kms_store_set_acknowledged(s, UINT64_MAX);
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 1 && origin_of(s, "e") == 5);
	kms_store_free(s);
}

/* Merged ones are older here, and do not keep own ones from leaving. */
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
	kms_store_set_acknowledged(s, 6); /* what was written as a and b */
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK(kit_stats(s).tombstones == 3 && origin_of(s, "a") == UINT32_MAX &&
	      origin_of(s, "b") == UINT32_MAX);
	CHECK(origin_of(s, "c") == 0 && origin_of(s, "m") == 5 && origin_of(s, "n") == 5);
	kms_store_free(s);
}

/* A full store plans with what may leave: a merged record's stub stays, and is planned to. */
TEST(room_is_planned_without_merged_stubs)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	record_copy r;
	uint64_t at_ms;
	config.max_total_bytes = 4096 + 2000;
	CHECK_OK(kms_store_new(&s, &config));
	for (char name = 'a'; name <= 'e'; name++) {
		const char key[2] = { name, 0 };
		merge_from(s, key, 1, 5, KMS_RECORD_LIVE, NOW - 10);
	}
	CHECK(kit_stats(s).live_keys == 5);
	kms_store_set_acknowledged(s, UINT64_MAX - 1);
	/* The stubs of all would take too much of it: nothing is evicted in vain. */
	CHECK_STATUS(KMS_ERR_STORE_FULL, kit_put_at(&at_ms, s, "own", 1, 300, 0, NOW));
	CHECK(kit_stats(s).live_keys == 5 && kit_stats(s).evictions == 0);
	kms_store_set_acknowledged(s, UINT64_MAX);
	CHECK_OK(kit_put_at(&at_ms, s, "own", 1, 300, 0, NOW));
	CHECK_OK(kit_peek(&r, s, "own", NOW));
	kms_store_free(s);
}

/* ---- readers in pieces ---- */

typedef struct reading {
	uint64_t seen[64];
	size_t count;
	size_t stop_after;
} reading;

static bool read_one(void *context, const kms_record *record)
{
	reading *r = context;
	r->seen[r->count++ % 64] = record->sequence;
	return r->count < r->stop_after;
}

static bool step(reading *r, kms_store *s, uint64_t *since, uint64_t until, size_t max, size_t stop_after)
{
	kms_changes_walk walk = { APP, *since, until, max, KMS_CHANGES_CHOOSE };
	*r = (reading){ .stop_after = stop_after };
	bool more = kms_store_changes_step(&walk, s, read_one, r);
	*since = walk.since;
	return more;
}

TEST(steps_go_on_where_they_ended)
{
	kms_store *s = capped_store(10);
	reading r;
	uint64_t at = 0;
	CHECK(!step(&r, s, &at, UINT64_MAX, 5, 5) && r.count == 0 && at == 0); /* no namespace */
	for (int i = 0; i < 10; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		CHECK_OK(kit_put(s, key, 1, NOW));
	}
	CHECK(step(&r, s, &at, UINT64_MAX, 3, 100) && r.count == 3 && at == 3);
	CHECK(step(&r, s, &at, UINT64_MAX, 3, 2) && r.count == 2 && at == 5); /* told to stop */
	CHECK_OK(kit_put(s, "e", 1, NOW)); /* 5, where it stands, is 11 now */
	CHECK_OK(kit_put(s, "f", 1, NOW)); /* and 6 is 12 */
	CHECK(step(&r, s, &at, 10, 2, 100) && r.count == 2 && r.seen[0] == 7 && at == 8);
	CHECK(!step(&r, s, &at, 10, 2, 100) && r.count == 2 && at == 10);
	CHECK(!step(&r, s, &at, 10, 2, 100) && r.count == 0 && at == 10);
	CHECK(step(&r, s, &at, 11, 0, 100) && r.count == 0 && at == 10);
	CHECK(!step(&r, s, &at, 11, 1, 100) && r.seen[0] == 11 && at == 11);
	CHECK(!step(&r, s, &at, UINT64_MAX, 9, 100) && r.count == 1 && at == 12);
	at = 0; /* again from the start */
	CHECK(!step(&r, s, &at, UINT64_MAX, 64, 100) && r.count == 10 && at == 12);
	kms_store_free(s);
}

/* Two readers at random places of a namespace that changes: each sees what a plain walk sees. */
typedef struct plain {
	uint64_t next[4];
	size_t count;
} plain;

static kms_status plain_one(void *context, const kms_record *record)
{
	plain *p = context;
	p->next[p->count++] = record->sequence;
	return KMS_OK;
}

TEST(hints_never_mislead)
{
	kms_store *s = capped_store(3);
	uint64_t seed = 77, at[2] = { 0 };
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (int i = 0; i < 20000; i++) {
		const char key[3] = { (char)('a' + kit_random(&seed, 8)), (char)('a' + kit_random(&seed, 8)),
				      0 };
		if (kit_random(&seed, 3))
			CHECK_OK(kit_put(s, key, 1, NOW + (uint64_t)i));
		else
			(void)!kit_delete(s, key, NOW + (uint64_t)i);
		size_t who = kit_random(&seed, 2), max = 1 + kit_random(&seed, 4);
		if (kit_random(&seed, 50) == 0) at[who] = kit_random(&seed, kms_store_sequence(s) + 1);
		reading r = { .stop_after = 100 };
		plain p = { .count = 0 };
		CHECK_OK(kms_store_changes(s, APP, at[who], max, plain_one, &p));
		kms_changes_walk walk = { APP, at[who], UINT64_MAX, max, (kms_changes_reader)who };
		(void)kms_store_changes_step(&walk, s, read_one, &r);
		at[who] = walk.since;
		CHECK(r.count == p.count);
		CHECK_MEM(r.seen, p.next, p.count * sizeof(p.next[0]));
	}
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_record_keeps_its_origin_through_every_state),
	  T(merged_dead_records_stay_whatever_is_acknowledged), T(own_dead_records_leave_past_merged_ones),
	  T(room_is_planned_without_merged_stubs), T(steps_go_on_where_they_ended), T(hints_never_mislead))
