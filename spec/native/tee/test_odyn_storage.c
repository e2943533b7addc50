/* Bodies of the Odyn service's storage. */
#include "odyn_kit.h"

static kms_status read_value(kms_buf *value, const char **field, const char *text)
{
	DEFER(kms_buf_free) kms_buf response = response_of(text);
	return kms_odyn_value(value, field, &response);
}

TEST(put_requests_carry_key_and_value)
{
	static const uint8_t bytes[] = { 0, 1, 2, 0xff };
	kms_buf request = kms_buf_make(KMS_BUF_PLAIN, 4096);
	CHECK_OK(kms_odyn_put_request(&request, kms_text_from("a/b\"c"), KMS_SPAN(bytes)));
	CHECK(is_text(&request, "{\"key\":\"a/b\\\"c\",\"value\":\"AAEC/w==\"}"));
	kms_buf_clear(&request);
	CHECK_OK(kms_odyn_put_request(&request, kms_text_from(""), kms_span_of(NULL, 0)));
	CHECK(is_text(&request, "{\"key\":\"\",\"value\":\"\"}"));
	CHECK_STATUS(KMS_ERR_UTF8, kms_odyn_put_request(&request, kms_text_from("\xff"), KMS_SPAN(bytes)));
	CHECK(is_text(&request, "{\"key\":\"\",\"value\":\"\"}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_put_request(NULL, KMS_NO_TEXT, KMS_SPAN(bytes)));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_odyn_put_request(&request, kms_text_from("a"), kms_span_of(NULL, 1)));
	kms_buf_free(&request);
	/* {"key":"a","value":"AAEC/w=="} is 30 bytes */
	kms_buf tight = kms_buf_make(KMS_BUF_PLAIN, 29), fits = kms_buf_make(KMS_BUF_PLAIN, 30);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_odyn_put_request(&tight, kms_text_from("a"), KMS_SPAN(bytes)));
	CHECK(tight.len == 0);
	CHECK_OK(kms_odyn_put_request(&fits, kms_text_from("a"), KMS_SPAN(bytes)));
	kms_buf_free(&tight);
	kms_buf_free(&fits);
}

TEST(values_are_decoded)
{
	static const uint8_t want[] = { 0, 1, 2, 0xff };
	const char *field = "unset";
	kms_buf value = kms_buf_make(KMS_BUF_WIPED, 4);
	CHECK_OK(read_value(&value, &field, "{\"x\":[1],\"value\":\"AAEC\\/w==\",\"content_type\":null}"));
	CHECK(!field && value.len == 4 && memcmp(value.data, want, 4) == 0);
	kms_buf_free(&value);
	value = kms_buf_make(KMS_BUF_WIPED, 4);
	CHECK_OK(read_value(&value, &field, "{\"value\":\"\"}"));
	CHECK(value.len == 0);
	kms_buf_free(&value);
}

TEST(malformed_values_are_refused)
{
	static const struct {
		const char *text, *field;
	} table[] = {
		{ "", NULL },
		{ "[]", NULL },
		{ "{\"value\":\"AAEC\"", NULL },
		{ "{\"value\":\"AAEC\",\"value\":\"AAEC\"}", NULL },
		{ "{}", "value" },
		{ "{\"value\":1}", "value" },
		{ "{\"value\":null}", "value" },
		{ "{\"value\":\"AAE\"}", "value" },
		{ "{\"value\":\"AAE*\"}", "value" },
		{ "{\"value\":\"AA==AAEC\"}", "value" },
		{ "{\"value\":\"AB==\"}", "value" }, /* bits behind the last byte */
		{ "{\"value\":\"AA-_\"}", "value" }, /* of URLs */
		{ "{\"value\":\"AAEC\\n\"}", "value" },
		{ "{\"value\":\"AAECAwQ=\"}", "value" }, /* five bytes where four are allowed */
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *field = "unset";
		kms_buf value = kms_buf_make(KMS_BUF_WIPED, 4);
		CHECK_STATUS(KMS_ERR_TEE, read_value(&value, &field, table[i].text));
		CHECK(field == table[i].field || (field && strcmp(field, table[i].field) == 0));
		CHECK(!value.data);
	}
	const char *field;
	kms_buf used = kms_buf_make(KMS_BUF_WIPED, 4), other = kms_buf_make(KMS_BUF_PLAIN, 4);
	CHECK_OK(kms_buf_append_text(&used, "x"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, read_value(&used, &field, "{\"value\":\"AAEC\"}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, read_value(&other, &field, "{\"value\":\"AAEC\"}"));
	kms_buf response = response_of("{\"value\":\"AAEC\"}");
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_value(NULL, &field, &response));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_value(&other, NULL, &response));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_value(&other, &field, NULL));
	kms_buf_free(&response);
	kms_buf_free(&used);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(put_requests_carry_key_and_value), T(values_are_decoded),
	  T(malformed_values_are_refused))
