/* Parsing sync messages: members, JSON, limits, and the sealed master secret. */
#include "sync_kit.h"

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
	CHECK(strcmp(kms_sync_number_member(KMS_SYNC_TIME), "time") == 0);
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
	CALL(expect_field, "data", "{\"49\":{}}", KMS_OK);
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
	/* The same name in different objects is no duplicate. */
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
	CHECK_OK(parse_long("{\"digest\":\"", KMS_SYNC_MAX_DIGEST, "\"}"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, parse_long("{\"digest\":\"", KMS_SYNC_MAX_DIGEST + 1, "\"}"));
	CHECK_OK(parse_long("{\"features\":[\"", KMS_SYNC_MAX_TEXT, "\"]}"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, parse_long("{\"features\":[\"", KMS_SYNC_MAX_TEXT + 1, "\"]}"));
	CHECK_OK(parse_array("{\"features\":[", "\"x\"", KMS_SYNC_MAX_FEATURES, "]}", &n));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE,
		     parse_array("{\"features\":[", "\"x\"", KMS_SYNC_MAX_FEATURES + 1, "]}", &n));
	CHECK_OK(parse_array("{\"other\":[", "1", KMS_SYNC_MAX_VALUES - 1, "]}", &n));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_array("{\"other\":[", "1", KMS_SYNC_MAX_VALUES, "]}", &n));
	/* A malformed record may be large, up to a limit. */
	CHECK_OK(parse_array("{\"data\":{\"49\":[[", "1", KMS_SYNC_MAX_RECORD_VALUES - 1, "]]}}", &n));
	CHECK(n == 1);
	CHECK_STATUS(KMS_ERR_JSON_SIZE,
		     parse_array("{\"data\":{\"49\":[[", "1", KMS_SYNC_MAX_RECORD_VALUES, "]]}}", &n));
	/* Their number has no limit. */
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
	/* Unsorted: multiples of a prime, modulo another prime, are all different. */
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
	kms_hex_encode(key, KMS_SPAN(der));
	kms_hex_encode(data, KMS_SPAN(sealed.data48));
	kms_hex_encode(nonce, KMS_SPAN(sealed.iv12));
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
	  T(depth_is_that_of_the_whole), T(applications_are_bounded), T(unseals_what_is_whole))
