/* The cache of channel keys: one derivation a pair, a bound, use by several threads. */
#include "base/testing.h"
#include "material.h"

#include <pthread.h>

#include "kms/envelope.h"

/* Made at the first use, kept until the program ends. */
static kms_p384 *own_key;
static kms_p384 *peer_keys[6];

static const uint8_t *peer(size_t i)
{
	static const char *const scalars[] = { "11", "12", "13", "14", "15", "16" };
	if (!own_key) own_key = hex_p384("abcdef");
	if (!peer_keys[i]) peer_keys[i] = hex_p384(scalars[i]);
	return kms_p384_public(peer_keys[i]);
}

static bool holds(kms_channels *channels, size_t i)
{
	const uint8_t *point = peer(i);
	kms_secret *key = kms_channels_find(channels, own_key, point);
	kms_secret_unref(key);
	return key;
}

static kms_status get(kms_channels *channels, size_t i)
{
	const uint8_t *point = peer(i);
	kms_secret *key;
	kms_status status = kms_channels_get(&key, channels, own_key, point);
	kms_secret_unref(key);
	return status;
}

TEST(a_key_is_hkdf_of_the_shared_secret_and_kept)
{
	kms_channels *channels;
	kms_secret *x, *key, *again, *other_side;
	uint8_t want[32];
	const uint8_t *point = peer(0);
	CHECK_OK(kms_channels_new(&channels, 4));
	CHECK(!kms_channels_find(channels, own_key, point) && kms_channels_count(channels) == 0);
	CHECK_OK(kms_channels_get(&key, channels, own_key, point));
	CHECK_OK(kms_p384_ecdh(&x, own_key, point));
	CHECK_OK(kms_hkdf_sha256(kms_out_of(want, 32), kms_span_of(kms_secret_bytes(x), 48), KMS_NO_BYTES,
				 KMS_BYTES("encryption data")));
	CHECK(kms_secret_len(key) == 32);
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	/* The same object, not the same value derived again. */
	again = kms_channels_find(channels, own_key, point);
	CHECK(again == key);
	kms_secret_unref(again);
	CHECK_OK(kms_channels_get(&again, channels, own_key, point));
	CHECK(again == key && kms_channels_count(channels) == 1);
	/* The peer's side: another pair, an equal key. */
	CHECK_OK(kms_channels_get(&other_side, channels, peer_keys[0], kms_p384_public(own_key)));
	CHECK(kms_secret_equal(other_side, key) && kms_channels_count(channels) == 2);
	kms_channels_free(channels);
	/* A reference outlives the table. */
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(x);
	kms_secret_unref(key);
	kms_secret_unref(again);
	kms_secret_unref(other_side);
}

TEST(the_least_recently_used_goes_first)
{
	kms_channels *channels;
	CHECK_OK(kms_channels_new(&channels, 3));
	CHECK_OK(get(channels, 0));
	CHECK_OK(get(channels, 1));
	CHECK_OK(get(channels, 2));
	CHECK(holds(channels, 0)); /* this uses 0, so 1 is now the oldest */
	CHECK_OK(get(channels, 3));
	CHECK(kms_channels_count(channels) == 3);
	CHECK(holds(channels, 0) && !holds(channels, 1) && holds(channels, 2) && holds(channels, 3));
	CHECK_OK(get(channels, 4));
	CHECK_OK(get(channels, 5));
	CHECK(!holds(channels, 0) && !holds(channels, 2));
	CHECK(holds(channels, 3) && holds(channels, 4) && holds(channels, 5));
	kms_channels_free(channels);
	CHECK_OK(kms_channels_new(&channels, 1));
	CHECK_OK(get(channels, 0));
	CHECK_OK(get(channels, 1));
	CHECK(kms_channels_count(channels) == 1 && !holds(channels, 0) && holds(channels, 1));
	kms_channels_free(channels);
}

TEST(a_refused_peer_takes_no_entry)
{
	static const uint8_t off_curve[97] = { 4 };
	kms_channels *channels;
	kms_secret *key = (kms_secret *)&channels;
	(void)peer(0);
	CHECK_OK(kms_channels_new(&channels, 1));
	CHECK_OK(get(channels, 0));
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_channels_get(&key, channels, own_key, off_curve));
	CHECK(!key && kms_channels_count(channels) == 1 && holds(channels, 0));
	kms_channels_free(channels);
}

TEST(bounds_and_misuse)
{
	kms_channels *channels = NULL;
	kms_secret *key;
	const uint8_t *point = peer(0);
	CHECK_STATUS(KMS_ERR_RANGE, kms_channels_new(&channels, 0));
	CHECK_STATUS(KMS_ERR_RANGE, kms_channels_new(&channels, 65537));
	CHECK(!channels);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_channels_new(NULL, 1));
	CHECK_OK(kms_channels_new(&channels, 65536));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_channels_get(NULL, channels, own_key, point));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_channels_get(&key, NULL, own_key, point));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_channels_get(&key, channels, NULL, point));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_channels_get(&key, channels, own_key, NULL));
	CHECK(!kms_channels_find(NULL, own_key, point) && !kms_channels_find(channels, NULL, point));
	CHECK(!kms_channels_find(channels, own_key, NULL) && kms_channels_count(NULL) == 0);
	kms_channels_free(channels);
	kms_channels_free(NULL);
}

static void sweep_failures(int *failed_)
{
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 500 && !ended; n++) {
		kms_channels *channels;
		kms_mem_fail_after(n);
		status = kms_channels_new(&channels, 2);
		if (status != KMS_OK) CHECK(!channels);
		if (status == KMS_OK) status = get(channels, 0);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(kms_channels_count(channels) == (status == KMS_OK ? 1 : 0));
		kms_channels_free(channels);
	}
	CHECK(ended && status == KMS_OK);
}

TEST(failing_allocations_leave_nothing)
{
	(void)peer(0);
	sweep_failures(failed_); /* this first run also makes the contexts that OpenSSL keeps */
	if (*failed_) return;
	size_t used = kms_guarded_used();
	sweep_failures(failed_);
	if (*failed_) return;
	CHECK(kms_guarded_used() == used);
}

typedef struct worker {
	pthread_t thread;
	kms_channels *channels;
	uint8_t (*want)[32];
	size_t first;
	int wrong;
} worker;

static void *use_channels(void *opaque)
{
	worker *w = opaque;
	for (size_t i = 0; i < 60; i++) {
		size_t p = (w->first + i) % 6;
		kms_secret *key = NULL;
		bool good =
		    kms_channels_get(&key, w->channels, own_key, kms_p384_public(peer_keys[p])) == KMS_OK &&
		    memcmp(kms_secret_bytes(key), w->want[p], 32) == 0;
		w->wrong += !good;
		kms_secret_unref(key);
	}
	return NULL;
}

TEST(threads_share_it_while_entries_come_and_go)
{
	enum { THREADS = 4 };
	worker workers[THREADS];
	uint8_t want[6][32];
	kms_channels *channels;
	CHECK_OK(kms_channels_new(&channels, 6));
	for (size_t i = 0; i < 6; i++) {
		kms_secret *key;
		const uint8_t *point = peer(i);
		CHECK_OK(kms_channels_get(&key, channels, own_key, point));
		memcpy(want[i], kms_secret_bytes(key), 32);
		kms_secret_unref(key);
	}
	kms_channels_free(channels);
	CHECK_OK(kms_channels_new(&channels, 3));
	for (size_t i = 0; i < THREADS; i++) {
		workers[i] = (worker){ .channels = channels, .want = want, .first = i };
		CHECK(pthread_create(&workers[i].thread, NULL, use_channels, &workers[i]) == 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(workers[i].wrong == 0);
	CHECK(kms_channels_count(channels) == 3);
	kms_channels_free(channels);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_key_is_hkdf_of_the_shared_secret_and_kept),
	  T(the_least_recently_used_goes_first), T(a_refused_peer_takes_no_entry), T(bounds_and_misuse),
	  T(failing_allocations_leave_nothing), T(threads_share_it_while_entries_come_and_go))
