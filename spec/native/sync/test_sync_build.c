/* Delta pages and snapshots: their text, filters, limits, and that nothing is lost on the way. */
#include <pthread.h>
#include <stdatomic.h>

#include "sync/testing.h"
#include "sync/sync_write.h"
#include "sync_kit.h"

static const kms_delta_options all_changes = { .max_records = 1000,
					       .max_bytes = 1 << 20,
					       .max_record_bytes = 1 << 20 };

/* ---- text ---- */

static void merge_at(kms_store *s, uint64_t app_id, const char *key, const kms_clock_entry *clock,
		     size_t clock_len, uint32_t origin, kms_record_state state)
{
	uint8_t value[KMS_VALUE_SEAL_OVERHEAD] = { 0xab, 1 };
	kms_merge outcome;
	bool live = state == KMS_RECORD_LIVE;
	kms_record r = { .key = kms_text_from(key),
			 .value = kms_span_of(live ? value : NULL, live ? sizeof(value) : 0),
			 .clock = { clock, clock_len },
			 .updated_at_ms = NOW - 1,
			 .ttl_ms = live ? 0 : 3,
			 .state = state,
			 .origin = origin };
	MUST(kms_store_merge(&outcome, s, app_id, &r, NOW));
	if (outcome == KMS_MERGE_IGNORED_EQUAL_VERSION) abort();
}

static bool text_is(const kms_buf *buf, const char *want)
{
	if (buf->len == strlen(want) && memcmp(buf->data, want, buf->len) == 0) return true;
	fprintf(stderr, "got  %.*s\nwant %s\n", (int)buf->len, buf->data ? (char *)buf->data : "", want);
	return false;
}

#define VALUE_TEXT "\"ab010000000000000000000000000000000000000000000000000000\""
#define LIVE_K                                                                             \
	"{\"key\":\"k\",\"tombstone\":false,\"ttl_ms\":0,\"updated_at_ms\":1699999999999," \
	"\"value\":" VALUE_TEXT ",\"version\":{\"" OWN "\":12,\"" WALLET "\":1}}"
#define DEAD_E                                                                                          \
	"{\"key\":\"\xc3\xa9\\n\\\"\",\"tombstone\":true,\"ttl_ms\":3,\"updated_at_ms\":1699999999999," \
	"\"value\":null,\"version\":{\"" WALLET "\":1}}"

TEST(pages_and_snapshots_are_canonical)
{
	const kms_clock_entry clock[] = { { { 2 }, 1 }, { { 1 }, 12 } };
	static const char want[] =
	    "{\"10\":[" LIVE_K "],\"18446744073709551615\":[" DEAD_E "],\"9\":[" LIVE_K "," DEAD_E "]}";
	kms_store *s = kit_store(1);
	kms_delta d;
	uint64_t records;
	kms_buf page = new_text(), snapshot = new_text(), again = new_text();
	merge_at(s, 9, "k", clock, 2, 5, KMS_RECORD_LIVE);
	merge_at(s, UINT64_MAX, "\xc3\xa9\n\"", clock, 1, 5, KMS_RECORD_TOMBSTONE);
	merge_at(s, 10, "k", clock, 2, 5, KMS_RECORD_LIVE);
	merge_at(s, 9, "\xc3\xa9\n\"", clock, 1, 5, KMS_RECORD_TOMBSTONE);
	add(&page, "head");
	CHECK_OK(kms_sync_delta(&d, &page, s, &all_changes));
	CHECK(d.until == 4 && d.records == 4 && d.skipped == 0);
	memmove(page.data, page.data + 4, page.len -= 4);
	CHECK(text_is(&page, want));
	CHECK_OK(kms_sync_snapshot(&records, &snapshot, s, false));
	CHECK(records == 4 && text_is(&snapshot, want));
	/* The writer of canonical JSON has nothing to change. */
	kms_json json;
	CHECK_OK(kms_json_parse(&json, (char *)page.data, page.len, 1000));
	CHECK_OK(kms_json_canonical(&again, &json, json.values));
	CHECK(text_is(&again, want));
	kms_json_free(&json);
	kms_buf_free(&page);
	kms_buf_free(&snapshot);
	kms_buf_free(&again);
	kms_store_free(s);
}

/* Limits count what a record takes before it is written. */
TEST(sizes_are_exact)
{
	static const uint64_t numbers[] = { 0, 9, 10, 99, 100, 1700000000000ull, UINT64_MAX };
	static const char *const keys[] = { "k", "", "\xc3\xa9", "\"\\/", "\x01\b\t\n\x0b\f\r\x1f", "a/b c" };
	static const uint8_t value[100];
	static kms_clock_entry clock[KMS_STORE_MAX_CLOCK];
	uint64_t seed = 3;
	for (int i = 0; i < 2000; i++) {
		const char *key = keys[kit_random(&seed, KMS_ARRAY_LEN(keys))];
		kms_record r = { .key = kms_text_from(key), .clock = { clock, 0 } };
		r.state = (kms_record_state)kit_random(&seed, 3);
		if (r.state == KMS_RECORD_LIVE) {
			r.value.bytes = value;
			r.value.len = kit_random(&seed, sizeof(value) + 1);
		}
		r.clock.len = kit_random(&seed, kit_random(&seed, 2) ? 3 : KMS_STORE_MAX_CLOCK + 1);
		for (size_t c = 0; c < r.clock.len; c++)
			clock[c].counter = numbers[kit_random(&seed, KMS_ARRAY_LEN(numbers))];
		r.updated_at_ms = numbers[kit_random(&seed, KMS_ARRAY_LEN(numbers))];
		r.ttl_ms = numbers[kit_random(&seed, KMS_ARRAY_LEN(numbers))];
		uint64_t app = numbers[kit_random(&seed, KMS_ARRAY_LEN(numbers))];
		sync_writer w;
		kms_buf out = new_text();
		CHECK_OK(kms_sync_write_start(&w, &out));
		CHECK_OK(kms_sync_write_record(&w, app, &r));
		CHECK_OK(kms_sync_write_end(&w));
		/* The first application has no comma in front of it. */
		CHECK(out.len == 2 + kms_sync_app_size(app) - 1 + kms_sync_record_size(&r));
		kms_buf_free(&out);
	}
}

TEST(an_empty_store_has_nothing)
{
	kms_store *s = kit_store(1);
	kms_delta d;
	uint64_t records = 9;
	kms_buf out = new_text();
	CHECK_OK(kms_sync_delta(&d, &out, s, &all_changes));
	CHECK(d.until == 0 && d.records == 0 && d.skipped == 0 && out.len == 0);
	CHECK_OK(kms_sync_snapshot(&records, &out, s, true));
	CHECK(records == 0 && text_is(&out, "{}"));
	kms_buf_free(&out);
	/* A cursor from another life of the store never goes back. */
	kms_delta_options o = all_changes;
	o.since = 77;
	MUST(kit_put(s, "a", 1, NOW));
	CHECK_OK(kms_sync_delta(&d, &out, s, &o));
	CHECK(d.until == 77 && d.records == 0);
	kms_buf_free(&out);
	kms_store_free(s);
}

/* ---- limits, each at it and past it ---- */

static void expect_page(int *failed_, kms_store *s, const kms_delta_options *options, uint64_t until,
			uint64_t records, uint64_t skipped)
{
	kms_delta d;
	kms_buf out = new_text();
	CHECK_OK(kms_sync_delta(&d, &out, s, options));
	if (d.until != until || d.records != records || d.skipped != skipped)
		fprintf(stderr, "until %llu, records %llu, skipped %llu\n", (unsigned long long)d.until,
			(unsigned long long)d.records, (unsigned long long)d.skipped);
	CHECK(d.until == until && d.records == records && d.skipped == skipped);
	CHECK((out.len > 0) == (records > 0));
	CHECK(records <= 1 || out.len <= options->max_bytes);
	kms_buf_free(&out);
}

TEST(pages_hold_to_their_limits)
{
	kms_store *s = kit_store(1);
	kms_delta_options o = all_changes;
	kms_delta d;
	kms_buf two = new_text();
	for (int i = 0; i < 5; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		MUST(kit_put(s, key, 1, NOW));
	}
	o.max_records = 2;
	CALL(expect_page, s, &o, 2, 2, 0);
	CHECK_OK(kms_sync_delta(&d, &two, s, &o));
	o.max_records = 5;
	CALL(expect_page, s, &o, 5, 5, 0);
	o.max_bytes = two.len + 2; /* what is counted is at most the commas of first places more */
	CALL(expect_page, s, &o, 2, 2, 0);
	o.max_bytes = two.len - 1;
	CALL(expect_page, s, &o, 1, 1, 0);
	o.max_bytes = 1; /* one goes in any case */
	CALL(expect_page, s, &o, 1, 1, 0);
	o = all_changes;
	size_t record = two.len - 1 - sizeof("{\"49\":[]}") + 1;
	o.max_record_bytes = record / 2; /* two of the same size and a comma */
	CALL(expect_page, s, &o, 5, 5, 0);
	o.max_record_bytes--;
	CALL(expect_page, s, &o, 5, 0, 5);
	o = all_changes;
	o.max_records = 0;
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_delta(&d, &two, s, &o));
	o.max_records = KMS_DELTA_MAX_RECORDS + 1;
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_delta(&d, &two, s, &o));
	o.max_records = KMS_DELTA_MAX_RECORDS;
	CALL(expect_page, s, &o, 5, 5, 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_delta(&d, NULL, s, &o));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_delta(NULL, &two, s, &o));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_delta(&d, &two, NULL, &o));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_delta(&d, &two, s, NULL));
	kms_buf_free(&two);
	kms_store_free(s);
}

/* A page without room for what comes next ends in front of it, not at what came before. */
TEST(pages_pass_over_what_is_not_sent)
{
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	kms_store *s = kit_store(1);
	kms_delta_options o = all_changes;
	uint64_t at_ms;
	for (int i = 0; i < 3; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		merge_at(s, APP + (uint64_t)i, key, clock, 1, 5 + (uint32_t)i, KMS_RECORD_LIVE);
	}
	MUST(kit_put(s, "own", 1, NOW));                              /* 4 */
	MUST(kit_put_at(&at_ms, s, "long", 1, 5000, 0, NOW));         /* 5 */
	merge_at(s, APP + 1, "d", clock, 1, 6, KMS_RECORD_TOMBSTONE); /* 6 */
	MUST(kit_put(s, "last", 1, NOW));                             /* 7 */
	merge_at(s, APP + 1, "e", clock, 1, 6, KMS_RECORD_TOMBSTONE); /* 8 */
	CALL(expect_page, s, &o, 8, 8, 0);
	o.local_only = true;
	CALL(expect_page, s, &o, 8, 3, 0);
	o.max_records = 1;
	CALL(expect_page, s, &o, 4, 1, 0);
	o.max_record_bytes = 1000;
	CALL(expect_page, s, &o, 6, 1, 1);
	o.since = 6;
	CALL(expect_page, s, &o, 8, 1, 0);
	o.since = 7;
	CALL(expect_page, s, &o, 8, 0, 0);
	o = all_changes;
	o.except = 6;
	CALL(expect_page, s, &o, 8, 5, 0);
	o.max_records = 1;
	CALL(expect_page, s, &o, 2, 1, 0);
	o.since = 2;
	CALL(expect_page, s, &o, 3, 1, 0);
	kms_store_free(s);
}

/* Between choosing and writing nothing is locked: what changed then is left to a later page. */
TEST(changes_after_the_choice_come_later)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	sync_page page;
	uint64_t records;
	kms_buf out = new_text();
	config.max_app_bytes = 4 * MIN_VALUE;
	MUST(kms_store_new(&s, &config));
	MUST(kit_put(s, "evicted", 1, NOW));
	MUST(kit_put(s, "written", 1, NOW));
	MUST(kit_put(s, "deleted", 1, NOW));
	MUST(kit_put(s, "kept", 1, NOW));
	CHECK_OK(kms_sync_page_choose(&page, s, &all_changes));
	CHECK(page.count == 4 && page.until == 4);
	MUST(kit_delete(s, "deleted", NOW));
	MUST(kit_put(s, "new", 1, NOW));
	MUST(kit_put(s, "written", 2, NOW));
	MUST(kit_put(s, "more", 1, NOW)); /* evicts */
	CHECK(kit_stats(s).stubs == 1 && kit_get(s, "evicted", NOW) == -1);
	add(&out, "head");
	CHECK_OK(kms_sync_page_write(&records, &out, s, &page));
	CHECK(records == 1 && memmem(out.data, out.len, "\"kept\"", 6) &&
	      !memmem(out.data, out.len, "}},{", 4));
	kms_buf_free(&out);
	MUST(kit_delete(s, "kept", NOW));
	add(&out, "head");
	CHECK_OK(kms_sync_page_write(&records, &out, s, &page));
	CHECK(records == 0 && out.len == 4);
	kms_buf_free(&out);
	kms_sync_page_free(&page);
	kms_store_free(s);
}

TEST(stubs_are_in_snapshots_where_asked_for)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	uint64_t records;
	config.max_app_bytes = 2 * MIN_VALUE;
	kms_buf out = new_text();
	MUST(kms_store_new(&s, &config));
	MUST(kit_put(s, "a", 1, NOW));
	MUST(kit_put(s, "b", 1, NOW));
	MUST(kit_put(s, "c", 1, NOW));
	CHECK(kit_stats(s).stubs == 1);
	CALL(expect_page, s, &all_changes, 3, 2, 0);
	CHECK_OK(kms_sync_snapshot(&records, &out, s, false));
	CHECK(records == 2);
	kms_buf_free(&out);
	CHECK_OK(kms_sync_snapshot(&records, &out, s, true));
	CHECK(records == 3);
	static const char want[] =
	    "{\"49\":[{\"key\":\"a\",\"tombstone\":false,\"ttl_ms\":0,\"updated_at_ms\":"
	    "1700000000000,\"value\":null,\"version\":{\"" OWN "\":1}},";
	CHECK(out.len > sizeof(want));
	CHECK_MEM(out.data, want, sizeof(want) - 1);
	kms_buf_free(&out);
	kms_store_free(s);
}

/* What has expired and was not swept yet travels as it was written. */
TEST(expired_records_travel_as_they_are)
{
	kms_store *s = kit_store(1), *other = kit_store(2);
	uint64_t at_ms;
	kms_sync_counts c;
	kms_buf value = new_text(), text = new_text();
	kms_delta d;
	add_sealed(&value, APP, 1, 1);
	MUST(kms_store_put(&at_ms, s, APP, kms_text_from("k"), kms_span_of(value.data, value.len), 5,
			   NOW - 100));
	add(&text, "{\"data\":");
	CHECK_OK(kms_sync_delta(&d, &text, s, &all_changes));
	add(&text, "}");
	CHECK(d.records == 1 && memmem(text.data, text.len, "\"tombstone\":false,\"ttl_ms\":5", 28));
	CHECK_OK(apply_text(&c, other, &text));
	CHECK(c.merged == 1 && kit_stats(other).tombstones == 1);
	kms_buf_free(&text);
	kms_buf_free(&value);
	kms_store_free(s);
	kms_store_free(other);
}

TEST(output_is_bounded)
{
	kms_store *s = kit_store(1);
	kms_delta d;
	uint64_t records;
	for (int i = 0; i < 200; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", i);
		MUST(kit_put(s, key, 1, NOW));
	}
	kms_buf whole = content_of(s);
	for (size_t less = 0; less < 3; less++) {
		kms_buf out = kms_buf_make(KMS_BUF_WIPED, 4 + whole.len - less);
		add(&out, "head");
		CHECK_STATUS(less ? KMS_ERR_TOO_LARGE : KMS_OK, kms_sync_snapshot(&records, &out, s, true));
		CHECK(less ? out.len == 4 && records == 0 : out.len == 4 + whole.len && records == 200);
		CHECK_MEM(out.data, "head", 4);
		kms_buf_free(&out);
		out = kms_buf_make(KMS_BUF_WIPED, 4 + whole.len - less);
		add(&out, "head");
		CHECK_STATUS(less ? KMS_ERR_TOO_LARGE : KMS_OK, kms_sync_delta(&d, &out, s, &all_changes));
		CHECK(less ? out.len == 4 && d.until == 0 : d.records == 200);
		kms_buf_free(&out);
	}
	kms_buf_free(&whole);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(&records, NULL, s, true));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(NULL, &whole, s, true));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(&records, &whole, NULL, true));
	kms_store_free(s);
}

TEST(failing_allocations_leave_nothing)
{
	kms_store *s = kit_store(1);
	bool ended = false;
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	for (uint64_t app = 1; app < 90; app++)
		merge_at(s, app, "k", clock, 1, 5, KMS_RECORD_LIVE);
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_delta d;
		uint64_t records = 0;
		kms_buf out = new_text(), snapshot = new_text();
		add(&out, "head");
		kms_mem_fail_after(n);
		kms_status status = kms_sync_delta(&d, &out, s, &all_changes);
		if (status == KMS_OK) status = kms_sync_snapshot(&records, &snapshot, s, true);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK ? records == 89
				       : status == KMS_ERR_MEMORY && !snapshot.len && !records);
		CHECK(d.records == 89 ? d.until == 89 : out.len == 4 && d.until == 0);
		kms_buf_free(&out);
		kms_buf_free(&snapshot);
	}
	CHECK(ended);
	kms_store_free(s);
}

/* Many namespaces, many changes that are not sent: the work of a call is bounded, the end is reached. */
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
	config.max_namespaces = APPS;
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
		MUST(kms_app_id_parse(&id, app->text, app->len));
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

/* Numbers of changes within a range that a page had to have, each once. */
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
	/* With nobody writing, what the range holds is exactly what came. */
	if (alone) CHECK(records == count_sendable(s, &o, d.until));
	if (alone && d.records == 0) CHECK(d.until == kms_store_sequence(s));
	*cursor = d.until;
	kms_buf_free(&out);
}

/* At the end the peer has the last sendable change of every key. */
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
	MUST(kms_buf_append(&value, bytes, sizeof(bytes)));
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
		if (kms_sync_snapshot(&records, &out, s, true) != KMS_OK) *failed_ = 1;
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

/* ---- there and back ---- */

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
	kms_store *a = kit_store(1), *b = kit_store(1);
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
	CHECK_OK(kms_sync_snapshot(&records, &text, a, true));
	add(&text, "}");
	CHECK_OK(apply_text(&c, b, &text));
	CHECK(records > 30 && c.total == records && c.merged == records);
	kms_buf before = content_of(a), after = content_of(b);
	CHECK(same_bytes(&before, &after));
	/* And its own counters go on where they were. */
	record_copy r;
	MUST(kit_put(b, "new", 1, NOW));
	kms_buf_free(&before);
	kms_buf_free(&after);
	kms_buf_free(&text);
	MUST(kit_peek(&r, b, "new", NOW));
	CHECK(r.record.origin == 0 && kit_counter(&r, 1) >= 1);
	kms_store_free(a);
	kms_store_free(b);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(pages_and_snapshots_are_canonical), T(sizes_are_exact),
	  T(an_empty_store_has_nothing), T(pages_hold_to_their_limits), T(pages_pass_over_what_is_not_sent),
	  T(changes_after_the_choice_come_later), T(stubs_are_in_snapshots_where_asked_for),
	  T(expired_records_travel_as_they_are), T(output_is_bounded), T(failing_allocations_leave_nothing),
	  T(filtered_changes_are_passed_in_bounded_steps), T(many_namespaces_share_a_page),
	  T(every_change_arrives_once), T(every_change_arrives_while_others_write),
	  T(a_snapshot_makes_the_same_store))
