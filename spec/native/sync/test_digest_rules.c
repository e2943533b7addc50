/* What repair does with values that a member evicted, refuses, or has no room for. */
#include "digest_kit.h"

#define OLD (NOW - KMS_STORE_RECENT_MS - 1)

static kms_store *small_store(uint8_t self, size_t max_value, size_t app_bytes, size_t total_bytes)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(self);
	kms_secret *master = hex_secret(MASTER);
	config.max_value = max_value;
	config.max_app_bytes = app_bytes;
	config.max_total_bytes = total_bytes;
	MUST(kms_store_new(&store, &config));
	MUST(kms_tree_set_key(&(bool){ false }, store, master, SIZE_MAX));
	kms_secret_unref(master);
	return store;
}

static void expect_equal_after(int *failed_, kms_store *a, kms_store *b)
{
	CHECK(!repair(a, b).failed);
	repair_run run = repair(a, b);
	CHECK(!run.failed && run.state == KMS_DIGEST_EQUAL);
}

/* "Evicted before it was pushed": three members answered 404, the new value, and the old one, for good. */
TEST(a_newer_version_displaces_an_older_value_even_where_it_was_evicted)
{
	kms_store *a = small_store(1, 4096, 5000, 1 << 20), *b = digest_store(2), *c = digest_store(3);
	put_sealed(a, APP, "k", 1, 1000, 0, NOW - 50);
	CALL(expect_equal_after, a, b);
	CALL(expect_equal_after, a, c);
	put_sealed(a, APP, "k", 2, 1000, 0, NOW - 40);
	for (size_t i = 0; i < 4; i++)
		put_sealed(a, APP, numbered(i), 3, 1000, 0, NOW - 30);
	CHECK(state_of(a, "k", NOW) == KMS_RECORD_STUB);
	CALL(expect_equal_after, a, b);
	CALL(expect_equal_after, c, b);
	CHECK(state_of(b, "k", NOW) == KMS_RECORD_STUB && state_of(c, "k", NOW) == KMS_RECORD_STUB);
	kms_store_free(a);
	kms_store_free(b);
	kms_store_free(c);
}

static uint64_t count_live(kms_store *store)
{
	kms_store_stats stats;
	kms_store_get_stats(&stats, store);
	return stats.live_keys;
}

/* The last copy survives, and where the version was evicted repair does not bring it back. */
TEST(a_stub_of_the_same_version_is_no_difference)
{
	kms_store *a = small_store(1, 4096, 2500, 1 << 20), *b = digest_store(2);
	put_sealed(a, APP, "k", 1, 1000, 0, NOW - 50);
	CALL(expect_equal_after, a, b);
	for (size_t i = 0; i < 2; i++)
		put_sealed(a, APP, numbered(i), 3, 1000, 0, NOW - 30);
	CHECK(state_of(a, "k", NOW) == KMS_RECORD_STUB);
	CALL(expect_equal_after, b, a);
	CHECK(state_of(a, "k", NOW) == KMS_RECORD_STUB);
	CHECK(state_of(b, "k", NOW) == KMS_RECORD_LIVE);
	kms_store_free(a);
	kms_store_free(b);
}

TEST(a_value_beyond_the_limits_is_kept_without_its_value)
{
	kms_store *a = digest_store(1), *b = small_store(2, 200, 10000, 1 << 20),
		  *c = small_store(3, 4096, 900, 1 << 20);
	put_sealed(a, APP, "k", 1, 1000, 0, NOW - 50);
	CALL(expect_equal_after, a, b);
	CALL(expect_equal_after, c, a);
	CHECK(state_of(b, "k", NOW) == KMS_RECORD_STUB && state_of(c, "k", NOW) == KMS_RECORD_STUB);
	kms_store_free(a);
	kms_store_free(b);
	kms_store_free(c);
}

/* A member that was away holds what the others have deleted, and no tombstone is left of it. */
TEST(what_the_others_have_let_go_of_is_forgotten_after_an_absence)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 3000; i++)
		put_sealed(a, APP + i % 3, numbered(i), 1, 10, 0, NOW - 5000);
	put_sealed(a, APP, "at the limit", 1, 10, 0, NOW - 1000);
	put_sealed(a, APP, "meanwhile", 1, 10, 0, NOW - 50);
	put_sealed(b, APP, "theirs", 1, 10, 0, NOW - 4000);
	repair_run run = repair_forgetting(a, b, NOW - 1000, NOW);
	CHECK(!run.failed && run.state == KMS_DIGEST_DONE);
	CHECK(run.counts.forgotten == 3000 && run.counts.given == 2 && run.counts.wanted == 1);
	CHECK(count_live(a) == 3 && count_live(b) == 3);
	CALL(expect_equal_after, a, b);
	CHECK(kms_store_forget(a, APP, kms_text_from("nothing"), NOW) == KMS_ERR_NOT_FOUND);
	CHECK(kms_store_forget(a, 999, kms_text_from("theirs"), NOW) == KMS_ERR_NOT_FOUND);
	CHECK(kms_store_forget(a, APP, kms_text_from("theirs"), NOW - 4000) == KMS_ERR_STATE);
	CHECK(kms_store_forget(a, APP, kms_text_from("theirs"), NOW - 3999) == KMS_OK);
	kms_store_free(a);
	kms_store_free(b);
}

/* Members evict different records: if they made room for each other's, they would pass them round for ever.
 */
TEST(nothing_is_evicted_for_an_old_version)
{
	kms_store *a = digest_store(1), *b = small_store(2, 4096, 5000, 1 << 20);
	for (size_t i = 0; i < 4; i++)
		put_sealed(b, APP, numbered(i), 1, 1000, 0, OLD);
	put_sealed(a, APP, "old", 1, 1000, 0, OLD);
	put_sealed(a, APP, "young", 1, 1000, 0, NOW - 50);
	CALL(expect_equal_after, a, b);
	CHECK(state_of(b, "old", NOW) == KMS_RECORD_STUB);
	CHECK(state_of(b, "young", NOW) == KMS_RECORD_LIVE);
	size_t live = 0;
	for (size_t i = 0; i < 4; i++)
		live += state_of(b, numbered(i), NOW) == KMS_RECORD_LIVE;
	CHECK(live == 3); /* the young one took the place of one */
	kms_store_free(a);
	kms_store_free(b);
}

static kms_status repair_one(bool *without_value, kms_store *s, const kms_record *record, bool refused)
{
	kms_merge outcome;
	return kms_store_repair(&outcome, without_value, s, APP, record, refused, NOW);
}

TEST(a_version_that_the_operator_refuses_is_kept_without_its_value)
{
	kms_store *s = digest_store(1);
	bool without_value;
	uint8_t value[MIN_VALUE] = { 1 };
	kms_clock_entry clock = { { 9 }, 5 };
	kms_record record = { .key = KMS_TEXT("k"),
			      .value = KMS_SPAN(value),
			      .clock = { &clock, 1 },
			      .updated_at_ms = NOW - 5,
			      .origin = 3 };
	CHECK_OK(repair_one(&without_value, s, &record, true));
	CHECK(without_value && state_of(s, "k", NOW) == KMS_RECORD_STUB);
	record.key = KMS_TEXT("l");
	CHECK_OK(repair_one(&without_value, s, &record, false));
	CHECK(!without_value && state_of(s, "l", NOW) == KMS_RECORD_LIVE);
	/* A deletion has no value to refuse. */
	record.state = KMS_RECORD_TOMBSTONE;
	record.value = (kms_span){ NULL, 0 };
	clock.counter++;
	CHECK_OK(repair_one(&without_value, s, &record, true));
	CHECK(!without_value && state_of(s, "l", NOW) == KMS_RECORD_TOMBSTONE);
	/* What is no record stays one. */
	record.state = KMS_RECORD_LIVE;
	CHECK_STATUS(KMS_ERR_RECORD, repair_one(&without_value, s, &record, false));
	kms_store_free(s);
}

/* Existing nodes send an expired record without a fingerprint. */
TEST(an_expired_record_takes_the_fingerprint_that_it_lacks)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	kms_clock_entry clock = { { 9 }, 5 };
	uint8_t value[MIN_VALUE] = { 1 };
	kms_merge outcome;
	kms_record record = { .key = KMS_TEXT("k"),
			      .value = KMS_SPAN(value),
			      .clock = { &clock, 1 },
			      .updated_at_ms = NOW - 500,
			      .ttl_ms = 100 };
	CHECK_OK(kms_store_merge(&outcome, a, APP, &record, NOW - 450));
	record.state = KMS_RECORD_TOMBSTONE;
	record.value = (kms_span){ NULL, 0 };
	CHECK_OK(kms_store_merge(&outcome, b, APP, &record, NOW));
	CALL(expect_equal_after, a, b);
	record_copy r;
	CHECK_OK(kit_peek(&r, b, "k", NOW));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && r.record.fingerprint.len == MIN_VALUE);
	CHECK(kit_counter(&r, 2) == 0); /* no version of its own came of it */
	kms_store_free(a);
	kms_store_free(b);
}

#define MINUTE 60000ull
#define EVICTED 50

static size_t stubs_of(kms_store *s)
{
	return kit_stats(s).stubs;
}

/* Evicts EVICTED records in `a`, of which `b` learns as stubs only. */
static void share_stubs(int *failed_, kms_store *a, kms_store *b)
{
	for (size_t i = 0; i < EVICTED + 4; i++)
		put_sealed(a, APP, numbered(i), 1, 1000, 0, NOW - 1000 + i);
	CHECK(stubs_of(a) == EVICTED);
	CALL(expect_equal_after, a, b);
	CHECK(stubs_of(b) == EVICTED);
}

/* Each time one member dropped them, the other gave them back for a whole retention. */
TEST(stubs_end_after_the_retention_although_members_exchange_all_the_time)
{
	kms_store *a = small_store(1, 4096, 4200, 1 << 20), *b = digest_store(2);
	CALL(share_stubs, a, b);
	bool equal = true;
	for (uint64_t at = NOW; at <= NOW + RETENTION + 10 * MINUTE; at += 5 * MINUTE) {
		/* One member keeps its records in order an interval before the other. */
		kms_store_expire(at / MINUTE % 2 ? a : b, at, SIZE_MAX);
		equal = repair_at(a, b, at).state == KMS_DIGEST_EQUAL;
		equal = repair_at(b, a, at).state == KMS_DIGEST_EQUAL && equal;
		if (at < NOW + RETENTION - MINUTE) CHECK(stubs_of(a) == EVICTED && equal);
	}
	CHECK(stubs_of(a) == 0 && stubs_of(b) == 0 && equal);
	kms_store_free(a);
	kms_store_free(b);
}

/* What a peer says of a version past its retention is acknowledged; a held older version still gives way. */
TEST(a_peers_stub_past_its_retention_is_stored_only_for_an_older_version)
{
	kms_store *s = digest_store(1);
	bool without_value;
	uint64_t now_ms = NOW + RETENTION + 1;
	kms_merge outcome;
	kms_clock_entry clock = { { 9 }, 5 };
	kms_record stub = { .key = KMS_TEXT("k"),
			    .clock = { &clock, 1 },
			    .updated_at_ms = NOW,
			    .state = KMS_RECORD_STUB,
			    .fingerprint = { .len = MIN_VALUE },
			    .origin = 3 };
	CHECK_OK(kms_store_repair(&outcome, &without_value, s, APP, &stub, false, now_ms));
	CHECK(outcome == KMS_MERGE_IGNORED_EQUAL_VERSION && state_of(s, "k", now_ms) == NO_RECORD);
	CHECK_OK(kms_store_repair(&outcome, &without_value, s, APP, &stub, false, now_ms - 1));
	CHECK(outcome == KMS_MERGE_INSERTED);
	CHECK(kms_store_expire(s, now_ms - 1, 10) == 0);
	uint64_t least = now_ms - 1 + KMS_STORE_RECENT_MS;
	CHECK(kms_store_expire(s, least - 1, 10) == 0 && kms_store_expire(s, least, 10) == 1);
	uint8_t value[MIN_VALUE] = { 1 };
	kms_record older = stub;
	older.state = KMS_RECORD_LIVE;
	older.value = KMS_SPAN(value);
	older.updated_at_ms--;
	CHECK_OK(kms_store_merge(&outcome, s, APP, &older, now_ms));
	clock.counter++;
	CHECK_OK(kms_store_repair(&outcome, &without_value, s, APP, &stub, false, now_ms));
	CHECK(outcome == KMS_MERGE_REPLACED_BY_VERSION && state_of(s, "k", now_ms) == KMS_RECORD_STUB);
	kms_store_free(s);
}

/* As long as another member has the value, this one would get it again each time. */
TEST(a_value_that_had_to_stay_out_is_not_sent_again_before_a_retention_has_passed)
{
	kms_store *a = digest_store(1), *b = small_store(2, 200, 10000, 1 << 20);
	uint64_t now_ms = NOW + 2 * RETENTION;
	put_sealed(a, APP, "k", 1, 1000, 0, NOW);
	CHECK(!repair_at(a, b, now_ms).failed && state_of(b, "k", now_ms) == KMS_RECORD_STUB);
	CHECK(kms_store_expire(b, now_ms + RETENTION, 10) == 0);
	CHECK(repair_at(b, a, now_ms + RETENTION).state == KMS_DIGEST_EQUAL);
	kms_store_free(a);
	kms_store_free(b);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_newer_version_displaces_an_older_value_even_where_it_was_evicted),
	  T(a_stub_of_the_same_version_is_no_difference),
	  T(what_the_others_have_let_go_of_is_forgotten_after_an_absence),
	  T(a_value_beyond_the_limits_is_kept_without_its_value), T(nothing_is_evicted_for_an_old_version),
	  T(a_version_that_the_operator_refuses_is_kept_without_its_value),
	  T(an_expired_record_takes_the_fingerprint_that_it_lacks),
	  T(stubs_end_after_the_retention_although_members_exchange_all_the_time),
	  T(a_peers_stub_past_its_retention_is_stored_only_for_an_older_version),
	  T(a_value_that_had_to_stay_out_is_not_sent_again_before_a_retention_has_passed))
