/* This node's counter in clocks, versions with equal clocks, and clocks that grow. */
#include "merge_kit.h"

/* ---- this node's counter ---- */

/* Puts "k" or another key and returns this node's counter in its clock. */
static uint64_t next_counter(kms_store *s, const char *key, uint64_t now_ms)
{
	record_copy r;
	if (kit_put(s, key, 2, now_ms) != KMS_OK || kit_peek(&r, s, key, now_ms) != KMS_OK) abort();
	return kit_counter(&r, SELF);
}

TEST(counters_follow_the_clock_and_never_stand_still)
{
	kms_store *s = kit_store(SELF);
	CHECK(next_counter(s, "k", NOW) == NOW);
	CHECK(next_counter(s, "k", NOW) == NOW + 1);
	CHECK(next_counter(s, "other", NOW) == NOW);
	CHECK(next_counter(s, "k", NOW - 5000) == NOW + 2); /* the clock went back */
	CHECK(next_counter(s, "k", NOW + 9) == NOW + 9);
	kms_store_free(s);
}

/* Two values with the same clock would never be compared again. */
TEST(a_restarted_node_does_not_repeat_a_counter)
{
	record_copy old, new;
	kms_merge outcome;
	kms_store *before = kit_store(SELF), *after = kit_store(SELF), *peer = kit_store(2);
	CHECK_OK(kit_put(before, "k", 9, NOW));
	CHECK_OK(kit_peek(&old, before, "k", NOW));
	CHECK_OK(kit_put(after, "k", 1, NOW + 1));
	CHECK_OK(kit_peek(&new, after, "k", NOW + 1));
	CHECK_OK(kms_store_merge(&outcome, peer, APP, &old.record, NOW + 1));
	CHECK_OK(kms_store_merge(&outcome, peer, APP, &new.record, NOW + 1));
	CHECK(outcome == KMS_MERGE_REPLACED_BY_VERSION && kit_get(peer, "k", NOW + 1) == 1);
	kms_store_free(before);
	kms_store_free(after);
	kms_store_free(peer);
}

/* Existing nodes count from 1; so does a node of which they hold nothing. */
TEST(counts_from_one_until_a_peer_shows_an_earlier_run)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	kms_store_count_from_one(s, true);
	CHECK(next_counter(s, "k", NOW) == 1 && next_counter(s, "k", NOW) == 2);
	/* A peer that gives back what this node wrote shows nothing new. */
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	in.record = r.record;
	CALL(expect, s, &in, KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK(next_counter(s, "other", NOW) == 1);
	CALL(expect, s, tick(live(&in, 9, NOW + 9), SELF, 3), KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(next_counter(s, "third", NOW) == NOW && next_counter(s, "k", NOW) == NOW);
	kms_store_count_from_one(s, true);
	CHECK(next_counter(s, "fourth", NOW) == NOW);
	kms_store_free(s);
	s = kit_store(SELF);
	kms_store_count_from_one(s, true);
	CHECK(next_counter(s, "k", NOW) == 1);
	kms_store_count_from_one(s, false);
	CHECK(next_counter(s, "k", NOW) == NOW);
	kms_store_free(s);
}

TEST(a_dropped_record_leaves_its_counter)
{
	kms_store *s = kit_store(SELF);
	for (int i = 0; i < 5; i++)
		CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_delete(s, "k", NOW));
	CHECK(kms_store_expire(s, NOW + 5 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 6 + RETENTION, 10) == 1);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_peek(s, APP, KMS_TEXT("k"), NOW, kit_copy, NULL));
	CHECK(next_counter(s, "k", NOW - 1) == NOW + 6); /* the delete had NOW + 5 */
	kms_store_free(s);
}

/* ---- this node's counter in what peers send ---- */

TEST(peers_do_not_move_this_nodes_counter)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	CALL(expect, s, tick(tick(live(&in, 1, NOW), SELF, NOW - 7), 2, 1), KMS_MERGE_INSERTED);
	CHECK(next_counter(s, "other", NOW - 9) == NOW - 9);
	CHECK(next_counter(s, "k", NOW - 9) == NOW - 6); /* over what is held */
	kms_store_free(s);
}

TEST(an_own_entry_ahead_of_the_clock_is_later)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	CALL(expect_rejected, s, tick(live(&in, 1, NOW), SELF, NOW + 1), KMS_ERR_FUTURE);
	CHECK(kit_stats(s).live_keys == 0);
	CALL(expect, s, tick(live(&in, 1, NOW), SELF, NOW), KMS_MERGE_INSERTED);
	/* What this node holds, or has dropped, it did write. */
	CHECK_OK(kit_put(s, "k", 2, NOW));
	CALL(expect, s, tick(tick(live(&in, 3, NOW + 1), SELF, NOW + 1), 2, 1),
	     KMS_MERGE_REPLACED_BY_VERSION);
	CALL(expect_rejected, s, tick(live(&in, 3, NOW), SELF, NOW + 2), KMS_ERR_FUTURE);
	CHECK(kms_store_expire(s, NOW + RETENTION, 10) == 0);
	CHECK_OK(kit_delete(s, "k", NOW));
	CHECK(kms_store_expire(s, NOW + 2 * RETENTION, 10) == 1);
	CALL(expect, s, tick(live(&in, 3, NOW), SELF, NOW + 2), KMS_MERGE_INSERTED);
	kms_store_free(s);
}

/*
 * A liar names the victim's counter as high as the victim's clock allows. A member whose clock is slow must
 * go on to take what the victim writes.
 */
TEST(a_liar_cannot_push_honest_writes_out_of_a_slow_members_reach)
{
	kms_store *victim = kit_store(SELF), *slow = kit_store(3);
	const uint64_t slow_now = NOW - SKEW;
	incoming in;
	record_copy r;
	kms_merge outcome;
	for (uint64_t ahead = 0; ahead <= SKEW; ahead += 500) {
		tick(live(&in, 1, NOW), SELF, NOW + ahead);
		in.record.key = KMS_TEXT("bait");
		(void)!merge(&outcome, victim, &in);
	}
	for (size_t i = 0; i < 40; i++) {
		const char *key = numbered(i);
		CHECK_OK(kit_put(victim, key, 7, NOW));
		CHECK_OK(kit_peek(&r, victim, key, NOW));
		CHECK_OK(kms_store_merge(&outcome, slow, APP, &r.record, slow_now));
		CHECK(outcome == KMS_MERGE_INSERTED);
	}
	kms_store_free(victim);
	kms_store_free(slow);
}

/* ---- equal clocks with different contents ---- */

static kms_merge settle(kms_store *s, const kms_record *record)
{
	kms_merge outcome;
	return kms_store_settle(&outcome, s, APP, record, NOW) == KMS_OK ? outcome : KMS_MERGE_REJECTED;
}

/* Stores of earlier releases and existing nodes start their counters again at 1. */
TEST(equal_clocks_are_settled_once)
{
	kms_store *a = kit_store(4), *b = kit_store(5);
	incoming in;
	record_copy r;
	CALL(expect, a, tick(live(&in, 5, NOW), 2, 1), KMS_MERGE_INSERTED);
	CHECK(settle(a, &in.record) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK(settle(a, &tick(live(&in, 4, NOW), 2, 1)->record) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CALL(expect, b, tick(live(&in, 6, NOW), 2, 1), KMS_MERGE_INSERTED);
	CALL(expect, a, &in, KMS_MERGE_IGNORED_EQUAL_VERSION); /* as existing nodes do */
	in.record.origin = 9;
	CHECK(settle(a, &in.record) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CHECK(kit_get(a, "k", NOW) == 6);
	CHECK_OK(kit_peek(&r, a, "k", NOW));
	CHECK(kit_counter(&r, 4) == NOW && kit_counter(&r, 2) == 1 && r.record.origin == 0);
	/* The other side takes the new clock, and that ends it. */
	CHECK(settle(b, &r.record) == KMS_MERGE_REPLACED_BY_VERSION);
	CHECK_OK(kit_peek(&r, b, "k", NOW));
	CHECK(kit_counter(&r, 5) == 0 && settle(a, &r.record) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	kms_store_free(a);
	kms_store_free(b);
}

/* It is the same version: it takes the fingerprint, and no new version comes of it. */
TEST(an_expired_record_of_unknown_value_settles_nothing)
{
	kms_store *s = kit_store(4);
	incoming in;
	tick(dead(&in, NOW - 100), 2, 1)->record.ttl_ms = 50;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	record_copy r;
	tick(live(&in, 5, NOW - 100), 2, 1)->record.ttl_ms = 50;
	CHECK(settle(s, &in.record) == KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(settle(s, &in.record) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && r.record.fingerprint.len == MIN_VALUE);
	CHECK(kit_counter(&r, 4) == 0 && kit_counter(&r, 2) == 1);
	CHECK(settle(s, &tick(live(&in, 5, NOW), 2, 1)->record) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
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
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK + 1 && kit_counter(&r, SELF) == NOW);
	CHECK_OK(kit_put(s, "k", 3, NOW)); /* over one of 65 */
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK && kit_counter(&r, SELF) == NOW + 1);
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
	CHECK(r.record.clock.len == KMS_STORE_MAX_CLOCK && kit_counter(&r, SELF) == NOW);
	/* Without members it shrinks to 64 entries. */
	CHECK_OK(kms_store_set_members(s, NULL, 0));
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK && kit_counter(&r, SELF) == NOW + 1);
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(counters_follow_the_clock_and_never_stand_still),
	  T(a_restarted_node_does_not_repeat_a_counter), T(counts_from_one_until_a_peer_shows_an_earlier_run),
	  T(a_dropped_record_leaves_its_counter), T(peers_do_not_move_this_nodes_counter),
	  T(an_own_entry_ahead_of_the_clock_is_later),
	  T(a_liar_cannot_push_honest_writes_out_of_a_slow_members_reach), T(equal_clocks_are_settled_once),
	  T(an_expired_record_of_unknown_value_settles_nothing),
	  T(a_local_write_drops_the_smallest_strangers), T(a_clock_never_outgrows_what_peers_take),
	  T(a_write_with_a_trimmed_clock_wins_at_a_peer))
