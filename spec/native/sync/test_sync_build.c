/* Delta pages and snapshots: their text, filters and limits. */
#include "base/testing.h"
#include "sync/testing.h"
#include "sync/sync_write.h"
#include "sync_kit.h"

/* ---- text ---- */

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
	CHECK_OK(kms_sync_snapshot(&records, &snapshot, s, 0));
	CHECK(records == 4 && text_is(&snapshot, want));
	/* It is canonical JSON already. */
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

/* Limits count the size of a record before it is written. */
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
		unsigned extras = KMS_SYNC_FINGERPRINTS | (i % 2 ? KMS_SYNC_BASE64 : 0);
		CHECK_OK(kms_sync_write_start(&w, &out, extras));
		CHECK_OK(kms_sync_write_record(&w, app, &r));
		CHECK_OK(kms_sync_write_end(&w));
		/* The first application has no comma in front of it. */
		CHECK(out.len == 2 + kms_sync_app_size(app) - 1 + kms_sync_record_size(&r, extras));
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
	CHECK_OK(kms_sync_snapshot(&records, &out, s, KMS_SYNC_STUBS));
	CHECK(records == 0 && text_is(&out, "{}"));
	kms_buf_free(&out);
	/* A cursor from before a restart never goes back. */
	kms_delta_options o = all_changes;
	o.since = 77;
	MUST(kit_put(s, "a", 1, NOW));
	CHECK_OK(kms_sync_delta(&d, &out, s, &o));
	CHECK(d.until == 77 && d.records == 0);
	kms_buf_free(&out);
	kms_store_free(s);
}

/* ---- limits, each at it and past it ---- */

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
	o.max_bytes = two.len + 2; /* at most the commas before first elements are counted too many */
	CALL(expect_page, s, &o, 2, 2, 0);
	o.max_bytes = two.len - 1;
	CALL(expect_page, s, &o, 1, 1, 0);
	o.max_bytes = 1; /* one record is always sent */
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

/* A page ends just before the record that no longer fits, so that filtered changes are passed. */
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

/* Between choosing and writing nothing is locked: records that change then are left to a later page. */
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
	CHECK_OK(kms_sync_snapshot(&records, &out, s, 0));
	CHECK(records == 2);
	kms_buf_free(&out);
	CHECK_OK(kms_sync_snapshot(&records, &out, s, KMS_SYNC_STUBS));
	CHECK(records == 3);
	static const char want[] =
	    "{\"49\":[{\"key\":\"a\",\"tombstone\":false,\"ttl_ms\":0,\"updated_at_ms\":"
	    "1700000000000,\"value\":null,\"version\":{\"" OWN "\":1700000000000}},";
	CHECK(out.len > sizeof(want));
	CHECK_MEM(out.data, want, sizeof(want) - 1);
	kms_buf_free(&out);
	kms_store_free(s);
}

/* Builds a page of one record, which must have this key and end with these numbers. */
static void expect_one(int *failed_, kms_store *s, uint64_t since, const char *key, const char *numbers)
{
	kms_delta_options o = all_changes;
	o.since = since;
	o.max_bytes = 1;
	o.stubs = true;
	kms_delta d;
	kms_buf out = new_text();
	CHECK_OK(kms_sync_page(&d, &out, s, &o));
	CHECK(d.records == (*key ? 1 : 0) && out.len >= strlen(numbers));
	CHECK(memmem(out.data, out.len, key, strlen(key)) != NULL);
	CHECK_MEM(out.data + out.len - strlen(numbers), numbers, strlen(numbers));
	kms_buf_free(&out);
}

TEST(pages_have_all_that_was_held_at_the_first_one)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	config.max_app_bytes = 3 * MIN_VALUE;
	MUST(kms_store_new(&s, &config));
	MUST(kit_put(s, "a", 1, NOW));
	MUST(kit_put(s, "b", 1, NOW));
	MUST(kit_put(s, "c", 1, NOW));
	MUST(kit_put(s, "d", 1, NOW)); /* evicts a */
	CHECK(kit_stats(s).stubs == 1);
	CALL(expect_one, s, 0, "\"key\":\"a\"", "]},\"until\":1,\"sequence\":4");
	MUST(kit_put(s, "b", 1, NOW + 1)); /* after the first page */
	CALL(expect_one, s, 1, "\"key\":\"c\"", "]},\"until\":3,\"sequence\":5");
	CALL(expect_one, s, 3, "\"key\":\"d\"", "]},\"until\":4,\"sequence\":5");
	CALL(expect_one, s, 4, "\"key\":\"b\"", "]},\"until\":5,\"sequence\":5");
	CALL(expect_one, s, 5, "", "{},\"until\":5,\"sequence\":5");
	CALL(expect_one, s, 1000, "", "{},\"until\":1000,\"sequence\":5");
	kms_store_free(s);
}

/* An expired record that is not a tombstone yet is sent as it was written. */
TEST(expired_records_are_sent_as_they_are)
{
	kms_store *s = kit_store(1), *other = kit_store(2);
	uint64_t at_ms;
	kms_sync_counts c;
	kms_buf value = new_text(), text = new_text();
	kms_delta d;
	add_sealed(&value, APP, 1, 1);
	MUST(kms_store_put(&at_ms, s, APP, KMS_TEXT("k"), kms_span_of(value.data, value.len), 5, NOW - 100));
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
		CHECK_STATUS(less ? KMS_ERR_TOO_LARGE : KMS_OK,
			     kms_sync_snapshot(&records, &out, s, KMS_SYNC_STUBS));
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
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(&records, NULL, s, KMS_SYNC_STUBS));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(NULL, &whole, s, KMS_SYNC_STUBS));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_snapshot(&records, &whole, NULL, KMS_SYNC_STUBS));
	kms_store_free(s);
}

TEST(failing_allocations_leave_nothing)
{
	kms_store *s = kit_store(1);
	bool ended = false;
	const kms_clock_entry clock[] = { { { 2 }, 1 } };
	for (uint64_t app = 1; app < 81; app++)
		merge_at(s, app, "k", clock, 1, 5, KMS_RECORD_LIVE);
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_delta d;
		uint64_t records = 0;
		kms_buf out = new_text(), snapshot = new_text();
		add(&out, "head");
		kms_mem_fail_after(n);
		kms_status status = kms_sync_delta(&d, &out, s, &all_changes);
		if (status == KMS_OK) status = kms_sync_snapshot(&records, &snapshot, s, KMS_SYNC_STUBS);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK ? records == 80
				       : status == KMS_ERR_MEMORY && !snapshot.len && !records);
		CHECK(d.records == 80 ? d.until == 80 : out.len == 4 && d.until == 0);
		kms_buf_free(&out);
		kms_buf_free(&snapshot);
	}
	CHECK(ended);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(pages_and_snapshots_are_canonical), T(sizes_are_exact),
	  T(an_empty_store_has_nothing), T(pages_hold_to_their_limits), T(pages_pass_over_what_is_not_sent),
	  T(changes_after_the_choice_come_later), T(stubs_are_in_snapshots_where_asked_for),
	  T(pages_have_all_that_was_held_at_the_first_one), T(expired_records_are_sent_as_they_are),
	  T(output_is_bounded), T(failing_allocations_leave_nothing))
