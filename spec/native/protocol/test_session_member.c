/* What sessions between members have beside those of applications: answers that are a message or a refusal.
 */
#include "kms/operations.h"
#include "session_kit.h"

static kms_status read(kms_session_refused *refused, const char *json)
{
	return kms_session_refused_read(refused, kms_text_from(json));
}

TEST(the_longest_refusal_is_read_as_it_was_written)
{
	char message[400];
	memset(message, 'm', sizeof(message));
	kms_buf json = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	const kms_refusal refusal = { .status = 503,
				      .code = KMS_TEXT("service_unavailable"),
				      .message = kms_text_of(message, sizeof(message)),
				      .retry_after_s = 30 };
	CHECK_OK(kms_refusal_write(&json, &refusal));
	CHECK(json.len > 200 && json.len <= KMS_SESSION_REFUSAL);
	kms_session_refused refused;
	CHECK_OK(kms_session_refused_read(&refused, kms_buf_text(&json)));
	CHECK(refused.status == 503 && refused.retry_after_s == 30);
	CHECK(refused.code_len == 19 && memcmp(refused.code, "service_unavailable", 19) == 0);
	CHECK(refused.message_len > 100 && memcmp(refused.message, message, refused.message_len) == 0);
	kms_buf_free(&json);
}

TEST(other_answers_are_no_refusals)
{
	static const char *const answers[] = {
		"{\"status\":\"ok\"}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":200}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":299}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":600}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":-403}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":\"403\"}",
		"{\"code\":\"c\",\"message\":\"m\"}",
		"{\"code\":\"c\",\"status\":403}",
		"{\"message\":\"m\",\"status\":403}",
		"{\"code\":1,\"message\":\"m\",\"status\":403}",
		"{\"code\":\"c\",\"message\":\"m\",\"retry_after_s\":\"1\",\"status\":403}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":403,\"status\":403}",
		"{\"code\":\"c\",\"message\":\"m\",\"status\":403} x",
		"[403]",
		"403",
		"null",
		"{",
		"x",
	};
	kms_session_refused refused;
	CHECK_OK(read(&refused, "{\"code\":\"c\",\"message\":\"m\",\"status\":403}"));
	CHECK(refused.status == 403 && refused.retry_after_s == 0);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		CHECK_STATUS(KMS_ERR_NOT_FOUND, read(&refused, answers[i]));
		CHECK(refused.status == 0 && refused.code_len == 0);
	}
	static const char *const waits[] = { "999999999", "1000000000", "9223372036854775808" };
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		char text[100];
		snprintf(text, sizeof(text),
			 "{\"code\":\"c\",\"message\":\"m\",\"retry_after_s\":%s,\"status\":503}", waits[i]);
		CHECK_OK(read(&refused, text));
		CHECK(refused.retry_after_s == 999999999);
	}
	char longer[KMS_SESSION_REFUSAL + 2] = "{\"code\":\"c\",\"message\":\"m\",\"status\":403}";
	size_t len = strlen(longer);
	memset(longer + len, ' ', KMS_SESSION_REFUSAL + 1 - len);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, read(&refused, longer));
	longer[KMS_SESSION_REFUSAL] = 0;
	CHECK_OK(read(&refused, longer));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, read(&refused, ""));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_refused_read(&refused, kms_text_of(NULL, 0)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_refused_read(NULL, KMS_TEXT("{}")));
}

TEST(of_a_message_only_its_json_is_kept)
{
	kms_buf message = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	CHECK_OK(kms_buf_append_text(&message, "head{\"a\":1}rest of the content"));
	kms_session_content content = { 7, kms_text_of((const char *)message.data + 4, 7) };
	size_t before = message.len;
	kms_session_keep_json(&message, &content);
	CHECK(message.len == 7 && memcmp(message.data, "{\"a\":1}", 7) == 0);
	for (size_t i = 7; i < before; i++)
		CHECK(message.data[i] == 0);
	CHECK(!content.json.text && content.time_ms == 0);
	content = (kms_session_content){ 7, kms_text_of((const char *)message.data + 3, 0) };
	kms_session_keep_json(&message, &content);
	CHECK(message.len == 0 && message.data[0] == 0);
	kms_buf_free(&message);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(the_longest_refusal_is_read_as_it_was_written),
	  T(other_answers_are_no_refusals), T(of_a_message_only_its_json_is_kept))
