/* Messages of an application's session, and what their answers say (client_session.h). */
#include "kms/client_session.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "protocol/client_internal.h"

#define MAX_LINE_VALUES 64 /* JSON values of one operation */
#define OK_STATUS 200

struct kms_client_message {
	kms_exchange *asked; /* KMS_CLIENT_OPERATIONS of them: kind, name and length of each operation */
	size_t count;
	bool names_only; /* each is a LIST */
	kms_buf json;    /* guarded: the operations, with commas between them */
};

/* ---- making --------------------------------------------------------------------------------------- */

kms_status kms_client_message_new(kms_client_message **message)
{
	ENSURE_REF(message);
	*message = NULL;
	DEFER(kms_client_message_release) kms_client_message *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->asked = kms_heap_alloc(KMS_CLIENT_OPERATIONS, sizeof(*made->asked));
	ENSURE(made->asked, KMS_ERR_MEMORY);
	made->names_only = true;
	made->json = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	*message = made;
	made = NULL;
	return KMS_OK;
}

void kms_client_message_free(kms_client_message *message)
{
	if (!message) return;
	for (size_t i = 0; i < message->count; i++)
		kms_exchange_clear(&message->asked[i]);
	kms_heap_free(message->asked);
	kms_buf_free(&message->json);
	kms_heap_free(message);
}

static kms_status append_operation(kms_client_message *message, const kms_request *request)
{
	GUARD(kms_buf_reserve(&message->json, client_request_bound(request) + 1));
	if (message->count) GUARD(kms_buf_append_text(&message->json, ","));
	GUARD(client_request_write(&message->json, request, KMS_NO_TEXT));
	return message->count == 0 || message->json.len <= KMS_CLIENT_MESSAGE ? KMS_OK : KMS_ERR_BUSY;
}

kms_status kms_client_message_add(kms_client_message *message, const kms_request *request)
{
	ENSURE(message && request, KMS_ERR_ARGUMENT);
	GUARD(client_request_check(request));
	ENSURE(message->count < KMS_CLIENT_OPERATIONS, KMS_ERR_BUSY);
	size_t before = message->json.len;
	kms_exchange *asked = &message->asked[message->count];
	kms_status status = client_exchange_expect(asked, request);
	if (status == KMS_OK) status = append_operation(message, request);
	if (status == KMS_OK) {
		message->count++;
		message->names_only = message->names_only && request->kind == KMS_REQUEST_LIST;
		return KMS_OK;
	}
	kms_exchange_clear(asked);
	if (message->json.len > before) kms_wipe(message->json.data + before, message->json.len - before);
	message->json.len = before;
	return status;
}

kms_status kms_client_operation_read(kms_request *request, const char **field, kms_buf *line)
{
	static const kms_request_limits limits = {
		.max_value = KMS_CLIENT_MAX_VALUE,
		.max_key = KMS_STORE_MAX_PEER_KEY,
		.strict = true,
	};
	ENSURE_REF(request);
	*request = (kms_request){ 0 };
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(line);
	ENSURE(line->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	ENSURE(line->len, KMS_ERR_JSON);
	DEFER(kms_json_free) kms_json json = { 0 };
	GUARD(kms_json_parse(&json, (char *)line->data, line->len, MAX_LINE_VALUES));
	GUARD(kms_request_read(request, field, &json, json.values, &limits));
	/* The node says what it has; the client asks in its own way. */
	request->asks_sessions = false;
	return client_request_check(request);
}

size_t kms_client_message_count(const kms_client_message *message)
{
	return message ? message->count : 0;
}

static kms_status seal(kms_buf *sealed, uint64_t *seq, const kms_client_message *message,
		       kms_session_caller *session, uint64_t time_ms)
{
	bool one = message->count == 1;
	GUARD(kms_session_request_begin(sealed, message->json.len + 2));
	if (!one) GUARD(kms_buf_append_text(sealed, "["));
	GUARD(kms_buf_append(sealed, kms_buf_span(&message->json)));
	if (!one) GUARD(kms_buf_append_text(sealed, "]"));
	GUARD(kms_session_caller_take(seq, session));
	return kms_session_request_seal(sealed, session, *seq, time_ms);
}

kms_status kms_client_message_seal(kms_buf *sealed, uint64_t *seq, const kms_client_message *message,
				   kms_session_caller *session, uint64_t time_ms)
{
	ENSURE_REF(seq);
	*seq = 0;
	ENSURE(sealed && message && session, KMS_ERR_ARGUMENT);
	ENSURE(sealed->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	ENSURE(message->count, KMS_ERR_STATE);
	kms_status status = seal(sealed, seq, message, session, time_ms);
	if (status == KMS_OK) return KMS_OK;
	kms_buf_free(sealed);
	*seq = 0;
	return status;
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------- */

static kms_status read_count(uint64_t *number, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	ENSURE(value, KMS_ERR_FIELD_MISSING);
	ENSURE(value->type == KMS_JSON_INTEGER && !value->negative, KMS_ERR_FIELD_TYPE);
	*number = value->number;
	return KMS_OK;
}

/* One object for a single operation, or an array of as many; one object for several refuses them all. */
static kms_status check_shape(kms_client_answer *answer, size_t count)
{
	uint64_t status;
	const kms_json_value *root = answer->json.values;
	if (root->type == KMS_JSON_ARRAY) {
		ENSURE(count > 1, KMS_ERR_FIELD_TYPE);
		return root->count == count ? KMS_OK : KMS_ERR_FIELD_VALUE;
	}
	ENSURE(root->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	GUARD(read_count(&status, &answer->json, "status"));
	answer->whole = count > 1;
	return !answer->whole || status != OK_STATUS ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status open_answer(kms_client_answer *answer, const kms_client_message *message,
			      const kms_session_caller *session, uint64_t seq, kms_span body)
{
	kms_session_content content;
	GUARD(kms_buf_append(&answer->plain, body));
	GUARD(kms_session_answer_open(&content, &answer->plain, session, seq));
	ENSURE(content.json.len, KMS_ERR_JSON);
	char *text = (char *)answer->plain.data + (content.json.text - (const char *)answer->plain.data);
	GUARD(kms_json_parse(&answer->json, text, content.json.len, CLIENT_MAX_VALUES));
	return check_shape(answer, message->count);
}

kms_status kms_client_answer_open(kms_client_answer *answer, const kms_client_message *message,
				  const kms_session_caller *session, uint64_t seq, kms_span body)
{
	ENSURE_REF(answer);
	memset(answer, 0, sizeof(*answer));
	ENSURE(message && session, KMS_ERR_ARGUMENT);
	ENSURE(message->count, KMS_ERR_STATE);
	answer->plain = kms_buf_make(message->names_only ? KMS_BUF_WIPED : KMS_BUF_GUARDED, SIZE_MAX);
	kms_status status = open_answer(answer, message, session, seq, body);
	if (status != KMS_OK) kms_client_answer_clear(answer);
	return status;
}

void kms_client_answer_clear(kms_client_answer *answer)
{
	if (!answer) return;
	kms_json_free(&answer->json);
	kms_buf_free(&answer->plain);
	memset(answer, 0, sizeof(*answer));
}

/* The object about one operation. */
static const kms_json_value *object_at(const kms_client_answer *answer, size_t index)
{
	const kms_json_value *root = answer->json.values;
	if (root->type == KMS_JSON_OBJECT) return root;
	const kms_json_value *object = kms_json_first(&answer->json, root);
	while (index-- > 0)
		object = kms_json_next(&answer->json, object);
	return object;
}

static kms_status read_text(kms_text *text, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	ENSURE(value, KMS_ERR_FIELD_MISSING);
	ENSURE(value->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	*text = kms_json_text(value);
	return KMS_OK;
}

static kms_status read_refusal(kms_exchange *exchange, uint64_t status)
{
	kms_refused *refusal = &exchange->refusal;
	ENSURE(status >= 300 && status <= 599, KMS_ERR_FIELD_VALUE);
	GUARD(read_text(&refusal->code, &exchange->json, "code"));
	GUARD(read_text(&refusal->message, &exchange->json, "message"));
	if (kms_json_get(&exchange->json, exchange->json.values, "retry_after_s"))
		GUARD(read_count(&refusal->retry_after_s, &exchange->json, "retry_after_s"));
	if (refusal->retry_after_s > KMS_SESSION_MAX_WAIT_S) refusal->retry_after_s = KMS_SESSION_MAX_WAIT_S;
	refusal->status = (unsigned)status;
	return KMS_OK;
}

/* The exchange gets a copy of its own, so that it outlives the answer. */
static kms_status take_result(kms_exchange *exchange, const kms_client_answer *answer,
			      const kms_json_value *object)
{
	uint64_t status;
	ENSURE(object->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	exchange->plain = kms_buf_make(answer->plain.kind, SIZE_MAX);
	GUARD(kms_json_canonical(&exchange->plain, &answer->json, object));
	GUARD(client_result_parse(exchange));
	GUARD(read_count(&status, &exchange->json, "status"));
	return status == OK_STATUS ? client_result_read(exchange, 1) : read_refusal(exchange, status);
}

static kms_status expect_again(kms_exchange *exchange, const kms_exchange *asked)
{
	exchange->kind = asked->kind;
	exchange->length = asked->length;
	exchange->name = kms_buf_make(KMS_BUF_WIPED, CLIENT_MAX_NAME);
	exchange->secret = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	return asked->name.len ? kms_buf_append(&exchange->name, kms_buf_span(&asked->name)) : KMS_OK;
}

kms_status kms_client_answer_result(kms_exchange *exchange, const kms_client_answer *answer,
				    const kms_client_message *message, size_t index)
{
	ENSURE_REF(exchange);
	memset(exchange, 0, sizeof(*exchange));
	ENSURE(answer && message, KMS_ERR_ARGUMENT);
	ENSURE(answer->json.values, KMS_ERR_STATE);
	ENSURE(index < message->count, KMS_ERR_RANGE);
	kms_status status = expect_again(exchange, &message->asked[index]);
	if (status == KMS_OK) status = take_result(exchange, answer, object_at(answer, index));
	if (status != KMS_OK) kms_exchange_clear(exchange);
	return status;
}
