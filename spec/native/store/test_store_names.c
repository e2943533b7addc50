/*
 * Namespaces come and go: one that holds nothing gives its place back, and a part of the places and of the
 * room is kept for local writes.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tree_kit.h"

#define AFTER (NOW + RETENTION + 10)
#define PEER 7 /* number of the peer that a merged record comes from */
#define VALUE_MAX (256u << 10)

static kms_store *store_of(size_t namespaces, size_t total, uint64_t retention_ms)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(SELF);
	config.max_namespaces = namespaces;
	config.max_total_bytes = total;
	config.tombstone_retention_ms = retention_ms;
	if (kms_store_new(&store, &config) != KMS_OK) abort();
	return store;
}

static kms_status put_in(kms_store *store, uint64_t app, const char *key, size_t len, uint64_t now_ms)
{
	static const uint8_t value[VALUE_MAX];
	uint64_t at_ms;
	return kms_store_put(&at_ms, store, app, kms_text_from(key), kms_span_of(value, len), 0, now_ms);
}

static kms_status delete_in(kms_store *store, uint64_t app, const char *key, uint64_t now_ms)
{
	uint64_t at_ms;
	return kms_store_delete(&at_ms, store, app, kms_text_from(key), now_ms);
}

/* Merges a record of a peer whose clock is { 9: 1 }. */
static kms_status merge_in(kms_store *store, uint64_t app, const char *key, size_t len, uint64_t now_ms)
{
	static const uint8_t value[VALUE_MAX];
	kms_merge outcome;
	kms_clock_entry clock[1] = { { { 9 }, 1 } };
	kms_record record = { .key = kms_text_from(key),
			      .value = kms_span_of(value, len),
			      .clock = { clock, 1 },
			      .updated_at_ms = now_ms,
			      .origin = PEER };
	return kms_store_merge(&outcome, store, app, &record, now_ms);
}

static uint64_t counter_in(kms_store *store, uint64_t app, const char *key, uint64_t now_ms)
{
	record_copy copy;
	if (kms_store_peek(store, app, kms_text_from(key), now_ms, kit_copy, &copy) != KMS_OK) return 0;
	return kit_counter(&copy, SELF);
}

static kms_store_stats total_of(kms_store *store)
{
	kms_store_stats stats;
	kms_store_get_stats(&stats, store);
	return stats;
}

/* ---- coming and going ---- */

TEST(a_namespace_that_holds_nothing_gives_its_place_back)
{
	kms_store *store = store_of(2, 1u << 20, RETENTION);
	CHECK_OK(put_in(store, 1, "k", MIN_VALUE, NOW));
	CHECK_OK(put_in(store, 2, "k", MIN_VALUE, NOW));
	CHECK_OK(delete_in(store, 1, "k", NOW));
	CHECK_STATUS(KMS_ERR_NAMESPACES,
		     put_in(store, 3, "k", MIN_VALUE, NOW)); /* a tombstone is something */
	CHECK(kms_store_expire(store, AFTER, 100) == 1);
	CHECK(total_of(store).namespaces == 1 && !kms_store_has_app(store, 1) && kms_store_has_app(store, 2));
	CHECK_OK(put_in(store, 3, "k", MIN_VALUE, AFTER));
	CHECK_STATUS(KMS_ERR_NAMESPACES, put_in(store, 1, "k", MIN_VALUE, AFTER));
	CHECK(counter_in(store, 2, "k", AFTER) == NOW);
	CHECK_OK(delete_in(store, 2, "k", AFTER));
	CHECK_OK(delete_in(store, 3, "k", AFTER));
	CHECK(kms_store_expire(store, AFTER + RETENTION + 10, 100) == 2);
	CHECK(total_of(store).namespaces == 0 && total_of(store).total_bytes == 0);
	kms_store_free(store);
}

TEST(any_number_of_applications_come_one_after_the_other)
{
	enum { APPS = 500 };
	kms_store *store = store_of(8, 1u << 20, 0);
	for (uint64_t app = 1; app <= APPS; app++) {
		CHECK_OK(put_in(store, app, "k", MIN_VALUE, NOW + app));
		if (app > 5) CHECK_OK(delete_in(store, app - 5, "k", NOW + app));
		(void)kms_store_expire(store, NOW + app + 1, 100);
		CHECK(total_of(store).namespaces <= 6);
		for (uint64_t other = app > 4 ? app - 4 : 1; other <= app; other++)
			CHECK(counter_in(store, other, "k", NOW + app) > 0);
	}
	kms_store_free(store);
}

TEST(counters_do_not_repeat_after_a_namespace_has_gone)
{
	kms_store *store = store_of(2, 1u << 20, RETENTION);
	for (int i = 0; i < 9; i++)
		CHECK_OK(put_in(store, 1, "k", MIN_VALUE, NOW));
	uint64_t last = counter_in(store, 1, "k", NOW);
	CHECK_OK(delete_in(store, 1, "k", NOW + 1));
	CHECK(kms_store_expire(store, AFTER, 100) == 1 && !kms_store_has_app(store, 1));
	CHECK_OK(put_in(store, 2, "k", MIN_VALUE, AFTER)); /* takes the place of the first */
	CHECK_OK(put_in(store, 1, "k", MIN_VALUE, NOW));   /* the clock was set back */
	CHECK(counter_in(store, 1, "k", NOW) > last + 1);
	kms_store_free(store);
}

TEST(a_failed_write_leaves_no_namespace)
{
	kms_store *store = store_of(2, 64u << 10, RETENTION);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_in(store, 1, "k", 100u << 10, NOW));
	CHECK_STATUS(KMS_ERR_STORE_FULL, merge_in(store, 2, "k", 100u << 10, NOW));
	CHECK(total_of(store).namespaces == 0 && total_of(store).total_bytes == 0);
	kms_store_free(store);
}

TEST(sync_finds_the_changes_of_the_application_that_took_a_place)
{
	kms_store *store = store_of(1, 1u << 20, 0);
	uint64_t *ids;
	size_t count;
	CHECK_OK(put_in(store, 1, "k", MIN_VALUE, NOW));
	CHECK_OK(delete_in(store, 1, "k", NOW));
	CHECK(kms_store_expire(store, NOW + 5, 100) == 1);
	CHECK_OK(kms_store_changed_apps(&ids, &count, store, 0));
	CHECK(count == 0 && !ids);
	uint64_t before = kms_store_sequence(store);
	CHECK_OK(put_in(store, 2, "k", MIN_VALUE, NOW + 5));
	CHECK_OK(kms_store_changed_apps(&ids, &count, store, before));
	CHECK(count == 1 && ids[0] == 2);
	kms_store_ids_free(ids);
	kms_store_free(store);
}

/* The place of the first one is vacant, and the others' records are in the tree that is built then. */
TEST(a_hash_tree_has_the_namespaces_behind_one_that_has_gone)
{
	kms_store *store = store_of(8, 1u << 20, 0);
	for (uint64_t app = 1; app <= 3; app++)
		CHECK_OK(put_in(store, app, "k", MIN_VALUE, NOW));
	CHECK_OK(delete_in(store, 1, "k", NOW));
	CHECK(kms_store_expire(store, NOW + 5, 100) == 1);
	kit_set_key(store, 7);
	kms_tree_view view;
	const kms_tree_range all = { 0 };
	CHECK_OK(kms_tree_look(&view, store, &all));
	CHECK(view.count == 2);
	kms_store_free(store);
}

/* ---- the reserve for local writes ---- */

TEST(records_from_peers_leave_an_eighth_of_the_namespaces)
{
	kms_store *store = store_of(16, 1u << 20, RETENTION);
	for (uint64_t app = 1; app <= 14; app++)
		CHECK_OK(merge_in(store, app, "k", MIN_VALUE, NOW));
	CHECK_STATUS(KMS_ERR_NAMESPACES, merge_in(store, 15, "k", MIN_VALUE, NOW));
	CHECK_OK(merge_in(store, 14, "other", MIN_VALUE, NOW)); /* it has a namespace */
	CHECK_OK(put_in(store, 15, "k", MIN_VALUE, NOW));
	CHECK_OK(put_in(store, 16, "k", MIN_VALUE, NOW));
	CHECK_STATUS(KMS_ERR_NAMESPACES, put_in(store, 17, "k", MIN_VALUE, NOW));
	kms_store_free(store);
}

/* A peer fills the store with namespaces that hold exactly their share: none of them would give way. */
TEST(records_from_peers_leave_an_eighth_of_the_room)
{
	enum { APPS = 64, TOTAL = 1 << 20 };
	kms_store *store = store_of(100, TOTAL, RETENTION);
	for (int round = 0; round < 40; round++) {
		for (uint64_t app = 1; app <= APPS; app++)
			(void)!merge_in(store, app, numbered((size_t)round), 1000, NOW);
	}
	CHECK(total_of(store).total_bytes > TOTAL / 8 * 7 - 4096);
	CHECK(total_of(store).total_bytes <= TOTAL / 8 * 7);
	kms_store_stats before = total_of(store);
	CHECK_OK(put_in(store, 99, "k", TOTAL / 10, NOW));
	CHECK(total_of(store).live_keys == before.live_keys + 1 &&
	      total_of(store).evictions == before.evictions);
	kms_store_free(store);
}

/* It shrinks to what peers may use step by step, not all at once, and no further. */
TEST(a_record_of_a_peer_costs_a_store_full_of_local_writes_few_evictions)
{
	enum { TOTAL = 1 << 20 };
	kms_store *store = store_of(100, TOTAL, RETENTION);
	for (size_t i = 0; i < 1200; i++)
		CHECK_OK(put_in(store, 1 + i % 2, numbered(i), 1000, NOW));
	uint64_t evictions = total_of(store).evictions;
	CHECK(total_of(store).total_bytes > TOTAL / 10 * 9 && evictions > 0);
	for (size_t i = 0; i < 100; i++) {
		CHECK_OK(merge_in(store, 3, numbered(i), 1000, NOW + 1));
		CHECK(total_of(store).evictions - evictions < 30);
		CHECK(total_of(store).total_bytes > TOTAL / 6 * 5);
		evictions = total_of(store).evictions;
	}
	kms_store_free(store);
}

/* ---- threads ---- */

#define WORKERS 4
#define APPS_EACH 12
#define STEPS 3000

typedef struct shared {
	kms_store *store;
	atomic_uint_fast64_t now_ms;
	atomic_int running;
	atomic_size_t refused;
	atomic_bool broken;
} shared;

typedef struct worker {
	shared *shared;
	uint64_t first_app;
	uint64_t seed;
} worker;

static void put_own(worker *w, uint64_t app, uint64_t *last, uint64_t now_ms)
{
	uint8_t value[MIN_VALUE] = { (uint8_t)app };
	kms_store *store = w->shared->store;
	uint64_t at_ms;
	kms_status status = kms_store_put(&at_ms, store, app, KMS_TEXT("k"), KMS_SPAN(value), 0, now_ms);
	if (status == KMS_ERR_NAMESPACES) {
		atomic_fetch_add(&w->shared->refused, 1);
		return;
	}
	uint64_t counter = counter_in(store, app, "k", now_ms);
	if (status != KMS_OK || counter <= *last) atomic_store(&w->shared->broken, true);
	*last = counter;
}

/* A read of any application finds its own value or none. */
static void read_any(worker *w, uint64_t now_ms)
{
	uint64_t app = 1 + kit_random(&w->seed, WORKERS * APPS_EACH), at_ms;
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 4096);
	kms_status status = kms_store_get(&at_ms, &buf, w->shared->store, app, KMS_TEXT("k"), now_ms);
	if (status == KMS_OK ? buf.data[0] != app : status != KMS_ERR_NOT_FOUND)
		atomic_store(&w->shared->broken, true);
	kms_buf_free(&buf);
}

static void *come_and_go(void *context)
{
	worker *w = context;
	uint64_t last[APPS_EACH] = { 0 };
	bool held[APPS_EACH] = { false };
	for (int i = 0; i < STEPS; i++) {
		uint64_t now_ms = atomic_fetch_add(&w->shared->now_ms, 1);
		size_t at = kit_random(&w->seed, APPS_EACH);
		uint64_t app = w->first_app + at;
		if (held[at]) { /* what was written is there, wherever other namespaces move */
			if (delete_in(w->shared->store, app, "k", now_ms) != KMS_OK)
				atomic_store(&w->shared->broken, true);
			held[at] = false;
		} else {
			uint64_t before = last[at];
			put_own(w, app, &last[at], now_ms);
			held[at] = last[at] != before;
		}
		read_any(w, now_ms);
	}
	for (size_t at = 0; at < APPS_EACH; at++) {
		if (held[at]) (void)!delete_in(w->shared->store, w->first_app + at, "k", NOW + STEPS);
	}
	atomic_fetch_sub(&w->shared->running, 1);
	return NULL;
}

TEST(namespaces_that_come_and_go_under_many_threads_are_always_found)
{
	pthread_t threads[WORKERS];
	worker workers[WORKERS];
	shared sh = { .store = store_of(30, 1u << 20, 0), .now_ms = NOW, .running = WORKERS };
	for (size_t i = 0; i < WORKERS; i++) {
		workers[i] = (worker){ &sh, 1 + i * APPS_EACH, 7919 * (i + 1) };
		CHECK(pthread_create(&threads[i], NULL, come_and_go, &workers[i]) == 0);
	}
	while (atomic_load(&sh.running) > 0)
		(void)kms_store_expire(sh.store, atomic_load(&sh.now_ms), 50);
	for (size_t i = 0; i < WORKERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(!atomic_load(&sh.broken) && atomic_load(&sh.refused) < (size_t)WORKERS * STEPS / 2);
	(void)kms_store_expire(sh.store, NOW + 100ull * STEPS, 1000);
	CHECK(total_of(sh.store).namespaces == 0 && total_of(sh.store).total_bytes == 0);
	kms_store_free(sh.store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_namespace_that_holds_nothing_gives_its_place_back),
	  T(any_number_of_applications_come_one_after_the_other),
	  T(counters_do_not_repeat_after_a_namespace_has_gone), T(a_failed_write_leaves_no_namespace),
	  T(sync_finds_the_changes_of_the_application_that_took_a_place),
	  T(a_hash_tree_has_the_namespaces_behind_one_that_has_gone),
	  T(records_from_peers_leave_an_eighth_of_the_namespaces),
	  T(records_from_peers_leave_an_eighth_of_the_room),
	  T(a_record_of_a_peer_costs_a_store_full_of_local_writes_few_evictions),
	  T(namespaces_that_come_and_go_under_many_threads_are_always_found))
