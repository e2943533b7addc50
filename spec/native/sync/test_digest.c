/* Repair: two stores find and move the versions that they do not share. */
#include "digest_kit.h"

static void expect_equal(int *failed_, kms_store *a, kms_store *b)
{
	repair_run run = repair(a, b);
	CHECK(!run.failed && run.state == KMS_DIGEST_EQUAL);
	CHECK(run.counts.questions == 1);
}

static void expect_repaired(int *failed_, kms_store *a, kms_store *b, uint64_t given, uint64_t wanted)
{
	repair_run run = repair(a, b);
	if (run.counts.given != given || run.counts.wanted != wanted)
		fprintf(stderr, "given %llu, wanted %llu\n", (unsigned long long)run.counts.given,
			(unsigned long long)run.counts.wanted);
	CHECK(!run.failed && run.state == KMS_DIGEST_DONE);
	CHECK(run.counts.given == given && run.counts.wanted == wanted);
	CALL(expect_equal, a, b);
	CALL(expect_equal, b, a);
}

TEST(equal_stores_exchange_one_small_message)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	CALL(expect_equal, a, b);
	for (size_t i = 0; i < 100; i++)
		put_sealed(a, APP, numbered(i), 1, 10, 0, NOW);
	CALL(expect_repaired, a, b, 100, 0);
	repair_run run = repair(a, b);
	CHECK(run.longest == 46);
	kms_store_free(a);
	kms_store_free(b);
}

TEST(each_side_gets_what_it_lacks)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 3000; i++)
		put_sealed(a, 1 + i % 7, numbered(i), 1, 10, 0, NOW);
	CALL(expect_repaired, a, b, 3000, 0);
	for (size_t i = 0; i < 50; i++) {
		put_sealed(a, 1 + i % 3, numbered(10000 + i), 1, 10, 0, NOW);
		put_sealed(b, 1 + i % 5, numbered(20000 + i), 1, 10, 0, NOW);
	}
	CALL(expect_repaired, a, b, 50, 50);
	kms_store_free(a);
	kms_store_free(b);
}

/* "100 of 100 writes missing on one member": the asker may be the one that lacks everything. */
TEST(an_empty_store_is_filled_by_its_own_questions)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 5000; i++)
		put_sealed(b, APP, numbered(i), 1, 10, 0, NOW);
	CALL(expect_repaired, a, b, 0, 5000);
	kms_store_free(a);
	kms_store_free(b);
}

TEST(older_values_are_replaced_on_either_side)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 200; i++)
		put_sealed(a, APP, numbered(i), 1, 10, 0, NOW - 10);
	CALL(expect_repaired, a, b, 200, 0);
	for (size_t i = 0; i < 20; i++) {
		put_sealed(a, APP, numbered(i), 2, 10, 0, NOW - 5);
		put_sealed(b, APP, numbered(100 + i), 3, 10, 0, NOW - 5);
		/* Written on both sides of a partition: the later write wins. */
		put_sealed(a, APP, numbered(50 + i), 4, 10, 0, NOW - 5);
		put_sealed(b, APP, numbered(50 + i), 5, 10, 0, NOW - 4);
	}
	repair_run run = repair(a, b);
	CHECK(!run.failed && run.state == KMS_DIGEST_DONE);
	CALL(expect_equal, a, b);
	kms_store_free(a);
	kms_store_free(b);
}

TEST(a_missed_deletion_arrives_and_none_comes_back)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 100; i++)
		put_sealed(a, APP, numbered(i), 1, 10, 0, NOW - 10);
	CALL(expect_repaired, a, b, 100, 0);
	for (size_t i = 0; i < 100; i += 2)
		CHECK_OK(kit_delete(a, numbered(i), NOW - 5));
	repair_run run = repair(b, a);
	CHECK(!run.failed && run.state == KMS_DIGEST_DONE);
	CALL(expect_equal, a, b);
	for (size_t i = 0; i < 100; i++)
		CHECK(state_of(b, numbered(i), NOW) == (i % 2 ? KMS_RECORD_LIVE : KMS_RECORD_TOMBSTONE));
	kms_store_free(a);
	kms_store_free(b);
}

TEST(many_hours_are_compared_hour_by_hour)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	for (size_t i = 0; i < 1500; i++)
		put_sealed(a, APP, numbered(i), 1, 10, (1 + i) * 3600000ull, NOW);
	CALL(expect_repaired, a, b, 1500, 0);
	put_sealed(b, APP, "another", 1, 10, 900 * 3600000ull, NOW);
	CALL(expect_repaired, a, b, 0, 1);
	kms_store_free(a);
	kms_store_free(b);
}

/* One expired it, the other has not yet: the same version. */
TEST(expiry_makes_no_difference)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	put_sealed(a, APP, "k", 1, 10, 5000, NOW);
	CALL(expect_repaired, a, b, 1, 0);
	CHECK(kms_store_expire(a, NOW + 5001, 10) == 1);
	CALL(expect_equal, a, b);
	kms_store_free(a);
	kms_store_free(b);
}

/* A deletion at the end of its retention: one has dropped it, the other not. */
TEST(the_end_of_retention_makes_no_difference)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	uint64_t past = NOW - RETENTION - 1000;
	kms_clock_entry clock = { { 9 }, 5 };
	kms_merge outcome;
	kms_record dead = { .key = KMS_TEXT("k"),
			    .clock = { &clock, 1 },
			    .updated_at_ms = past,
			    .state = KMS_RECORD_TOMBSTONE };
	CHECK_OK(kms_store_merge(&outcome, a, APP, &dead, past));
	CHECK(state_of(a, "k", past) == KMS_RECORD_TOMBSTONE);
	CALL(expect_equal, a, b);
	CALL(expect_equal, b, a);
	kms_store_free(a);
	kms_store_free(b);
}

TEST(another_master_secret_is_no_difference)
{
	kms_store *a = digest_store(1), *b = kit_store(2);
	kms_secret *other = hex_secret("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	MUST(kms_tree_set_key(&(bool){ false }, b, other, SIZE_MAX));
	kms_secret_unref(other);
	put_sealed(a, APP, "k", 1, 10, 0, NOW);
	repair_run run = repair(a, b);
	CHECK(!run.failed && run.state == KMS_DIGEST_OTHER_KEY && run.record_bytes == 0);
	kms_store_free(a);
	kms_store_free(b);
}

/* Repair of 100 records of 100 000 moves under 3 times their bytes and 20 KiB. */
TEST(repair_moves_little_more_than_the_difference)
{
	kms_store *a = digest_store(1), *b = digest_store(2);
	uint8_t value[300] = { 0 };
	char key[24];
	for (size_t i = 0; i < 100000; i++) {
		memcpy(value, &i, sizeof(i));
		int len = snprintf(key, sizeof(key), "users/%010zu", i);
		uint64_t at_ms;
		CHECK_OK(
		    kms_store_put(&at_ms, a, APP, kms_text_of(key, (size_t)len), KMS_SPAN(value), 0, NOW));
		CHECK_OK(
		    kms_store_put(&at_ms, b, APP, kms_text_of(key, (size_t)len), KMS_SPAN(value), 0, NOW));
	}
	CALL(expect_equal, a, b);
	for (size_t i = 0; i < 100; i++)
		put_sealed(a, APP, numbered(i), 1, 100, 0, NOW);
	repair_run run = repair(a, b);
	CHECK(!run.failed && run.counts.given == 100 && run.counts.wanted == 0);
	printf("# %zu bytes of records, %zu of digests, %llu questions\n", run.record_bytes, run.digest_bytes,
	       (unsigned long long)run.counts.questions);
	/* Digests travel in base64. */
	CHECK(run.record_bytes + run.digest_bytes * 4 / 3 <
	      3 * 100 * (100 + KMS_VALUE_SEAL_OVERHEAD) + 20480);
	CALL(expect_equal, a, b);
	kms_store_free(a);
	kms_store_free(b);
}

/* Random histories on both sides; one exchange without writes in between makes them equal. */
TEST(stores_of_any_history_become_equal)
{
	for (uint64_t round = 1; round <= 12; round++) {
		uint64_t seed = round * 0x9e3779b97f4a7c15ull, now = NOW - 100000;
		kms_store *s[2] = { digest_store(1), digest_store(2) };
		size_t keys = round * round * 10;
		asks_plainly = round % 2;
		for (size_t i = 0; i < keys * 3; i++) {
			size_t at = kit_random(&seed, 2);
			const char *key = numbered(kit_random(&seed, keys));
			uint64_t what = kit_random(&seed, 10);
			now += 1;
			if (what < 7)
				put_sealed(s[at], APP + kit_random(&seed, 3), key, (uint8_t)i, 4, 0, now);
			else if (what < 9)
				(void)kit_delete(s[at], key, now);
			if (i % (keys + 1) == keys) CHECK(!repair(s[at], s[!at]).failed);
		}
		for (size_t i = 0; i < 3; i++)
			CHECK(!repair(s[0], s[1]).failed);
		CALL(expect_equal, s[0], s[1]);
		kms_store_free(s[0]);
		kms_store_free(s[1]);
	}
	asks_plainly = false;
}

/* One exchange of few questions in which the peer refuses all that it is given; `taker` takes it instead. */
static void short_exchange(kms_store *a, kms_store *refusing, kms_store *taker)
{
	kms_digest *digest;
	repair_run run = { .now_ms = NOW };
	MUST(digest_begin(&digest, a, NOW));
	for (size_t i = 0; i < 10 && kms_digest_get_state(digest) == KMS_DIGEST_ASKING; i++) {
		uint64_t records;
		kms_buf question = new_text(), given = new_text(), answer = new_text(), wanted = new_text();
		MUST(kms_digest_ask(&question, &given, &records, digest, PAGE, NOW));
		apply_data(&run, taker, &given);
		MUST(kms_digest_answer(&answer, &wanted, &records, refusing, kms_buf_span(&question), PAGE,
				       false, NOW));
		MUST(kms_digest_take(digest, kms_buf_span(&answer)));
		kms_buf_free(&question);
		kms_buf_free(&given);
		kms_buf_free(&answer);
		kms_buf_free(&wanted);
	}
	kms_digest_free(digest);
}

static uint64_t count_records(kms_store *s)
{
	kms_store_stats stats;
	kms_store_get_stats(&stats, s);
	return stats.live_keys;
}

/* A peer without room holds nothing, or every second record. */
TEST(versions_that_are_refused_do_not_keep_others_waiting)
{
	for (size_t held = 0; held < 2; held++) {
		kms_store *a = digest_store(1), *refusing = digest_store(2), *taker = digest_store(3);
		for (size_t i = 0; i < 20000; i++) {
			put_sealed(a, APP, numbered(i), 1, 4, 0, NOW);
			if (held && i % 2) put_sealed(refusing, APP, numbered(i), 1, 4, 0, NOW);
		}
		short_exchange(a, refusing, taker);
		uint64_t first = count_records(taker);
		CHECK(first > 0 && first < 10000);
		for (size_t i = 0; i < 4; i++)
			short_exchange(a, refusing, taker);
		CHECK(count_records(taker) > first + first / 2);
		kms_store_free(a);
		kms_store_free(refusing);
		kms_store_free(taker);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(equal_stores_exchange_one_small_message), T(each_side_gets_what_it_lacks),
	  T(an_empty_store_is_filled_by_its_own_questions), T(older_values_are_replaced_on_either_side),
	  T(a_missed_deletion_arrives_and_none_comes_back), T(many_hours_are_compared_hour_by_hour),
	  T(expiry_makes_no_difference), T(the_end_of_retention_makes_no_difference),
	  T(another_master_secret_is_no_difference), T(repair_moves_little_more_than_the_difference),
	  T(stores_of_any_history_become_equal), T(versions_that_are_refused_do_not_keep_others_waiting))
