/* What the tests of the HTTP parser share: a caller that records every event. */
#ifndef KMS_SPEC_HTTP_KIT_H
#define KMS_SPEC_HTTP_KIT_H

#include <ctype.h>

#include "base/mem.h"
#include "net/http.h"
#include "test.h"

#define MAX_FIELDS 1024
#define LIMITS ((kms_http_head_limits){ .line = KMS_HTTP_SHORT_LINE, .fields = MAX_FIELDS })
#define BODY_LIMIT 64
#define HOST "Host: a\r\n"

typedef struct trace {
	char text[65536];
	size_t len;
} trace;

static inline void note(trace *t, const char *what, kms_text text)
{
	int n = snprintf(t->text + t->len, sizeof(t->text) - t->len, "%s[%.*s]", what, (int)text.len,
			 text.text ? text.text : "");
	t->len += (size_t)n;
}

static inline void note_request(trace *t, kms_http *http)
{
	static const char *const names[] = { "host", "content-length", "transfer-encoding", "x" };
	const kms_http_request *request = kms_http_get_request(http);
	kms_text value;
	note(t, request->keep_alive ? "+" : "-", request->method);
	note(t, "", request->path);
	note(t, request->query.text ? "?" : "", request->query);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (kms_http_header(&value, http, names[i])) note(t, names[i], value);
}

/* Handles events until more input is needed; false once the input is refused. */
static inline bool handle(trace *t, kms_http *http, kms_http_event event)
{
	char status[16];
	for (;;) {
		switch (event) {
		case KMS_HTTP_MORE:
			return true;
		case KMS_HTTP_REQUEST:
			note_request(t, http);
			event = kms_http_read_body(http, BODY_LIMIT, (kms_http_body_owner){ 0 });
			break;
		case KMS_HTTP_BODY:
			note(t, "=",
			     (kms_text){ (char *)kms_http_body(http)->data, kms_http_body(http)->len });
			event = kms_http_next(http);
			break;
		case KMS_HTTP_REFUSED:
			snprintf(status, sizeof(status), "!%d", kms_http_get_refusal(http)->status);
			note(t, status, (kms_text){ NULL, 0 });
			return false;
		}
	}
}

/* Feeds `bytes` in two pieces, or (cut 0) one by one. */
static inline void read_cut(trace *t, const char *bytes, size_t len, size_t cut)
{
	kms_http *http;
	bool open = kms_http_new(&http, LIMITS, KMS_NO_TEXT) == KMS_OK;
	t->len = 0;
	t->text[0] = 0;
	size_t at = 0;
	while (open && at < len) {
		size_t n = cut == 0 ? 1 : at == 0 ? cut : len - at;
		open = handle(t, http, kms_http_feed(http, kms_span_of(bytes + at, n)));
		at += n;
	}
	kms_http_free(http);
}

/* The status of the refusal of some input; 0 when it is accepted, -1 when the cut makes a difference. */
static inline int refusal_of(const char *bytes, size_t len)
{
	static trace t;
	read_cut(&t, bytes, len, len);
	const char *mark = strrchr(t.text, '!');
	int status = mark ? atoi(mark + 1) : 0;
	read_cut(&t, bytes, len, 0);
	mark = strrchr(t.text, '!');
	return status == (mark ? atoi(mark + 1) : 0) ? status : -1;
}

static inline const char *fill(char *text, size_t cap, const char *before, char c, size_t count,
			       const char *after)
{
	size_t n = strlen(before);
	if (n + count + strlen(after) >= cap) abort();
	memcpy(text, before, n);
	memset(text + n, c, count);
	strcpy(text + n + count, after);
	return text;
}

/* A parser that has read a complete head. */
static inline kms_http *start(const char *text)
{
	kms_http *http;
	if (kms_http_new(&http, LIMITS, KMS_NO_TEXT) != KMS_OK) abort();
	if (kms_http_feed(http, kms_span_of(text, strlen(text))) != KMS_HTTP_REQUEST) abort();
	return http;
}

#endif
