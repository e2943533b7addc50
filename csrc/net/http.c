/* The input of one connection, request after request (http.h). */
#include "net/http_internal.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"

/* A larger buffer is freed after each request. */
#define KEEP_BYTES 4096

static const kms_http_refusal too_large = { 413, "payload_too_large", "body is larger than allowed" };
static const kms_http_refusal too_much = { 400, "bad_request", "too much input ahead of the answers" };
static const kms_http_refusal undrained = { 400, "bad_request", "unread body" };
static const kms_http_refusal no_memory = { 503, "service_unavailable", "out of memory" };

/* ---- owner ------------------------------------------------------------------------------------ */

kms_status kms_http_new(kms_http **http, kms_http_head_limits limits, kms_text client)
{
	ENSURE_REF(http);
	*http = NULL;
	ENSURE(limits.line >= KMS_HTTP_SHORT_LINE && limits.line <= KMS_HTTP_MAX_LINE, KMS_ERR_RANGE);
	ENSURE(limits.fields >= KMS_HTTP_MIN_FIELDS && limits.fields <= KMS_HTTP_MAX_FIELDS, KMS_ERR_RANGE);
	static pthread_once_t prepared = PTHREAD_ONCE_INIT;
	(void)pthread_once(&prepared, kms_http_prepare);
	kms_http *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->limits = limits;
	made->line = (kms_http_line){ .client = kms_http_hash_caller(client), .input = &made->in };
	made->in = kms_buf_make(KMS_BUF_PLAIN, limits.line + limits.fields + KMS_HTTP_MAX_AHEAD);
	made->head = kms_buf_make(KMS_BUF_PLAIN, limits.line + limits.fields);
	kms_http_intake_start(&made->intake, KMS_HTTP_NO_BODY, 0);
	*http = made;
	return KMS_OK;
}

void kms_http_free(kms_http *http)
{
	if (!http) return;
	kms_http_intake_release(&http->intake);
	kms_http_release_line(&http->line);
	kms_buf_free(&http->head);
	kms_buf_free(&http->in);
	kms_heap_free(http->fields);
	kms_heap_free(http);
}

static kms_http_event refuse(kms_http *http, const kms_http_refusal *refusal)
{
	http->state = STATE_REFUSED;
	http->refusal = refusal;
	return KMS_HTTP_REFUSED;
}

static void clear(kms_buf *buf)
{
	if (buf->cap > KEEP_BYTES)
		kms_buf_free(buf);
	else
		kms_buf_clear(buf);
}

size_t kms_http_ahead(const kms_http *http)
{
	return http->in.len - http->at;
}

bool kms_http_body_front(uint8_t *front, size_t *got, const kms_http *http, size_t want)
{
	*got = 0;
	if (http->state != STATE_WAIT) return true;
	size_t ahead = kms_http_ahead(http);
	kms_span input = ahead ? kms_span_of(http->in.data + http->at, ahead) : KMS_NO_BYTES;
	return kms_http_intake_look(front, got, want, &http->intake, input);
}

/* Gives back what a long head leaves of the buffer to the few bytes behind it; without memory it stays. */
static void trim(kms_http *http)
{
	kms_buf rest = kms_buf_make(KMS_BUF_PLAIN, http->in.max);
	size_t len = kms_http_ahead(http);
	if (http->in.cap <= 2 * KMS_HTTP_SHORT_LINE || len > KEEP_BYTES) return;
	if (kms_buf_append(&rest, kms_span_of(http->in.data + http->at, len)) != KMS_OK) return;
	kms_buf_free(&http->in);
	http->in = rest;
	http->at = 0;
}

static void consume(kms_http *http, size_t len)
{
	http->at += len;
	if (http->at < http->in.len) return;
	http->at = 0;
	clear(&http->in);
}

/* ---- input --------------------------------------------------------------------------------------- */

/* Ignores an empty line before a request line, as old clients send behind a body (RFC 9112 section 2.2). */
static bool skip_empty_line(kms_http *http)
{
	const uint8_t *bytes = http->in.data + http->at;
	size_t len = kms_http_ahead(http);
	if (http->skipped || len == 0 || bytes[0] != '\r') return true;
	if (len == 1) return false;
	if (bytes[1] != '\n') return true;
	http->skipped = true;
	consume(http, 2);
	return true;
}

/* Charges the request line, as far as it has arrived. */
static const kms_http_refusal *charge_line(kms_http *http)
{
	bool complete = http->scan.lines > 0;
	return kms_http_charge_line(&http->line, complete ? http->scan.request_line : kms_http_ahead(http),
				    complete);
}

static kms_http_event continue_head(kms_http *http)
{
	if (!skip_empty_line(http)) return KMS_HTTP_MORE;
	const uint8_t *bytes = http->in.data + http->at;
	size_t len = kms_http_ahead(http);
	if (len == 0) return KMS_HTTP_MORE;

	const kms_http_refusal *refusal =
	    kms_http_scan_head(&http->scan, kms_span_of(bytes, len), http->limits);
	if (!refusal) refusal = charge_line(http);
	if (refusal) {
		kms_http_release_line(&http->line);
		return refuse(http, refusal);
	}
	if (!http->scan.complete) return KMS_HTTP_MORE;
	refusal = kms_http_read_head(http, bytes);
	if (refusal) return refuse(http, refusal);
	consume(http, http->scan.line);
	kms_http_intake_start(&http->intake, http->request.framing, http->request.length);
	http->state = http->intake.complete ? STATE_DONE : STATE_WAIT;
	return KMS_HTTP_REQUEST;
}

static kms_http_event continue_body(kms_http *http)
{
	size_t len = kms_http_ahead(http), used;
	if (len == 0) return KMS_HTTP_MORE;
	if (http->intake.discard && len > http->drain_left) len = http->drain_left;

	const kms_http_refusal *refusal =
	    kms_http_intake_take(&used, &http->intake, kms_span_of(http->in.data + http->at, len));
	consume(http, used);
	if (refusal) {
		kms_http_intake_release(&http->intake);
		return refuse(http, refusal);
	}
	if (http->intake.discard) http->drain_left -= used;
	if (http->intake.complete) {
		http->state = STATE_DONE;
		return KMS_HTTP_BODY;
	}
	if (http->intake.discard && http->drain_left == 0) return refuse(http, &undrained);
	return KMS_HTTP_MORE;
}

static kms_http_event advance(kms_http *http)
{
	if (http->state == STATE_HEAD) return continue_head(http);
	if (http->state == STATE_BODY) return continue_body(http);
	return KMS_HTTP_MORE;
}

kms_http_event kms_http_feed(kms_http *http, kms_span input)
{
	if (http->state == STATE_REFUSED) return KMS_HTTP_MORE;
	if (http->line.dropped) {
		http->at = 0;
		return refuse(http, &kms_http_no_line);
	}
	if (http->at > 0) {
		http->in.len -= http->at;
		memmove(http->in.data, http->in.data + http->at, http->in.len);
		http->at = 0;
	}
	kms_status status = kms_buf_append(&http->in, input);
	if (status != KMS_OK) return refuse(http, status == KMS_ERR_TOO_LARGE ? &too_much : &no_memory);
	return advance(http);
}

kms_http_event kms_http_read_body(kms_http *http, size_t limit, kms_http_body_owner owner)
{
	if (http->state == STATE_DONE) return KMS_HTTP_BODY;
	if (http->state != STATE_WAIT) return KMS_HTTP_MORE;
	/* The announced length is beyond the limit: read nothing; the body can still be drained. */
	if (http->request.framing == KMS_HTTP_SIZED && http->request.length > limit) {
		http->refusal = &too_large;
		return KMS_HTTP_REFUSED;
	}
	http->intake.limit = limit;
	kms_http_charge_start(&http->intake.charge, owner, (size_t)http->intake.left);
	http->state = STATE_BODY;
	return advance(http);
}

bool kms_http_drainable(const kms_http *http, size_t max)
{
	if (http->state == STATE_DONE) return true;
	if (http->state != STATE_WAIT && http->state != STATE_BODY) return false;
	return http->request.framing == KMS_HTTP_CHUNKED || http->intake.left <= max;
}

kms_http_event kms_http_drain(kms_http *http, size_t max)
{
	if (http->state == STATE_DONE) return KMS_HTTP_BODY;
	if (!kms_http_drainable(http, max)) return refuse(http, &undrained);
	kms_http_release(http);
	http->intake.discard = true;
	http->drain_left = max;
	http->state = STATE_BODY;
	return advance(http);
}

kms_http_event kms_http_next(kms_http *http)
{
	if (http->state != STATE_DONE) return refuse(http, http->refusal ? http->refusal : &undrained);
	kms_http_release(http);
	trim(http);
	http->skipped = false;
	http->request = (kms_http_request){ 0 };
	http->scan = (kms_http_scan){ 0 };
	http->refusal = NULL;
	http->state = STATE_HEAD;
	return advance(http);
}

/* ---- accessors ------------------------------------------------------------------------------------ */

const kms_http_request *kms_http_get_request(const kms_http *http)
{
	bool there = http->state == STATE_WAIT || http->state == STATE_BODY || http->state == STATE_DONE;
	return there ? &http->request : NULL;
}

const kms_http_refusal *kms_http_get_refusal(const kms_http *http)
{
	return http->refusal;
}

kms_buf *kms_http_body(kms_http *http)
{
	return &http->intake.bytes;
}

void kms_http_release_body(kms_http *http)
{
	kms_http_intake_release(&http->intake);
}

void kms_http_release(kms_http *http)
{
	kms_http_request *request = &http->request;
	kms_http_release_body(http);
	kms_http_release_line(&http->line);
	clear(&http->head);
	http->field_count = 0;
	request->method = request->path = request->query = request->host = KMS_NO_TEXT;
}
