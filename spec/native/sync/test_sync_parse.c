/* Reading sync messages: members, records, limits, and what is refused. */
#include "sync/sync_internal.h"
#include "sync_kit.h"

#define HEX28 "00112233445566778899aabbccddeeff00112233445566778899aabb"
#define RECORD(members) "{\"data\":{\"49\":[{" members "}]}}"
#define GOOD "\"key\":\"k\",\"value\":\"" HEX28 "\",\"version\":{\"" WALLET "\":1}"

static kms_status parse_status(const char *text)
{
	kms_sync *message;
	kms_status status = parse_text(&message, text);
	kms_sync_free(message);
	return status;
}

/* ---- members ---- */

static bool text_is(const kms_sync *message, kms_sync_text_name name, const char *want)
{
	kms_text got = kms_sync_text(message, name);
	return got.text && got.len == strlen(want) && memcmp(got.text, want, got.len) == 0;
}

TEST(members_are_found)
{
	kms_sync *m;
	uint64_t n;
	bool complete;
	CHECK_OK(parse_text(&m,
			    " {\"skip_reasons\":{\"a\":1},\"type\":\"delta\",\"sender_wallet\":\"w\",\"pop\":"
			    "\"\\u0070\",\"ecdh_pubkey\":\"\",\"status\":\"ok\",\"store\":\"s\",\"total\":0,"
			    "\"merged\":1,\"skipped\":2,\"rejected\":3,\"future\":9223372036854775807,"
			    "\"complete\":true,\"features\":[\"pop\",\"x\"],\"data\":{},\"more\":[null]} "));
	CHECK(text_is(m, KMS_SYNC_TYPE, "delta") && text_is(m, KMS_SYNC_SENDER_WALLET, "w"));
	CHECK(text_is(m, KMS_SYNC_POP, "p") && text_is(m, KMS_SYNC_ECDH_PUBKEY, ""));
	CHECK(text_is(m, KMS_SYNC_STATUS, "ok") && text_is(m, KMS_SYNC_STORE, "s"));
	for (int i = 0; i < KMS_SYNC_FUTURE; i++)
		CHECK(kms_sync_number(&n, m, (kms_sync_number_name)i) && n == (uint64_t)i);
	CHECK(kms_sync_number(&n, m, KMS_SYNC_FUTURE) && n == INT64_MAX);
	CHECK(kms_sync_complete(&complete, m) && complete);
	CHECK(kms_sync_has_data(m) && kms_sync_records(m) == 0);
	CHECK(kms_sync_feature(m, 0).len == 3 && kms_sync_feature(m, 1).len == 1);
	CHECK(!kms_sync_feature(m, 2).text && !kms_sync_feature(m, SIZE_MAX).text);
	kms_sync_free(m);
	CHECK_OK(parse_text(&m, "{}"));
	for (int i = 0; i < KMS_SYNC_TEXTS; i++)
		CHECK(!kms_sync_text(m, (kms_sync_text_name)i).text);
	for (int i = 0; i < KMS_SYNC_NUMBERS; i++)
		CHECK(!kms_sync_number(&n, m, (kms_sync_number_name)i) && n == 0);
	CHECK(!kms_sync_complete(&complete, m) && !complete && !kms_sync_has_data(m));
	CHECK(!kms_sync_text(m, KMS_SYNC_TEXTS).text && !kms_sync_number(&n, m, KMS_SYNC_NUMBERS));
	kms_sync_free(m);
	kms_sync_free(NULL);
}

TEST(members_have_names)
{
	CHECK(strcmp(kms_sync_text_member(KMS_SYNC_TYPE), "type") == 0);
	CHECK(strcmp(kms_sync_text_member(KMS_SYNC_STORE), "store") == 0);
	CHECK(strcmp(kms_sync_number_member(KMS_SYNC_TOTAL), "total") == 0);
	CHECK(strcmp(kms_sync_number_member(KMS_SYNC_FUTURE), "future") == 0);
	CHECK(!*kms_sync_text_member(KMS_SYNC_TEXTS) && !*kms_sync_number_member(KMS_SYNC_NUMBERS));
}

static void expect_field(int *failed_, const char *name, const char *value, kms_status want)
{
	char text[256];
	const char *field;
	kms_sync *message;
	int len = snprintf(text, sizeof(text), "{\"%s\":%s}", name, value);
	kms_status status = parse_bytes(&message, &field, text, (size_t)len);
	kms_sync_free(message);
	if (status != want) fprintf(stderr, "%s\n", text);
	CHECK_STATUS(want, status);
	bool named = status == KMS_ERR_FIELD_TYPE || status == KMS_ERR_FIELD_VALUE ||
		     status == KMS_ERR_APP_ID_IN_REQUEST;
	CHECK(named ? field && strcmp(field, name) == 0 : !field);
}

TEST(members_have_types)
{
	static const struct {
		const char *name;
		char type; /* of values below */
	} members[] = { { "type", 's' },        { "sender_wallet", 's' }, { "pop", 's' },
			{ "ecdh_pubkey", 's' }, { "status", 's' },        { "store", 's' },
			{ "total", 'i' },       { "merged", 'i' },        { "skipped", 'i' },
			{ "rejected", 'i' },    { "future", 'i' },        { "complete", 'b' },
			{ "sealed", 'o' },      { "skip_reasons", 'o' },  { "features", 'a' },
			{ "data", 'o' } };
	static const struct {
		const char *text;
		char type;
	} values[] = { { "\"x\"", 's' }, { "1", 'i' },  { "0", 'i' },    { "true", 'b' }, { "false", 'b' },
		       { "{}", 'o' },    { "[]", 'a' }, { "null", '-' }, { "1.0", '-' },  { "1e3", '-' } };
	for (size_t i = 0; i < KMS_ARRAY_LEN(members); i++) {
		for (size_t v = 0; v < KMS_ARRAY_LEN(values); v++)
			CALL(expect_field, members[i].name, values[v].text,
			     members[i].type == values[v].type ? KMS_OK : KMS_ERR_FIELD_TYPE);
	}
	CALL(expect_field, "total", "-1", KMS_ERR_FIELD_VALUE);
	CALL(expect_field, "total", "-0", KMS_OK);
	CALL(expect_field, "total", "9223372036854775807", KMS_OK);
	CALL(expect_field, "total", "9223372036854775808", KMS_ERR_FIELD_VALUE);
	CALL(expect_field, "total", "18446744073709551616", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "features", "[1]", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "features", "[\"a\",null]", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "features", "[\"a\",\"a\"]", KMS_OK);
	CALL(expect_field, "sealed", "{\"nonce\":1}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "sealed", "{\"nonce\":null}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "sealed", "{\"ephemeral_pubkey\":[]}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "sealed", "{\"encrypted_data\":{}}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "sealed", "{\"other\":1}", KMS_OK);
	CALL(expect_field, "data", "{\"49\":{}}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "data", "{\"x\":null}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "data", "{\"49\":[],\"50\":\"\"}", KMS_ERR_FIELD_TYPE);
	CALL(expect_field, "app_id", "49", KMS_ERR_APP_ID_IN_REQUEST);
	CALL(expect_field, "app_id", "null", KMS_ERR_APP_ID_IN_REQUEST);
	CALL(expect_field, "app_id\\u0000", "1", KMS_OK);
	CALL(expect_field, "TYPE", "1", KMS_OK);
}

/* ---- JSON ---- */

TEST(what_is_no_json_is_refused_whole)
{
	static const struct {
		const char *text;
		kms_status want;
	} table[] = {
		{ "", KMS_ERR_JSON },
		{ " ", KMS_ERR_JSON },
		{ "[]", KMS_ERR_JSON },
		{ "\"type\"", KMS_ERR_JSON },
		{ "null", KMS_ERR_JSON },
		{ "{", KMS_ERR_JSON },
		{ "{}}", KMS_ERR_JSON },
		{ "{} {}", KMS_ERR_JSON },
		{ "{}\n\t ", KMS_OK },
		{ "{,}", KMS_ERR_JSON },
		{ "{\"data\"}", KMS_ERR_JSON },
		{ "{\"data\":}", KMS_ERR_JSON },
		{ "{\"data\":x}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\"}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[,]}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[1,]}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[1 1]}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[]},}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[],}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[]]}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[]}", KMS_ERR_JSON },
		{ "{\"data\":{49:[]}}", KMS_ERR_JSON },
		{ "{\"data\":{\"49\":[{\"key\":\"k\"]}}", KMS_ERR_JSON },
		{ RECORD(GOOD ",\"x\":tru"), KMS_ERR_JSON },
		{ RECORD(GOOD ",\"x\":01"), KMS_ERR_JSON },
		{ RECORD(GOOD ",\"x\":\"\xff\""), KMS_ERR_UTF8 },
		{ RECORD(GOOD ",\"\xff\":1"), KMS_ERR_UTF8 },
		{ RECORD(GOOD ",\"x\":\"\\ud800\""), KMS_ERR_UTF8 },
		{ RECORD(GOOD) ",", KMS_ERR_JSON },
		{ "{\"data\":{\"\xff\":[]}}", KMS_ERR_UTF8 },
		{ "{\"type\":\"\xc0\xaf\"}", KMS_ERR_UTF8 },
		{ "{\"other\":\"\xff\"}", KMS_ERR_UTF8 },
		{ "{\"\\ud800\":1}", KMS_ERR_UTF8 },
		{ RECORD(GOOD), KMS_OK },
	};
	for (size_t i = 0; i < KMS_ARRAY_LEN(table); i++) {
		kms_status status = parse_status(table[i].text);
		if (status != table[i].want) fprintf(stderr, "%s\n", table[i].text);
		CHECK_STATUS(table[i].want, status);
	}
}

TEST(no_key_is_there_twice)
{
	static const char *const texts[] = {
		"{\"type\":\"a\",\"type\":\"a\"}",
		"{\"x\":1,\"y\":2,\"\\u0078\":1}",
		"{\"data\":{},\"data\":{}}",
		"{\"data\":{\"49\":[],\"50\":[],\"49\":[]}}",
		"{\"data\":{\"49\":[],\"\\u0034\\u0039\":[]}}",
		"{\"data\":{\"x\":[],\"x\":[]}}",
		RECORD(GOOD ",\"key\":\"k\""),
		RECORD(GOOD ",\"x\":1,\"x\":1"),
		RECORD(GOOD ",\"x\":[{\"y\":1,\"y\":1}]"),
		RECORD("\"key\":\"k\",\"value\":null,\"version\":{\"" WALLET "\":1,\"" WALLET "\":1}"),
		"{\"sealed\":{\"nonce\":\"\",\"nonce\":\"\"}}",
		"{\"skip_reasons\":{\"a\":1,\"a\":1}}",
		"{\"other\":{\"a\":1,\"a\":1}}",
		"{\"features\":[{\"a\":1,\"a\":1}]}",
		"{\"data\":{\"49\":[5,{\"a\":1,\"a\":1}]}}",
	};
	for (size_t i = 0; i < KMS_ARRAY_LEN(texts); i++) {
		kms_status status = parse_status(texts[i]);
		if (status != KMS_ERR_JSON_DUPLICATE) fprintf(stderr, "%s\n", texts[i]);
		CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, status);
	}
	/* The same names in different objects are none. */
	CHECK_OK(parse_status("{\"data\":{\"1\":[{\"a\":1},{\"a\":1}],\"a\":[],\"type\":[]},\"type\":\"\"}"));
}

/* ---- limits ---- */

static kms_status parse_buf(kms_buf *text, uint64_t *records)
{
	kms_sync *message;
	const char *field;
	kms_status status = kms_sync_parse(&message, &field, text);
	*records = status == KMS_OK ? kms_sync_records(message) : 0;
	kms_sync_free(message);
	return status;
}

static kms_status parse_many_members(int count)
{
	uint64_t records;
	kms_buf text = new_text();
	for (int i = 0; i < count; i++)
		addf(&text, "%c\"m%d\":0", i ? ',' : '{', i);
	add(&text, "}");
	return parse_buf(&text, &records);
}

static kms_status parse_long(const char *before, size_t len, const char *after)
{
	uint64_t records;
	kms_buf text = new_text();
	add(&text, before);
	for (size_t i = 0; i < len; i++)
		add(&text, "x");
	add(&text, after);
	return parse_buf(&text, &records);
}

/* `count` elements of this text in an array. */
static kms_status parse_array(const char *before, const char *element, size_t count, const char *after,
			      uint64_t *records)
{
	kms_buf text = new_text();
	add(&text, before);
	for (size_t i = 0; i < count; i++) {
		if (i) add(&text, ",");
		add(&text, element);
	}
	add(&text, after);
	return parse_buf(&text, records);
}

TEST(limits_hold)
{
	uint64_t n;
	CHECK_OK(parse_many_members(KMS_SYNC_MAX_MEMBERS));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_many_members(KMS_SYNC_MAX_MEMBERS + 1));
	CHECK_OK(parse_long("{\"type\":\"", KMS_SYNC_MAX_TEXT, "\"}"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, parse_long("{\"type\":\"", KMS_SYNC_MAX_TEXT + 1, "\"}"));
	CHECK_OK(parse_long("{\"attestation\":\"", KMS_SYNC_MAX_ATTESTATION, "\"}"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE,
		     parse_long("{\"attestation\":\"", KMS_SYNC_MAX_ATTESTATION + 1, "\"}"));
	CHECK_OK(parse_long("{\"features\":[\"", KMS_SYNC_MAX_TEXT, "\"]}"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, parse_long("{\"features\":[\"", KMS_SYNC_MAX_TEXT + 1, "\"]}"));
	CHECK_OK(parse_array("{\"features\":[", "\"x\"", KMS_SYNC_MAX_FEATURES, "]}", &n));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE,
		     parse_array("{\"features\":[", "\"x\"", KMS_SYNC_MAX_FEATURES + 1, "]}", &n));
	CHECK_OK(parse_array("{\"other\":[", "1", KMS_SYNC_MAX_VALUES - 1, "]}", &n));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_array("{\"other\":[", "1", KMS_SYNC_MAX_VALUES, "]}", &n));
	/* A record that is none, however large, up to a limit. */
	CHECK_OK(parse_array("{\"data\":{\"49\":[[", "1", KMS_SYNC_MAX_RECORD_VALUES - 1, "]]}}", &n));
	CHECK(n == 1);
	CHECK_STATUS(KMS_ERR_JSON_SIZE,
		     parse_array("{\"data\":{\"49\":[[", "1", KMS_SYNC_MAX_RECORD_VALUES, "]]}}", &n));
	/* Their number has none. */
	CHECK_OK(parse_array("{\"data\":{\"49\":[", "0", 1000000, "]}}", &n));
	CHECK(n == 1000000);
}

TEST(depth_is_that_of_the_whole)
{
	static const char before[] = "{\"data\":{\"49\":[{\"x\":", after[] = "}]}}"; /* four deep */
	for (int more = 12; more <= 13; more++) {
		char text[128];
		int len = snprintf(text, sizeof(text), "%s%.*s%.*s%s", before, more, "[[[[[[[[[[[[[[[[", more,
				   "]]]]]]]]]]]]]]]]", after);
		CHECK(len > 0 && (size_t)len < sizeof(text));
		CHECK_STATUS(more == 12 ? KMS_OK : KMS_ERR_JSON_DEPTH, parse_status(text));
	}
}

static kms_status parse_apps(size_t count, bool twice)
{
	uint64_t records;
	kms_buf text = new_text();
	MUST(kms_buf_reserve(&text, 14 * count + 100));
	add(&text, "{\"data\":{");
	/* Not in order: numbers times a prime, modulo another, are all different. */
	for (size_t i = 0; i < count; i++)
		addf(&text, "%s\"%zu\":[]", i ? "," : "", 1 + i * 7919 % 1000003);
	if (twice) add(&text, ",\"7920\":[]");
	add(&text, "}}");
	return parse_buf(&text, &records);
}

TEST(applications_are_bounded)
{
	CHECK_OK(parse_apps(KMS_SYNC_MAX_APPS, false));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_apps(KMS_SYNC_MAX_APPS + 1, false));
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, parse_apps(1000, true));
}

/* ---- records ---- */

static void expect_records(int *failed_, const char *text, size_t good, uint64_t bad)
{
	kms_sync *m;
	CHECK_OK(parse_text(&m, text));
	if (m->entry_count != good || m->malformed != bad) fprintf(stderr, "%s\n", text);
	CHECK(m->entry_count == good && m->malformed == bad);
	CHECK(kms_sync_records(m) == good + bad);
	kms_sync_free(m);
}

TEST(what_is_no_record_is_counted)
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

/* Entries are written over their text: they must be right for any place and form of it. */
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

/* ---- the sealed master secret ---- */

static kms_status unseal(const char *ephemeral, const char *data, const char *nonce)
{
	kms_sync *message;
	kms_secret *secret;
	kms_p384 *requester = hex_p384("07");
	kms_buf text = new_text();
	const char *field;
	add(&text, "{\"sealed\":{\"x\":1");
	if (ephemeral) addf(&text, ",\"ephemeral_pubkey\":\"%s\"", ephemeral);
	if (data) addf(&text, ",\"encrypted_data\":\"%s\"", data);
	if (nonce) addf(&text, ",\"nonce\":\"%s\"", nonce);
	add(&text, "}}");
	MUST(kms_sync_parse(&message, &field, &text));
	kms_status status = kms_sync_unseal(&secret, message, requester);
	kms_secret *master = hex_secret(MASTER);
	if (status == KMS_OK && !kms_secret_equal(secret, master)) abort();
	if (status != KMS_OK && secret) abort();
	kms_secret_unref(master);
	kms_secret_unref(secret);
	kms_sync_free(message);
	kms_p384_free(requester);
	return status;
}

TEST(unseals_what_is_whole)
{
	char key[2 * KMS_P384_DER + 1] = { 0 }, data[97] = { 0 }, nonce[25] = { 0 }, longer[99];
	uint8_t der[KMS_P384_DER];
	kms_sealed sealed;
	kms_secret *master = hex_secret(MASTER);
	kms_p384 *requester = hex_p384("07");
	CHECK_OK(kms_master_seal(&sealed, master, kms_p384_public(requester)));
	kms_p384_der(der, sealed.ephemeral_point97);
	kms_hex_encode(key, der, sizeof(der));
	kms_hex_encode(data, sealed.data48, sizeof(sealed.data48));
	kms_hex_encode(nonce, sealed.iv12, sizeof(sealed.iv12));
	CHECK_OK(unseal(key, data, nonce));
	CHECK_OK(unseal(key + (size_t)2 * KMS_P384_PREFIX, data, nonce)); /* the point alone */
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, unseal(NULL, data, nonce));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, unseal(key, NULL, nonce));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, unseal(key, data, NULL));
	CHECK_STATUS(KMS_ERR_HEX, unseal(key, data, nonce + 2));
	CHECK_STATUS(KMS_ERR_HEX, unseal(key, data + 2, nonce));
	snprintf(longer, sizeof(longer), "%s00", data);
	CHECK_STATUS(KMS_ERR_HEX, unseal(key, longer, nonce));
	CHECK_STATUS(KMS_ERR_HEX, unseal(key, data, "zz445566778899aabbccddee"));
	CHECK_STATUS(KMS_ERR_PEER_KEY, unseal(key + 2, data, nonce));
	CHECK_STATUS(KMS_ERR_PEER_KEY, unseal("", data, nonce));
	data[0] = data[0] == '0' ? '1' : '0';
	CHECK_STATUS(KMS_ERR_SEALED, unseal(key, data, nonce));
	kms_secret_unref(master);
	kms_p384_free(requester);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(members_are_found), T(members_have_names), T(members_have_types),
	  T(what_is_no_json_is_refused_whole), T(no_key_is_there_twice), T(limits_hold),
	  T(depth_is_that_of_the_whole), T(applications_are_bounded), T(what_is_no_record_is_counted),
	  T(records_have_defaults_and_states), T(clocks_of_every_length_and_place),
	  T(other_buffers_are_refused_and_freed), T(failing_allocations_leave_nothing),
	  T(unseals_what_is_whole))
