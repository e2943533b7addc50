/*
 * Several threads on one store: writers, readers, expiry and sync at once, with quotas so small that
 * evictions and refusals happen all the time. Afterwards every count must equal that of a walk
 * over the records, and a reader that followed the changes must have missed none.
 * `make tsan` runs it under ThreadSanitizer.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tree_kit.h"

#define WRITERS 3
#define APPS 3
#define KEYS 40
#define STEPS 4000
#define TOTAL 120000

typedef struct shared {
	kms_store *store;
	atomic_uint_fast64_t now_ms;
	atomic_int writers;
	atomic_bool broken;
	uint8_t tree_key; /* of the hash tree */
} shared;

typedef struct writer {
	shared *shared;
	uint64_t seed;
} writer;

static uint64_t app_of(uint64_t *seed)
{
	return APP + kit_random(seed, APPS);
}

static size_t key_of(char key[8], uint64_t *seed)
{
	return (size_t)snprintf(key, 8, "k%02u", (unsigned)kit_random(seed, KEYS));
}

static bool expected(kms_status status)
{
	return status == KMS_OK || status == KMS_ERR_NOT_FOUND || status == KMS_ERR_STORE_FULL ||
	       status == KMS_ERR_TOMBSTONES;
}

static kms_status merge_one(kms_store *s, uint64_t app, const char *key, size_t key_len, uint64_t *seed,
			    uint64_t now_ms)
{
	uint8_t value[MIN_VALUE] = { (uint8_t)kit_random(seed, 256) };
	kms_clock_entry clock[2] = { { { 9 }, 1 + kit_random(seed, 1000) },
				     { { 8 }, kit_random(seed, 1000) } };
	kms_merge outcome;
	kms_record r = { .key = kms_text_of(key, key_len),
			 .value = KMS_SPAN(value),
			 .clock = { clock, 2 },
			 .updated_at_ms = now_ms };
	return kms_store_merge(&outcome, s, app, &r, now_ms);
}

static kms_status count_key(void *context, kms_text key)
{
	*(size_t *)context += key.len > 0;
	return KMS_OK;
}

static kms_status act(kms_store *s, uint64_t *seed, uint64_t now_ms)
{
	static const uint8_t value[400];
	char key[8];
	uint64_t app = app_of(seed), at_ms;
	size_t key_len = key_of(key, seed), listed = 0;
	kms_store_listing page = { .limit = kit_random(seed, 20), .max_bytes = SIZE_MAX };
	bool more;
	kms_status status;
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 4096);
	switch (kit_random(seed, 8)) {
	case 0:
		return kms_store_delete(&at_ms, s, app, kms_text_of(key, key_len), now_ms);
	case 1:
		status = kms_store_get(&at_ms, &buf, s, app, kms_text_of(key, key_len), now_ms);
		kms_buf_free(&buf);
		return status;
	case 2:
		return merge_one(s, app, key, key_len, seed, now_ms);
	case 3:
		return kms_store_list(&more, s, app, &page, now_ms, count_key, &listed);
	default:
		return kms_store_put(&at_ms, s, app, kms_text_of(key, key_len),
				     kms_span_of(value, MIN_VALUE + kit_random(seed, 300)),
				     kit_random(seed, 3) ? 0 : 1 + kit_random(seed, 50), now_ms);
	}
}

static void *write_all(void *context)
{
	writer *w = context;
	for (int i = 0; i < STEPS; i++) {
		uint64_t now_ms = atomic_fetch_add(&w->shared->now_ms, kit_random(&w->seed, 2));
		if (!expected(act(w->shared->store, &w->seed, now_ms)))
			atomic_store(&w->shared->broken, true);
	}
	atomic_fetch_sub(&w->shared->writers, 1);
	return NULL;
}

/* ---- a peer that follows the changes ---- */

typedef struct follower {
	uint64_t stamps[APPS][KEYS]; /* the last seen; kept when a record is dropped */
	uint64_t app;
	uint64_t newest; /* number of the last change seen of this walk */
	bool out_of_order;
} follower;

static kms_status follow_record(void *context, const kms_record *record)
{
	follower *f = context;
	size_t key = (size_t)(record->key.text[1] - '0') * 10 + (size_t)(record->key.text[2] - '0');
	f->stamps[f->app - APP][key] = record->updated_at_ms;
	if (record->sequence <= f->newest) f->out_of_order = true;
	f->newest = record->sequence;
	return KMS_OK;
}

/* Reads every change above `cursor`; returns the next cursor. */
static uint64_t follow(kms_store *s, follower *f, uint64_t cursor, kms_status *status)
{
	uint64_t next = kms_store_sequence(s), *ids;
	size_t count;
	*status = kms_store_changed_apps(&ids, &count, s, cursor);
	for (size_t i = 0; i < count && *status == KMS_OK; i++) {
		f->app = ids[i];
		f->newest = cursor;
		*status = kms_store_changes(s, ids[i], cursor, 0, follow_record, f);
	}
	kms_store_ids_free(ids);
	return next;
}

static void *tend(void *context)
{
	shared *sh = context;
	uint64_t acknowledged = 0;
	const uint8_t members[2][20] = { { 1 }, { 9 } };
	kms_store_stats stats;
	kms_tree_root root;
	/* Once at least: on a busy machine the writers may have ended by now. */
	for (uint64_t round = 0; round == 0 || atomic_load(&sh->writers) > 0; round++) {
		if (round % 16 == 0) kit_set_key(sh->store, sh->tree_key = (uint8_t)(sh->tree_key % 100 + 1));
		if (kms_tree_get_root(&root, sh->store, 1) != KMS_OK) atomic_store(&sh->broken, true);
		(void)kms_store_expire(sh->store, atomic_load(&sh->now_ms), 5);
		kms_store_set_acknowledged(sh->store, acknowledged);
		acknowledged = kms_store_sequence(sh->store) / 2;
		if (kms_store_set_members(sh->store, members, 2) != KMS_OK) atomic_store(&sh->broken, true);
		kms_store_get_stats(&stats, sh->store);
		if (stats.total_bytes > TOTAL) atomic_store(&sh->broken, true);
	}
	return NULL;
}

/* ---- expectations ---- */

typedef struct census {
	kms_store_stats stats;
	const follower *follower;
	uint64_t app;
	bool missed;
} census;

static kms_status count_record(void *context, const kms_record *record)
{
	census *c = context;
	size_t key = (size_t)(record->key.text[1] - '0') * 10 + (size_t)(record->key.text[2] - '0');
	c->stats.live_keys += record->state == KMS_RECORD_LIVE;
	c->stats.live_bytes += record->value.len;
	c->stats.tombstones += record->state == KMS_RECORD_TOMBSTONE;
	c->stats.stubs += record->state == KMS_RECORD_STUB;
	c->missed |= c->follower->stamps[c->app - APP][key] != record->updated_at_ms;
	return KMS_OK;
}

static void expect_counts(int *failed_, kms_store *s, const follower *f)
{
	kms_store_stats total, sum = { 0 };
	for (uint64_t app = APP; app < APP + APPS; app++) {
		kms_store_stats own;
		census c = { .follower = f, .app = app };
		CHECK_OK(kms_store_changes(s, app, 0, 0, count_record, &c));
		kms_store_get_app_stats(&own, s, app);
		CHECK(own.live_keys == c.stats.live_keys && own.live_bytes == c.stats.live_bytes);
		CHECK(own.tombstones == c.stats.tombstones && own.stubs == c.stats.stubs);
		CHECK(!c.missed);
		sum.live_keys += own.live_keys;
		sum.live_bytes += own.live_bytes;
		sum.tombstones += own.tombstones;
		sum.stubs += own.stubs;
		sum.total_bytes += own.total_bytes;
		sum.evictions += own.evictions;
		sum.namespaces += own.namespaces;
	}
	kms_store_get_stats(&total, s);
	CHECK_MEM(&total, &sum, sizeof(sum));
	CHECK(total.evictions > 0 && total.live_keys > 0);
}

static void stress(int *failed_, uint64_t seed)
{
	static follower f;
	pthread_t threads[WRITERS + 1];
	writer writers[WRITERS];
	shared sh = { .now_ms = NOW, .writers = WRITERS };
	kms_store_config config = kit_config(1);
	kms_status status = KMS_OK;
	uint64_t cursor = 0;
	f = (follower){ .newest = 0 };
	config.max_app_bytes = 3000;
	config.max_total_bytes = TOTAL;
	config.max_tombstones = 10;
	config.tombstone_retention_ms = 500;
	CHECK_OK(kms_store_new(&sh.store, &config));
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (writer){ &sh, seed + (uint64_t)i * 7919 };
		CHECK(pthread_create(&threads[i], NULL, write_all, &writers[i]) == 0);
	}
	CHECK(pthread_create(&threads[WRITERS], NULL, tend, &sh) == 0);
	while (atomic_load(&sh.writers) > 0 && status == KMS_OK)
		cursor = follow(sh.store, &f, cursor, &status);
	for (int i = 0; i <= WRITERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK_OK(status);
	cursor = follow(sh.store, &f, cursor, &status);
	CHECK(status == KMS_OK && cursor == kms_store_sequence(sh.store));
	CHECK(!atomic_load(&sh.broken) && !f.out_of_order);
	CALL(expect_counts, sh.store, &f);
	CHECK(sh.tree_key > 0 && root_is_right_under(sh.store, sh.tree_key));
	kms_store_free(sh.store);
}

TEST(counts_stay_right_and_no_change_is_missed)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		CALL(stress, seed * 104729);
}

/* Threads that write to a new application at once create one namespace. */
static void *put_everywhere(void *context)
{
	shared *sh = context;
	static const uint8_t value[MIN_VALUE];
	uint64_t at_ms;
	for (uint64_t app = 1; app <= 60; app++) {
		if (kms_store_put(&at_ms, sh->store, app, KMS_TEXT("k"), KMS_SPAN(value), 0, NOW) != KMS_OK)
			atomic_store(&sh->broken, true);
	}
	return NULL;
}

TEST(namespaces_are_made_once)
{
	pthread_t threads[WRITERS];
	shared sh = { .store = kit_store(1) };
	kms_store_stats stats;
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_create(&threads[i], NULL, put_everywhere, &sh) == 0);
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	kms_store_get_stats(&stats, sh.store);
	CHECK(!atomic_load(&sh.broken) && stats.namespaces == 60 && stats.live_keys == 60);
	CHECK(kms_store_sequence(sh.store) == 60 * WRITERS);
	kms_store_free(sh.store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(counts_stay_right_and_no_change_is_missed), T(namespaces_are_made_once))
