/* Messages of a session: whatever is in them, every operation has one answer, in order, within its bound. */
#include "kms/json.h"
#include "kms/operations.h"
#include "lib/fuzz.h"
#include "store_kit.h"

const unsigned fuzz_kinds = 2; /* one operation, an array */

#define MAX_ANSWER 200000

static const kms_request_limits limits = { .max_value = 256, .max_key = 64 };

static void check_views(kms_operations *operations, kms_span message)
{
	for (size_t i = 0; i < kms_operations_count(operations); i++) {
		const kms_request *request = &kms_operations_at(operations, i)->request;
		HOLDS(fuzz_within(kms_text_span(request->path), message));
		HOLDS(fuzz_within(kms_text_span(request->context), message));
		HOLDS(fuzz_within(kms_text_span(request->key), message));
		HOLDS(fuzz_within(request->value, message));
		HOLDS(fuzz_within(kms_text_span(request->prefix), message));
		HOLDS(fuzz_within(kms_text_span(request->after), message));
		HOLDS(request->limit <= KMS_LIST_MAX);
	}
}

static void refuse_failed(kms_operations *operations)
{
	for (size_t i = 0; i < kms_operations_count(operations); i++) {
		const kms_operation *operation = kms_operations_at(operations, i);
		const kms_refusal refusal = { 400, KMS_TEXT("bad_request"), KMS_TEXT("no"), 0 };
		HOLDS(kms_status_category(operation->status) != KMS_CATEGORY_USAGE);
		if (operation->status != KMS_OK) HOLDS_OK(kms_operations_refuse(operations, i, &refusal));
	}
}

/* The answer is JSON: an object, or an array with an object for each operation. */
static void check_answer(kms_buf *answer, size_t count)
{
	kms_json json;
	HOLDS(answer->len <= MAX_ANSWER);
	HOLDS_OK(kms_json_parse(&json, (char *)answer->data, answer->len, 100000));
	bool is_array = json.values[0].type == KMS_JSON_ARRAY;
	HOLDS(is_array ? json.values[0].count == count : count == 1);
	const kms_json_value *value = is_array ? kms_json_first(&json, json.values) : json.values;
	for (size_t i = 0; i < count; i++) {
		HOLDS(value->type == KMS_JSON_OBJECT && kms_json_get(&json, value, "status"));
		if (is_array) value = kms_json_next(&json, value);
	}
	fuzz_accept(is_array ? 1 : 0);
	kms_json_free(&json);
}

static void execute(kms_operations *operations)
{
	static kms_secret *master;
	if (!master) HOLDS_OK(kms_secret_random(&master, 32));
	kms_store *store = quota_store(1 << 16, 1 << 16, 100);
	kms_buf answer = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	kms_execution execution = { .app_id = APP,
				    .master = master,
				    .store = store,
				    .now_ms = NOW,
				    .max_list_bytes = 1 << 16,
				    .says_status = true };
	HOLDS_OK(kms_operations_execute(&answer, operations, &execution, MAX_ANSWER));
	refuse_failed(operations);
	HOLDS_OK(kms_operations_finish(&answer, operations, 2));
	check_answer(&answer, kms_operations_count(operations));
	kms_buf_free(&answer);
	kms_store_free(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_operations *operations;
	fuzz_start();
	if (size == 0 || size > FUZZ_MAX_INPUT) return 0;
	kms_buf message = fuzz_copy(KMS_BUF_GUARDED, kms_span_of(data, size));
	kms_status status = kms_operations_read(&operations, (char *)message.data, message.len, &limits);
	HOLDS((status == KMS_OK) == (operations != NULL));
	if (status == KMS_OK) {
		check_views(operations, kms_buf_span(&message));
		execute(operations);
	}
	kms_operations_free(operations);
	kms_buf_free(&message);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("{\"op\":\"derive\",\"path\":\"a/b\",\"context\":\"c\",\"length\":64}");
	FUZZ_SEED("{\"op\":\"list\",\"prefix\":\"k\",\"after\":\"a\",\"limit\":2}");
	FUZZ_SEED("[{\"op\":\"put\",\"key\":\"k\",\"value\":\"Zm9v\",\"ttl_ms\":1000},{\"op\":\"get\","
		  "\"key\":\"k\"},5,"
		  "{\"op\":\"list\"},{\"op\":\"delete\",\"key\":\"\\u006b\"},{},{\"op\":\"put\",\"key\":"
		  "\"j\",\"value\":\"\"}]");
	FUZZ_SEED("[[],null,{\"op\":\"get\",\"key\":\"\\\"\\\\\\u0001\"},{\"op\":\"x\",\"strict\":true}]");
}
