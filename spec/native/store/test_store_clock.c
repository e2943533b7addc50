/* Clocks of local writes: the floor of this node's counter, and clocks that grow. */
#include "merge_kit.h"

/* ---- the floor ---- */

TEST(a_new_store_writes_above_what_peers_hold_of_it)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	CALL(expect, s, tick(tick(live(&in, 1, NOW), SELF, 7), 2, 1), KMS_MERGE_INSERTED);
	CHECK_OK(kit_put(s, "other", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "other", NOW));
	CHECK(kit_counter(&r, SELF) == 8); /* also for other keys */
	CHECK_OK(kit_put(s, "k", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 8 && kit_counter(&r, 2) == 1);
	CHECK_OK(kit_put(s, "k", 3, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 9); /* an own write does not raise the floor */
	CHECK_OK(kit_put(s, "third", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "third", NOW));
	CHECK(kit_counter(&r, SELF) == 8);
	kms_store_free(s);
}

TEST(a_losing_record_raises_the_floor_too)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CALL(expect, s, tick(live(&in, 1, NOW - 100), SELF, 20), KMS_MERGE_REPLACED_BY_VERSION);
	CALL(expect, s, tick(live(&in, 1, NOW), 2, 1), KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CALL(expect, s, tick(live(&in, 1, NOW - 100), SELF, 30), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CHECK_OK(kit_put(s, "k", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 31);
	kms_store_free(s);
}

TEST(a_rejected_record_does_not)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	CALL(expect_rejected, s, tick(live(&in, 1, NOW + SKEW + 1), SELF, 20), KMS_ERR_FUTURE);
	CHECK_OK(kit_put(s, "k", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 1);
	kms_store_free(s);
}

TEST(a_dropped_record_leaves_its_counter)
{
	kms_store *s = kit_store(SELF);
	record_copy r;
	for (int i = 0; i < 5; i++)
		CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_delete(s, "k", NOW));
	CHECK(kms_store_expire(s, NOW + 5 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 6 + RETENTION, 10) == 1);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_peek(&r, s, "k", NOW));
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 7);
	kms_store_free(s);
}

/* ---- clocks that grow ---- */

/* A record whose clock has entries of `count` strangers, with counters 1, 2, 3, ... */
static void strangers(incoming *in, int count)
{
	live(in, 1, NOW);
	for (int i = 0; i < count; i++) {
		tick(in, 200, (uint64_t)i + 1);
		in->clock[i].wallet20[1] = (uint8_t)i;
	}
}

TEST(a_local_write_drops_the_smallest_strangers)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	const uint8_t members[2][20] = { { 200, 0 }, { 200, 2 } }; /* counters 1 and 3 */
	CHECK_OK(kms_store_set_members(s, members, 2));
	strangers(&in, KMS_STORE_TRIM_CLOCK);
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	CHECK_OK(kit_put(s, "k", 2, NOW)); /* over a clock of 64: nothing is dropped */
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK + 1 && kit_counter(&r, SELF) == 1);
	CHECK_OK(kit_put(s, "k", 3, NOW)); /* over one of 65 */
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK && kit_counter(&r, SELF) == 2);
	CHECK(r.clock[1].counter == 1 && r.clock[2].counter == 3); /* members stay, 2 is gone */
	CHECK_OK(kit_put(s, "k", 3, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK);
	kms_store_free(s);
}

TEST(a_clock_never_outgrows_what_peers_take)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	uint8_t members[KMS_STORE_MAX_CLOCK][20] = { { 0 } };
	for (int i = 0; i < KMS_STORE_MAX_CLOCK; i++) {
		members[i][0] = 200;
		members[i][1] = (uint8_t)i;
	}
	CHECK_OK(kms_store_set_members(s, members, KMS_STORE_MAX_CLOCK));
	strangers(&in, KMS_STORE_MAX_CLOCK);
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	tick(tick(live(&in, 1, NOW + 1), 2, 500), SELF, 1);
	CALL(expect, s, &in, KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_MAX_CLOCK);
	CHECK(kit_counter(&r, SELF) == 1); /* the smallest, and never dropped */
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_MAX_CLOCK && kit_counter(&r, SELF) == 2);
	/* Without members it shrinks to 64 entries. */
	CHECK_OK(kms_store_set_members(s, NULL, 0));
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK && kit_counter(&r, SELF) == 3);
	kms_store_free(s);
}

/* A trimmed clock is concurrent with the one it replaced; the larger stamp of its record wins. */
TEST(a_write_with_a_trimmed_clock_wins_at_a_peer)
{
	kms_store *a = kit_store(1), *b = kit_store(2);
	incoming in;
	record_copy r;
	kms_merge outcome;
	strangers(&in, 100);
	CALL(expect, a, &in, KMS_MERGE_INSERTED);
	CALL(expect, b, &in, KMS_MERGE_INSERTED);
	CHECK_OK(kit_put(a, "k", 77, NOW));
	CHECK_OK(kit_peek(&r, a, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK);
	CHECK_OK(kms_store_merge(&outcome, b, APP, &r.record, NOW));
	CHECK(outcome == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW && kit_get(b, "k", NOW) == 77);
	CHECK_OK(kit_peek(&r, b, "k", NOW));
	CHECK_OK(kms_store_merge(&outcome, a, APP, &r.record, NOW));
	CHECK(outcome == KMS_MERGE_REPLACED_BY_VERSION && kit_get(a, "k", NOW) == 77);
	kms_store_free(a);
	kms_store_free(b);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_new_store_writes_above_what_peers_hold_of_it),
	  T(a_losing_record_raises_the_floor_too), T(a_rejected_record_does_not),
	  T(a_dropped_record_leaves_its_counter), T(a_local_write_drops_the_smallest_strangers),
	  T(a_clock_never_outgrows_what_peers_take), T(a_write_with_a_trimmed_clock_wins_at_a_peer))
