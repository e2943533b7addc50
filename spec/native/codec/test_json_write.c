/* Canonical JSON: values and strings. */
#include "json_kit.h"

/* The text parses and its canonical form is this. */
static void check_canonical(int *failed_, const char *text, size_t len, const char *want, size_t want_len)
{
	doc d;
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	kms_status status = doc_parse(&d, text, len, MAX_VALUES);
	if (status == KMS_OK) status = kms_json_canonical(&out, &d.json, &d.json.values[0]);
	bool same = status == KMS_OK && out.len == want_len && memcmp(out.data, want, want_len) == 0;
	if (!same)
		fprintf(stderr, "%s: %s: %.*s, want %s\n", text, kms_status_name(status), (int)out.len,
			out.data ? (char *)out.data : "", want);
	kms_buf_free(&out);
	doc_free(&d);
	CHECK(same);
}

#define CANONICAL(text, want) CALL(check_canonical, (text), sizeof(text) - 1, (want), sizeof(want) - 1)

TEST(canonical_form_is_sorted_and_compact)
{
	CANONICAL(" null ", "null");
	CANONICAL("\"\"", "\"\"");
	CANONICAL("{\"b\":1,\"a\":{\"d\":1,\"c\":[]},\"\":2}", "{\"\":2,\"a\":{\"c\":[],\"d\":1},\"b\":1}");
	CANONICAL("{\"aa\":1,\"a\":2,\"Z\":3}", "{\"Z\":3,\"a\":2,\"aa\":1}");
	/* Bytewise, not by UTF-16 unit: U+FFFF goes before U+10000. */
	CANONICAL("{\"\\ud800\\udc00\":1,\"\\uffff\":2}", "{\"\xef\xbf\xbf\":2,\"\xf0\x90\x80\x80\":1}");
	CANONICAL("[-0,0,18446744073709551615,-18446744073709551615,10]",
		  "[0,0,18446744073709551615,-18446744073709551615,10]");
	CANONICAL("\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\\\/\\u007f\"",
		  "\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\x7f\"");
	CANONICAL("\"\\u00e9\\u20ac\\uD834\\uDD1E\\uDBFF\\uDFFF\"",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\xf4\x8f\xbf\xbf\"");
	CANONICAL("{\"\\u0061\\u0000b\":\"x\\ny\"}", "{\"a\\u0000b\":\"x\\ny\"}");
}

TEST(many_members_are_sorted)
{
	/* Beyond the 32 whose order needs no memory; keys come in descending order. */
	kms_buf in = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), want = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	char member[32];
	for (int i = 0; i < 100; i++) {
		snprintf(member, sizeof(member), "%c\"k%02d\":%d", i ? ',' : '{', 99 - i, 99 - i);
		CHECK_OK(kms_buf_append_text(&in, member));
		snprintf(member, sizeof(member), "%c\"k%02d\":%d", i ? ',' : '{', i, i);
		CHECK_OK(kms_buf_append_text(&want, member));
	}
	CHECK_OK(kms_buf_append_text(&in, "}"));
	CHECK_OK(kms_buf_append_text(&want, "}"));
	CALL(check_canonical, (char *)in.data, in.len, (char *)want.data, want.len);
	kms_buf_free(&in);
	kms_buf_free(&want);
}

TEST(a_fraction_has_no_canonical_form)
{
	static const char *const texts[] = { "1.0",
					     "1e2",
					     "1E+2",
					     "-0.0",
					     "0e0",
					     "18446744073709551616",
					     "-18446744073709551616",
					     "99999999999999999999999999" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		doc d;
		kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 64);
		CHECK_OK(kms_buf_append_text(&out, "x"));
		CHECK_OK(doc_parse(&d, texts[i], strlen(texts[i]), 10));
		CHECK(d.json.values[0].type == KMS_JSON_FRACTION && !d.json.values[0].negative);
		CHECK_STATUS(KMS_ERR_JSON, kms_json_canonical(&out, &d.json, &d.json.values[0]));
		CHECK(out.len == 1);
		kms_buf_free(&out);
		doc_free(&d);
	}
}

TEST(written_strings_respect_the_buffers_limit)
{
	kms_buf out = kms_buf_make(KMS_BUF_GUARDED, 9);
	CHECK_OK(kms_buf_append_json(&out, KMS_TEXT("\x01z"))); /* 9 bytes with the quotes */
	CHECK(out.len == 9);
	CHECK_MEM(out.data, "\"\\u0001z\"", 9);
	kms_buf_free(&out);
	out.max = 8;
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append_json(&out, KMS_TEXT("\x01z")));
	CHECK(out.len == 0);
	kms_buf_free(&out);
}

static bool is_text(const kms_buf *buf, const char *text)
{
	return buf->len == strlen(text) && memcmp(buf->data, text, buf->len) == 0;
}

TEST(json_strings_are_escaped)
{
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 1000);
	static const char all[] = "\x00\x01\x07\b\t\n\x0b\f\r\x0e\x1f \"\\/\x7f\xc3\xa4\xf0\x9f\x94\x91";
	CHECK_OK(kms_buf_append_json(&buf, kms_text_of(all, sizeof(all) - 1)));
	CHECK(is_text(&buf, "\"\\u0000\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u001f \\\"\\\\/\x7f"
			    "\xc3\xa4\xf0\x9f\x94\x91\""));
	kms_buf_clear(&buf);
	CHECK_OK(kms_buf_append_json(&buf, KMS_NO_TEXT));
	CHECK(is_text(&buf, "\"\""));
	CHECK_STATUS(KMS_ERR_UTF8, kms_buf_append_json(&buf, KMS_TEXT("\xff")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_buf_append_json(&buf, kms_text_of(NULL, 1)));
	buf.max = buf.len + 9;
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_buf_append_json(&buf, KMS_TEXT("ab\x01")));
	CHECK(is_text(&buf, "\"\""));
	buf.max++;
	CHECK_OK(kms_buf_append_json(&buf, KMS_TEXT("ab\x01")));
	CHECK(is_text(&buf, "\"\"\"ab\\u0001\""));
	kms_buf_free(&buf);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(canonical_form_is_sorted_and_compact), T(many_members_are_sorted),
	  T(a_fraction_has_no_canonical_form), T(written_strings_respect_the_buffers_limit),
	  T(json_strings_are_escaped))
