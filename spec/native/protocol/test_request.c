/* Inner requests: which bodies are accepted, which field is at fault, and where their bytes are. */
#include "base/testing.h"
#include "material.h"

#include "kms/request.h"
#include "kms/kdf.h"

static const kms_request_limits limits = { .max_value = 64, .max_key = 16 };

static kms_buf plain_of(const void *text, size_t len)
{
	/* Exactly as large as the text, so that ASan sees any overrun. */
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, len ? len : 1);
	MUST(kms_buf_append(&plain, kms_span_of(text, len)));
	return plain;
}

static kms_status parse_bytes(kms_request *request, const char **field, kms_request_kind kind,
			      const void *text, size_t len)
{
	kms_buf plain = plain_of(text, len);
	kms_status status = kms_request_parse(request, field, &plain, kind, &limits);
	if (plain.data || plain.len) status = KMS_ERR_SELFTEST;
	return status;
}

/* Status of a body. After a failure, the request owns nothing and `field` is the expected one. */
static kms_status parse_only(kms_request_kind kind, const char *text, const char *want_field)
{
	static const kms_request empty;
	kms_request request;
	const char *field = "unset";
	kms_status status = parse_bytes(&request, &field, kind, text, strlen(text));
	bool same = want_field ? field && strcmp(field, want_field) == 0 : !field;
	bool clean = memcmp(&request, &empty, sizeof(empty)) == 0;
	kms_request_clear(&request);
	if (!same) fprintf(stderr, "%s: field %s\n", text, field ? field : "none");
	return same && (clean || status == KMS_OK) ? status : KMS_ERR_SELFTEST;
}

#define DERIVE(text, field) parse_only(KMS_REQUEST_DERIVE, text, field)
#define PUT(text, field) parse_only(KMS_REQUEST_PUT, text, field)
#define DELETE(text, field) parse_only(KMS_REQUEST_DELETE, text, field)

static bool text_is(kms_text text, const char *want)
{
	return text.text && text.len == strlen(want) && memcmp(text.text, want, text.len) == 0;
}

static bool inside(const kms_request *request, const void *at, size_t len)
{
	const uint8_t *p = at;
	return p >= request->plain.data && p + len <= request->plain.data + request->plain.len;
}

TEST(derive_reads_path_context_length_and_pop)
{
	static const char text[] =
	    "{\"path\":\"a\\/"
	    "\\u00e9\",\"context\":\"c:d\",\"length\":64,\"pop\":\"0xabc\",\"other\":[{\"app_id\":1}]}";
	kms_request request;
	const char *field;
	CHECK_OK(parse_bytes(&request, &field, KMS_REQUEST_DERIVE, text, sizeof(text) - 1));
	CHECK(request.kind == KMS_REQUEST_DERIVE && !field && request.length == 64);
	CHECK(text_is(request.path, "a/\xc3\xa9") && text_is(request.context, "c:d") &&
	      text_is(request.pop, "0xabc"));
	CHECK(inside(&request, request.path.text, request.path.len) && inside(&request, request.pop.text, 5));
	CHECK(request.plain.kind == KMS_BUF_GUARDED);
	kms_request_clear(&request);
	CHECK(!request.plain.data && !request.path.text);
	kms_request_clear(&request);
	kms_request_clear(NULL);

	CHECK_OK(parse_bytes(&request, &field, KMS_REQUEST_DERIVE, "{\"path\":\"p\"}", 12));
	CHECK(request.length == 32 && !request.context.text && !request.context.len && !request.pop.text);
	kms_request_clear(&request);
	static const char nulls[] = "{\"path\":\"p\",\"pop\":null}";
	CHECK_OK(parse_bytes(&request, &field, KMS_REQUEST_DERIVE, nulls, sizeof(nulls) - 1));
	CHECK(request.length == 32 && !request.context.text && !request.pop.text);
	kms_request_clear(&request);
}

TEST(path_is_not_blank_and_nothing_is_null)
{
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, DERIVE("{}", "path"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, DERIVE("{\"path\":null}", "path"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":\"p\",\"length\":null}", "length"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":\"p\",\"context\":null}", "context"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":5}", "path"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":[\"a\"]}", "path"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, DERIVE("{\"path\":\"\"}", "path"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, DERIVE("{\"path\":\" \\t\\n\\u000b\\f\\r\"}", "path"));
	CHECK_OK(DERIVE("{\"path\":\" x \"}", NULL));
	CHECK_OK(DERIVE("{\"path\":\"\\u0000\"}", NULL)); /* HKDF's info is bytes */
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":\"p\",\"context\":5}", "context"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":\"p\",\"context\":false}", "context"));
	CHECK_OK(DERIVE("{\"path\":\"p\",\"context\":\"\"}", NULL));
}

TEST(length_is_an_integer_or_its_digits)
{
	static const struct {
		const char *length;
		kms_status want;
		uint32_t value;
	} cases[] = {
		{ "1", KMS_OK, 1 },
		{ "1024", KMS_OK, 1024 },
		{ "\"1\"", KMS_OK, 1 },
		{ "\"1024\"", KMS_OK, 1024 },
		{ "\"016\"", KMS_OK, 16 },
		{ "0", KMS_ERR_FIELD_VALUE, 0 },
		{ "-0", KMS_ERR_FIELD_VALUE, 0 },
		{ "-1", KMS_ERR_FIELD_VALUE, 0 },
		{ "1025", KMS_ERR_FIELD_VALUE, 0 },
		{ "18446744073709551615", KMS_ERR_FIELD_VALUE, 0 },
		{ "4294967328", KMS_ERR_FIELD_VALUE, 0 },          /* 2^32 + 32 */
		{ "18446744073709551648", KMS_ERR_FIELD_TYPE, 0 }, /* 2^64 + 32 */
		{ "32.0", KMS_ERR_FIELD_TYPE, 0 },
		{ "3.2e1", KMS_ERR_FIELD_TYPE, 0 },
		{ "true", KMS_ERR_FIELD_TYPE, 0 },
		{ "false", KMS_ERR_FIELD_TYPE, 0 },
		{ "[32]", KMS_ERR_FIELD_TYPE, 0 },
		{ "{}", KMS_ERR_FIELD_TYPE, 0 },
		{ "\"\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"0\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"1025\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"-1\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"+1\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\" 32\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"32.0\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"abc\"", KMS_ERR_FIELD_VALUE, 0 },
		{ "\"0x20\"", KMS_ERR_FIELD_VALUE, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		kms_request request;
		const char *field;
		int len = snprintf(text, sizeof(text), "{\"path\":\"p\",\"length\":%s}", cases[i].length);
		kms_status status = parse_bytes(&request, &field, KMS_REQUEST_DERIVE, text, (size_t)len);
		if (status != cases[i].want) fprintf(stderr, "length %s\n", cases[i].length);
		CHECK_STATUS(cases[i].want, status);
		CHECK(request.length == cases[i].value);
		CHECK(status == KMS_OK ? !field : strcmp(field, "length") == 0);
		kms_request_clear(&request);
	}
}

TEST(put_decodes_the_value_where_it_stands)
{
	static const char text[] = "{\"key\":\"a/\\ud83d\\udd11\",\"value\":\"AAEC\\/w==\",\"ttl_ms\":5000}";
	static const uint8_t want[] = { 0, 1, 2, 255 };
	kms_request request;
	const char *field;
	CHECK_OK(parse_bytes(&request, &field, KMS_REQUEST_PUT, text, sizeof(text) - 1));
	CHECK(text_is(request.key, "a/\xf0\x9f\x94\x91") && request.ttl_ms == 5000);
	CHECK(request.value.len == sizeof(want) && inside(&request, request.value.bytes, request.value.len));
	CHECK_MEM(request.value.bytes, want, sizeof(want));
	kms_request_clear(&request);
	CHECK_OK(parse_bytes(&request, &field, KMS_REQUEST_PUT, "{\"key\":\"k\",\"value\":\"\"}", 22));
	CHECK(request.value.bytes && request.value.len == 0 && request.ttl_ms == 0);
	kms_request_clear(&request);
}

TEST(put_and_delete_refuse_bad_fields)
{
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, PUT("{}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, PUT("{\"key\":\"k\"}", "value"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, PUT("{\"value\":\"YQ==\"}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, PUT("{\"key\":\"k\",\"value\":null}", "value"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, PUT("{\"key\":5,\"value\":\"YQ==\"}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, PUT("{\"key\":\"k\",\"value\":5}", "value"));
	CHECK_STATUS(KMS_ERR_KEY_SIZE, PUT("{\"key\":\"\",\"value\":\"YQ==\"}", "key"));
	CHECK_OK(PUT("{\"key\":\"0123456789abcdef\",\"value\":\"YQ==\"}", NULL));
	CHECK_STATUS(KMS_ERR_KEY_SIZE, PUT("{\"key\":\"0123456789abcdefg\",\"value\":\"YQ==\"}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, PUT("{\"key\":\"a\\u0000b\",\"value\":\"YQ==\"}", "key"));
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"!!!\"}", "value"));
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"YQ=\"}", "value"));
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"YQ\"}", "value"));
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"YR==\"}", "value")); /* unused bits */
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"-_-_\"}", "value"));
	CHECK_STATUS(KMS_ERR_BASE64, PUT("{\"key\":\"k\",\"value\":\"YWFh\\n\"}", "value"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, DELETE("{}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, DELETE("{\"key\":null}", "key"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DELETE("{\"key\":{}}", "key"));
	CHECK_STATUS(KMS_ERR_KEY_SIZE, DELETE("{\"key\":\"\"}", "key"));
	CHECK_OK(DELETE("{\"key\":\"0123456789abcdefg\"}", NULL)); /* of a member */
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, DELETE("{\"key\":\"\\u0000\"}", "key"));
	CHECK_OK(DELETE("{\"key\":\"0123456789abcdef\",\"path\":5}", NULL));
}

TEST(values_are_bounded)
{
	uint8_t value[65] = { 0 };
	char encoded[90], text[128];
	for (size_t len = 64; len <= 65; len++) {
		encoded[kms_base64_encode(encoded, kms_span_of(value, len))] = '\0';
		snprintf(text, sizeof(text), "{\"key\":\"k\",\"value\":\"%s\"}", encoded);
		if (len == 64)
			CHECK_OK(PUT(text, NULL));
		else
			CHECK_STATUS(KMS_ERR_VALUE_SIZE, PUT(text, "value"));
	}
}

TEST(ttl_is_a_bounded_integer)
{
	static const struct {
		const char *ttl;
		kms_status want;
	} cases[] = {
		{ "0", KMS_OK },
		{ "-0", KMS_OK },
		{ "null", KMS_OK },
		{ "315360000000", KMS_OK }, /* 10 years */
		{ "315360000001", KMS_ERR_TTL },
		{ "18446744073709551615", KMS_ERR_TTL },
		{ "-1", KMS_ERR_TTL },
		{ "1.5", KMS_ERR_FIELD_TYPE },
		{ "1e3", KMS_ERR_FIELD_TYPE },
		{ "18446744073709551616", KMS_ERR_FIELD_TYPE },
		{ "true", KMS_ERR_FIELD_TYPE },
		{ "\"5\"", KMS_ERR_FIELD_TYPE },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		snprintf(text, sizeof(text), "{\"key\":\"k\",\"value\":\"\",\"ttl_ms\":%s}", cases[i].ttl);
		CHECK_STATUS(cases[i].want, PUT(text, cases[i].want == KMS_OK ? NULL : "ttl_ms"));
	}
}

TEST(a_result_sent_back_is_not_a_request)
{
	CHECK_STATUS(KMS_ERR_APP_ID_IN_REQUEST, DERIVE("{\"app_id\":49,\"path\":\"p\"}", "app_id"));
	CHECK_STATUS(KMS_ERR_APP_ID_IN_REQUEST, DERIVE("{\"path\":\"p\",\"app_id\":null}", "app_id"));
	CHECK_STATUS(KMS_ERR_APP_ID_IN_REQUEST,
		     PUT("{\"key\":\"k\",\"value\":\"\",\"\\u0061pp_id\":\"\"}", "app_id"));
	CHECK_STATUS(KMS_ERR_APP_ID_IN_REQUEST, DELETE("{\"app_id\":1}", "app_id"));
}

TEST(bodies_that_are_no_object_are_refused)
{
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("", NULL));
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("{\"path\":\"p\"", NULL));
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("[]", NULL));
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("\"path\"", NULL));
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("null", NULL));
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, DERIVE("{\"path\":\"p\",\"path\":\"q\"}", NULL));
	CHECK_STATUS(KMS_ERR_UTF8, DERIVE("{\"path\":\"\xff\"}", NULL));
	CHECK_STATUS(KMS_ERR_JSON_DEPTH,
		     DERIVE("{\"path\":\"p\",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", NULL));
	CHECK_STATUS(KMS_ERR_JSON, DERIVE("{\"path\":\"p\"} ;", NULL));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, DERIVE("{\"path\":\"p\",\"pop\":1}", "pop"));
	/* 1 root, 2 and 2 for path and x, 1019 elements: 1024 values. */
	for (int elements = 1019; elements <= 1020; elements++) {
		char text[4096], *at = text + sprintf(text, "{\"path\":\"p\",\"x\":[0");
		for (int i = 1; i < elements; i++)
			at += sprintf(at, ",0");
		sprintf(at, "]}");
		CHECK_STATUS(elements == 1019 ? KMS_OK : KMS_ERR_JSON_SIZE, DERIVE(text, NULL));
	}
}

TEST(a_get_has_its_key_from_the_url)
{
	kms_request request;
	char *longest = malloc(KMS_STORE_MAX_PEER_KEY + 1);
	CHECK(longest);
	memset(longest, 'k', KMS_STORE_MAX_PEER_KEY + 1);
	CHECK_OK(kms_request_for_key(&request, KMS_TEXT("a/b\xc3\xa9")));
	CHECK(request.kind == KMS_REQUEST_GET && text_is(request.key, "a/b\xc3\xa9"));
	CHECK(request.plain.kind == KMS_BUF_GUARDED && inside(&request, request.key.text, 5));
	kms_request_clear(&request);
	CHECK_OK(kms_request_for_key(&request, kms_text_of(longest, KMS_STORE_MAX_PEER_KEY)));
	kms_request_clear(&request);
	CHECK_STATUS(KMS_ERR_KEY_SIZE,
		     kms_request_for_key(&request, kms_text_of(longest, KMS_STORE_MAX_PEER_KEY + 1)));
	CHECK_STATUS(KMS_ERR_KEY_SIZE, kms_request_for_key(&request, KMS_TEXT("")));
	CHECK_STATUS(KMS_ERR_UTF8, kms_request_for_key(&request, KMS_TEXT("a\xff")));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kms_request_for_key(&request, KMS_TEXT("a\0b")));
	CHECK(!request.plain.data && !request.key.text);
	free(longest);
}

TEST(pop_binds_a_body_to_its_exchange)
{
	kms_request request = { 0 };
	kms_text sig = { "0xsignature", 11 }, other = { "0xsignaturf", 11 }, shorter = { "0xsignature", 10 };
	CHECK_OK(kms_request_check_pop(&request, sig, false));
	CHECK_STATUS(KMS_ERR_POP_BINDING, kms_request_check_pop(&request, sig, true));
	request.pop = sig;
	CHECK_OK(kms_request_check_pop(&request, sig, false));
	CHECK_OK(kms_request_check_pop(&request, sig, true));
	CHECK_STATUS(KMS_ERR_POP_BINDING, kms_request_check_pop(&request, other, false));
	CHECK_STATUS(KMS_ERR_POP_BINDING, kms_request_check_pop(&request, shorter, false));
	request.pop = (kms_text){ "", 0 };
	CHECK_STATUS(KMS_ERR_POP_BINDING, kms_request_check_pop(&request, sig, false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_check_pop(NULL, sig, false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_check_pop(&request, (kms_text){ NULL, 0 }, false));
}

TEST(misuse_is_refused)
{
	kms_request request;
	const char *field;
	kms_buf plain = plain_of("{}", 2), ordinary = kms_buf_make(KMS_BUF_PLAIN, 10);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_parse(NULL, &field, &plain, KMS_REQUEST_DERIVE, &limits));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_request_parse(&request, NULL, &plain, KMS_REQUEST_DERIVE, &limits));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_request_parse(&request, &field, NULL, KMS_REQUEST_DERIVE, &limits));
	CHECK(plain.len == 2);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_parse(&request, &field, &plain, KMS_REQUEST_GET, &limits));
	CHECK(plain.len == 0 && !request.plain.data); /* a failure takes the buffer over, too */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_parse(&request, &field, &plain, KMS_REQUEST_DERIVE, NULL));
	/* Only guarded memory is accepted for a decrypted body. */
	CHECK_OK(kms_buf_append(&ordinary, KMS_BYTES("{}")));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_request_parse(&request, &field, &ordinary, KMS_REQUEST_DERIVE, &limits));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_for_key(NULL, KMS_TEXT("k")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_request_for_key(&request, kms_text_of(NULL, 1)));
	kms_buf_free(&ordinary);
	kms_buf_free(&plain);
}

TEST(nothing_stays_in_guarded_memory)
{
	static const char text[] = "{\"key\":\"k\",\"value\":\"c2VjcmV0\"}";
	size_t used = kms_guarded_used();
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 50 && !ended; n++) {
		kms_request request;
		const char *field;
		kms_buf plain = plain_of(text, sizeof(text) - 1);
		kms_mem_fail_after(n);
		status = kms_request_parse(&request, &field, &plain, KMS_REQUEST_PUT, &limits);
		if (status == KMS_OK) {
			kms_request_clear(&request);
			status = kms_request_for_key(&request, KMS_TEXT("k"));
		}
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		CHECK((status == KMS_OK) == (request.plain.data != NULL));
		kms_request_clear(&request);
		CHECK(kms_guarded_used() == used);
	}
	CHECK(ended && status == KMS_OK);
}

TEST(mutated_requests_do_no_harm)
{
	static const char *const seeds[] = {
		"{\"path\":\"a\\u00e9b\",\"context\":\"c\",\"length\":\"16\",\"pop\":\"0xab\"}",
		"{\"key\":\"k/\\ud83d\\udd11\",\"value\":\"AAECAwQFBgc=\",\"ttl_ms\":12345}",
		"{\"key\":\"some key\",\"pop\":null}",
	};
	static const char likely[] = "\"\\{}[]:,0-.=+A";
	uint64_t state = 0x72657175657374ULL;
	int good = 0;
	for (int i = 0; i < 100000; i++) {
		char text[128];
		size_t len = strlen(seeds[i % 3]);
		memcpy(text, seeds[i % 3], len);
		for (int edits = i / 3 % 3 + 1; edits; edits--) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			size_t at = (size_t)(state >> 16) % len;
			if (state % 7 == 0)
				len = at + 1;
			else
				text[at] = state % 3 ? likely[(state >> 50) % (sizeof(likely) - 1)]
						     : (char)(state >> 8);
		}
		kms_request request;
		const char *field;
		kms_status status = parse_bytes(&request, &field, (kms_request_kind)(i % 3), text, len);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_INPUT);
		if (status == KMS_OK) {
			good++;
			CHECK(!request.path.text || inside(&request, request.path.text, request.path.len));
			CHECK(!request.key.text || inside(&request, request.key.text, request.key.len));
			CHECK(!request.value.bytes ||
			      inside(&request, request.value.bytes, request.value.len));
			CHECK(!request.pop.text || inside(&request, request.pop.text, request.pop.len));
			CHECK(request.length <= KMS_DERIVE_MAX && request.ttl_ms <= KMS_STORE_MAX_TTL_MS);
		}
		kms_request_clear(&request);
	}
	CHECK(good > 1000);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(derive_reads_path_context_length_and_pop),
	  T(path_is_not_blank_and_nothing_is_null), T(length_is_an_integer_or_its_digits),
	  T(put_decodes_the_value_where_it_stands), T(put_and_delete_refuse_bad_fields),
	  T(values_are_bounded), T(ttl_is_a_bounded_integer), T(a_result_sent_back_is_not_a_request),
	  T(bodies_that_are_no_object_are_refused), T(a_get_has_its_key_from_the_url),
	  T(pop_binds_a_body_to_its_exchange), T(misuse_is_refused), T(nothing_stays_in_guarded_memory),
	  T(mutated_requests_do_no_harm))
