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
	MUST(kms_tree_set_key(store, master));
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_newer_version_displaces_an_older_value_even_where_it_was_evicted),
	  T(a_stub_of_the_same_version_is_no_difference),
	  T(a_value_beyond_the_limits_is_kept_without_its_value), T(nothing_is_evicted_for_an_old_version),
	  T(a_version_that_the_operator_refuses_is_kept_without_its_value),
	  T(an_expired_record_takes_the_fingerprint_that_it_lacks))
