/* Token buckets with a rate in each call: flow, slow rates, bounds, a full table. */
#include <math.h>

#include "base/ensure.h"
#include "kms/limit.h"
#include "test.h"

#define NOW 1000000

static kms_status take(kms_buckets *b, const char *key, double rate, double burst, uint64_t now_ms)
{
	return kms_buckets_take(b, kms_text_span(kms_text_from(key)), rate, burst, now_ms);
}

TEST(holds_a_burst_and_refills_at_the_rate)
{
	kms_buckets *b;
	CHECK_OK(kms_buckets_new(&b, 64));
	for (int i = 0; i < 3; i++)
		CHECK_OK(take(b, "a", 2, 3, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 2, 3, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 2, 3, NOW + 499));
	CHECK_OK(take(b, "a", 2, 3, NOW + 500));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 2, 3, NOW + 500));
	for (int i = 0; i < 3; i++)
		CHECK_OK(take(b, "a", 2, 3, NOW + 100000)); /* full, and never more than full */
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 2, 3, NOW + 100000));
	kms_buckets_free(b);
}

TEST(another_rate_or_key_is_another_bucket)
{
	kms_buckets *b;
	CHECK_OK(kms_buckets_new(&b, 64));
	CHECK_OK(take(b, "a", 1, 1, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1, 1, NOW));
	CHECK_OK(take(b, "a", 2, 1, NOW));
	CHECK_OK(take(b, "a", 1, 2, NOW));
	CHECK_OK(take(b, "b", 1, 1, NOW));
	CHECK_OK(take(b, "", 1, 1, NOW));
	kms_buckets_free(b);
}

/* A hundred a day: rounding neither loses nor adds any. */
TEST(counts_a_slow_rate)
{
	const uint64_t day = 86400000;
	kms_buckets *b;
	int taken = 0;
	CHECK_OK(kms_buckets_new(&b, 64));
	for (uint64_t ms = 0; ms <= day; ms += 1000)
		if (take(b, "k", 100.0 / 86400, 1, NOW + ms) == KMS_OK) taken++;
	CHECK(taken >= 98 && taken <= 101);
	kms_buckets_free(b);
}

/* With room for one and a half tokens, the second comes after half an interval. */
TEST(holds_parts_of_a_token)
{
	kms_buckets *b;
	CHECK_OK(kms_buckets_new(&b, 64));
	CHECK_OK(take(b, "a", 1, 1.5, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1, 1.5, NOW + 499));
	CHECK_OK(take(b, "a", 1, 1.5, NOW + 500));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1, 1.5, NOW + 1499));
	CHECK_OK(take(b, "a", 1, 1.5, NOW + 1500));
	kms_buckets_free(b);
}

TEST(gives_the_whole_burst_at_a_rate_that_never_refills)
{
	kms_buckets *b;
	CHECK_OK(kms_buckets_new(&b, 64));
	for (int i = 0; i < 1000; i++)
		CHECK_OK(take(b, "a", 1e-300, 1000, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1e-300, 1000, 10000000000000ull));
	CHECK_OK(take(b, "b", 1e-300, 1e12, NOW));
	kms_buckets_free(b);
}

TEST(a_clock_that_goes_back_gives_nothing)
{
	kms_buckets *b;
	CHECK_OK(kms_buckets_new(&b, 64));
	CHECK_OK(take(b, "a", 1, 1, NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1, 1, 0));
	CHECK_STATUS(KMS_ERR_RATE, take(b, "a", 1, 1, NOW + 999));
	CHECK_OK(take(b, "a", 1, 1, NOW + 1000));
	kms_buckets_free(b);
}

TEST(refuses_new_keys_where_all_places_are_taken)
{
	kms_buckets *b;
	char key[16];
	int refused = 0;
	CHECK_OK(kms_buckets_new(&b, 8));
	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		CHECK_OK(take(b, key, 1, 2, NOW));
	}
	for (int i = 8; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		if (take(b, key, 1, 2, NOW) == KMS_ERR_RATE) refused++;
	}
	CHECK(refused == 12);
	CHECK_OK(take(b, "k0", 1, 2, NOW));          /* known keys go on */
	CHECK_OK(take(b, "k8", 1, 2, NOW + 100000)); /* full buckets make room */
	kms_buckets_free(b);
}

TEST(refuses_what_is_out_of_range)
{
	kms_buckets *b;
	CHECK_STATUS(KMS_ERR_RANGE, kms_buckets_new(&b, 7));
	CHECK(b == NULL);
	CHECK_STATUS(KMS_ERR_RANGE, kms_buckets_new(&b, 1000001));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buckets_new(NULL, 8));
	CHECK_OK(kms_buckets_new(&b, 8));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 0, 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", -1, 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", NAN, 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 1e9 * 1.01, 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 1, 0.5, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 1, NAN, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 1, INFINITY, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, take(b, "a", 1, 1, 10000000000001ull));
	CHECK_OK(take(b, "a", 1e9, 1e12, 10000000000000ull));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buckets_take(b, kms_span_of(NULL, 1), 1, 1, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buckets_take(NULL, kms_span_of("a", 1), 1, 1, NOW));
	kms_buckets_free(b);
	kms_buckets_free(NULL);
}

RUN_TESTS(0, T(holds_a_burst_and_refills_at_the_rate), T(another_rate_or_key_is_another_bucket),
	  T(counts_a_slow_rate), T(holds_parts_of_a_token),
	  T(gives_the_whole_burst_at_a_rate_that_never_refills), T(a_clock_that_goes_back_gives_nothing),
	  T(refuses_new_keys_where_all_places_are_taken), T(refuses_what_is_out_of_range))
