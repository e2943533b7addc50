/*
 * Requests carried out, and their answers as canonical JSON: each function writes its
 * members in the order of their names.
 */
#include <string.h>

#include "base/ensure.h"
#include "kms/request.h"
#include "kms/kdf.h"
#include "kms/value_seal.h"

#define COUNT_DIGITS 20 /* of the largest uint64_t */

static kms_status append_text_member(kms_buf *plain, const char *name, kms_text text)
{
	GUARD(kms_buf_append_text(plain, name));
	return kms_buf_append_json(plain, text.text, text.len);
}

static kms_status append_number_member(kms_buf *plain, const char *name, uint64_t number)
{
	GUARD(kms_buf_append_text(plain, name));
	return kms_buf_append_u64(plain, number);
}

static kms_status append_base64_member(kms_buf *plain, const char *name, const uint8_t *bytes, size_t len)
{
	GUARD(kms_buf_append_text(plain, name));
	GUARD(kms_buf_append_text(plain, "\""));
	GUARD(kms_buf_append_base64(plain, bytes, len));
	return kms_buf_append_text(plain, "\"");
}

static kms_status append_pop(kms_buf *plain, kms_text pop)
{
	return pop.text ? append_text_member(plain, ",\"pop\":", pop) : KMS_OK;
}

static kms_status answer_derive(kms_buf *plain, const kms_request *request, const kms_answer_context *context)
{
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(request->length);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_derive(kms_out_of(key, request->length), context->master, context->app_id, request->path,
			 request->context));
	GUARD(append_number_member(plain, "{\"app_id\":", context->app_id));
	GUARD(append_base64_member(plain, ",\"key\":", key, request->length));
	GUARD(append_number_member(plain, ",\"length\":", request->length));
	GUARD(append_text_member(plain, ",\"path\":", request->path));
	GUARD(append_pop(plain, context->echo_pop));
	return kms_buf_append_text(plain, "}");
}

static kms_status answer_put(kms_buf *plain, const kms_request *request, const kms_answer_context *context)
{
	uint64_t updated_at_ms;
	DEFER(kms_secret_release) kms_secret *data_key = NULL;
	DEFER(kms_buf_free) kms_buf record = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(kms_data_key(&data_key, context->master, context->app_id));
	GUARD(kms_value_seal(&record, data_key, kms_span_of(request->value, request->value_len)));

	/* All that can fail without the time of the write comes first: no change without its answer. */
	GUARD(append_number_member(plain, "{\"app_id\":", context->app_id));
	GUARD(append_text_member(plain, ",\"key\":", request->key));
	GUARD(append_pop(plain, context->echo_pop));
	GUARD(kms_buf_reserve(plain, sizeof(",\"updated_at_ms\":}") + COUNT_DIGITS));
	GUARD(kms_store_put(&updated_at_ms, context->store, context->app_id, request->key,
			    kms_span_of(record.data, record.len), request->ttl_ms, context->now_ms));
	GUARD(append_number_member(plain, ",\"updated_at_ms\":", updated_at_ms));
	return kms_buf_append_text(plain, "}");
}

static kms_status answer_delete(kms_buf *plain, const kms_request *request, const kms_answer_context *context)
{
	uint64_t updated_at_ms;
	GUARD(append_number_member(plain, "{\"app_id\":", context->app_id));
	GUARD(append_text_member(plain, ",\"deleted\":true,\"key\":", request->key));
	GUARD(append_pop(plain, context->echo_pop));
	GUARD(kms_buf_append_text(plain, "}"));
	return kms_store_delete(&updated_at_ms, context->store, context->app_id, request->key,
				context->now_ms);
}

static kms_status answer_get(kms_buf *plain, const kms_request *request, const kms_answer_context *context)
{
	uint64_t updated_at_ms;
	DEFER(kms_secret_release) kms_secret *data_key = NULL;
	DEFER(kms_buf_free) kms_buf record = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	DEFER(kms_buf_free) kms_buf value = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	GUARD(kms_store_get(&updated_at_ms, &record, context->store, context->app_id, request->key,
			    context->now_ms));
	GUARD(kms_data_key(&data_key, context->master, context->app_id));
	GUARD(kms_value_open(&value, data_key, kms_buf_span(&record)));
	GUARD(append_number_member(plain, "{\"app_id\":", context->app_id));
	GUARD(append_text_member(plain, ",\"key\":", request->key));
	GUARD(append_pop(plain, context->echo_pop));
	GUARD(append_number_member(plain, ",\"updated_at_ms\":", updated_at_ms));
	GUARD(append_base64_member(plain, ",\"value\":", value.data, value.len));
	return kms_buf_append_text(plain, "}");
}

/* ---- list ---- */

typedef struct listing {
	kms_buf *plain;
	uint64_t count;
} listing;

static kms_status list_key(void *opaque, kms_text key)
{
	listing *list = opaque;
	if (list->count) GUARD(kms_buf_append_text(list->plain, ","));
	list->count++;
	return kms_buf_append_json(list->plain, key.text, key.len);
}

/* Writes the count into the gap that was left for it, and closes what remains of the gap. */
static void fill_count(kms_buf *plain, size_t gap, uint64_t count)
{
	size_t digits = 0;
	uint8_t text[COUNT_DIGITS];
	do {
		text[COUNT_DIGITS - ++digits] = (uint8_t)('0' + count % 10);
		count /= 10;
	} while (count);
	size_t unused = COUNT_DIGITS - digits;
	memcpy(plain->data + gap, text + unused, digits);
	memmove(plain->data + gap + digits, plain->data + gap + COUNT_DIGITS,
		plain->len - gap - COUNT_DIGITS);
	plain->len -= unused;
	kms_wipe(plain->data + plain->len, unused);
}

static kms_status answer_list(kms_buf *plain, const kms_answer_context *context)
{
	listing list = { plain, 0 };
	GUARD(append_number_member(plain, "{\"app_id\":", context->app_id));
	GUARD(kms_buf_append_text(plain, ",\"count\":"));
	size_t gap = plain->len;
	GUARD(kms_buf_append(plain, "00000000000000000000", COUNT_DIGITS));
	GUARD(kms_buf_append_text(plain, ",\"keys\":["));
	GUARD(kms_store_list(context->store, context->app_id, context->now_ms, list_key, &list));
	GUARD(kms_buf_append_text(plain, "]"));
	GUARD(append_pop(plain, context->echo_pop));
	GUARD(kms_buf_append_text(plain, "}"));
	fill_count(plain, gap, list.count);
	return KMS_OK;
}

static kms_status answer_by_kind(kms_buf *plain, const kms_request *request,
				 const kms_answer_context *context)
{
	switch (request->kind) {
	case KMS_REQUEST_DERIVE:
		return answer_derive(plain, request, context);
	case KMS_REQUEST_PUT:
		return answer_put(plain, request, context);
	case KMS_REQUEST_DELETE:
		return answer_delete(plain, request, context);
	case KMS_REQUEST_GET:
		return answer_get(plain, request, context);
	case KMS_REQUEST_LIST:
		return answer_list(plain, context);
	default:
		return KMS_ERR_ARGUMENT;
	}
}

kms_status kms_answer(kms_buf *plain, const kms_request *request, const kms_answer_context *context)
{
	ENSURE_REF(plain);
	ENSURE_REF(request);
	ENSURE_REF(context);
	ENSURE_REF(context->master);
	ENSURE_REF(context->store);
	bool names_only = request->kind == KMS_REQUEST_LIST && plain->kind == KMS_BUF_WIPED;
	ENSURE(names_only || plain->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	size_t start = plain->len;
	kms_status status = answer_by_kind(plain, request, context);
	if (status == KMS_OK) return KMS_OK;
	if (plain->data) kms_wipe(plain->data + start, plain->len - start);
	plain->len = start;
	return status;
}
