/* Token buckets: exact flow, a table that never grows, keys of addresses; and the keyed hash. */
#include <pthread.h>
#include <stdio.h>

#include "base/testing.h"
#include "base/ensure.h"
#include "base/siphash.h"
#include "kms/limit.h"
#include "test.h"

#define NOW 1000000
#define THREADS 4
#define A KMS_BYTES("a")

static kms_status take(kms_limiter *l, const char *key, uint64_t now_ms)
{
	return kms_limiter_take(NULL, l, kms_text_span(kms_text_from(key)), now_ms);
}

TEST(holds_a_burst_and_refills_at_the_rate)
{
	kms_limiter *l;
	uint64_t wait = 7;
	CHECK_OK(kms_limiter_new(&l, 60, 3, 10));
	for (int i = 0; i < 3; i++)
		CHECK_OK(kms_limiter_take(&wait, l, A, NOW));
	CHECK(wait == 0);
	CHECK_STATUS(KMS_ERR_RATE, kms_limiter_take(&wait, l, A, NOW));
	CHECK(wait == 1000);
	CHECK_STATUS(KMS_ERR_RATE, kms_limiter_take(&wait, l, A, NOW + 999));
	CHECK(wait == 1);
	CHECK_OK(take(l, "a", NOW + 1000));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", NOW + 1000));
	CHECK_OK(take(l, "b", NOW + 1000)); /* another key has its own bucket */
	for (int i = 0; i < 3; i++)
		CHECK_OK(take(l, "a", NOW + 60000)); /* full, and never more than full */
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", NOW + 60000));
	kms_limiter_free(l);
}

/* Any rate lets exactly burst + rate tokens through in the first minute. */
TEST(lets_no_more_through_than_it_says)
{
	static const struct {
		uint32_t per_minute, burst;
	} cases[] = { { 1, 1 }, { 7, 2 }, { 30, 30 }, { 120, 1 }, { 6000, 50 } };
	for (size_t c = 0; c < KMS_ARRAY_LEN(cases); c++) {
		kms_limiter *l;
		uint32_t taken = 0;
		CHECK_OK(kms_limiter_new(&l, cases[c].per_minute, cases[c].burst, 1));
		for (uint64_t ms = 0; ms <= 60000; ms++) {
			while (take(l, "k", NOW + ms) == KMS_OK)
				taken++;
		}
		CHECK(taken == cases[c].per_minute + cases[c].burst);
		kms_limiter_free(l);
	}
}

TEST(a_clock_that_goes_back_gives_nothing)
{
	kms_limiter *l;
	CHECK_OK(kms_limiter_new(&l, 60, 1, 4));
	CHECK_OK(take(l, "a", NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", NOW - 500000));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", 0));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", NOW + 999));
	CHECK_OK(take(l, "a", NOW + 1000));
	kms_limiter_free(l);
}

TEST(a_full_table_shares_one_bucket)
{
	kms_limiter *l;
	CHECK_OK(kms_limiter_new(&l, 60, 2, 3));
	CHECK_OK(take(l, "a", NOW));
	CHECK_OK(take(l, "b", NOW));
	CHECK_OK(take(l, "c", NOW));
	CHECK(kms_limiter_count(l) == 3);
	CHECK_OK(take(l, "d", NOW)); /* d and e have two tokens between them */
	CHECK_OK(take(l, "e", NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "d", NOW));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "f", NOW));
	CHECK_OK(take(l, "a", NOW)); /* keys with a bucket of their own keep it */
	CHECK(kms_limiter_count(l) == 3);
	CHECK_STATUS(KMS_ERR_RATE, take(l, "d", NOW + 999));
	/* At +1000 b and c are full and forgotten; a is not. */
	CHECK_OK(take(l, "d", NOW + 1000));
	CHECK_OK(take(l, "d", NOW + 1000));
	CHECK(kms_limiter_count(l) == 2);
	CHECK_OK(take(l, "a", NOW + 1000));
	CHECK_STATUS(KMS_ERR_RATE, take(l, "a", NOW + 1000));
	kms_limiter_free(l);
}

/* In any order of calls, a bucket that is not full keeps its count. */
TEST(forgets_full_buckets_only)
{
	enum { KEYS = 200, PLACES = 64 };
	kms_limiter *l;
	uint64_t x = 1, full[KEYS] = { 0 };
	CHECK_OK(kms_limiter_new(&l, 600, 5, PLACES)); /* 100 ms a token */
	for (int step = 0; step < 50000; step++) {
		uint64_t now = NOW + (uint64_t)step * 3;
		x = x * 6364136223846793005u + 1442695040888963407u;
		uint32_t k = (uint32_t)(x >> 40) % KEYS;
		size_t held = 0;
		for (int i = 0; i < KEYS; i++)
			held += full[i] > now;
		if (held >= PLACES) k = 0;
		while (full[k] <= now && held >= PLACES && k < KEYS - 1)
			k++;
		uint64_t from = full[k] > now ? full[k] : now;
		kms_status want = from + 100 - now <= 500 ? KMS_OK : KMS_ERR_RATE;
		CHECK_STATUS(want, kms_limiter_take(NULL, l, kms_span_of(&k, sizeof(k)), now));
		if (want == KMS_OK) full[k] = from + 100;
		CHECK(kms_limiter_count(l) <= PLACES);
	}
	kms_limiter_free(l);
}

TEST(checks_its_arguments)
{
	kms_limiter *l = (kms_limiter *)1;
	char key[KMS_LIMIT_KEY + 1] = "k";
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 0, 1, 1));
	CHECK(!l);
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 1000000001, 1, 1));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 1, 0, 1));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 1, 100u * 365 * 24 * 60 + 1, 1));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 1, 1, 0));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_new(&l, 1, 1, 1000001));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_limiter_new(NULL, 1, 1, 1));
	CHECK_OK(kms_limiter_new(&l, 1, 100u * 365 * 24 * 60, 1));
	kms_limiter_free(l);
	CHECK_OK(kms_limiter_new(&l, 1000000000, UINT32_MAX, 1000000));
	CHECK_OK(kms_limiter_take(NULL, l, kms_span_of(key, KMS_LIMIT_KEY), 10000000000000));
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_limiter_take(NULL, l, kms_span_of(key, KMS_LIMIT_KEY), 10000000000001));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_take(NULL, l, kms_span_of(key, KMS_LIMIT_KEY + 1), NOW));
	CHECK_STATUS(KMS_ERR_RANGE, kms_limiter_take(NULL, l, kms_span_of(key, 0), NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_limiter_take(NULL, l, kms_span_of(NULL, 1), NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_limiter_take(NULL, NULL, kms_span_of(key, 1), NOW));
	kms_limiter_free(l);
	kms_limiter_free(NULL);
}

/* Keys that differ in any byte, or only in length, have different buckets. */
TEST(tells_keys_apart_by_every_byte)
{
	kms_limiter *l;
	uint8_t key[KMS_LIMIT_KEY] = { 0 };
	CHECK_OK(kms_limiter_new(&l, 1, 1, 100));
	for (size_t len = 1; len <= KMS_LIMIT_KEY; len++)
		CHECK_OK(kms_limiter_take(NULL, l, kms_span_of(key, len), NOW));
	for (size_t i = 0; i < KMS_LIMIT_KEY; i++) {
		key[i] = 1;
		CHECK_OK(kms_limiter_take(NULL, l, kms_span_of(key, sizeof(key)), NOW));
		CHECK_STATUS(KMS_ERR_RATE, kms_limiter_take(NULL, l, kms_span_of(key, sizeof(key)), NOW));
		key[i] = 0;
	}
	CHECK(kms_limiter_count(l) == 2 * (size_t)KMS_LIMIT_KEY);
	kms_limiter_free(l);
}

TEST(keys_addresses_as_limits_need_them)
{
	static const struct {
		const char *address;
		uint8_t key[8];
		size_t len;
	} good[] = {
		{ "192.0.2.7", { 192, 0, 2, 7 }, 4 },
		{ "::ffff:192.0.2.7", { 192, 0, 2, 7 }, 4 },
		{ "::ffff:c000:207", { 192, 0, 2, 7 }, 4 },
		{ "2001:db8:1:2:3:4:5:6", { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2 }, 8 },
		{ "2001:db8:1:2::", { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2 }, 8 },
		{ "2001:db8:1:3::", { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 3 }, 8 },
		{ "::1", { 0 }, 8 },
		{ "0.0.0.0", { 0 }, 4 },
	};
	static const char *const bad[] = { "",          "localhost", "1.2.3",    "1.2.3.4.5",
					   "1.2.3.256", "01.2.3.4",  "1.2.3.4 ", "::g",
					   "1::2::3",   "[::1]",     "::1%lo" };
	for (size_t i = 0; i < KMS_ARRAY_LEN(good); i++) {
		uint8_t key[8];
		size_t len, network_len;
		CHECK_OK(kms_address_limit_key(key, &len, &network_len, good[i].address));
		CHECK(len == good[i].len && network_len == (len == 8 ? 6 : 4));
		CHECK_MEM(key, good[i].key, sizeof(key));
	}
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		uint8_t key[8], zero[8] = { 0 };
		size_t len = 9, network_len = 9;
		CHECK_STATUS(KMS_ERR_ARGUMENT, kms_address_limit_key(key, &len, &network_len, bad[i]));
		CHECK(len == 0 && network_len == 0);
		CHECK_MEM(key, zero, sizeof(key));
	}
}

/* Requests of `count` addresses, each in a /64 of its own in 2001:db8:NETWORK::/48. Returns: how many had a
 * token. */
static int taken_in(kms_limiter *limiter, unsigned network, unsigned count, uint64_t now_ms)
{
	int taken = 0;
	for (unsigned i = 0; i < count; i++) {
		char address[64];
		snprintf(address, sizeof(address), "2001:db8:%x:%x::1", network, i);
		taken += kms_limiter_take_address(NULL, limiter, address, now_ms) == KMS_OK;
	}
	return taken;
}

TEST(counts_a_network_as_sixteen_addresses)
{
	uint64_t wait_ms;
	kms_limiter *limiter;
	CHECK_OK(kms_limiter_new(&limiter, 60, 2, 1000));
	/* 65 536 addresses of one site take neither all buckets nor the tokens of others. */
	CHECK(taken_in(limiter, 1, 65536, 1000) == 2 * KMS_LIMIT_NETWORK_SHARE);
	CHECK(kms_limiter_count(limiter) == 2 * KMS_LIMIT_NETWORK_SHARE + 1);
	CHECK(taken_in(limiter, 2, 20, 1000) == 20);
	CHECK_STATUS(KMS_ERR_RATE, kms_limiter_take_address(&wait_ms, limiter, "2001:db8:1:ffff::1", 1000));
	CHECK(wait_ms == 63); /* a sixteenth of a second, rounded up */
	CHECK_OK(kms_limiter_take_address(&wait_ms, limiter, "2001:db8:1:ffff::1", 1063));
	/* What one address is refused costs its network nothing. */
	for (int i = 0; i < 100; i++)
		(void)kms_limiter_take_address(NULL, limiter, "2001:db8:3:0::1", 1063);
	CHECK(taken_in(limiter, 3, 40, 1063) == 2 * KMS_LIMIT_NETWORK_SHARE - 2);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_limiter_take_address(&wait_ms, limiter, "unix", 1063));
	kms_limiter_free(limiter);
}

/* Aumasson, Bernstein, "SipHash: a fast short-input PRF" (2012), Appendix A, and their vectors. */
TEST(hashes_as_siphash_2_4)
{
	const kms_siphash_key key = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
	uint8_t in[15];
	for (uint8_t i = 0; i < sizeof(in); i++)
		in[i] = i;
	CHECK(kms_siphash(&key, kms_span_of(in, 15)) == 0xa129ca6149be45e5u);
	CHECK(kms_siphash(&key, kms_span_of(in, 0)) == 0x726fdb47dd0e0e31u);
	CHECK(kms_siphash_tagged(&key, 0x0706050403020100u, kms_span_of(in + 8, 7)) == 0xa129ca6149be45e5u);
	CHECK(kms_siphash(&key, kms_span_of(in, 1)) == 0x74f839c593dc67fdu);
	CHECK(kms_siphash(&key, kms_span_of(in, 8)) == 0x93f5f5799a932462u);
}

static void *take_many(void *context)
{
	kms_limiter *l = context;
	size_t taken = 0;
	for (int i = 0; i < 5000; i++)
		taken += take(l, "shared", NOW) == KMS_OK;
	return (void *)taken;
}

TEST(counts_exactly_between_threads)
{
	kms_limiter *l;
	pthread_t threads[THREADS];
	size_t taken = 0;
	CHECK_OK(kms_limiter_new(&l, 1, 9000, 4));
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, take_many, l) == 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		CHECK(pthread_join(threads[i], &result) == 0);
		taken += (size_t)result;
	}
	CHECK(taken == 9000);
	kms_limiter_free(l);
}

TEST(survives_failing_allocations)
{
	kms_status status = KMS_ERR_MEMORY;
	unsigned long fail = 0;
	while (status != KMS_OK) {
		kms_limiter *l = (kms_limiter *)1;
		kms_mem_fail_after(++fail);
		status = kms_limiter_new(&l, 1, 1, 8);
		kms_mem_fail_after(0);
		CHECK(status == KMS_OK || (status == KMS_ERR_MEMORY && !l));
		kms_limiter_free(l);
	}
	CHECK(fail > 4);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(holds_a_burst_and_refills_at_the_rate),
	  T(lets_no_more_through_than_it_says), T(a_clock_that_goes_back_gives_nothing),
	  T(a_full_table_shares_one_bucket), T(forgets_full_buckets_only), T(checks_its_arguments),
	  T(tells_keys_apart_by_every_byte), T(keys_addresses_as_limits_need_them),
	  T(counts_a_network_as_sixteen_addresses), T(hashes_as_siphash_2_4),
	  T(counts_exactly_between_threads), T(survives_failing_allocations))
