/* Messages of a session: read, executed, answered. */
#include "kms/operations.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/session.h"
#include "protocol/members_internal.h"

/* Values and keys of a message's JSON: some 60 for each operation of the largest. */
#define MAX_VALUES 16384
#define MAX_CODE 32
#define KEPT (KMS_REFUSAL_BYTES + 1) /* for an operation that follows, with its comma */
/* What is in the result of a write or a derivation besides its names and its key, the copies included. */
#define RESULT_REST 256
/* What is to be reserved beside the JSON, so that sealing allocates nothing: padding and tag. */
#define SEAL_REST (KMS_SESSION_PADDING + 16)

/* The answer as it grows: `waiting` are the bytes of parts that kms_operations_finish puts in. */
typedef struct progress {
	kms_buf *answer;
	size_t begin; /* of the JSON in the answer */
	size_t waiting;
	size_t following; /* bytes kept for the operations that follow, and for what closes the JSON */
	size_t max;
} progress;

struct kms_operations {
	bool is_array;
	progress progress; /* once the first has had its turn */
	size_t next;       /* whose turn it is */
	size_t count;
	kms_operation list[]; /* in the message's order */
};

static bool is_write(const kms_request *request)
{
	return request->kind == KMS_REQUEST_PUT || request->kind == KMS_REQUEST_DELETE;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static kms_status count_of(size_t *count, const kms_json_value *root)
{
	*count = 1;
	if (root->type == KMS_JSON_OBJECT) return KMS_OK;
	ENSURE(root->type == KMS_JSON_ARRAY, KMS_ERR_FIELD_TYPE);
	*count = root->count;
	return *count >= 1 && *count <= KMS_OPERATIONS_MAX ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

/* A message of a member, which belongs into a session of that kind. */
static bool is_of_member(const kms_json *json)
{
	const kms_json_value *root = json->values;
	return root->type == KMS_JSON_OBJECT && kms_json_get(json, root, "type") &&
	       !kms_json_get(json, root, "op");
}

kms_status kms_operations_read(kms_operations **operations, char *text, size_t len,
			       const kms_request_limits *limits)
{
	DEFER(kms_json_free) kms_json json = { 0 };
	size_t count;
	ENSURE_REF(operations);
	*operations = NULL;
	ENSURE_REF(text);
	ENSURE_REF(limits);
	GUARD(kms_json_parse(&json, text, len, MAX_VALUES));
	GUARD(count_of(&count, json.values));
	ENSURE(!is_of_member(&json), KMS_ERR_OPERATION);
	kms_operations *made = kms_heap_alloc(1, sizeof(*made) + count * sizeof(made->list[0]));
	ENSURE(made, KMS_ERR_MEMORY);
	made->count = count;
	made->is_array = json.values[0].type == KMS_JSON_ARRAY;
	const kms_json_value *value = made->is_array ? kms_json_first(&json, json.values) : json.values;
	for (size_t i = 0; i < count; i++) {
		kms_operation *operation = &made->list[i];
		operation->part = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
		operation->status =
		    kms_request_read(&operation->request, &operation->field, &json, value, limits);
		if (made->is_array) value = kms_json_next(&json, value);
	}
	*operations = made;
	return KMS_OK;
}

void kms_operations_free(kms_operations *operations)
{
	if (!operations) return;
	for (size_t i = 0; i < operations->count; i++)
		kms_buf_free(&operations->list[i].part);
	kms_heap_free(operations);
}

size_t kms_operations_count(const kms_operations *operations)
{
	return operations ? operations->count : 0;
}

kms_operation *kms_operations_at(kms_operations *operations, size_t index)
{
	return operations && index < operations->count ? &operations->list[index] : NULL;
}

/* ---- refusals ---------------------------------------------------------------------------------------- */

/* The longest beginning of a text whose JSON string has at most `most` bytes, and no part of a character. */
static kms_text cut(kms_text text, size_t most)
{
	/* JSON makes no text shorter. Without this the loop would measure a long one again and again. */
	size_t len = text.len < most + 1 ? text.len : most + 1;
	while (len > 0 && kms_json_text_size(kms_text_of(text.text, len)) > most) {
		len--;
		while (len > 0 && ((uint8_t)text.text[len] & 0xc0) == 0x80)
			len--;
	}
	return kms_text_of(text.text, len);
}

static kms_status write_refusal(kms_buf *json, const kms_refusal *refusal, kms_text message)
{
	GUARD(kms_buf_append_text(json, "{"));
	GUARD(kms_member_text(json, "code", refusal->code));
	GUARD(kms_member_text(json, "message", message));
	if (refusal->retry_after_s) GUARD(kms_member_number(json, "retry_after_s", refusal->retry_after_s));
	GUARD(kms_member_number(json, "status", refusal->status));
	return kms_buf_append_text(json, "}");
}

kms_status kms_refusal_write(kms_buf *json, const kms_refusal *refusal)
{
	/* Names, punctuation, a number of 20 digits and one of 10. */
	static const size_t rest = sizeof("{\"code\":\"\",\"message\":,\"retry_after_s\":,\"status\":}") + 30;
	ENSURE_REF(json);
	ENSURE_REF(refusal);
	ENSURE(refusal->code.len <= MAX_CODE, KMS_ERR_RANGE);
	size_t start = json->len;
	kms_text message = cut(refusal->message, KMS_REFUSAL_BYTES - rest - MAX_CODE);
	kms_status status = write_refusal(json, refusal, message);
	if (status != KMS_OK) json->len = start;
	return status;
}

kms_status kms_operations_refuse(kms_operations *operations, size_t index, const kms_refusal *refusal)
{
	kms_operation *operation = kms_operations_at(operations, index);
	ENSURE(operation, KMS_ERR_RANGE);
	/* The result of a read is in the answer already. */
	ENSURE(!operation->executed || is_write(&operation->request), KMS_ERR_STATE);
	/* A write has reserved guarded memory for it; what failed for want of that is refused in ordinary
	 * memory. */
	if (!operation->executed) {
		kms_buf_free(&operation->part);
		operation->part = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	}
	kms_buf_clear(&operation->part);
	operation->refused = true;
	operation->executed = false; /* its result is gone, also where the refusal cannot be written */
	return kms_refusal_write(&operation->part, refusal);
}

/* ---- execution --------------------------------------------------------------------------------------- */

/* Makes room for `len` bytes more. */
static kms_status keep_room(const progress *p, size_t len)
{
	size_t wanted;
	ENSURE(KMS_ADD(&wanted, len, p->waiting + p->following), KMS_ERR_TOO_LARGE);
	size_t used = p->answer->len - p->begin;
	ENSURE(used <= p->max && wanted <= p->max - used, KMS_ERR_TOO_LARGE);
	return kms_buf_reserve(p->answer, wanted);
}

/* More than the JSON of a result has, where that is known before it is made. */
static size_t result_bound(const kms_request *request)
{
	if (request->kind == KMS_REQUEST_DERIVE)
		return RESULT_REST + kms_json_text_size(request->path) + 2 * (size_t)request->length;
	return RESULT_REST + kms_json_text_size(request->key);
}

static kms_status execute_write(kms_operation *operation, progress *p, const kms_execution *execution,
				kms_app_keys *keys)
{
	size_t bound = result_bound(&operation->request);
	GUARD(keep_room(p, bound));
	/* In place of the result, a refusal has to fit as well. */
	GUARD(kms_buf_reserve(&operation->part, bound));
	GUARD(kms_request_execute_with(&operation->part, &operation->request, execution, keys));
	p->waiting += bound;
	return KMS_OK;
}

/* Its size is known only when it is there; nothing is changed by then. */
static kms_status execute_read(const kms_operation *operation, const progress *p,
			       const kms_execution *execution, kms_app_keys *keys)
{
	kms_buf_kind kind = operation->request.kind == KMS_REQUEST_LIST ? KMS_BUF_WIPED : KMS_BUF_GUARDED;
	DEFER(kms_buf_free) kms_buf result = kms_buf_make(kind, p->max);
	GUARD(kms_request_execute_with(&result, &operation->request, execution, keys));
	GUARD(keep_room(p, result.len));
	return kms_buf_append(p->answer, kms_buf_span(&result));
}

static kms_status execute_one(kms_operation *operation, progress *p, const kms_execution *execution,
			      kms_app_keys *keys)
{
	const kms_request *request = &operation->request;
	if (is_write(request)) return execute_write(operation, p, execution, keys);
	if (request->kind != KMS_REQUEST_DERIVE) return execute_read(operation, p, execution, keys);
	GUARD(keep_room(p, result_bound(request)));
	return kms_request_execute_with(p->answer, request, execution, keys);
}

static kms_status begin_answer(kms_buf *answer, kms_operations *operations, size_t max_answer)
{
	progress *p = &operations->progress;
	*p = (progress){ .answer = answer, .begin = answer->len, .max = max_answer };
	p->following = operations->count * KEPT + 2 + SEAL_REST;
	GUARD(keep_room(p, 0));
	return operations->is_array ? kms_buf_append_text(answer, "[") : KMS_OK;
}

/* Gives an operation its turn. Returns: whether it was a listing. */
static bool execute_next(kms_operations *operations, const kms_execution *execution, kms_app_keys *keys)
{
	progress *p = &operations->progress;
	kms_operation *operation = &operations->list[operations->next];
	p->following -= KEPT;
	operation->at = p->answer->len;
	bool refused = operation->refused || operation->status != KMS_OK;
	if (!refused) operation->status = execute_one(operation, p, execution, keys);
	operation->executed = !refused && operation->status == KMS_OK;
	if (!operation->executed) p->waiting += KEPT;
	operations->next++;
	return !refused && operation->request.kind == KMS_REQUEST_LIST;
}

kms_status kms_operations_execute_some(kms_buf *answer, kms_operations *operations,
				       const kms_execution *execution, size_t max_answer)
{
	ENSURE_REF(answer);
	ENSURE_REF(operations);
	ENSURE_REF(execution);
	ENSURE(execution->says_status && !execution->pop.text, KMS_ERR_ARGUMENT);
	ENSURE(kms_operations_are_left(operations), KMS_ERR_STATE);
	if (operations->next == 0) GUARD(begin_answer(answer, operations, max_answer));
	DEFER(kms_app_keys_forget)
	kms_app_keys keys = kms_app_keys_make(execution->master, execution->app_id);
	bool listed = false;
	while (!listed && kms_operations_are_left(operations)) {
		if (operations->next) GUARD(kms_buf_append_text(answer, ","));
		listed = execute_next(operations, execution, &keys);
	}
	bool ends = operations->is_array && !kms_operations_are_left(operations);
	return ends ? kms_buf_append_text(answer, "]") : KMS_OK;
}

kms_status kms_operations_execute(kms_buf *answer, kms_operations *operations, const kms_execution *execution,
				  size_t max_answer)
{
	do
		GUARD(kms_operations_execute_some(answer, operations, execution, max_answer));
	while (kms_operations_are_left(operations));
	return KMS_OK;
}

bool kms_operations_are_left(const kms_operations *operations)
{
	return operations && operations->next < operations->count;
}

void kms_operations_forget(kms_operations *operations)
{
	for (size_t i = 0; i < kms_operations_count(operations); i++) {
		kms_request *request = &operations->list[i].request;
		*request = (kms_request){ .kind = request->kind };
	}
}

bool kms_operations_wrote(const kms_operations *operations)
{
	for (size_t i = 0; i < kms_operations_count(operations); i++)
		if (operations->list[i].executed && is_write(&operations->list[i].request)) return true;
	return false;
}

/* ---- the answer -------------------------------------------------------------------------------------- */

static kms_status add_copies(kms_operations *operations, uint64_t copies)
{
	for (size_t i = 0; copies > 0 && i < operations->count; i++) {
		kms_operation *operation = &operations->list[i];
		if (operation->executed && is_write(&operation->request))
			GUARD(kms_request_add_copies(&operation->part, copies));
	}
	return KMS_OK;
}

/* Bytes of all parts. ERR_STATE where an operation has neither a result nor a refusal. */
static kms_status parts_size(size_t *size, const kms_operations *operations)
{
	*size = 0;
	for (size_t i = 0; i < operations->count; i++) {
		const kms_operation *operation = &operations->list[i];
		ENSURE(operation->executed || operation->part.len > 0, KMS_ERR_STATE);
		*size += operation->part.len;
	}
	return KMS_OK;
}

kms_status kms_operations_finish(kms_buf *answer, kms_operations *operations, uint64_t copies)
{
	size_t size, end;
	ENSURE_REF(answer);
	ENSURE_REF(operations);
	GUARD(add_copies(operations, copies));
	GUARD(parts_size(&size, operations));
	GUARD(kms_buf_reserve(answer, size));
	end = answer->len;
	answer->len += size;
	/* From the end, so that each byte moves once. */
	for (size_t i = operations->count; i-- > 0;) {
		const kms_operation *operation = &operations->list[i];
		size_t len = operation->part.len;
		uint8_t *data = answer->data;
		if (len == 0) continue;
		memmove(data + operation->at + size, data + operation->at, end - operation->at);
		end = operation->at;
		size -= len;
		memcpy(data + end + size, operation->part.data, len);
	}
	return KMS_OK;
}
