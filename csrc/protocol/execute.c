/*
 * Executes requests and writes their results as canonical JSON: each function writes the members in
 * the order of their names.
 */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/kdf.h"
#include "kms/json.h"
#include "kms/request.h"
#include "kms/value_seal.h"
#include "protocol/members_internal.h"

#define COUNT_DIGITS 20 /* of the largest uint64_t */
/* What is written into the result of a write after the store has changed. */
#define STAMP_BYTES (sizeof(",\"updated_at_ms\":}") + COUNT_DIGITS)
#define COPIES_BYTES (sizeof(",\"copies\":") + COUNT_DIGITS)

static kms_status begin_result(kms_buf *result, const kms_execution *execution)
{
	GUARD(kms_buf_append_text(result, "{"));
	return kms_member_number(result, "app_id", execution->app_id);
}

/* `pop` and `status`, what the envelope wants to be said: no result has a member between them. */
static kms_status append_exchange(kms_buf *result, const kms_execution *execution)
{
	if (execution->pop.text) GUARD(kms_member_text(result, "pop", execution->pop));
	return execution->says_status ? kms_member_number(result, "status", 200) : KMS_OK;
}

/* What a client asks to find sessions by (docs/protocol.md section 15). */
static kms_status append_features(kms_buf *result, const kms_request *request, const kms_execution *execution)
{
	if (!request->asks_sessions || !execution->has_sessions) return KMS_OK;
	return kms_buf_append_text(result, ",\"features\":[\"session\"]");
}

static kms_status execute_derive(kms_buf *result, const kms_request *request, const kms_execution *execution,
				 kms_app_keys *keys)
{
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(request->length);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_app_keys_derive(kms_out_of(key, request->length), keys, request->path, request->context));
	GUARD(begin_result(result, execution));
	GUARD(append_features(result, request, execution));
	GUARD(kms_member_base64(result, "key", kms_span_of(key, request->length)));
	GUARD(kms_member_number(result, "length", request->length));
	GUARD(kms_member_text(result, "path", request->path));
	GUARD(append_exchange(result, execution));
	return kms_buf_append_text(result, "}");
}

static kms_status execute_put(kms_buf *result, const kms_request *request, const kms_execution *execution,
			      kms_app_keys *keys)
{
	uint64_t updated_at_ms;
	const kms_secret *data_key;
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(kms_app_keys_data(&data_key, keys));
	GUARD(kms_value_seal(&sealed, data_key, request->value));

	/* The store changes last: after that, only the reserved part of the result is to be written. */
	GUARD(begin_result(result, execution));
	GUARD(append_features(result, request, execution));
	GUARD(kms_member_text(result, "key", request->key));
	GUARD(append_exchange(result, execution));
	GUARD(kms_buf_reserve(result, STAMP_BYTES + COPIES_BYTES));
	GUARD(kms_store_put(&updated_at_ms, execution->store, execution->app_id, request->key,
			    kms_buf_span(&sealed), request->ttl_ms, execution->now_ms));
	GUARD(kms_member_number(result, "updated_at_ms", updated_at_ms));
	return kms_buf_append_text(result, "}");
}

static kms_status execute_delete(kms_buf *result, const kms_request *request, const kms_execution *execution)
{
	uint64_t updated_at_ms;
	GUARD(begin_result(result, execution));
	GUARD(kms_buf_append_text(result, ",\"deleted\":true"));
	GUARD(append_features(result, request, execution));
	GUARD(kms_member_text(result, "key", request->key));
	GUARD(append_exchange(result, execution));
	GUARD(kms_buf_append_text(result, "}"));
	GUARD(kms_buf_reserve(result, COPIES_BYTES));
	return kms_store_delete(&updated_at_ms, execution->store, execution->app_id, request->key,
				execution->now_ms);
}

static kms_status execute_get(kms_buf *result, const kms_request *request, const kms_execution *execution,
			      kms_app_keys *keys)
{
	uint64_t updated_at_ms;
	const kms_secret *data_key;
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	DEFER(kms_buf_free) kms_buf value = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	GUARD(kms_store_get(&updated_at_ms, &sealed, execution->store, execution->app_id, request->key,
			    execution->now_ms));
	GUARD(kms_app_keys_data(&data_key, keys));
	GUARD(kms_value_open(&value, data_key, kms_buf_span(&sealed)));
	GUARD(begin_result(result, execution));
	GUARD(kms_member_text(result, "key", request->key));
	GUARD(append_exchange(result, execution));
	GUARD(kms_member_number(result, "updated_at_ms", updated_at_ms));
	GUARD(kms_member_base64(result, "value", kms_buf_span(&value)));
	return kms_buf_append_text(result, "}");
}

/* ---- list ---- */

typedef struct listing {
	kms_buf *result;
	uint64_t count;
	size_t last; /* where the last key is in the result, in JSON */
} listing;

static kms_status list_key(void *opaque, kms_text key)
{
	listing *list = opaque;
	if (list->count) GUARD(kms_buf_append_text(list->result, ","));
	list->count++;
	list->last = list->result->len;
	return kms_buf_append_json(list->result, key);
}

/* Writes the count into the COUNT_DIGITS bytes left for it at `gap`, and closes the rest of the gap. */
static kms_status fill_count(kms_buf *result, size_t gap, uint64_t count)
{
	size_t end = result->len;
	GUARD(kms_buf_append_u64(result, count));
	uint8_t *data = result->data;
	size_t digits = result->len - end;
	memcpy(data + gap, data + end, digits);
	memmove(data + gap + digits, data + gap + COUNT_DIGITS, end - gap - COUNT_DIGITS);
	size_t len = end - COUNT_DIGITS + digits;
	kms_wipe(data + len, result->len - len);
	result->len = len;
	return KMS_OK;
}

/* The last key again: the next page is after it. */
static kms_status append_next(listing *list)
{
	kms_buf *result = list->result;
	size_t len = result->len - list->last - 1; /* without the closing bracket */
	GUARD(kms_member_begin(result, "next"));
	GUARD(kms_buf_reserve(result, len));
	memcpy(result->data + result->len, result->data + list->last, len);
	result->len += len;
	return KMS_OK;
}

static kms_status execute_list(kms_buf *result, const kms_request *request, const kms_execution *execution)
{
	bool more;
	listing list = { result, 0, 0 };
	kms_store_listing keys = { request->prefix, request->after, request->limit,
				   execution->max_list_bytes };
	GUARD(begin_result(result, execution));
	GUARD(kms_member_begin(result, "count"));
	size_t gap = result->len;
	GUARD(kms_buf_append(result, kms_span_of("00000000000000000000", COUNT_DIGITS)));
	GUARD(kms_buf_append_text(result, ",\"keys\":["));
	GUARD(kms_store_list(&more, execution->store, execution->app_id, &keys, execution->now_ms, list_key,
			     &list));
	GUARD(kms_buf_append_text(result, "]"));
	if (more) GUARD(append_next(&list));
	GUARD(append_exchange(result, execution));
	GUARD(kms_buf_append_text(result, "}"));
	return fill_count(result, gap, list.count);
}

static kms_status execute(kms_buf *result, const kms_request *request, const kms_execution *execution,
			  kms_app_keys *keys)
{
	switch (request->kind) {
	case KMS_REQUEST_DERIVE:
		return execute_derive(result, request, execution, keys);
	case KMS_REQUEST_PUT:
		return execute_put(result, request, execution, keys);
	case KMS_REQUEST_DELETE:
		return execute_delete(result, request, execution);
	case KMS_REQUEST_GET:
		return execute_get(result, request, execution, keys);
	case KMS_REQUEST_LIST:
		return execute_list(result, request, execution);
	default:
		return KMS_ERR_ARGUMENT;
	}
}

kms_status kms_request_execute(kms_buf *result, const kms_request *request, const kms_execution *execution)
{
	ENSURE_REF(execution);
	DEFER(kms_app_keys_forget)
	kms_app_keys keys = kms_app_keys_make(execution->master, execution->app_id);
	return kms_request_execute_with(result, request, execution, &keys);
}

kms_status kms_request_execute_with(kms_buf *result, const kms_request *request,
				    const kms_execution *execution, kms_app_keys *keys)
{
	ENSURE_REF(result);
	ENSURE_REF(request);
	ENSURE_REF(execution);
	ENSURE_REF(keys);
	ENSURE(keys->master32 == execution->master && keys->app_id == execution->app_id, KMS_ERR_ARGUMENT);
	ENSURE_REF(execution->master);
	ENSURE_REF(execution->store);
	bool names_only = request->kind == KMS_REQUEST_LIST && result->kind == KMS_BUF_WIPED;
	ENSURE(names_only || result->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	size_t start = result->len;
	kms_status status = execute(result, request, execution, keys);
	if (status == KMS_OK) return KMS_OK;
	if (result->data) kms_wipe(result->data + start, result->len - start);
	result->len = start;
	return status;
}

/* Where the first member of a result ends; 0 when the buffer holds no result. */
static size_t app_id_end(const kms_buf *result)
{
	static const char begin[] = "{\"app_id\":";
	size_t at = sizeof(begin) - 1;
	if (result->len <= at || !kms_equal_ct(result->data, begin, at)) return 0;
	while (at < result->len && result->data[at] >= '0' && result->data[at] <= '9')
		at++;
	return at < result->len && result->data[at] == ',' ? at : 0;
}

kms_status kms_request_add_copies(kms_buf *result, uint64_t copies)
{
	char member[COPIES_BYTES];
	ENSURE_REF(result);
	size_t at = app_id_end(result);
	int len = snprintf(member, sizeof(member), ",\"copies\":%llu", (unsigned long long)copies);
	ENSURE(at && len > 0, KMS_ERR_STATE);
	size_t end = result->len;
	GUARD(kms_buf_append(result, kms_span_of(member, (size_t)len)));
	memmove(result->data + at + len, result->data + at, end - at);
	memcpy(result->data + at, member, (size_t)len);
	return KMS_OK;
}
