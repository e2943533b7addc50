/* Parsing the records of sync messages. */
#include "base/testing.h"
#include "sync/sync_internal.h"
#include "sync_kit.h"

static void expect_records(int *failed_, const char *text, size_t good, uint64_t bad)
{
	kms_sync *m;
	CHECK_OK(parse_text(&m, text));
	if (m->entry_count != good || m->malformed != bad) fprintf(stderr, "%s\n", text);
	CHECK(m->entry_count == good && m->malformed == bad);
	CHECK(kms_sync_records(m) == good + bad);
	kms_sync_free(m);
}

TEST(malformed_records_are_counted)
{
	static const char *const bad[] = {
		"",
		"\"key\":\"k\"",
		"\"key\":\"k\",\"value\":null", /* no clock */
		"\"key\":\"k\",\"version\":{\"" WALLET "\":1}",
		"\"value\":null,\"version\":{\"" WALLET "\":1}",
		"\"key\":1,\"value\":null,\"version\":{\"" WALLET "\":1}",
		"\"key\":null,\"value\":null,\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":1,\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":[],\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":\"0\",\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":\"0x0\",\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":\"0g\",\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":\"" HEX28 "0 \",\"version\":{\"" WALLET "\":1}",
		"\"key\":\"k\",\"value\":null,\"version\":{}",
		"\"key\":\"k\",\"value\":null,\"version\":[]",
		"\"key\":\"k\",\"value\":null,\"version\":null",
		"\"key\":\"k\",\"value\":null,\"version\":{\"02\":1}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"\":1}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "00\":1}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "\":-1}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "\":1.0}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "\":\"1\"}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "\":18446744073709551616}",
		"\"key\":\"k\",\"value\":null,\"version\":{\"" OWN "\":1,\"" WALLET "\":true}",
		GOOD ",\"tombstone\":true",
		GOOD ",\"tombstone\":null",
		GOOD ",\"tombstone\":1",
		GOOD ",\"updated_at_ms\":-1",
		GOOD ",\"updated_at_ms\":1.5",
		GOOD ",\"updated_at_ms\":\"1\"",
		GOOD ",\"updated_at_ms\":null",
		GOOD ",\"updated_at_ms\":18446744073709551616",
		GOOD ",\"ttl_ms\":-1",
		GOOD ",\"ttl_ms\":1e3",
		GOOD ",\"ttl_ms\":true",
	};
	static const char *const no_objects[] = { "null", "1", "\"k\"", "[]", "[{" GOOD "}]", "true" };
	static const char *const ids[] = { "",
					   "0",
					   "049",
					   "-1",
					   "+1",
					   " 49",
					   "49 ",
					   "0x31",
					   "4.9",
					   "49\\u0000",
					   "18446744073709551616",
					   "app" };
	char text[1024];
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text), "{\"data\":{\"49\":[{" GOOD "},{%s},{" GOOD "}]}}", bad[i]);
		CALL(expect_records, text, 2, 1);
	}
	for (size_t i = 0; i < KMS_ARRAY_LEN(no_objects); i++) {
		snprintf(text, sizeof(text), "{\"data\":{\"49\":[%s,{" GOOD "}]}}", no_objects[i]);
		CALL(expect_records, text, 1, 1);
	}
	for (size_t i = 0; i < KMS_ARRAY_LEN(ids); i++) {
		snprintf(text, sizeof(text), "{\"data\":{\"%s\":[{" GOOD "},{}],\"1\":[{" GOOD "}]}}",
			 ids[i]);
		CALL(expect_records, text, 1, 2);
	}
	CALL(expect_records, "{\"data\":{\"18446744073709551615\":[{" GOOD "}],\"1\":[],\"x\":[]}}", 1, 0);
}

TEST(an_entry_that_is_no_list_is_one_rejected_record)
{
	static const char *const values[] = { "{}", "{\"a\":[1,{}]}", "null", "\"\"", "5", "true" };
	char text[1024];
	for (size_t i = 0; i < KMS_ARRAY_LEN(values); i++) {
		snprintf(text, sizeof(text), "{\"data\":{\"48\":[{" GOOD "}],\"49\":%s,\"50\":[{" GOOD "}]}}",
			 values[i]);
		CALL(expect_records, text, 2, 1);
	}
}

TEST(a_ttl_beyond_ten_years_is_ten_years)
{
	kms_sync *m;
	CHECK_OK(parse_text(&m, "{\"data\":{\"7\":[{" GOOD ",\"ttl_ms\":315360000001}]}}"));
	CHECK(m->entry_count == 1 && m->entries[0].ttl_ms == KMS_STORE_MAX_TTL_MS);
	kms_sync_free(m);
}

TEST(records_have_defaults_and_states)
{
	kms_sync *m;
	kms_record r;
	CHECK_OK(parse_text(&m, "{\"data\":{\"7\":[{" GOOD "}],\"8\":["
				"{\"version\":{\"" WALLET "\":18446744073709551615},\"tombstone\":true,"
				"\"value\":null,\"ttl_ms\":5,\"updated_at_ms\":18446744073709551615,"
				"\"key\":\"\\u00e9\\u0000\",\"more\":{\"key\":1}},"
				"{\"key\":\"\",\"value\":null,\"version\":{\"" WALLET "\":0}},"
				"{\"key\":\"e\",\"value\":\"\",\"version\":{\"" WALLET "\":0}},"
				"{\"key\":\"x\",\"value\":\"0xAbcD\",\"version\":{\"" WALLET "\":0}}]}}"));
	CHECK(m->app_count == 2 && m->apps[0].app_id == 7 && m->apps[0].end == 1);
	CHECK(m->apps[1].app_id == 8 && m->apps[1].end == 5 && m->entry_count == 5);
	kms_sync_record_view(&r, m, &m->entries[0]);
	CHECK(r.state == KMS_RECORD_LIVE && r.updated_at_ms == 0 && r.ttl_ms == 0 && r.origin == 0);
	CHECK(r.key.len == 1 && r.key.text[0] == 'k' && r.value.len == 28 && r.value.bytes[1] == 0x11);
	CHECK(r.value.bytes[27] == 0xbb && r.clock.len == 1 && r.clock.entries[0].counter == 1);
	CHECK(r.clock.entries[0].wallet20[0] == 2 && r.clock.entries[0].wallet20[19] == 0);
	kms_sync_record_view(&r, m, &m->entries[1]);
	CHECK(r.state == KMS_RECORD_TOMBSTONE && r.updated_at_ms == UINT64_MAX && r.ttl_ms == 5);
	CHECK(!r.value.bytes && !r.value.len && r.key.len == 3 && r.clock.entries[0].counter == UINT64_MAX);
	kms_sync_record_view(&r, m, &m->entries[2]);
	CHECK(r.state == KMS_RECORD_STUB && !r.value.bytes && r.key.len == 0);
	kms_sync_record_view(&r, m, &m->entries[3]);
	CHECK(r.state == KMS_RECORD_LIVE && r.value.bytes && r.value.len == 0);
	kms_sync_record_view(&r, m, &m->entries[4]);
	CHECK(r.value.len == 2 && r.value.bytes[0] == 0xab && r.value.bytes[1] == 0xcd);
	kms_sync_free(m);
}

/* Clock entries are written over their text: they must be right at any offset and in any form. */
TEST(clocks_of_every_length_and_place)
{
	static const int lengths[] = {
		1, 2, 3, 31, 32, 33, 255, KMS_STORE_MAX_CLOCK, KMS_STORE_MAX_CLOCK + 1
	};
	for (size_t l = 0; l < KMS_ARRAY_LEN(lengths); l++) {
		for (int shift = 0; shift < 9; shift++) {
			kms_buf text = new_text();
			const char *field;
			kms_sync *m;
			kms_record r;
			addf(&text, "{%*s\"data\":{\"49\":[{\"key\":\"k\",\"version\":{", shift, "");
			for (int i = 0; i < lengths[l]; i++)
				addf(&text, "%s\"%s%04X%036d\":%d", i ? "," : "", shift % 2 ? "0x" : "", i, 0,
				     i % 10);
			add(&text, "},\"value\":null,\"tombstone\":true}]}}");
			CHECK_OK(kms_sync_parse(&m, &field, &text));
			bool fits = lengths[l] <= KMS_STORE_MAX_CLOCK;
			CHECK(m->entry_count == fits && m->malformed == !fits);
			if (fits) kms_sync_record_view(&r, m, &m->entries[0]);
			for (int i = 0; fits && i < lengths[l]; i++) {
				CHECK(r.clock.entries[i].counter == (uint64_t)(i % 10));
				CHECK(r.clock.entries[i].wallet20[0] == i / 256 &&
				      r.clock.entries[i].wallet20[1] == i % 256);
				CHECK(r.clock.entries[i].wallet20[2] == 0 &&
				      r.clock.entries[i].wallet20[19] == 0);
			}
			kms_sync_free(m);
		}
	}
}

/* ---- failures ---- */

TEST(other_buffers_are_refused_and_freed)
{
	static const kms_buf_kind kinds[] = { KMS_BUF_PLAIN, KMS_BUF_GUARDED };
	kms_sync *message;
	const char *field;
	for (size_t i = 0; i < KMS_ARRAY_LEN(kinds); i++) {
		kms_buf buf = kms_buf_make(kinds[i], 100);
		add(&buf, "{}");
		CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_parse(&message, &field, &buf));
		CHECK(!buf.data && !message);
	}
	kms_buf buf = new_text();
	CHECK_STATUS(KMS_ERR_JSON, kms_sync_parse(&message, &field, &buf));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_parse(&message, &field, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_parse(NULL, &field, &buf));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_parse(&message, NULL, &buf));
}

TEST(failing_allocations_leave_nothing)
{
	bool ended = false;
	kms_status status = KMS_ERR_MEMORY;
	for (unsigned long n = 1; n < 200 && !ended; n++) {
		kms_sync *message;
		const char *field;
		kms_buf text = new_text();
		add(&text, "{\"features\":[\"a\"],\"data\":{");
		for (int app = 1; app < 40; app++)
			addf(&text, "%s\"%d\":[{" GOOD "},{" GOOD ",\"x\":[1,2,3,4,5,6,7,8,9]}]",
			     app > 1 ? "," : "", app);
		add(&text, "}}");
		kms_mem_fail_after(n);
		status = kms_sync_parse(&message, &field, &text);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || (status == KMS_ERR_MEMORY && !message && !text.data));
		kms_sync_free(message);
	}
	CHECK(ended && status == KMS_OK);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(malformed_records_are_counted),
	  T(an_entry_that_is_no_list_is_one_rejected_record), T(a_ttl_beyond_ten_years_is_ten_years),
	  T(records_have_defaults_and_states), T(clocks_of_every_length_and_place),
	  T(other_buffers_are_refused_and_freed), T(failing_allocations_leave_nothing))
