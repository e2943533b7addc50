/* Walks: pages that are together what a store holds, whatever changes meanwhile. */
#include <pthread.h>
#include <stdatomic.h>

#include "sync_kit.h"

/* Merges a page of a walk into another store. */
static void merge_page(int *failed_, kms_store *to, const kms_buf *page, uint64_t records)
{
	kms_sync_counts counts;
	CHECK_OK(apply_text(&counts, to, page));
	CHECK(counts.total == records && counts.rejected == 0);
}

/* Walks to the end and merges every page. Returns the number of pages. */
static int walk_into(int *failed_, kms_store *to, kms_sync_walk *walk, size_t max_bytes)
{
	int pages = 0;
	uint64_t records = 1;
	while (records > 0 && !*failed_) {
		kms_buf page = new_text();
		MUST(kms_sync_walk_page(&records, &page, walk, max_bytes));
		if ((records == 0) != (page.len == 0) || (records > 1 && page.len > max_bytes)) abort();
		if (records > 0) merge_page(failed_, to, &page, records);
		pages += records > 0;
		kms_buf_free(&page);
	}
	return pages;
}

/* A sealed record of an application, written here. */
static void put(kms_store *s, uint64_t app_id, const char *key, uint8_t first, size_t len)
{
	uint64_t at_ms;
	kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	add_sealed(&sealed, app_id, first, len);
	MUST(kms_store_put(&at_ms, s, app_id, kms_text_from(key), kms_buf_span(&sealed), 0, NOW));
	kms_buf_free(&sealed);
}

/* Records of three applications, long and short, deleted and expired ones and stubs among them. */
static kms_store *mixed_store(void)
{
	kms_store *s = kit_store(1);
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	for (int i = 0; i < 200; i++) {
		char key[16];
		uint64_t at_ms, app_id = (uint64_t)(i % 3 == 2 ? 8 : i % 3 + 9);
		snprintf(key, sizeof(key), "k%d", i);
		put(s, app_id, key, (uint8_t)i, (size_t)(i % 50 == 7 ? 5000 : i));
		if (i % 10 == 3) MUST(kms_store_delete(&at_ms, s, app_id, kms_text_from(key), NOW));
	}
	merge_at(s, 9, "dead", clock, 1, 5, KMS_RECORD_TOMBSTONE);
	return s;
}

TEST(pages_are_together_the_store)
{
	static const size_t sizes[] = { 1, 300, 2000, 1000000 };
	kms_store *s = mixed_store();
	kms_buf want = content_of(s);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t sequence;
		kms_sync_walk *walk;
		kms_store *to = kit_store(3);
		CHECK_OK(kms_sync_walk_new(&walk, &sequence, s, 0));
		CHECK(sequence == kms_store_sequence(s));
		int pages = walk_into(failed_, to, walk, sizes[i]);
		CHECK(!*failed_ && (sizes[i] > 1 || pages == 201) && (sizes[i] < 1000000 || pages == 1));
		kms_buf got = content_of(to);
		CHECK(same_bytes(&got, &want));
		kms_buf_free(&got);
		kms_sync_walk_free(walk);
		kms_store_free(to);
	}
	kms_buf_free(&want);
	kms_store_free(s);
}

TEST(the_next_walk_finds_what_changed_since)
{
	uint64_t sequence, next, records;
	kms_sync_walk *walk;
	kms_buf page = new_text();
	kms_store *s = mixed_store(), *to = kit_store(3);
	CHECK_OK(kms_sync_walk_new(&walk, &sequence, s, 0));
	put(s, 8, "late", 1, 1); /* its namespace has not been walked through */
	put(s, 77, "new", 1, 1); /* of a namespace that was made after the walk began */
	(void)walk_into(failed_, to, walk, 1000);
	kms_sync_walk_free(walk);
	CHECK(!*failed_ && kit_get(to, "late", NOW) == -1); /* of another application */
	CHECK_OK(kms_sync_walk_new(&walk, &next, s, sequence));
	CHECK_OK(kms_sync_walk_page(&records, &page, walk, 100000));
	CHECK(records == 2 && next == sequence + 2);
	CALL(merge_page, to, &page, records);
	kms_buf want = content_of(s), got = content_of(to);
	CHECK(same_bytes(&got, &want));
	kms_sync_walk_free(walk);
	CHECK_OK(kms_sync_walk_new(&walk, &sequence, s, next));
	kms_buf_clear(&page);
	CHECK_OK(kms_sync_walk_page(&records, &page, walk, 100000));
	CHECK(records == 0 && page.len == 0 && sequence == next);
	kms_buf_free(&want);
	kms_buf_free(&got);
	kms_buf_free(&page);
	kms_sync_walk_free(walk);
	kms_sync_walk_free(NULL);
	kms_store_free(s);
	kms_store_free(to);
}

/* ---- records that change all the time ---- */

#define HOT_KEYS 20

typedef struct writer_thread {
	kms_store *store;
	atomic_bool stop;
	atomic_ulong writes;
} writer_thread;

static void *write_on(void *argument)
{
	writer_thread *w = argument;
	for (unsigned long i = 0; !atomic_load(&w->stop); i++) {
		char key[16];
		snprintf(key, sizeof(key), "hot%lu", i % HOT_KEYS);
		put(w->store, APP, key, (uint8_t)i, 1);
		atomic_fetch_add(&w->writes, 1);
	}
	return NULL;
}

TEST(records_that_change_all_the_time_are_found)
{
	pthread_t thread;
	kms_store *s = mixed_store();
	writer_thread w = { .store = s };
	MUST(pthread_create(&thread, NULL, write_on, &w) == 0 ? KMS_OK : KMS_ERR_SYSTEM);
	while (atomic_load(&w.writes) < HOT_KEYS)
		sched_yield();
	for (int round = 0; round < 50 && !*failed_; round++) {
		uint64_t sequence;
		kms_sync_walk *walk;
		kms_store *to = kit_store(3);
		MUST(kms_sync_walk_new(&walk, &sequence, s, 0));
		(void)walk_into(failed_, to, walk, 700);
		for (int i = 0; i < HOT_KEYS; i++) {
			char key[16];
			snprintf(key, sizeof(key), "hot%d", i);
			if (kit_get(to, key, NOW) < 0) *failed_ = 1;
		}
		kms_sync_walk_free(walk);
		kms_store_free(to);
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	kms_store_free(s);
	CHECK(!*failed_);
}

TEST(failing_allocations_leave_nothing)
{
	bool ended = false;
	kms_store *s = mixed_store();
	for (unsigned long n = 1; !ended && n < 1000; n++) {
		uint64_t sequence, records = 0;
		kms_sync_walk *walk;
		kms_buf page = new_text();
		add(&page, "before");
		kms_mem_fail_after(n);
		kms_status status = kms_sync_walk_new(&walk, &sequence, s, 0);
		if (status == KMS_OK) status = kms_sync_walk_page(&records, &page, walk, SIZE_MAX);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK ? records == 201
				       : status == KMS_ERR_MEMORY && records == 0 && page.len == 6);
		kms_sync_walk_free(walk);
		kms_buf_free(&page);
	}
	CHECK(ended);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(pages_are_together_the_store), T(the_next_walk_finds_what_changed_since),
	  T(records_that_change_all_the_time_are_found), T(failing_allocations_leave_nothing))
