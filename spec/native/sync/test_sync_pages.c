/* Page after page: nothing is lost, nothing comes twice, and the work of each is bounded. */
#include <pthread.h>
#include <stdatomic.h>

#include "sync_kit.h"

/* With many changes that are not sent the work of each call is bounded, and the end is reached. */
TEST(filtered_changes_are_passed_in_bounded_steps)
{
	enum { CHANGES = 450000 };
	kms_store *s;
	kms_store_config config = kit_config(1);
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	config.max_tombstones = 1000000;
	MUST(kms_store_new(&s, &config));
	for (int i = 0; i < CHANGES; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", i);
		merge_at(s, APP, key, clock, 1, 5, KMS_RECORD_TOMBSTONE);
	}
	MUST(kit_put(s, "own", 1, NOW));
	kms_delta_options o = all_changes;
	o.local_only = true;
	kms_delta d = { 0 };
	int calls = 0;
	for (kms_buf out = new_text(); d.records == 0; calls++) {
		CHECK_OK(kms_sync_delta(&d, &out, s, &o));
		CHECK(d.until > o.since && d.until - o.since < 250000);
		o.since = d.until;
		kms_buf_free(&out);
	}
	CHECK(calls == 3 && d.until == CHANGES + 1);
	kms_store_free(s);
}

TEST(many_namespaces_share_a_page)
{
	enum { APPS = 70000 };
	kms_store *s;
	kms_store_config config = kit_config(1);
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	config.max_namespaces = 2 * APPS; /* peers make seven eighths of them */
	config.max_total_bytes = 1u << 30;
	MUST(kms_store_new(&s, &config));
	for (uint64_t i = 1; i <= APPS; i++)
		merge_at(s, 1 + i * 7919 % 1000003, "k", clock, 1, 5, KMS_RECORD_TOMBSTONE);
	merge_at(s, 7920, "l", clock, 1, 5, KMS_RECORD_TOMBSTONE);
	kms_delta_options o = all_changes;
	o.max_records = 30000;
	o.max_bytes = 1 << 30;
	for (uint64_t until = 30000; until <= APPS; until += 30000) {
		CALL(expect_page, s, &o, until, 30000, 0);
		o.since = until;
	}
	CALL(expect_page, s, &o, APPS + 1, APPS + 1 - 60000, 0);
	kms_store_free(s);
}

/* ---- nothing is lost, nothing comes twice ---- */

#define KEYS 30
#define APPS 4
#define STEPS 3000

/* What a peer was sent: the stamp of each key's last change. */
typedef struct peer {
	uint64_t stamps[APPS][KEYS];
	uint64_t received;
} peer;

static void write_some(kms_store *s, uint64_t *seed, uint64_t now_ms, kms_buf *value)
{
	char key[8];
	uint64_t app = APP + kit_random(seed, APPS), at_ms;
	size_t key_len = (size_t)snprintf(key, sizeof(key), "k%02u", (unsigned)kit_random(seed, KEYS));
	size_t len = KMS_VALUE_SEAL_OVERHEAD + kit_random(seed, 300);
	kms_clock_entry clock[] = { { { (uint8_t)(2 + kit_random(seed, 3)) }, 1 + kit_random(seed, 1000) } };
	kms_merge outcome;
	kms_record r = { .key = kms_text_of(key, key_len),
			 .value = kms_span_of(value->data, len),
			 .clock = { clock, 1 },
			 .updated_at_ms = now_ms,
			 .origin = 1 + (uint32_t)kit_random(seed, 3) };
	switch (kit_random(seed, 6)) {
	case 0:
		(void)!kms_store_delete(&at_ms, s, app, kms_text_of(key, key_len), now_ms);
		break;
	case 1:
	case 2:
		(void)!kms_store_merge(&outcome, s, app, &r, now_ms);
		break;
	default:
		(void)!kms_store_put(&at_ms, s, app, kms_text_of(key, key_len), kms_span_of(value->data, len),
				     kit_random(seed, 3) ? 0 : 1 + kit_random(seed, 20), now_ms);
		break;
	}
	if (kit_random(seed, 10) == 0) (void)kms_store_expire(s, now_ms, 3);
}

/* Reads a page as a peer does; false when it is malformed. */
static bool receive(peer *p, kms_buf *page, uint64_t *records)
{
	kms_json json;
	*records = 0;
	if (kms_json_parse(&json, (char *)page->data, page->len, 1000000) != KMS_OK) return false;
	const kms_json_value *app = kms_json_first(&json, json.values);
	for (uint32_t a = 0; a < json.values->count; a++, app = kms_json_next(&json, app + 1)) {
		uint64_t id;
		MUST(kms_app_id_parse(&id, kms_json_text(app)));
		const kms_json_value *record = kms_json_first(&json, app + 1);
		for (uint32_t i = 0; i < app[1].count; i++, record = kms_json_next(&json, record)) {
			const kms_json_value *key = kms_json_get(&json, record, "key");
			size_t n = (size_t)(key->text[1] - '0') * 10 + (size_t)(key->text[2] - '0');
			p->stamps[id - APP][n] = kms_json_get(&json, record, "updated_at_ms")->number;
			++*records;
		}
	}
	p->received += *records;
	kms_json_free(&json);
	return true;
}

static kms_delta_options random_options(uint64_t *seed, const kms_delta_options *filter)
{
	kms_delta_options o = *filter;
	o.max_records = 1 + kit_random(seed, kit_random(seed, 2) ? 3 : 200);
	o.max_bytes = 1 + kit_random(seed, kit_random(seed, 2) ? 1000 : 50000);
	o.max_record_bytes = SIZE_MAX;
	return o;
}

/* Counts the changes in a range that a page must contain. */
typedef struct expectation {
	const kms_delta_options *options;
	uint64_t until;
	uint64_t count;
} expectation;

static kms_status expect_record(void *context, const kms_record *record)
{
	expectation *e = context;
	if (record->sequence > e->until || record->state == KMS_RECORD_STUB) return KMS_OK;
	if (e->options->local_only && record->origin) return KMS_OK;
	if (e->options->except && e->options->except == record->origin) return KMS_OK;
	e->count++;
	return KMS_OK;
}

static uint64_t count_sendable(kms_store *s, const kms_delta_options *o, uint64_t until)
{
	expectation e = { o, until, 0 };
	for (uint64_t app = APP; app < APP + APPS; app++)
		MUST(kms_store_changes(s, app, o->since, 0, expect_record, &e));
	return e.count;
}

static void page_once(int *failed_, kms_store *s, peer *p, uint64_t *seed, const kms_delta_options *filter,
		      uint64_t *cursor, bool alone)
{
	kms_delta d;
	uint64_t records = 0;
	kms_buf out = new_text();
	kms_delta_options o = random_options(seed, filter);
	o.since = *cursor;
	CHECK_OK(kms_sync_delta(&d, &out, s, &o));
	CHECK(d.until >= o.since && d.records <= o.max_records && d.skipped == 0);
	CHECK(d.records <= 1 || out.len <= o.max_bytes);
	if (d.records > 0) CHECK(receive(p, &out, &records));
	CHECK(records == d.records);
	/* While nobody writes, a page contains exactly the changes of its range. */
	if (alone) CHECK(records == count_sendable(s, &o, d.until));
	if (alone && d.records == 0) CHECK(d.until == kms_store_sequence(s));
	*cursor = d.until;
	kms_buf_free(&out);
}

/* Whether the peer has the last sendable change of every key. */
typedef struct comparison {
	const peer *peer;
	const kms_delta_options *filter;
	uint64_t app;
	bool missing;
} comparison;

static kms_status compare_record(void *context, const kms_record *record)
{
	comparison *c = context;
	size_t n = (size_t)(record->key.text[1] - '0') * 10 + (size_t)(record->key.text[2] - '0');
	if (record->state == KMS_RECORD_STUB) return KMS_OK;
	if (c->filter->local_only && record->origin) return KMS_OK;
	if (c->filter->except && c->filter->except == record->origin) return KMS_OK;
	c->missing |= c->peer->stamps[c->app - APP][n] != record->updated_at_ms;
	return KMS_OK;
}

static void expect_all(int *failed_, kms_store *s, const peer *p, const kms_delta_options *filter)
{
	comparison c = { .peer = p, .filter = filter };
	for (c.app = APP; c.app < APP + APPS; c.app++)
		CHECK_OK(kms_store_changes(s, c.app, 0, 0, compare_record, &c));
	CHECK(!c.missing);
}

static kms_store *small_store(void)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	config.max_app_bytes = 2500;
	config.max_tombstones = 5;
	config.tombstone_retention_ms = 200;
	MUST(kms_store_new(&s, &config));
	return s;
}

static kms_buf some_value(void)
{
	static const uint8_t bytes[400];
	kms_buf value = new_text();
	MUST(kms_buf_append(&value, KMS_SPAN(bytes)));
	return value;
}

static const kms_delta_options filters[] = {
	{ 0 }, { .local_only = true }, { .except = 2 }, { .local_only = true, .except = 1 }
};
#define FILTERS (sizeof(filters) / sizeof(filters[0]))

static void page_and_write(int *failed_, uint64_t seed)
{
	static peer peers[FILTERS];
	uint64_t cursors[FILTERS] = { 0 }, now_ms = NOW;
	kms_store *s = small_store();
	kms_buf value = some_value();
	memset(peers, 0, sizeof(peers));
	for (int step = 0; step < STEPS; step++) {
		now_ms += kit_random(&seed, 3);
		write_some(s, &seed, now_ms, &value);
		kms_store_set_acknowledged(s, cursors[0]);
		size_t i = kit_random(&seed, (uint64_t)FILTERS * 3);
		if (i < FILTERS) CALL(page_once, s, &peers[i], &seed, &filters[i], &cursors[i], true);
	}
	for (size_t i = 0; i < FILTERS; i++) {
		while (cursors[i] < kms_store_sequence(s))
			CALL(page_once, s, &peers[i], &seed, &filters[i], &cursors[i], true);
		CALL(expect_all, s, &peers[i], &filters[i]);
		CHECK(peers[i].received > 100);
	}
	kms_buf_free(&value);
	kms_store_free(s);
}

TEST(every_change_arrives_once)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		CALL(page_and_write, seed * 0x9e3779b97f4a7c15u);
	}
}

/* ---- while others write ---- */

typedef struct writer {
	kms_store *store;
	uint64_t seed;
	atomic_uint_fast64_t *now_ms;
	atomic_int *running;
} writer;

static void *write_all(void *context)
{
	writer *w = context;
	kms_buf value = some_value();
	for (int step = 0; step < 4 * STEPS; step++)
		write_some(w->store, &w->seed, atomic_fetch_add(w->now_ms, 1), &value);
	kms_buf_free(&value);
	atomic_fetch_sub(w->running, 1);
	return NULL;
}

TEST(every_change_arrives_while_others_write)
{
	enum { WRITERS = 2 };
	static peer peers[FILTERS];
	uint64_t cursors[FILTERS] = { 0 }, seed = 99, records;
	atomic_uint_fast64_t now_ms = NOW;
	atomic_int running = WRITERS;
	pthread_t threads[WRITERS];
	writer writers[WRITERS];
	kms_store *s = small_store();
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (writer){ s, 1000003u * (unsigned)(i + 1), &now_ms, &running };
		CHECK(pthread_create(&threads[i], NULL, write_all, &writers[i]) == 0);
	}
	while (atomic_load(&running) > 0) {
		size_t i = kit_random(&seed, FILTERS);
		page_once(failed_, s, &peers[i], &seed, &filters[i], &cursors[i], false);
		kms_buf out = new_text();
		if (kms_sync_snapshot(&records, &out, s, KMS_SYNC_STUBS) != KMS_OK) *failed_ = 1;
		kms_buf_free(&out);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	CHECK(!*failed_);
	for (size_t i = 0; i < FILTERS; i++) {
		while (cursors[i] < kms_store_sequence(s))
			CALL(page_once, s, &peers[i], &seed, &filters[i], &cursors[i], true);
		CALL(expect_all, s, &peers[i], &filters[i]);
	}
	kms_store_free(s);
}

/* ---- a snapshot, applied ---- */

static void put_sealed(kms_store *s, uint64_t app_id, const char *key, uint64_t *seed)
{
	uint64_t at_ms;
	kms_buf value = new_text();
	add_sealed(&value, app_id, (uint8_t)kit_random(seed, 256), kit_random(seed, 200));
	MUST(kms_store_put(&at_ms, s, app_id, kms_text_from(key), kms_span_of(value.data, value.len),
			   kit_random(seed, 3) ? 0 : 100000, NOW));
	kms_buf_free(&value);
}

TEST(a_snapshot_makes_the_same_store)
{
	kms_store *a = kit_store(1), *b = kit_store(2);
	kms_sync_counts c;
	uint64_t seed = 7, records;
	static const char *const keys[] = {
		"a", "\xc3\xa9", "\"\\", "\x01\x1f\t", "b/c d", "\xf0\x9f\x94\x91"
	};
	for (int i = 0; i < 500; i++) {
		uint64_t app = 1 + kit_random(&seed, 12) * 0x1fffffffffffffffull;
		const char *key = keys[kit_random(&seed, KMS_ARRAY_LEN(keys))];
		uint64_t at_ms;
		if (kit_random(&seed, 4))
			put_sealed(a, app, key, &seed);
		else
			(void)!kms_store_delete(&at_ms, a, app, kms_text_from(key), NOW);
	}
	kms_buf text = new_text();
	add(&text, "{\"data\":");
	CHECK_OK(kms_sync_snapshot(&records, &text, a, KMS_SYNC_STUBS));
	add(&text, "}");
	CHECK_OK(apply_text(&c, b, &text));
	CHECK(records > 30 && c.total == records && c.merged == records);
	kms_buf before = content_of(a), after = content_of(b);
	CHECK(same_bytes(&before, &after));
	kms_buf_free(&before);
	kms_buf_free(&after);
	kms_buf_free(&text);
	kms_store_free(a);
	kms_store_free(b);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(filtered_changes_are_passed_in_bounded_steps),
	  T(many_namespaces_share_a_page), T(every_change_arrives_once),
	  T(every_change_arrives_while_others_write), T(a_snapshot_makes_the_same_store))
