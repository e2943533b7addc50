#include "session.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/json.h"
#include "kms/pop.h"
#include "kms/session.h"
#include "measure.h"

#define MAX_TEXT ((size_t)1 << 20)
#define CHECK_EVERY 16u
#define VALUE 1368 /* bytes of 1 KiB in base64 */
#define OPENINGS 32u
#define AGREEMENTS 50u

/* ---- opening ------------------------------------------------------------------------------------------ */

typedef struct opening {
	char nonce[KMS_NONCE_TEXT];
	char timestamp[24];
	char signature[KMS_SIGNATURE_TEXT];
	kms_buf body, signed_text, http;
	kms_x25519 *own;
} opening;

static void opening_clear(opening *o)
{
	kms_buf_free(&o->body);
	kms_buf_free(&o->signed_text);
	kms_buf_free(&o->http);
	kms_x25519_free(o->own);
	*o = (opening){ 0 };
}

static kms_status seal_offer(opening *o, const app *a)
{
	kms_session_offer offer = { .ends_count = 0 };
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_WIPED, MAX_TEXT);
	GUARD(kms_x25519_generate(&o->own));
	memcpy(offer.e32, kms_x25519_public(o->own), sizeof(offer.e32));
	GUARD(kms_session_offer_write(&plain, &offer));
	return kms_envelope_seal(&o->body, a->channel, kms_p384_public(a->key), kms_buf_span(&plain));
}

static kms_status sign(opening *o, const app *a)
{
	uint8_t body32[32];
	uint64_t now_s = (uint64_t)time(NULL);
	kms_text nonce = { o->nonce, sizeof(o->nonce) };
	(void)snprintf(o->timestamp, sizeof(o->timestamp), "%llu", (unsigned long long)now_s);
	GUARD(kms_sha256(body32, kms_buf_span(&o->body)));
	GUARD(kms_pop_sign_session(o->signature, a->wallet, KMS_POP_APP_SESSION, nonce, a->node20, now_s,
				   body32));
	const kms_pop pop = { .domain = KMS_POP_APP_SESSION,
			      .nonce = nonce,
			      .timestamp = kms_text_from(o->timestamp),
			      .body32 = body32 };
	return kms_pop_text(&o->signed_text, &pop, a->node20);
}

static kms_status write_opening(opening *o, const app *a)
{
	char head[768];
	o->body = o->signed_text = o->http = kms_buf_make(KMS_BUF_PLAIN, MAX_TEXT);
	GUARD(seal_offer(o, a));
	GUARD(sign(o, a));
	int len =
	    snprintf(head, sizeof(head),
		     "POST /session HTTP/1.1\r\nHost: %s\r\nX-App-Signature: %.*s\r\nX-App-Nonce: %.*s\r\n"
		     "X-App-Timestamp: %s\r\nContent-Length: %zu\r\n\r\n",
		     a->host, (int)sizeof(o->signature), o->signature, (int)sizeof(o->nonce), o->nonce,
		     o->timestamp, o->body.len);
	ENSURE(len > 0 && (size_t)len < sizeof(head), KMS_ERR_RANGE);
	GUARD(kms_buf_append(&o->http, kms_span_of(head, (size_t)len)));
	return kms_buf_append(&o->http, kms_buf_span(&o->body));
}

/* The session that the answer's body opens; the body is changed. */
static kms_status take_grant(kms_session_caller **caller, opening *o, const app *a, kms_buf *answer)
{
	kms_session_terms terms;
	kms_session_grant grant;
	kms_envelope envelope;
	const char *field;
	GUARD(kms_session_salt(terms.salt32, kms_buf_span(&o->signed_text), kms_buf_span(&o->body),
			       kms_buf_span(answer)));
	GUARD(kms_envelope_parse(&envelope, (char *)answer->data, answer->len));
	GUARD(kms_envelope_check_sender(&envelope, a->node97));
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_WIPED, MAX_TEXT);
	GUARD(kms_envelope_open(&plain, &envelope, a->channel));
	GUARD(kms_session_grant_parse(&grant, &field, &plain));
	memcpy(terms.sid16, grant.sid16, sizeof(terms.sid16));
	memcpy(terms.peer_e32, grant.e32, sizeof(terms.peer_e32));
	return kms_session_caller_new(caller, &o->own, &terms);
}

static kms_status write_openings(load *l, opening *list, size_t count)
{
	phase nonces;
	GUARD(load_nonces(&nonces, l, count));
	for (size_t i = 0; i < count; i++) {
		memcpy(list[i].nonce, l->requests[i].nonce, sizeof(list[i].nonce));
		GUARD(write_opening(&list[i], &l->app));
		l->replies[i] = (exchange){ .request = kms_buf_text(&list[i].http), .keep = true };
	}
	return KMS_OK;
}

/* Takes the grants, and keeps the last session in `caller`. */
static kms_status take_grants(kms_session_caller **caller, load *l, opening *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		kms_session_caller_free(*caller);
		*caller = NULL;
		GUARD(take_grant(caller, &list[i], &l->app, &l->replies[i].body));
	}
	return KMS_OK;
}

/* What each side does for forward secrecy, in microseconds: a key pair and one agreement. */
static kms_status agreement_us(double *us)
{
	DEFER(kms_x25519_release) kms_x25519 *peer = NULL;
	GUARD(kms_x25519_generate(&peer));
	uint64_t begun = bench_thread_ns();
	for (unsigned i = 0; i < AGREEMENTS; i++) {
		DEFER(kms_x25519_release) kms_x25519 *own = NULL;
		DEFER(kms_secret_release) kms_secret *shared = NULL;
		GUARD(kms_x25519_generate(&own));
		GUARD(kms_x25519_agree(&shared, own, kms_x25519_public(peer)));
	}
	*us = (double)(bench_thread_ns() - begun) / 1e3 / AGREEMENTS;
	return KMS_OK;
}

/* Sends openings; both_ratio is without the X25519, which is measured around them as the unit is. */
static kms_status measure_openings(result *r, load *l, size_t count)
{
	double agreement[2] = { 0, 0 }, unit = bench_unit_us();
	GUARD(agreement_us(&agreement[0]));
	GUARD(load_phase(&r->request, l, l->replies, count));
	GUARD(agreement_us(&agreement[1]));
	unit = (unit + bench_unit_us()) / 2;
	r->request_ratio = r->request.cpu / unit;
	r->both_ratio = (r->request.cpu - (agreement[0] + agreement[1]) / 2) / unit;
	return KMS_OK;
}

static kms_status opening_round(kms_session_caller **caller, result *r, load *l, size_t count)
{
	opening list[OPENINGS] = { 0 };
	kms_status status = write_openings(l, list, count);
	if (status == KMS_OK) status = measure_openings(r, l, count);
	if (status == KMS_OK) status = take_grants(caller, l, list, count);
	load_clear(l, count);
	for (size_t i = 0; i < count; i++)
		opening_clear(&list[i]);
	return status;
}

/* The first round agrees on the envelopes' key, which is kept. Of those that are opened side by side, a
   wallet keeps some; so the session for messages is opened at last, alone. */
static kms_status bench_openings(kms_session_caller **caller, load *l)
{
	result results[LOAD_MAX_ROUNDS] = { 0 }, alone = { 0 };
	for (unsigned i = 0; i <= l->rounds; i++)
		GUARD(opening_round(caller, &results[i ? i - 1 : 0], l, OPENINGS));
	const summary out = load_summary(results, l->rounds);
	printf("  %-34s %10.0f %10.0f %10.0f %12.1f %8.2f\n", "opening", out.request.rate, out.request.p50,
	       out.request.p99, out.request.cpu, out.request_ratio.median);
	bench_median_at_most("  without its X25519, x unit", &out.both_ratio, 2.6);
	return opening_round(caller, &alone, l, 1);
}

/* ---- messages ----------------------------------------------------------------------------------------- */

typedef struct sort {
	const char *name;
	const char *operation; /* JSON */
	size_t times;          /* in an array, if more than one */
	double target;         /* units of one operation */
} sort;

static kms_status append_operations(kms_buf *json, const sort *s)
{
	if (s->times > 1) GUARD(kms_buf_append_text(json, "["));
	for (size_t i = 0; i < s->times; i++) {
		if (i) GUARD(kms_buf_append_text(json, ","));
		GUARD(kms_buf_append_text(json, s->operation));
	}
	return s->times > 1 ? kms_buf_append_text(json, "]") : KMS_OK;
}

static kms_status write_message(kms_buf *http, uint64_t *seq, kms_session_caller *caller, const sort *s)
{
	char head[160];
	DEFER(kms_buf_free) kms_buf message = kms_buf_make(KMS_BUF_WIPED, MAX_TEXT);
	*http = kms_buf_make(KMS_BUF_PLAIN, MAX_TEXT);
	GUARD(kms_session_request_begin(&message, s->times * (strlen(s->operation) + 1) + 2));
	GUARD(append_operations(&message, s));
	GUARD(kms_session_caller_take(seq, caller));
	GUARD(kms_session_request_seal(&message, caller, *seq, (uint64_t)time(NULL) * 1000));
	int len = snprintf(head, sizeof(head),
			   "POST /session/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
			   "application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
			   message.len);
	GUARD(kms_buf_append(http, kms_span_of(head, (size_t)len)));
	return kms_buf_append(http, kms_buf_span(&message));
}

/* Every operation must have been served. */
static kms_status check_answer(const kms_buf *body, const kms_session_caller *caller, uint64_t seq,
			       const sort *s)
{
	kms_session_content content;
	kms_json json;
	DEFER(kms_buf_free) kms_buf copy = kms_buf_make(KMS_BUF_WIPED, MAX_TEXT);
	GUARD(kms_buf_append(&copy, kms_buf_span(body)));
	GUARD(kms_session_answer_open(&content, &copy, caller, seq));
	char *text = (char *)copy.data + (content.json.text - (const char *)copy.data);
	GUARD(kms_json_parse(&json, text, content.json.len, 10000));
	const kms_json_value *value = s->times > 1 ? kms_json_first(&json, json.values) : json.values;
	kms_status status = KMS_OK;
	for (size_t i = 0; i < s->times && status == KMS_OK; i++) {
		const kms_json_value *said = value ? kms_json_get(&json, value, "status") : NULL;
		if (!said || said->number != 200) status = KMS_ERR_HTTP;
		if (value && s->times > 1) value = kms_json_next(&json, value);
	}
	kms_json_free(&json);
	return status;
}

static kms_status message_round(phase *p, double *ratio, load *l, kms_session_caller *caller, const sort *s,
				size_t count)
{
	uint64_t first = 0, seq = 0;
	for (size_t i = 0; i < count; i++) {
		GUARD(write_message(&l->requests[i].text, &seq, caller, s));
		if (i == 0) first = seq;
		l->replies[i] =
		    (exchange){ .request = kms_buf_text(&l->requests[i].text), .keep = i % CHECK_EVERY == 0 };
	}
	double unit = bench_unit_us();
	GUARD(load_phase(p, l, l->replies, count));
	*ratio = p->cpu / (unit + bench_unit_us()) * 2 / (double)s->times;
	for (size_t i = 0; i < count; i += CHECK_EVERY)
		GUARD(check_answer(&l->replies[i].body, caller, first + i, s));
	return KMS_OK;
}

/* A round to warm up, then the medians of the others. */
static kms_status bench_sort(load *l, kms_session_caller *caller, const sort *s)
{
	result results[LOAD_MAX_ROUNDS] = { 0 };
	double ratio = 0;
	/* Within the window of a session, whatever order they arrive in. */
	size_t most = s->times > 1 ? 25 : 250, count = l->count < most ? l->count : most;
	for (unsigned i = 0; i <= l->rounds; i++) {
		unsigned at = i ? i - 1 : 0;
		kms_status status = message_round(&results[at].request, &ratio, l, caller, s, count);
		load_clear(l, count);
		GUARD(status);
		results[at].request_ratio = ratio;
	}
	const summary out = load_summary(results, l->rounds);
	printf("  %-34s %10.0f %10.0f %10.0f %12.1f %8.3f\n", s->name, out.request.rate, out.request.p50,
	       out.request.p99, out.request.cpu, out.request_ratio.median);
	bench_median_at_most("  of one operation, x unit", &out.request_ratio, s->target);
	return KMS_OK;
}

static kms_status bench_messages(load *l, kms_session_caller *caller)
{
	char put[2 * VALUE], value[VALUE];
	memset(value, 'A', sizeof(value));
	(void)snprintf(put, sizeof(put), "{\"key\":\"bench\",\"op\":\"put\",\"value\":\"%.*s\"}", VALUE,
		       value);
	const char *derive = "{\"op\":\"derive\",\"path\":\"bench\"}";
	const sort sorts[] = {
		{ "derive", derive, 1, 0.45 },
		{ "64 derives", derive, 64, 0.08 },
		{ "put 1 KiB", put, 1, 0.6 },
		{ "get 1 KiB", "{\"key\":\"bench\",\"op\":\"get\"}", 1, 0.6 },
		{ "64 puts of 1 KiB", put, 64, 0.15 },
		{ "64 gets of 1 KiB", "{\"key\":\"bench\",\"op\":\"get\"}", 64, 0.15 },
	};
	for (size_t i = 0; i < KMS_ARRAY_LEN(sorts); i++)
		GUARD(bench_sort(l, caller, &sorts[i]));
	return KMS_OK;
}

kms_status session_bench(load *l)
{
	kms_session_caller *caller = NULL;
	ENSURE(l->count >= OPENINGS, KMS_ERR_RANGE);
	kms_status status = bench_openings(&caller, l);
	if (status == KMS_OK) status = bench_messages(l, caller);
	kms_session_caller_free(caller);
	return status;
}
