/* Listing keys: pages, limits, changes meanwhile, and who waits for a listing. */
#include <pthread.h>
#include <stdatomic.h>

#include "store_kit.h"

#define MANY 5000

typedef struct seen {
	char last[64];
	size_t count;
	size_t out_of_order;
} seen;

static kms_status see(void *context, kms_text key)
{
	seen *s = context;
	char text[64];
	snprintf(text, sizeof(text), "%.*s", (int)key.len, key.text);
	if (s->count > 0 && strcmp(text, s->last) <= 0) s->out_of_order++;
	memcpy(s->last, text, sizeof(text));
	s->count++;
	return KMS_OK;
}

/* Keys in an order that is neither theirs nor its reverse. */
static const char *key_of(size_t i)
{
	static char key[32];
	snprintf(key, sizeof(key), "%s/%05zu", i % 2 ? "odd" : "even", (i * 2957) % MANY);
	return key;
}

static kms_store *filled_store(void)
{
	kms_store *store = kit_store(SELF);
	for (size_t i = 0; i < MANY; i++)
		if (kit_put(store, key_of(i), 1, NOW) != KMS_OK) abort();
	return store;
}

static kms_status list(bool *more, seen *s, kms_store *store, kms_store_listing listing)
{
	*s = (seen){ .count = 0 };
	if (listing.max_bytes == 0) listing.max_bytes = SIZE_MAX;
	return kms_store_list(more, store, APP, &listing, NOW, see, s);
}

typedef struct total {
	size_t pages;
	size_t keys;
} total;

static void count_pages(int *failed_, total *t, kms_store *store, const char *prefix, size_t limit)
{
	char after[64] = "";
	seen s;
	*t = (total){ 0 };
	for (bool more = true; more && t->pages < MANY; t->pages++) {
		CHECK_OK(list(&more, &s, store,
			      (kms_store_listing){ .prefix = kms_text_from(prefix),
						   .after = kms_text_from(after),
						   .limit = limit }));
		CHECK(s.out_of_order == 0 && strcmp(s.last, after) > 0 && (!more || s.count == limit));
		memcpy(after, s.last, sizeof(after));
		t->keys += s.count;
	}
}

TEST(pages_together_are_the_whole_listing)
{
	kms_store *store = filled_store();
	total t;
	static const size_t limits[] = { 7, 1000, 2500, 4999, 5000, 5001, 10000 };
	static const size_t pages[] = { 715, 5, 2, 2, 1, 1, 1 };
	for (size_t i = 0; i < KMS_ARRAY_LEN(limits); i++) {
		CALL(count_pages, &t, store, NULL, limits[i]);
		CHECK(t.pages == pages[i] && t.keys == MANY);
	}
	CALL(count_pages, &t, store, "odd/", 1000);
	CHECK(t.pages == 3 && t.keys == MANY / 2);
	CALL(count_pages, &t, store, "odd/0001", 3);
	CHECK(t.pages == 2 && t.keys == 5);
	seen s;
	bool more;
	CHECK_OK(list(&more, &s, store, (kms_store_listing){ .prefix = KMS_TEXT("none"), .limit = 1 }));
	CHECK(s.count == 0 && !more);
	CHECK_OK(list(&more, &s, store, (kms_store_listing){ .after = KMS_TEXT("odd/04999"), .limit = 1 }));
	CHECK(!more);
	kms_store_free(store);
}

TEST(bytes_are_limited_as_keys_are)
{
	kms_store *store = filled_store();
	seen s;
	bool more;
	const size_t even = sizeof("\"even/00000\",") - 1, whole = MANY / 2 * (2 * even - 1);
	CHECK_OK(list(&more, &s, store, (kms_store_listing){ .max_bytes = whole }));
	CHECK(s.count == MANY && !more);
	CHECK_STATUS(KMS_ERR_TOO_LARGE,
		     list(&more, &s, store, (kms_store_listing){ .max_bytes = whole - 1 }));
	CHECK(s.count == 0);
	CHECK_OK(list(&more, &s, store, (kms_store_listing){ .max_bytes = 10 * even, .limit = 1000 }));
	CHECK(s.count == 10 && more && strncmp(s.last, "even/", 5) == 0);
	CHECK_OK(list(&more, &s, store, (kms_store_listing){ .max_bytes = 1, .limit = 1000 }));
	CHECK(s.count == 1 && more); /* there is no page without a key */
	kms_store_free(store);
}

/* ---- while others write ---- */

typedef struct other {
	kms_store *store;
	atomic_bool stop;
	atomic_size_t writes;
} other;

static void *rewrite(void *context)
{
	other *o = context;
	for (size_t i = 0; !atomic_load(&o->stop); i++) {
		char key[32];
		snprintf(key, sizeof(key), "even/%05zu", i % 100 * 2);
		uint64_t at_ms;
		uint8_t value[MIN_VALUE] = { 0 };
		if (kms_store_put(&at_ms, o->store, APP, kms_text_from(key), KMS_SPAN(value), 0, NOW))
			abort();
		atomic_fetch_add(&o->writes, 1);
	}
	return NULL;
}

TEST(a_key_that_changes_meanwhile_is_listed_once)
{
	other o = { .store = filled_store() };
	pthread_t thread;
	seen s;
	bool more;
	for (size_t i = 0; i < 100; i++) { /* some of them are new */
		char key[32];
		snprintf(key, sizeof(key), "even/%05zu", i * 2);
		CHECK_OK(kit_put(o.store, key, 1, NOW));
	}
	CHECK_OK(list(&more, &s, o.store, (kms_store_listing){ .limit = 0 }));
	size_t keys = s.count;
	pthread_create(&thread, NULL, rewrite, &o);
	while (atomic_load(&o.writes) == 0)
		sched_yield();
	for (size_t i = 0; i < 200; i++) {
		CHECK_OK(list(&more, &s, o.store, (kms_store_listing){ .limit = i % 2 ? 0 : 4000 }));
		CHECK(s.count == (i % 2 ? keys : 4000) && s.out_of_order == 0 && more == !(i % 2));
	}
	atomic_store(&o.stop, true);
	pthread_join(thread, NULL);
	kms_store_free(o.store);
}

/* A visitor that uses the namespace itself would wait for ever if a lock were held. */
static kms_status write_meanwhile(void *context, kms_text key)
{
	kms_store *store = context;
	return key.len ? kit_put(store, "visited", 1, NOW) : KMS_ERR_STATE;
}

TEST(no_lock_is_held_while_keys_are_visited)
{
	kms_store *store = filled_store();
	bool more;
	kms_store_listing some = { .limit = 10, .max_bytes = SIZE_MAX };
	CHECK_OK(kms_store_list(&more, store, APP, &some, NOW, write_meanwhile, store));
	CHECK(more && kit_get(store, "visited", NOW) == 1);
	kms_store_free(store);
}

TEST(refuses_null)
{
	kms_store *store = kit_store(SELF);
	bool more = true;
	seen s;
	kms_store_listing all = { .limit = 0 };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_list(NULL, store, APP, &all, NOW, see, &s));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_list(&more, NULL, APP, &all, NOW, see, &s));
	CHECK(!more);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_list(&more, store, APP, NULL, NOW, see, &s));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_list(&more, store, APP, &all, NOW, NULL, &s));
	kms_store_free(store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(pages_together_are_the_whole_listing), T(bytes_are_limited_as_keys_are),
	  T(a_key_that_changes_meanwhile_is_listed_once), T(no_lock_is_held_while_keys_are_visited),
	  T(refuses_null))
