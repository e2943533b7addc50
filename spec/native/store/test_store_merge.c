/* Merging records from peers: the table of docs/protocol.md section 8, and what is rejected. */
#include "merge_kit.h"

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

/* A ciphertext is larger than any prefix of it. */
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
	in.record.key.len--; /* far more than a local key may have */
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
	CALL(expect_rejected, s, tick(live(&in, 1, NOW), 2, NOW + SKEW + 1), KMS_ERR_FUTURE);
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
	/* ERR_FUTURE comes last: sending a record again does not help if something else is wrong. */
	CALL(expect_rejected, s, live(&in, 1, NOW + SKEW + 1), KMS_ERR_RECORD);
	CHECK(kit_stats(s).live_keys == 0);
	CALL(expect, s, tick(live(&in, 1, NOW + SKEW), 2, 1), KMS_MERGE_INSERTED);
	CALL(expect, s, tick(live(&in, 1, 0), 2, 2), KMS_MERGE_REPLACED_BY_VERSION); /* old is fine */
	tick(live(&in, 1, NOW), 2, 3);
	CHECK_STATUS(KMS_ERR_RANGE, kms_store_merge(&outcome, s, APP, &in.record, (1ull << 62) + 1));
	/* However late it is, stamps and counters are limited so that later writes never wrap. */
	live(&in, 1, (1ull << 62) + 1);
	tick(&in, 2, 3);
	CHECK_STATUS(KMS_ERR_FUTURE, kms_store_merge(&outcome, s, APP, &in.record, 1ull << 62));
	tick(live(&in, 1, NOW), 2, (1ull << 62) + 1);
	CHECK_STATUS(KMS_ERR_CLOCK_ENTRIES, kms_store_merge(&outcome, s, APP, &in.record, 1ull << 62));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_merge(NULL, s, APP, &in.record, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_merge(&outcome, s, APP, NULL, NOW));
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(follows_the_table), T(compares_ciphertexts_to_their_end),
	  T(names_its_outcomes), T(an_older_version_cannot_come_back_over_an_expired_one),
	  T(rejects_bad_contents), T(rejects_bad_keys), T(rejects_bad_clocks), T(rejects_the_future))
