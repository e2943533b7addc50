/* What a namespace costs in all, and who gives records up when the whole store is short. */
#include <pthread.h>
#include <stdatomic.h>

#include "store_kit.h"

#define MIB (1u << 20)
#define LONG_KEY 4000

static kms_store *store_of(size_t app_total, size_t total)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(SELF);
	config.max_app_total = app_total;
	config.max_total_bytes = total;
	config.max_tombstones = 100000;
	if (kms_store_new(&store, &config) != KMS_OK) abort();
	return store;
}

static kms_status put_in(kms_store *store, uint64_t app, size_t number, size_t key_len, size_t value_len,
			 uint64_t now_ms)
{
	static const uint8_t value[MIB];
	uint64_t at_ms;
	char key[LONG_KEY + 1];
	snprintf(key, sizeof(key), "%0*zu", (int)key_len, number);
	return kms_store_put(&at_ms, store, app, kms_text_of(key, key_len), kms_span_of(value, value_len), 0,
			     now_ms);
}

static bool has(kms_store *store, uint64_t app, size_t number, size_t key_len)
{
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	uint64_t at_ms;
	char key[LONG_KEY + 1];
	snprintf(key, sizeof(key), "%0*zu", (int)key_len, number);
	kms_status status = kms_store_get(&at_ms, &buf, store, app, kms_text_of(key, key_len), NOW);
	kms_buf_free(&buf);
	return status == KMS_OK;
}

static kms_store_stats stats_of(kms_store *store, uint64_t app)
{
	kms_store_stats stats;
	kms_store_get_app_stats(&stats, store, app);
	return stats;
}

/* ---- the total of one namespace ---- */

TEST(long_keys_with_empty_values_cost_what_they_take)
{
	kms_store *store = store_of(4 * MIB, 512 * MIB);
	for (size_t i = 0; i < 5000; i++) { /* 20 MB of keys, 140 kB of the quota */
		CHECK_OK(put_in(store, APP, i, LONG_KEY, MIN_VALUE, NOW + i));
		CHECK(stats_of(store, APP).total_bytes <= 4 * MIB);
	}
	kms_store_stats stats = stats_of(store, APP);
	CHECK(stats.live_keys > 900 && stats.evictions == 5000 - stats.live_keys);
	CHECK(has(store, APP, 4999, LONG_KEY) && !has(store, APP, 0, LONG_KEY));
	CHECK(stats.stubs == 0); /* a stub would take as much as its record */
	kms_store_free(store);
}

TEST(a_record_that_cannot_fit_alone_is_refused)
{
	kms_store *store = store_of(8192, 512 * MIB);
	CHECK_OK(put_in(store, APP, 1, 8, 2000, NOW));
	CHECK_STATUS(KMS_ERR_STORAGE_SIZE, put_in(store, APP, 2, 8, 8192, NOW));
	CHECK(has(store, APP, 1, 8) && stats_of(store, APP).evictions == 0);
	kms_store_free(store);
}

TEST(a_deletion_fits_into_a_full_namespace)
{
	kms_store *store = store_of(64 * 1024, 512 * MIB);
	for (size_t i = 0; i < 100; i++)
		CHECK_OK(put_in(store, APP, i, 6, 1000, NOW));
	CHECK_OK(kit_delete(store, "000099", NOW));
	CHECK(stats_of(store, APP).tombstones == 1);
	kms_store_free(store);
}

/* ---- a short store ---- */

/* The victim holds 9 MiB and writes small values while another fills the store with long keys and empty
 * values. */
TEST(a_neighbour_that_fills_the_store_takes_nothing_from_others)
{
	enum { VICTIM = 1, HOSTILE = 2, LATE = 3, OLD = 9, SMALL = 3000 };
	kms_store *store = store_of(0, 32 * MIB);
	for (size_t i = 0; i < OLD; i++)
		CHECK_OK(put_in(store, VICTIM, i, 10, MIB - 4096, NOW));
	for (size_t i = 0; i < 12000; i++) { /* 48 MB of keys: some are refused */
		(void)!put_in(store, HOSTILE, i, LONG_KEY, MIN_VALUE, NOW + 1);
		if (i % 4 == 0) CHECK_OK(put_in(store, VICTIM, 1000 + i / 4, 10, 50, NOW + 1));
	}
	CHECK(stats_of(store, VICTIM).evictions == 0 && stats_of(store, VICTIM).live_keys == OLD + SMALL);
	for (size_t i = 0; i < OLD; i++)
		CHECK(has(store, VICTIM, i, 10));
	CHECK(stats_of(store, HOSTILE).evictions > 0);
	for (uint64_t app = LATE; app < LATE + 50; app++) /* new applications get in */
		CHECK_OK(put_in(store, app, 1, 10, 50, NOW + 2));
	CHECK(stats_of(store, VICTIM).evictions == 0);
	kms_store_free(store);
}

/* Its dead records, which no peer has acknowledged, do not protect a namespace above its share. */
TEST(tombstones_of_a_neighbour_give_way_too)
{
	kms_store *store = store_of(0, 4 * MIB);
	uint64_t at_ms;
	char key[LONG_KEY + 1];
	kms_status status = KMS_OK;
	for (size_t i = 0; i < 2000 && status == KMS_OK; i++) {
		status = put_in(store, 1, i, LONG_KEY, MIN_VALUE, NOW);
		snprintf(key, sizeof(key), "%0*zu", LONG_KEY, i);
		if (status == KMS_OK)
			status = kms_store_delete(&at_ms, store, 1, kms_text_of(key, LONG_KEY), NOW);
	}
	CHECK_STATUS(KMS_ERR_STORE_FULL, status); /* it has nothing of its own to evict */
	uint64_t tombstones = stats_of(store, 1).tombstones;
	CHECK_OK(put_in(store, 2, 1, 10, MIB, NOW));
	CHECK(stats_of(store, 1).tombstones < tombstones && has(store, 2, 1, 10));
	kms_store_free(store);
}

TEST(the_largest_excess_pays_first_and_nobody_falls_below_the_share)
{
	kms_store *store = store_of(0, 6 * MIB);
	for (size_t i = 0; i < 190; i++) /* shares are 2 MiB */
		CHECK_OK(put_in(store, 1, i, 10, 16000, NOW));
	for (size_t i = 0; i < 140; i++)
		CHECK_OK(put_in(store, 2, i, 10, 16000, NOW));
	CHECK(stats_of(store, 1).evictions == 0 && stats_of(store, 2).evictions == 0);
	for (size_t i = 0; i < 60; i++)
		CHECK_OK(put_in(store, 3, i, 10, 16000, NOW));
	CHECK(stats_of(store, 1).evictions > 0 && stats_of(store, 2).evictions == 0);
	for (size_t i = 60; i < 400; i++)
		CHECK_OK(put_in(store, 3, i, 10, 16000, NOW)); /* at last it pays itself */
	CHECK(stats_of(store, 3).evictions > 200);
	for (uint64_t app = 1; app <= 3; app++)
		CHECK(stats_of(store, app).total_bytes > 2 * MIB - 20000);
	kms_store_free(store);
}

/* ---- threads ---- */

typedef struct worker {
	kms_store *store;
	uint64_t app;
	size_t value_len;
	atomic_size_t failed;
} worker;

static void *write_much(void *context)
{
	worker *w = context;
	for (size_t i = 0; i < 3000; i++) {
		kms_status status = put_in(w->store, w->app, i, 10, w->value_len, NOW + i);
		if (status != KMS_OK) atomic_fetch_add(&w->failed, 1);
	}
	return NULL;
}

TEST(many_threads_in_a_short_store_wait_for_nobody_for_ever)
{
	enum { WORKERS = 6 };
	kms_store *store = store_of(0, 2 * MIB);
	kms_store_set_acknowledged(store, UINT64_MAX);
	pthread_t threads[WORKERS];
	worker workers[WORKERS];
	for (size_t i = 0; i < WORKERS; i++) {
		workers[i] =
		    (worker){ .store = store, .app = i + 1, .value_len = i == 0 ? MIN_VALUE : 1000 * i };
		pthread_create(&threads[i], NULL, write_much, &workers[i]);
	}
	size_t failed = 0;
	for (size_t i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		failed += atomic_load(&workers[i].failed);
	}
	kms_store_stats stats;
	kms_store_get_stats(&stats, store);
	/* How many writes find no room depends on the scheduler; that most find some does not. */
	CHECK(stats.total_bytes <= 2 * MIB && stats.evictions > 0 && failed < WORKERS * 3000 / 2);
	kms_store_free(store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(long_keys_with_empty_values_cost_what_they_take),
	  T(a_record_that_cannot_fit_alone_is_refused), T(a_deletion_fits_into_a_full_namespace),
	  T(a_neighbour_that_fills_the_store_takes_nothing_from_others),
	  T(tombstones_of_a_neighbour_give_way_too),
	  T(the_largest_excess_pays_first_and_nobody_falls_below_the_share),
	  T(many_threads_in_a_short_store_wait_for_nobody_for_ever))
