/* One transfer from its creation to its end (fetch.h). */
#include "net/fetch_internal.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"

/* ---- life ------------------------------------------------------------------------------------- */

static kms_status check_method(const char *method)
{
	size_t len = strlen(method);
	ENSURE(len >= 1 && len <= 16, KMS_ERR_RANGE);
	for (size_t i = 0; i < len; i++)
		ENSURE(method[i] >= 'A' && method[i] <= 'Z', KMS_ERR_RANGE);
	return KMS_OK;
}

kms_status kms_fetch_new(kms_fetch **out, const kms_fetch_request *request)
{
	ENSURE_REF(out);
	*out = NULL;
	ENSURE(request && request->url && request->method, KMS_ERR_ARGUMENT);
	ENSURE(request->timeout_ms && request->connect_timeout_ms, KMS_ERR_RANGE);
	GUARD(check_method(request->method));
	ENSURE(!request->body.text || strcmp(request->method, "HEAD") != 0, KMS_ERR_RANGE);
	kms_fetch *fetch = kms_heap_alloc(1, sizeof(*fetch));
	ENSURE(fetch, KMS_ERR_MEMORY);
	fetch->timeout_ms = request->timeout_ms;
	fetch->connect_timeout_ms = request->connect_timeout_ms;
	fetch->check_address = request->check_address;
	fetch->check_socket = request->check_address && !request->proxy;
	fetch->has_body = request->body.text != NULL;
	fetch->once = request->once;
	fetch->body = kms_buf_make(request->wiped ? KMS_BUF_WIPED : KMS_BUF_PLAIN, request->max_bytes);
	fetch->headers = kms_buf_make(KMS_BUF_PLAIN, KMS_FETCH_MAX_HEADER);
	kms_status status = fetch_transfer_init(fetch, request);
	if (status != KMS_OK) {
		kms_fetch_free(fetch);
		return status;
	}
	*out = fetch;
	return KMS_OK;
}

kms_status kms_fetch_reuse(kms_fetch *fetch, kms_text body, size_t max_bytes)
{
	ENSURE_REF(fetch);
	ENSURE(fetch->state == FETCH_NEW || fetch->state == FETCH_DONE, KMS_ERR_STATE);
	ENSURE(fetch->has_body == (body.text != NULL), KMS_ERR_ARGUMENT);
	return fetch_transfer_reset(fetch, body, max_bytes);
}

static void on_deadline_closed(uv_handle_t *handle)
{
	kms_heap_free((char *)handle - offsetof(kms_fetch, deadline));
}

void kms_fetch_free(kms_fetch *fetch)
{
	if (!fetch) return;
	fetch_detach(fetch);
	fetch_direct_free(fetch);
	curl_easy_cleanup(fetch->easy);
	curl_url_cleanup(fetch->url);
	curl_slist_free_all(fetch->sent);
	kms_buf_free(&fetch->body);
	kms_buf_free(&fetch->headers);
	if (fetch->has_deadline)
		uv_close((uv_handle_t *)&fetch->deadline, on_deadline_closed);
	else
		kms_heap_free(fetch);
}

/* ---- result ------------------------------------------------------------------------------------ */

kms_status kms_fetch_result(const kms_fetch *fetch)
{
	return fetch->state == FETCH_DONE ? fetch->status : KMS_ERR_STATE;
}

bool kms_fetch_sent(const kms_fetch *fetch)
{
	/* Adds up over the connections that libcurl tried; what goes beside it is not counted. */
	long bytes = 0;
	if (fetch->direct) return fetch->direct->sent;
	return curl_easy_getinfo(fetch->easy, CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK || bytes > 0;
}

const char *kms_fetch_detail(const kms_fetch *fetch)
{
	return fetch->detail[0] ? fetch->detail : kms_status_text(fetch->status);
}

int kms_fetch_http_status(const kms_fetch *fetch)
{
	long code = 0;
	if (kms_fetch_result(fetch) != KMS_OK) return 0;
	if (fetch->direct) return (int)fetch->direct->http_status;
	curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &code);
	return (int)code;
}

kms_buf *kms_fetch_body(kms_fetch *fetch)
{
	return &fetch->body;
}
