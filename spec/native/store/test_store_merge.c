/* Merging records from peers: the table of section 8, clocks, floors, and what is rejected. */
#include "store_kit.h"

#define SELF 1

/* A record of a peer under construction. */
typedef struct incoming {
	kms_record record;
	kms_clock_entry clock[2 * KMS_STORE_MAX_CLOCK];
	uint8_t value[MIN_VALUE + 4];
} incoming;

/* A live record of key "k" whose ciphertext begins with `first`; no clock yet. */
static incoming *live(incoming *in, uint8_t first, uint64_t at_ms)
{
	*in = (incoming){ .value = { first } };
	in->record = (kms_record){ .key = kms_text_from("k"),
				   .value = kms_span_of(in->value, MIN_VALUE),
				   .clock = { in->clock, 0 },
				   .updated_at_ms = at_ms };
	return in;
}

static incoming *dead(incoming *in, uint64_t at_ms)
{
	live(in, 0, at_ms);
	in->record.value.bytes = NULL;
	in->record.value.len = 0;
	in->record.state = KMS_RECORD_TOMBSTONE;
	return in;
}

static incoming *tick(incoming *in, uint8_t node, uint64_t counter)
{
	in->clock[in->record.clock.len++] = (kms_clock_entry){ { node }, counter };
	return in;
}

static kms_status merge(kms_merge *outcome, kms_store *s, const incoming *in)
{
	return kms_store_merge(outcome, s, APP, &in->record, NOW);
}

static void expect(int *failed_, kms_store *s, const incoming *in, kms_merge want)
{
	kms_merge outcome = KMS_MERGE_REJECTED;
	CHECK_OK(merge(&outcome, s, in));
	if (outcome != want) fprintf(stderr, "got %s\n", kms_merge_name(outcome));
	CHECK(outcome == want);
}

static void expect_rejected(int *failed_, kms_store *s, const incoming *in, kms_status want)
{
	kms_merge outcome = KMS_MERGE_INSERTED;
	CHECK_STATUS(want, merge(&outcome, s, in));
	CHECK(outcome == KMS_MERGE_REJECTED);
}

/* The record of "k" as it must be now. */
static void expect_held(int *failed_, kms_store *s, kms_record_state state, int first, uint64_t at_ms,
			uint64_t b, uint64_t c)
{
	record_copy r;
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.state == state && r.record.updated_at_ms == at_ms);
	CHECK(kit_counter(&r, 2) == b && kit_counter(&r, 3) == c);
	CHECK(kit_get(s, "k", NOW) == first);
}

TEST(follows_the_table)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	CALL(expect, s, tick(live(&in, 5, NOW), 2, 3), KMS_MERGE_INSERTED);
	CALL(expect_held, s, KMS_RECORD_LIVE, 5, NOW, 3, 0);
	uint64_t before = kms_store_sequence(s);
	/* Equal: nothing changes, whatever the content. */
	CALL(expect, s, tick(live(&in, 6, NOW + 9), 2, 3), KMS_MERGE_IGNORED_EQUAL_VERSION);
	CALL(expect, s, tick(tick(live(&in, 6, NOW + 9), 2, 3), 3, 0), KMS_MERGE_IGNORED_EQUAL_VERSION);
	/* Before: the stamp does not matter. */
	CALL(expect, s, tick(live(&in, 6, NOW + 9), 2, 2), KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION);
	/* Concurrent and older, or of the same time and smaller: not even the clock changes. */
	CALL(expect, s, tick(live(&in, 6, NOW - 1), 3, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CALL(expect, s, tick(live(&in, 4, NOW), 3, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CALL(expect, s, tick(live(&in, 5, NOW), 3, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CALL(expect, s, tick(dead(&in, NOW), 3, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CALL(expect_held, s, KMS_RECORD_LIVE, 5, NOW, 3, 0);
	CHECK(kms_store_sequence(s) == before);
	/* After: the stamp does not matter. */
	CALL(expect, s, tick(live(&in, 1, NOW - 500), 2, 4), KMS_MERGE_REPLACED_BY_VERSION);
	CALL(expect_held, s, KMS_RECORD_LIVE, 1, NOW - 500, 4, 0);
	/* Concurrent and larger: clocks are joined. */
	CALL(expect, s, tick(live(&in, 2, NOW - 500), 3, 2), KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CALL(expect_held, s, KMS_RECORD_LIVE, 2, NOW - 500, 4, 2);
	CALL(expect, s, tick(dead(&in, NOW - 499), 3, 3), KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CALL(expect_held, s, KMS_RECORD_TOMBSTONE, -1, NOW - 499, 4, 3);
	/* Against a tombstone of the same time any ciphertext is larger, another tombstone is not. */
	CALL(expect, s, tick(dead(&in, NOW - 499), 4, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	CALL(expect, s, tick(live(&in, 0, NOW - 499), 4, 1), KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CHECK(kms_store_sequence(s) == before + 4);
	kms_store_free(s);
}

/* A longer ciphertext is larger than its beginning. */
TEST(compares_ciphertexts_to_their_end)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	CALL(expect, s, tick(live(&in, 5, NOW), 2, 1), KMS_MERGE_INSERTED);
	tick(live(&in, 5, NOW), 3, 1)->record.value.len = MIN_VALUE + 1;
	CALL(expect, s, &in, KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CALL(expect, s, tick(live(&in, 5, NOW), 4, 1), KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	kms_store_free(s);
}

TEST(names_its_outcomes)
{
	static const char *const names[] = { "rejected",
					     "inserted",
					     "replaced_by_version",
					     "ignored_equal_version",
					     "ignored_existing_newer_version",
					     "replaced_by_concurrent_lww",
					     "ignored_concurrent_tie_break" };
	for (size_t i = 0; i < KMS_ARRAY_LEN(names); i++)
		CHECK(strcmp(kms_merge_name((kms_merge)i), names[i]) == 0);
	CHECK(strcmp(kms_merge_name((kms_merge)99), "unknown") == 0);
}

/* ---- rejections, each at its limit and past it ---- */

TEST(rejects_bad_contents)
{
	static uint8_t value[1000 + 129];
	kms_store *s;
	kms_store_config config = kit_config(SELF);
	incoming in;
	config.max_value = 1000;
	CHECK_OK(kms_store_new(&s, &config));
	tick(live(&in, 1, NOW), 2, 1)->record.value.len = MIN_VALUE - 1;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	in.record.value.bytes = value;
	in.record.value.len = 1000 + 129;
	CALL(expect_rejected, s, &in, KMS_ERR_VALUE_SIZE);
	in.record.value.len = 1000 + 128;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	in.record.value.bytes = NULL;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	tick(dead(&in, NOW), 2, 2)->record.value.bytes = value;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	tick(dead(&in, NOW), 2, 2)->record.value.len = 1;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	tick(live(&in, 1, NOW), 2, 2)->record.state = KMS_RECORD_STUB;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	tick(live(&in, 1, NOW), 2, 2)->record.ttl_ms = KMS_STORE_MAX_TTL_MS + 1;
	CALL(expect_rejected, s, &in, KMS_ERR_TTL);
	in.record.ttl_ms--;
	CALL(expect, s, &in, KMS_MERGE_REPLACED_BY_VERSION);
	kms_store_free(s);
}

TEST(rejects_bad_keys)
{
	static char key[KMS_STORE_MAX_PEER_KEY + 1];
	kms_store *s = kit_store(SELF);
	incoming in;
	memset(key, 'k', sizeof(key));
	tick(live(&in, 1, NOW), 2, 1)->record.key.text = key;
	in.record.key.len = sizeof(key);
	CALL(expect_rejected, s, &in, KMS_ERR_KEY_SIZE);
	in.record.key.len--; /* far beyond what is accepted locally */
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	in.record.key.len = 0;
	CALL(expect_rejected, s, &in, KMS_ERR_KEY_SIZE);
	in.record.key.text = "a\0b";
	in.record.key.len = 3;
	CALL(expect_rejected, s, &in, KMS_ERR_UTF8);
	in.record.key.text = "\xff";
	in.record.key.len = 1;
	CALL(expect_rejected, s, &in, KMS_ERR_UTF8);
	kms_store_free(s);
}

TEST(rejects_bad_clocks)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	CALL(expect_rejected, s, live(&in, 1, NOW), KMS_ERR_RECORD); /* no clock */
	CALL(expect_rejected, s, tick(tick(live(&in, 1, NOW), 2, 1), 2, 1), KMS_ERR_RECORD);
	CALL(expect_rejected, s, tick(tick(tick(live(&in, 1, NOW), 2, 1), 3, 1), 2, 5), KMS_ERR_RECORD);
	CALL(expect_rejected, s, tick(live(&in, 1, NOW), 2, NOW + SKEW + 1), KMS_ERR_CLOCK_ENTRIES);
	CALL(expect_rejected, s, tick(tick(live(&in, 1, NOW), 2, 1), 3, UINT64_MAX), KMS_ERR_CLOCK_ENTRIES);
	CALL(expect, s, tick(live(&in, 1, NOW), 2, NOW + SKEW), KMS_MERGE_INSERTED);
	live(&in, 1, NOW);
	for (int i = 0; i <= KMS_STORE_MAX_CLOCK; i++) {
		tick(&in, 0, 1);
		in.clock[i].wallet20[1] = (uint8_t)i;
		in.clock[i].wallet20[2] = (uint8_t)(i >> 8);
	}
	CALL(expect_rejected, s, &in, KMS_ERR_CLOCK_ENTRIES);
	in.record.clock.len--;
	CALL(expect, s, &in, KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	kms_store_free(s);
}

TEST(rejects_the_future)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	kms_merge outcome;
	CALL(expect_rejected, s, tick(live(&in, 1, NOW + SKEW + 1), 2, 1), KMS_ERR_FUTURE);
	CALL(expect_rejected, s, tick(live(&in, 1, UINT64_MAX), 2, 1), KMS_ERR_FUTURE);
	/* What would be wrong later too is said first: such a record is not worth another try. */
	CALL(expect_rejected, s, live(&in, 1, NOW + SKEW + 1), KMS_ERR_RECORD);
	CHECK(kit_stats(s).live_keys == 0);
	CALL(expect, s, tick(live(&in, 1, NOW + SKEW), 2, 1), KMS_MERGE_INSERTED);
	CALL(expect, s, tick(live(&in, 1, 0), 2, 2), KMS_MERGE_REPLACED_BY_VERSION); /* old is fine */
	tick(live(&in, 1, NOW), 2, 3);
	CHECK_STATUS(KMS_ERR_RANGE, kms_store_merge(&outcome, s, APP, &in.record, (1ull << 62) + 1));
	/* However late it is, a stamp or counter leaves room for the writes that follow. */
	live(&in, 1, (1ull << 62) + 1);
	tick(&in, 2, 3);
	CHECK_STATUS(KMS_ERR_FUTURE, kms_store_merge(&outcome, s, APP, &in.record, 1ull << 62));
	tick(live(&in, 1, NOW), 2, (1ull << 62) + 1);
	CHECK_STATUS(KMS_ERR_CLOCK_ENTRIES, kms_store_merge(&outcome, s, APP, &in.record, 1ull << 62));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_merge(NULL, s, APP, &in.record, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_merge(&outcome, s, APP, NULL, NOW));
	kms_store_free(s);
}

/* ---- the floor ---- */

TEST(a_new_store_writes_above_what_peers_hold_of_it)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	CALL(expect, s, tick(tick(live(&in, 1, NOW), SELF, 7), 2, 1), KMS_MERGE_INSERTED);
	CHECK_OK(kit_put(s, "other", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "other", NOW));
	CHECK(kit_counter(&r, SELF) == 8); /* also for keys that the snapshot did not have */
	CHECK_OK(kit_put(s, "k", 2, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 8 && kit_counter(&r, 2) == 1);
	CHECK_OK(kit_put(s, "k", 3, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(kit_counter(&r, SELF) == 9); /* an own write is no reason to raise it */
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

/* A record with entries 1, 2, 3, ... of `count` strangers, the largest counter last. */
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
	/* Without members it comes down to 64. */
	CHECK_OK(kms_store_set_members(s, NULL, 0));
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == KMS_STORE_TRIM_CLOCK && kit_counter(&r, SELF) == 3);
	kms_store_free(s);
}

/* A trimmed clock is concurrent to what it replaced; its larger stamp wins there. */
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

/* ---- expired records ---- */

TEST(an_older_version_cannot_come_back_over_an_expired_one)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	record_copy r;
	tick(live(&in, 9, NOW - 100), 2, 5)->record.ttl_ms = 99;
	CALL(expect, s, &in, KMS_MERGE_INSERTED); /* expired on its way */
	CALL(expect_held, s, KMS_RECORD_TOMBSTONE, -1, NOW - 100, 5, 0);
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.ttl_ms == 99);
	CALL(expect, s, tick(live(&in, 8, NOW), 2, 4), KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION);
	CALL(expect, s, tick(live(&in, 8, NOW), 2, 5), KMS_MERGE_IGNORED_EQUAL_VERSION);
	CALL(expect, s, tick(live(&in, 8, NOW), 2, 6), KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(kit_get(s, "k", NOW) == 8);
	kms_store_free(s);
}

/* A tombstone that carries the ttl of what it deleted is kept from its own time on. */
TEST(keeps_tombstones_from_their_death_on)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	tick(dead(&in, NOW), 2, 1)->record.ttl_ms = KMS_STORE_MAX_TTL_MS;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	CHECK(kms_store_expire(s, NOW + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + RETENTION + 1, 10) == 1);
	tick(dead(&in, NOW - 1000), 2, 1)->record.ttl_ms = 500;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	CHECK(kms_store_expire(s, NOW - 500 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW - 499 + RETENTION, 10) == 1);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(follows_the_table), T(compares_ciphertexts_to_their_end),
	  T(names_its_outcomes), T(rejects_bad_contents), T(rejects_bad_keys), T(rejects_bad_clocks),
	  T(rejects_the_future), T(a_new_store_writes_above_what_peers_hold_of_it),
	  T(a_losing_record_raises_the_floor_too), T(a_rejected_record_does_not),
	  T(a_dropped_record_leaves_its_counter), T(a_local_write_drops_the_smallest_strangers),
	  T(a_clock_never_outgrows_what_peers_take), T(a_write_with_a_trimmed_clock_wins_at_a_peer),
	  T(an_older_version_cannot_come_back_over_an_expired_one), T(keeps_tombstones_from_their_death_on))
