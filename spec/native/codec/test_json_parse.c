/* The JSON parser: RFC 8259 as json.h narrows it, hostile input. */
#include "base/testing.h"
#include "json_kit.h"

#include <sys/time.h>

static kms_status parse_only(const char *text, size_t len, size_t max)
{
	doc d;
	kms_status status = doc_parse(&d, text, len, max);
	if (status != KMS_OK && (d.json.values || d.json.count || d.json.cap)) status = KMS_ERR_SELFTEST;
	doc_free(&d);
	return status;
}

#define PARSE(text) parse_only((text), sizeof(text) - 1, MAX_VALUES)

TEST(every_kind_of_value_is_read)
{
	static const char text[] =
	    "\t{ \"a\" : [ null , true,false, -12 ,1.5, \"x\" ] ,\r\n\"b\":{}, \"c\":[]}  ";
	doc d;
	CHECK_OK(doc_parse(&d, text, sizeof(text) - 1, MAX_VALUES));
	const kms_json_value *root = &d.json.values[0];
	CHECK(root->type == KMS_JSON_OBJECT && root->count == 3 && root->next == d.json.count);
	const kms_json_value *a = kms_json_get(&d.json, root, "a");
	CHECK(a && a->type == KMS_JSON_ARRAY && a->count == 6);
	const kms_json_value *v = kms_json_first(&d.json, a);
	CHECK(v->type == KMS_JSON_NULL);
	v = kms_json_next(&d.json, v);
	CHECK(v->type == KMS_JSON_TRUE);
	v = kms_json_next(&d.json, v);
	CHECK(v->type == KMS_JSON_FALSE);
	v = kms_json_next(&d.json, v);
	CHECK(v->type == KMS_JSON_INTEGER && v->negative && v->number == 12);
	v = kms_json_next(&d.json, v);
	CHECK(v->type == KMS_JSON_FRACTION);
	v = kms_json_next(&d.json, v);
	CHECK(v->type == KMS_JSON_STRING && v->len == 1 && v->text[0] == 'x');
	v = kms_json_next(&d.json, a);
	CHECK(v->type == KMS_JSON_STRING && v->len == 1 && v->text[0] == 'b');
	const kms_json_value *c = kms_json_get(&d.json, root, "c");
	CHECK(c->type == KMS_JSON_ARRAY && c->count == 0);
	CHECK(!kms_json_first(&d.json, c) && !kms_json_next(&d.json, c));
	CHECK(!kms_json_get(&d.json, root, "") && !kms_json_get(&d.json, root, "aa"));
	CHECK(!kms_json_get(&d.json, a, "x") && !kms_json_first(&d.json, v));
	doc_free(&d);
}

TEST(malformed_text_is_refused)
{
	static const char *const texts[] = {
		"",
		" ",
		"{",
		"}",
		"[",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{,}",
		"{a:1}",
		"{1:1}",
		"{\"a\" 1}",
		"{\"a\":1 \"b\":2}",
		"[}",
		"{]",
		"nul",
		"nulL",
		"True",
		"tru",
		"fals",
		"NaN",
		"Infinity",
		"-",
		"+1",
		"01",
		"-01",
		"00",
		"1.",
		".5",
		"1.e1",
		"1e",
		"1e+",
		"0x10",
		"1_0",
		"- 1",
		"\"",
		"\"a",
		"\"\\",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u123\"",
		"'a'",
		"\"\n\"",
		"\"\t\"",
		"\"\x1f\"",
		"1 2",
		"{}{}",
		"null,",
		"//x\n1",
		"1/**/",
		"\xef\xbb\xbf{}",
		"\xa0"
		"1",
		"\x0b"
		"1",
		"[1;2]",
		"\"a\":1",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		kms_status status = parse_only(texts[i], strlen(texts[i]), 100);
		if (status != KMS_ERR_JSON) fprintf(stderr, "accepted: %s\n", texts[i]);
		CHECK(status == KMS_ERR_JSON);
	}
	CHECK_STATUS(KMS_ERR_JSON, PARSE("1\0"));
	CHECK_STATUS(KMS_ERR_JSON, PARSE("\0"));
	CHECK_STATUS(KMS_ERR_JSON, PARSE("\"a\0b\""));
	CHECK_STATUS(KMS_ERR_JSON, PARSE("\"\\\0\""));
}

TEST(text_that_is_no_utf8_is_refused)
{
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\x80\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\xc0\xaf\""));         /* overlong */
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\xed\xa0\x80\""));     /* a surrogate */
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\xf4\x90\x80\x80\"")); /* above U+10FFFF */
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\xe2\x82\""));         /* cut short */
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\xe2\x82\\u0080\""));  /* not completed by an escape */
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("{\"\xff\":1}"));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\ud800\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\udfff\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\udc00\\ud800\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\ud800\\ud800\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\ud800\\n\""));
	CHECK_STATUS(KMS_ERR_UTF8, PARSE("\"\\ud800x\""));
	CHECK_OK(PARSE("\"\\ud7ff\\ue000\""));
}

TEST(duplicate_keys_are_refused)
{
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, PARSE("{\"a\":1,\"a\":1}"));
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, PARSE("{\"a\":1,\"b\":{},\"\\u0061\":2}"));
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, PARSE("[[{\"\":1,\"x\":2,\"\":3}]]"));
	CHECK_OK(PARSE("{\"a\":{\"a\":{\"a\":1}},\"A\":1,\"a\\u0000\":2,\"aa\":3}"));
}

/* An object of n members that share a long prefix, the last one equal to the one at `twin`. */
static char *large_object(size_t *len, size_t n, size_t prefix, size_t twin)
{
	char *text = malloc(n * (prefix + 16) + 2), *at = text;
	if (!text) abort();
	for (size_t i = 0; i < n; i++) {
		*at++ = i ? ',' : '{';
		*at++ = '"';
		memset(at, 'k', prefix);
		at += prefix;
		at += sprintf(at, "%06zu\":1", i + 1 == n ? twin : i);
	}
	*at++ = '}';
	*len = (size_t)(at - text);
	return text;
}

TEST(large_objects_are_checked_without_quadratic_cost)
{
	enum { MEMBERS = 40000, PREFIX = 64 };
	size_t len;
	char *text = large_object(&len, MEMBERS, PREFIX, 0);
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, parse_only(text, len, MAX_VALUES));
	free(text);
	text = large_object(&len, MEMBERS, PREFIX, MEMBERS / 2);
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, parse_only(text, len, MAX_VALUES));
	free(text);
	/*
	 * All distinct, ten times as many: 8e10 comparisons of pairs would take many minutes of CPU,
	 * a sort a fraction of a second. The timer counts CPU only and ends what is not a sort.
	 */
	text = large_object(&len, 10 * MEMBERS, PREFIX, 10 * MEMBERS - 1);
	const struct itimerval deadline = { .it_value = { .tv_sec = 240 } }, off = { .it_value = { 0 } };
	setitimer(ITIMER_PROF, &deadline, NULL);
	kms_status status = parse_only(text, len, 10 * MAX_VALUES);
	setitimer(ITIMER_PROF, &off, NULL);
	free(text);
	CHECK_OK(status);
}

/* `depth` containers around nothing, arrays and objects in turn when mixed. */
static kms_status parse_nested(size_t depth, bool mixed)
{
	char text[512], *at = text;
	for (size_t i = 0; i < depth; i++) {
		if (mixed && i % 2)
			at += sprintf(at, "{\"a\":");
		else
			*at++ = '[';
	}
	if (mixed) *at++ = '1';
	for (size_t i = depth; i-- > 0;)
		*at++ = mixed && i % 2 ? '}' : ']';
	return parse_only(text, (size_t)(at - text), 1000);
}

TEST(depth_is_bounded)
{
	CHECK_OK(parse_nested(KMS_JSON_MAX_DEPTH, false));
	CHECK_OK(parse_nested(KMS_JSON_MAX_DEPTH, true));
	CHECK_STATUS(KMS_ERR_JSON_DEPTH, parse_nested(KMS_JSON_MAX_DEPTH + 1, false));
	CHECK_STATUS(KMS_ERR_JSON_DEPTH, parse_nested(KMS_JSON_MAX_DEPTH + 1, true));
	/* Depth counts nesting, not how often something was nested. */
	CHECK_OK(PARSE("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]"));
	char *deep = malloc(1 << 20);
	CHECK(deep);
	memset(deep, '[', 1 << 20);
	kms_status status = parse_only(deep, 1 << 20, MAX_VALUES);
	free(deep);
	CHECK_STATUS(KMS_ERR_JSON_DEPTH, status);
}

TEST(count_of_values_is_bounded)
{
	static const char text[] = "{\"a\":[1,2],\"b\":null}"; /* root, 2 keys, array, 3 scalars */
	CHECK_OK(parse_only(text, sizeof(text) - 1, 7));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_only(text, sizeof(text) - 1, 6));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_only("1", 1, 0));
	/* Past several growths of the token array. */
	enum { ELEMENTS = 999 };
	char array[2 * ELEMENTS + 1];
	for (size_t i = 0; i < ELEMENTS; i++) {
		array[2 * i] = i ? ',' : '[';
		array[2 * i + 1] = '7';
	}
	array[2 * ELEMENTS] = ']';
	CHECK_OK(parse_only(array, sizeof(array), ELEMENTS + 1));
	CHECK_STATUS(KMS_ERR_JSON_SIZE, parse_only(array, sizeof(array), ELEMENTS));
}

TEST(misuse_is_refused)
{
	kms_json json;
	char text[] = "1";
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 10);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_parse(NULL, text, 1, 10));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_parse(&json, NULL, 1, 10));
	CHECK_STATUS(KMS_ERR_JSON, kms_json_parse(&json, NULL, 0, 10));
	CHECK_OK(kms_json_parse(&json, text, 1, 10));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_canonical(NULL, &json, json.values));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_canonical(&out, NULL, json.values));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_json_canonical(&out, &json, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_json(&out, kms_text_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_json(NULL, KMS_TEXT("a")));
	CHECK_OK(kms_buf_append_json(&out, KMS_NO_TEXT));
	CHECK(out.len == 2);
	kms_json_free(&json);
	kms_json_free(&json);
	kms_json_free(NULL);
	kms_buf_free(&out);
}

TEST(a_failing_allocation_leaves_nothing_behind)
{
	size_t len;
	char *text = large_object(&len, 100, 3, 99);
	bool ended = false;
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		doc d;
		kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
		kms_mem_fail_after(n);
		kms_status status = doc_parse(&d, text, len, 1000);
		if (status != KMS_OK) CHECK(!d.json.values && !d.json.count);
		if (status == KMS_OK) status = kms_json_canonical(&out, &d.json, d.json.values);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY);
		CHECK(status == KMS_OK || out.len == 0);
		kms_buf_free(&out);
		doc_free(&d);
	}
	free(text);
	CHECK(ended);
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* What parses is consistent, and its canonical form parses to the same canonical form. */
static void check_mutant(int *failed_, const char *text, size_t len)
{
	doc d, again;
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), twice = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_status status = doc_parse(&d, text, len, 64);
	if (status == KMS_OK) {
		CHECK(d.json.count <= 64 && d.json.values[0].next == d.json.count);
		status = kms_json_canonical(&out, &d.json, d.json.values);
	}
	if (status == KMS_OK) {
		CHECK_OK(doc_parse(&again, (char *)out.data, out.len, 64));
		CHECK_OK(kms_json_canonical(&twice, &again.json, again.json.values));
		CHECK(twice.len == out.len);
		CHECK_MEM(twice.data, out.data, out.len);
		doc_free(&again);
	}
	kms_buf_free(&out);
	kms_buf_free(&twice);
	doc_free(&d);
}

TEST(mutated_documents_do_no_harm)
{
	static const char *const seeds[] = {
		"{\"path\":\"a/b\",\"context\":\"\\u00e9\\ud83d\\udd11\",\"length\":32,\"pop\":null}",
		"[[1,-2,3.5e-7],{\"k\":{\"\":[true,false]}},\"\\\\\\\"\\/\\b\\f\\n\\r\\t\"]",
		"{\"a\":18446744073709551615,\"b\":[{},[],\"\xc3\xa9\xf0\x9f\x94\x91\"],\"c\":0}",
	};
	static const char likely[] = "\"\\{}[]:,0e-.u\xc3\x80";
	uint64_t state = 0x6b6d732d6a736f6eULL;
	for (int i = 0; i < 100000; i++) {
		char text[160];
		const char *seed = seeds[i % 3];
		size_t len = strlen(seed);
		memcpy(text, seed, len);
		for (uint64_t edits = random_next(&state) % 4 + 1; edits; edits--) {
			uint64_t r = random_next(&state);
			size_t at = (size_t)(r >> 8) % len;
			if ((r & 3) == 0)
				text[at] = (char)(r >> 40);
			else if ((r & 3) == 1)
				text[at] = likely[(r >> 40) % (sizeof(likely) - 1)];
			else if ((r & 3) == 2)
				len = len > 1 ? len - 1 : 1;
			else
				memmove(text + at, text + at + (at + 1 < len), len - at - (at + 1 < len));
		}
		CALL(check_mutant, text, len);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(every_kind_of_value_is_read), T(malformed_text_is_refused),
	  T(text_that_is_no_utf8_is_refused), T(duplicate_keys_are_refused),
	  T(large_objects_are_checked_without_quadratic_cost), T(depth_is_bounded),
	  T(count_of_values_is_bounded), T(misuse_is_refused), T(a_failing_allocation_leaves_nothing_behind),
	  T(mutated_documents_do_no_harm))
