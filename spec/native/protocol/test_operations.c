/* Messages of a session: what they hold, what their answers say, and what is reserved before a write. */
#include "base/ensure.h"
#include "base/testing.h"
#include "material.h"
#include "store_config.h"

#include "kms/operations.h"
#include "kms/session.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NOW 1700000000000u
#define MAX_ANSWER (1 << 20)

static const kms_request_limits limits = { .max_value = 1 << 16, .max_key = 4096 };

typedef struct world {
	kms_secret *master;
	kms_store *store;
	kms_execution execution;
	kms_buf message;
	kms_buf answer;
	kms_operations *operations;
} world;

static void world_open(world *w)
{
	kms_store_config config = kit_config(1);
	config.max_value = limits.max_value;
	*w = (world){ .master = hex_secret(MASTER) };
	MUST(kms_store_new(&w->store, &config));
	w->execution = (kms_execution){ .app_id = 49,
					.master = w->master,
					.store = w->store,
					.now_ms = NOW,
					.max_list_bytes = 1 << 16,
					.says_status = true };
	w->message = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	w->answer = kms_buf_make(KMS_BUF_GUARDED, 4 << 20);
}

static void world_close(world *w)
{
	kms_operations_free(w->operations);
	kms_buf_free(&w->message);
	kms_buf_free(&w->answer);
	kms_store_free(w->store);
	kms_secret_unref(w->master);
}

static kms_status read_message(world *w, const char *json)
{
	kms_operations_free(w->operations);
	kms_buf_clear(&w->message);
	kms_buf_clear(&w->answer);
	MUST(kms_buf_append_text(&w->message, json));
	return kms_operations_read(&w->operations, (char *)w->message.data, w->message.len, &limits);
}

/* Executes a message, refuses what has failed by its status' name, and completes the answer. */
static kms_status answer_message(world *w, const char *json, size_t max, uint64_t copies)
{
	kms_status status = read_message(w, json);
	if (status == KMS_OK) status = kms_operations_execute(&w->answer, w->operations, &w->execution, max);
	for (size_t i = 0; status == KMS_OK && i < kms_operations_count(w->operations); i++) {
		const kms_operation *operation = kms_operations_at(w->operations, i);
		kms_refusal refusal = { .status = 400, .code = KMS_TEXT("no") };
		refusal.message = kms_text_from(kms_status_name(operation->status));
		if (operation->status != KMS_OK) status = kms_operations_refuse(w->operations, i, &refusal);
	}
	return status == KMS_OK ? kms_operations_finish(&w->answer, w->operations, copies) : status;
}

static void check_text(int *failed_, const kms_buf *got, const char *want)
{
	bool same = got->len == strlen(want) && memcmp(got->data, want, got->len) == 0;
	if (!same) fprintf(stderr, "got  %.*s\nwant %s\n", (int)got->len, (const char *)got->data, want);
	CHECK(same);
}

#define ANSWERS(json, want)                                        \
	do {                                                       \
		CHECK_OK(answer_message(&w, json, MAX_ANSWER, 2)); \
		CALL(check_text, &w.answer, want);                 \
	} while (0)

TEST(one_operation_has_one_object_as_its_answer)
{
	world w;
	world_open(&w);
	ANSWERS("{\"op\":\"derive\",\"path\":\"app/key\"}",
		"{\"app_id\":49,\"key\":\"6WpDvNH3FkuKRgpf58E1i6nzVQ0H42b+F0QCaGUeRBQ=\",\"length\":32,"
		"\"path\":\"app/key\",\"status\":200}");
	ANSWERS("{\"key\":\"k\",\"op\":\"put\",\"value\":\"YQ==\"}",
		"{\"app_id\":49,\"copies\":2,\"key\":\"k\",\"status\":200,\"updated_at_ms\":1700000000000}");
	ANSWERS("{\"op\":\"get\",\"key\":\"k\"}", "{\"app_id\":49,\"key\":\"k\",\"status\":200,\"updated_at_"
						  "ms\":1700000000000,\"value\":\"YQ==\"}");
	ANSWERS("{\"op\":\"list\"}", "{\"app_id\":49,\"count\":1,\"keys\":[\"k\"],\"status\":200}");
	ANSWERS("{\"op\":\"delete\",\"key\":\"k\"}",
		"{\"app_id\":49,\"copies\":2,\"deleted\":true,\"key\":\"k\",\"status\":200}");
	ANSWERS("{\"op\":\"get\",\"key\":\"k\"}",
		"{\"code\":\"no\",\"message\":\"ERR_NOT_FOUND\",\"status\":400}");
	world_close(&w);
}

TEST(the_answers_of_an_array_are_in_its_order)
{
	world w;
	world_open(&w);
	ANSWERS(
	    "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"YQ==\"},5,{\"op\":\"get\",\"key\":\"a\"},{\"op\":"
	    "\"x\"},"
	    "{\"op\":\"put\",\"key\":\"b\",\"value\":\"\"},{\"op\":\"delete\",\"key\":\"a\"},{\"op\":"
	    "\"list\"}]",
	    "[{\"app_id\":49,\"copies\":2,\"key\":\"a\",\"status\":200,\"updated_at_ms\":1700000000000},"
	    "{\"code\":\"no\",\"message\":\"ERR_JSON\",\"status\":400},"
	    "{\"app_id\":49,\"key\":\"a\",\"status\":200,\"updated_at_ms\":1700000000000,\"value\":\"YQ==\"},"
	    "{\"code\":\"no\",\"message\":\"ERR_FIELD_VALUE\",\"status\":400},"
	    "{\"app_id\":49,\"copies\":2,\"key\":\"b\",\"status\":200,\"updated_at_ms\":1700000000000},"
	    "{\"app_id\":49,\"copies\":2,\"deleted\":true,\"key\":\"a\",\"status\":200},"
	    "{\"app_id\":49,\"count\":1,\"keys\":[\"b\"],\"status\":200}]");
	world_close(&w);
}

TEST(what_an_operation_says_ends_with_it)
{
	world w;
	world_open(&w);
	w.execution.has_sessions = true;
	ANSWERS("[{\"op\":\"get\",\"key\":\"k\",\"strict\":true},{\"op\":\"get\",\"key\":\"l\",\"other\":1}]",
		"[{\"code\":\"no\",\"message\":\"ERR_NOT_FOUND\",\"status\":400},"
		"{\"code\":\"no\",\"message\":\"ERR_NOT_FOUND\",\"status\":400}]");
	ANSWERS(
	    "[{\"op\":\"get\",\"key\":\"k\",\"other\":1,\"strict\":true},{\"op\":\"list\",\"strict\":true}]",
	    "[{\"code\":\"no\",\"message\":\"ERR_FIELD_UNKNOWN\",\"status\":400},"
	    "{\"app_id\":49,\"count\":0,\"keys\":[],\"status\":200}]");
	ANSWERS("{\"op\":\"delete\",\"features\":[\"other\"],\"key\":\"session\"}",
		"{\"code\":\"no\",\"message\":\"ERR_NOT_FOUND\",\"status\":400}");
	ANSWERS("{\"op\":\"put\",\"features\":[\"other\"],\"key\":\"session\",\"value\":\"\"}",
		"{\"app_id\":49,\"copies\":2,\"key\":\"session\",\"status\":200,\"updated_at_ms\":"
		"1700000000000}");
	world_close(&w);
}

TEST(messages_that_hold_no_operations_are_refused)
{
	world w;
	world_open(&w);
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, read_message(&w, "[]"));
	CHECK(w.operations == NULL);
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, read_message(&w, "5"));
	CHECK_STATUS(KMS_ERR_FIELD_TYPE, read_message(&w, "\"x\""));
	CHECK_STATUS(KMS_ERR_JSON, read_message(&w, "[{}"));
	char many[4 * (KMS_OPERATIONS_MAX + 1) + 2] = "[{}";
	for (int i = 1; i < KMS_OPERATIONS_MAX; i++)
		strcat(many, ",{}");
	strcat(many, "]");
	CHECK_OK(read_message(&w, many));
	CHECK(kms_operations_count(w.operations) == KMS_OPERATIONS_MAX);
	CHECK(kms_operations_at(w.operations, KMS_OPERATIONS_MAX) == NULL);
	many[strlen(many) - 1] = '\0';
	strcat(many, ",{}]");
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, read_message(&w, many));
	CHECK(kms_operations_count(NULL) == 0);
	world_close(&w);
}

TEST(what_is_refused_is_not_executed)
{
	world w;
	world_open(&w);
	const kms_refusal refusal = { 403, KMS_TEXT("forbidden"), KMS_TEXT("by a policy"), 7 };
	CHECK_OK(read_message(&w, "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"},{\"op\":\"list\"}]"));
	CHECK_OK(kms_operations_refuse(w.operations, 0, &refusal));
	CHECK_STATUS(KMS_ERR_RANGE, kms_operations_refuse(w.operations, 2, &refusal));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK(!kms_operations_wrote(w.operations));
	/* Its result is in the answer already. */
	CHECK_STATUS(KMS_ERR_STATE, kms_operations_refuse(w.operations, 1, &refusal));
	CHECK_OK(kms_operations_finish(&w.answer, w.operations, 0));
	CALL(check_text, &w.answer,
	     "[{\"code\":\"forbidden\",\"message\":\"by a policy\",\"retry_after_s\":7,\"status\":403},"
	     "{\"app_id\":49,\"count\":0,\"keys\":[],\"status\":200}]");
	world_close(&w);
}

TEST(what_could_not_be_refused_is_not_executed_either)
{
	world w;
	world_open(&w);
	const kms_refusal refusal = { 403, KMS_TEXT("a_code_of_more_than_32_characters"), KMS_TEXT("x"), 0 };
	CHECK_OK(read_message(&w, "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"},{\"op\":\"list\"}]"));
	CHECK_STATUS(KMS_ERR_RANGE, kms_operations_refuse(w.operations, 0, &refusal));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK(!kms_operations_wrote(w.operations) && kms_store_sequence(w.store) == 0);
	CHECK_STATUS(KMS_ERR_STATE, kms_operations_finish(&w.answer, w.operations, 0));
	world_close(&w);
}

TEST(listings_are_executed_one_at_a_time)
{
	world w;
	world_open(&w);
	CHECK_OK(read_message(&w, "[{\"op\":\"list\"},{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"},{\"op\":"
				  "\"list\"},5,{\"op\":\"get\",\"key\":\"a\"}]"));
	const size_t executed[] = { 1, 3, 5 };
	for (size_t i = 0; i < KMS_ARRAY_LEN(executed); i++) {
		CHECK(kms_operations_are_left(w.operations));
		CHECK_OK(kms_operations_execute_some(&w.answer, w.operations, &w.execution, MAX_ANSWER));
		size_t last = executed[i] - 1, count = kms_operations_count(w.operations);
		CHECK(kms_operations_at(w.operations, last)->executed);
		if (executed[i] < count) CHECK(!kms_operations_at(w.operations, executed[i])->executed);
	}
	CHECK(!kms_operations_are_left(w.operations) && !kms_operations_are_left(NULL));
	CHECK_STATUS(KMS_ERR_STATE,
		     kms_operations_execute_some(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	const kms_refusal refusal = { 400, KMS_TEXT("no"), KMS_TEXT("x"), 0 };
	CHECK_OK(kms_operations_refuse(w.operations, 3, &refusal));
	CHECK_OK(kms_operations_finish(&w.answer, w.operations, 0));
	CALL(check_text, &w.answer,
	     "[{\"app_id\":49,\"count\":0,\"keys\":[],\"status\":200},"
	     "{\"app_id\":49,\"key\":\"a\",\"status\":200,\"updated_at_ms\":1700000000000},"
	     "{\"app_id\":49,\"count\":1,\"keys\":[\"a\"],\"status\":200},"
	     "{\"code\":\"no\",\"message\":\"x\",\"status\":400},"
	     "{\"app_id\":49,\"key\":\"a\",\"status\":200,\"updated_at_ms\":1700000000000,\"value\":\"\"}]");
	world_close(&w);
}

TEST(a_write_can_be_refused_once_it_is_made)
{
	world w;
	world_open(&w);
	const kms_refusal refusal = { 503, KMS_TEXT("service_unavailable"), KMS_TEXT("too few nodes"), 0 };
	CHECK_OK(read_message(
	    &w, "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"},{\"op\":\"get\",\"key\":\"a\"}]"));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK(kms_operations_wrote(w.operations));
	CHECK_OK(kms_operations_refuse(w.operations, 0, &refusal));
	kms_operations_forget(w.operations);
	kms_buf_free(&w.message);
	CHECK_OK(kms_operations_finish(&w.answer, w.operations, 3));
	CALL(check_text, &w.answer,
	     "[{\"code\":\"service_unavailable\",\"message\":\"too few nodes\",\"status\":503},"
	     "{\"app_id\":49,\"key\":\"a\",\"status\":200,\"updated_at_ms\":1700000000000,\"value\":\"\"}]");
	world_close(&w);
}

TEST(a_write_whose_refusal_cannot_be_written_has_no_answer)
{
	world w;
	world_open(&w);
	const kms_refusal longer = { 503, KMS_TEXT("a_code_of_more_than_32_characters"), KMS_TEXT(""), 0 };
	CHECK_OK(read_message(&w, "{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"}"));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK_STATUS(KMS_ERR_RANGE, kms_operations_refuse(w.operations, 0, &longer));
	CHECK(!kms_operations_wrote(w.operations));
	CHECK_STATUS(KMS_ERR_STATE, kms_operations_finish(&w.answer, w.operations, 0));
	world_close(&w);
}

TEST(an_operation_whose_failure_nobody_has_told_has_no_answer)
{
	world w;
	world_open(&w);
	CHECK_OK(read_message(&w, "[{\"op\":\"get\",\"key\":\"none\"}]"));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK(kms_operations_at(w.operations, 0)->status == KMS_ERR_NOT_FOUND);
	CHECK_STATUS(KMS_ERR_STATE, kms_operations_finish(&w.answer, w.operations, 0));
	world_close(&w);
}

TEST(refusals_are_never_longer_than_their_share)
{
	char text[2000];
	const struct {
		const char *unit;
		size_t len;
	} units[] = { { "x", 1 }, { "\"", 1 }, { "\x01", 1 }, { "\xe2\x98\x83", 3 }, { "\\", 1 } };
	for (size_t u = 0; u < KMS_ARRAY_LEN(units); u++) {
		kms_buf json = kms_buf_make(KMS_BUF_WIPED, 4096);
		size_t count = sizeof(text) / units[u].len;
		for (size_t i = 0; i < count; i++)
			memcpy(text + i * units[u].len, units[u].unit, units[u].len);
		kms_refusal refusal = { 503, KMS_TEXT("a_code_of_exactly_32_characters_"),
					kms_text_of(text, count * units[u].len), UINT64_MAX };
		CHECK_OK(kms_refusal_write(&json, &refusal));
		CHECK(json.len <= KMS_REFUSAL_BYTES && json.len > KMS_REFUSAL_BYTES - 40);
		kms_buf_free(&json);
	}
	/* Of a text of any length only as much is looked at as may be kept. */
	static char huge[16 << 20];
	memset(huge, 'x', sizeof(huge));
	kms_buf json = kms_buf_make(KMS_BUF_WIPED, 4096);
	kms_refusal talkative = { 503, KMS_TEXT("busy"), kms_text_of(huge, sizeof(huge)), 0 };
	CHECK_OK(kms_refusal_write(&json, &talkative));
	CHECK(json.len <= KMS_REFUSAL_BYTES);
	kms_buf_clear(&json);
	kms_refusal longer = { 503, KMS_TEXT("a_code_of_more_than_32_characters"), KMS_TEXT(""), 0 };
	CHECK_STATUS(KMS_ERR_RANGE, kms_refusal_write(&json, &longer));
	CHECK(json.len == 0);
	kms_buf_free(&json);
}

/* An answer with room for `max` bytes; a write that cannot be answered is not made. */
TEST(a_write_whose_answer_cannot_fit_is_not_made)
{
	world w;
	world_open(&w);
	const char *put = "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"}]";
	size_t made_at = 0;
	for (size_t max = 500; max < 1200 && !made_at; max++) {
		kms_status status = answer_message(&w, put, max, 2);
		if (status == KMS_ERR_TOO_LARGE) continue; /* there is not even room for refusals */
		CHECK_OK(status);
		CHECK(w.answer.len <= max);
		if (kms_operations_wrote(w.operations)) made_at = max;
		CHECK_OK(answer_message(&w, "{\"op\":\"get\",\"key\":\"a\"}", MAX_ANSWER, 0));
		bool there = kms_operations_at(w.operations, 0)->status == KMS_OK;
		CHECK(there == (made_at != 0));
	}
	CHECK(made_at);
	world_close(&w);
}

TEST(no_size_leaves_an_operation_without_its_answer)
{
	world w;
	world_open(&w);
	CHECK_OK(answer_message(&w, "{\"op\":\"put\",\"key\":\"a\",\"value\":\"YWJjZGVmZ2hpamtsbW5vcA==\"}",
				MAX_ANSWER, 0));
	for (size_t max = 1400; max < 2600; max++) {
		kms_status status = answer_message(
		    &w,
		    "[{\"op\":\"get\",\"key\":\"a\"},{\"op\":\"derive\",\"path\":\"p\",\"length\":200},"
		    "{\"op\":\"put\",\"key\":\"b\",\"value\":\"\"},{\"op\":\"list\"},{\"op\":\"get\",\"key\":"
		    "\"b\"}]",
		    max, 2);
		if (status == KMS_ERR_TOO_LARGE) continue;
		CHECK_OK(status);
		CHECK(w.answer.len <= max);
		CHECK(w.answer.data[w.answer.len - 1] == ']');
	}
	CHECK(kms_operations_at(w.operations, 4)->status == KMS_OK);
	world_close(&w);
}

/* Once a write is made, nothing more is allocated: its answer is there whatever else fails. */
TEST(the_answer_of_a_write_needs_no_memory)
{
	world w;
	world_open(&w);
	MUST(kms_session_answer_begin(&w.answer, 0));
	size_t head = w.answer.len;
	CHECK_OK(read_message(&w, "[{\"op\":\"put\",\"key\":\"a\",\"value\":\"\"}]"));
	MUST(kms_session_answer_begin(&w.answer, 0));
	CHECK_OK(kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	size_t cap = w.answer.cap, part = kms_operations_at(w.operations, 0)->part.cap;
	CHECK_OK(kms_operations_finish(&w.answer, w.operations, UINT64_MAX));
	CHECK(w.answer.cap == cap && kms_operations_at(w.operations, 0)->part.cap == part);
	CHECK(cap - w.answer.len >= KMS_SESSION_PADDING + 16 && w.answer.len > head);
	world_close(&w);
}

TEST(arguments_are_checked)
{
	world w;
	world_open(&w);
	kms_operations *none;
	char text[] = "{}";
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_operations_read(NULL, text, 2, &limits));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_operations_read(&none, NULL, 2, &limits));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_operations_read(&none, text, 2, NULL));
	CHECK_OK(read_message(&w, "{\"op\":\"list\"}"));
	w.execution.says_status = false;
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_operations_execute(&w.answer, w.operations, &w.execution, MAX_ANSWER));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_operations_finish(NULL, w.operations, 0));
	kms_operations_free(NULL);
	world_close(&w);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(one_operation_has_one_object_as_its_answer),
	  T(the_answers_of_an_array_are_in_its_order), T(what_an_operation_says_ends_with_it),
	  T(messages_that_hold_no_operations_are_refused), T(what_is_refused_is_not_executed),
	  T(what_could_not_be_refused_is_not_executed_either), T(listings_are_executed_one_at_a_time),
	  T(a_write_can_be_refused_once_it_is_made), T(a_write_whose_refusal_cannot_be_written_has_no_answer),
	  T(an_operation_whose_failure_nobody_has_told_has_no_answer),
	  T(refusals_are_never_longer_than_their_share), T(a_write_whose_answer_cannot_fit_is_not_made),
	  T(no_size_leaves_an_operation_without_its_answer), T(the_answer_of_a_write_needs_no_memory),
	  T(arguments_are_checked))
