/* Requests that have no body, and what all requests share. */
#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/request.h"

kms_status kms_request_for_key(kms_request *request, kms_text key)
{
	ENSURE_REF(request);
	*request = (kms_request){ 0 };
	ENSURE(key.text || !key.len, KMS_ERR_ARGUMENT);
	ENSURE(key.len >= 1 && key.len <= KMS_STORE_MAX_PEER_KEY, KMS_ERR_KEY_SIZE);
	ENSURE(kms_utf8_valid(key), KMS_ERR_UTF8);
	ENSURE(!memchr(key.text, '\0', key.len), KMS_ERR_FIELD_VALUE);
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, key.len);
	GUARD(kms_buf_append(&plain, kms_text_span(key)));
	request->kind = KMS_REQUEST_GET;
	request->plain = plain;
	request->key = kms_buf_text(&plain);
	return KMS_OK;
}

/* Copies a text into the request's reserved buffer; an empty one is as good as none. */
static kms_text keep(kms_request *request, kms_text text)
{
	if (text.len == 0) return KMS_NO_TEXT;
	const char *copy = (const char *)request->plain.data + request->plain.len;
	(void)kms_buf_append(&request->plain, kms_text_span(text));
	return kms_text_of(copy, text.len);
}

kms_status kms_request_for_list(kms_request *request, kms_text prefix, kms_text after, size_t limit)
{
	ENSURE_REF(request);
	*request = (kms_request){ .kind = KMS_REQUEST_LIST };
	ENSURE(prefix.len <= KMS_STORE_MAX_PEER_KEY && after.len <= KMS_STORE_MAX_PEER_KEY, KMS_ERR_KEY_SIZE);
	ENSURE(limit <= KMS_LIST_MAX, KMS_ERR_RANGE);
	size_t total = prefix.len + after.len;
	request->plain = kms_buf_make(KMS_BUF_GUARDED, total);
	if (total > 0) GUARD(kms_buf_reserve(&request->plain, total));
	request->prefix = keep(request, prefix);
	request->after = keep(request, after);
	request->limit = limit;
	return KMS_OK;
}

void kms_request_clear(kms_request *request)
{
	if (!request) return;
	kms_buf_free(&request->plain);
	*request = (kms_request){ 0 };
}

kms_status kms_request_check_pop(const kms_request *request, kms_text signature, bool required)
{
	ENSURE_REF(request);
	ENSURE_REF(signature.text);
	if (!request->pop.text) return required ? KMS_ERR_POP_BINDING : KMS_OK;
	ENSURE(request->pop.len == signature.len, KMS_ERR_POP_BINDING);
	ENSURE(kms_equal_ct(request->pop.text, signature.text, signature.len), KMS_ERR_POP_BINDING);
	return KMS_OK;
}
