/* The HTTP parser (RFC 9110, RFC 9112): what it reads, what it refuses, at any cut of the input. */
#include "test.h"

#include <ctype.h>

#include "base/mem.h"
#include "net/http.h"

#define MAX_HEAD 1024
#define BODY_LIMIT 64
#define HOST "Host: a\r\n"

/* ---- a reader that notes what happens ------------------------------------------------------- */

typedef struct trace {
	char text[65536];
	size_t len;
} trace;

static void note(trace *t, const char *what, kms_text text)
{
	int n = snprintf(t->text + t->len, sizeof(t->text) - t->len, "%s[%.*s]", what, (int)text.len,
			 text.text ? text.text : "");
	t->len += (size_t)n;
}

static void note_request(trace *t, kms_http *http)
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
static bool handle(trace *t, kms_http *http, kms_http_event event)
{
	char status[16];
	for (;;) {
		switch (event) {
		case KMS_HTTP_MORE:
			return true;
		case KMS_HTTP_REQUEST:
			note_request(t, http);
			event = kms_http_read_body(http, BODY_LIMIT);
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
static void read_cut(trace *t, const char *bytes, size_t len, size_t cut)
{
	kms_http *http;
	bool open = kms_http_new(&http, MAX_HEAD) == KMS_OK;
	t->len = 0;
	t->text[0] = 0;
	size_t at = 0;
	while (open && at < len) {
		size_t n = cut == 0 ? 1 : at == 0 ? cut : len - at;
		open = handle(t, http, kms_http_feed(http, bytes + at, n));
		at += n;
	}
	kms_http_free(http);
}

/* The status that input is refused with; 0 when it is not. */
static int refusal_of(const char *bytes, size_t len)
{
	static trace t;
	read_cut(&t, bytes, len, len);
	const char *mark = strrchr(t.text, '!');
	int status = mark ? atoi(mark + 1) : 0;
	read_cut(&t, bytes, len, 0);
	mark = strrchr(t.text, '!');
	return status == (mark ? atoi(mark + 1) : 0) ? status : -1;
}

static const char *fill(char *text, size_t cap, const char *before, char c, size_t count, const char *after)
{
	size_t n = strlen(before);
	if (n + count + strlen(after) >= cap) abort();
	memcpy(text, before, n);
	memset(text + n, c, count);
	strcpy(text + n + count, after);
	return text;
}

/* ---- what is read ------------------------------------------------------------------------------ */

static const char stream[] =
    "GET /a?b=%20c HTTP/1.1\r\nHost: one\r\nX:  spaced value\t \r\n\r\n"
    "POST /p HTTP/1.1\r\nhost:two\r\nContent-Length: 5\r\n\r\nhello"
    "PUT /c%2Fd HTTP/1.1\r\nHOST: three\r\nTransfer-Encoding: CHUNKED\r\n\r\n"
    "3\r\nfoo\r\n00A;ext=\"v\"\r\n0123456789\r\n0\r\nTrailer: ignored\r\n\r\n"
    "HEAD / HTTP/1.1\r\nHost: four\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

static const char stream_trace[] = "+[GET][/a]?[b=%20c]host[one]x[spaced value]=[]"
				   "+[POST][/p][]host[two]content-length[5]=[hello]"
				   "+[PUT][/c%2Fd][]host[three]transfer-encoding[CHUNKED]=[foo0123456789]"
				   "-[HEAD][/][]host[four]=[]"
				   "-[OPTIONS][*][]=[]";

TEST(requests_are_read_at_every_cut)
{
	static trace t;
	for (size_t cut = 0; cut <= sizeof(stream) - 1; cut++) {
		read_cut(&t, stream, sizeof(stream) - 1, cut);
		CHECK(strcmp(t.text, stream_trace) == 0);
	}
}

TEST(texts_stay_while_input_arrives)
{
	kms_http *http;
	kms_text before, after;
	static char ahead[100000];
	memset(ahead, 'x', sizeof(ahead));
	CHECK_OK(kms_http_new(&http, MAX_HEAD));
	const char *head = "POST /k HTTP/1.1\r\nHost: a\r\nX: kept\r\nContent-Length: 9\r\n\r\n";
	CHECK(kms_http_feed(http, head, strlen(head)) == KMS_HTTP_REQUEST);
	CHECK(kms_http_header(&before, http, "X") == 1);
	CHECK(kms_http_feed(http, ahead, sizeof(ahead)) == KMS_HTTP_MORE);
	CHECK(kms_http_ahead(http) == sizeof(ahead));
	CHECK(kms_http_header(&after, http, "x") == 1);
	CHECK(before.text == after.text && after.len == 4);
	CHECK_MEM(after.text, "kept", 4);
	CHECK(kms_http_read_body(http, 9) == KMS_HTTP_BODY);
	CHECK(kms_http_ahead(http) == sizeof(ahead) - 9);
	kms_http_free(http);
}

TEST(read_ahead_is_bounded)
{
	kms_http *http;
	static char ahead[1u << 16];
	kms_http_event event = KMS_HTTP_MORE;
	size_t fed = 0;
	memset(ahead, 'x', sizeof(ahead));
	CHECK_OK(kms_http_new(&http, MAX_HEAD));
	CHECK(kms_http_feed(http, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27) == KMS_HTTP_REQUEST);
	for (; event == KMS_HTTP_MORE && fed < 4 * KMS_HTTP_MAX_AHEAD; fed += sizeof(ahead))
		event = kms_http_feed(http, ahead, sizeof(ahead));
	CHECK(event == KMS_HTTP_REFUSED && fed <= KMS_HTTP_MAX_AHEAD + sizeof(ahead));
	CHECK(kms_http_get_refusal(http)->status == 400);
	CHECK(kms_http_get_request(http) == NULL);
	CHECK(kms_http_feed(http, "x", 1) == KMS_HTTP_MORE);
	kms_http_free(http);
}

/* ---- what is refused ----------------------------------------------------------------------------- */

typedef struct refusal_case {
	int status;
	size_t len; /* 0: up to the NUL */
	const char *text;
} refusal_case;

static const refusal_case refusals[] = {
	/* accepted neighbours of what follows */
	{ 0, 0, "GET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "GET / HTTP/1.0\r\n\r\n" },
	{ 0, 0, "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
	{ 0, 0, "GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n" },
	{ 0, 0, "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n" },
	{ 0, 0, "GET / HTTP/1.1\r\n" HOST "X: \x80\xff\r\n\r\n" },
	{ 0, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n" },
	{ 0, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n" },
	{ 0, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 0, 0, "PROPFIND / HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "CONNECT / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n" },
	/* line ends, control characters */
	{ 400, 0, "GET / HTTP/1.1\nHost: a\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "\n" },
	{ 400, 0, "\r\nGET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "\nGET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.1\rX\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n" },
	{ 400, 34, "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n" },
	{ 400, 5, "\x16\x03\x01\x02\x00" },
	/* request line */
	{ 400, 0, "GET\r\n" HOST "\r\n" },
	{ 400, 0, "GET /\r\n" HOST "\r\n" },
	{ 400, 0, "GET  / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /  HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.1 \r\n" HOST "\r\n" },
	{ 400, 0, "GET\t/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, " GET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "G@T / HTTP/1.1\r\n" HOST "\r\n" },
	{ 405, 0, "BREW / HTTP/1.1\r\n" HOST "\r\n" },
	{ 405, 0, "get / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.2\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.9\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/2.0\r\n" HOST "\r\n" },
	{ 400, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
	{ 400, 0, "GET / HTTP/0.9\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.10\r\n" HOST "\r\n" },
	{ 400, 0, "GET / http/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET / ICE/1.0\r\n" HOST "\r\n" },
	/* target */
	{ 400, 0, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET a HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET ** HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET ?a HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /\x01 HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /a#b HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /% HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /%2 HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /%2g HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET /?a=%zz HTTP/1.1\r\n" HOST "\r\n" },
	/* fields */
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n X: a\r\n" HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X(: a\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "X\x80: a\r\n\r\n" },
	/* Host (RFC 9112 section 3.2) */
	{ 400, 0, "GET / HTTP/1.1\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.0\r\n" HOST HOST "\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" },
	/* framing (RFC 9112 section 6) */
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000000000000000\r\n\r\n" },
	{ 413, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 999999999999999999\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n" },
	{ 400, 0,
	  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n" },
};

TEST(strict_heads)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const refusal_case *c = &refusals[i];
		int got = refusal_of(c->text, c->len ? c->len : strlen(c->text));
		if (got != c->status) fprintf(stderr, "case %zu got %d: %s\n", i, got, c->text);
		CHECK(got == c->status);
	}
}

TEST(names_are_tokens)
{
	char text[64];
	for (int c = 1; c < 256; c++) {
		bool token = isascii(c) && (isalnum(c) || strchr("!#$%&'*+-.^_`|~", c));
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "X%cY: a\r\n\r\n", c);
		CHECK(refusal_of(text, strlen(text)) == (token || c == ':' ? 0 : 400));
	}
}

static const refusal_case chunk_cases[] = {
	{ 0, 0, "0\r\n\r\n" },
	{ 0, 0, "000\r\n\r\n" },
	{ 0, 0, "1\r\na\r\n0\r\n\r\n" },
	{ 0, 0, "1;x\r\na\r\n0;y=z\r\nT: v\r\nU:\r\n\r\n" },
	{ 0, 0, "000000000000001\r\na\r\n0\r\n\r\n" },
	{ 0, 0, "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n" },
	{ 413, 0, "41\r\n01234567890123456789012345678901234567890123456789012345678901234\r\n0\r\n\r\n" },
	{ 413, 0, "20\r\n01234567890123456789012345678901\r\n21\r\n012345678901234567890123456789012\r\n" },
	{ 413, 0, "fffffffffffffff\r\n01234567890123456789012345678901234567890123456789012345678901234" },
	{ 400, 0, "0000000000000001\r\na\r\n" },
	{ 400, 0, "ffffffffffffffff1\r\n" },
	{ 400, 0, "\r\n" },
	{ 400, 0, "g\r\n" },
	{ 400, 0, "-1\r\n" },
	{ 400, 0, "+1\r\n" },
	{ 400, 0, "0x1\r\n" },
	{ 400, 0, " 1\r\n" },
	{ 400, 0, "1 \r\n" },
	{ 400, 0, ";x\r\n" },
	{ 400, 0, "1\na\r\n" },
	{ 400, 0, "1\rXa\r\n" },
	{ 400, 0, "1\r\naX\r\n" },
	{ 400, 0, "1\r\na\rX" },
	{ 400, 0, "1\r\na\n" },
	{ 400, 0, "1;a\x01\r\n" },
	{ 400, 0, "1;a\x80\r\n" },
	{ 400, 0, "1;a\n" },
	{ 400, 0, "0\r\nT: v\n\r\n" },
	{ 400, 0, "0\r\nT: v\r\r\n" },
	{ 400, 0, "0\r\n\rX" },
	{ 400, 6, "0\r\nT\0\r" },
};

TEST(strict_chunks)
{
	char text[1024];
	for (size_t i = 0; i < sizeof(chunk_cases) / sizeof(chunk_cases[0]); i++) {
		const refusal_case *c = &chunk_cases[i];
		size_t len = c->len ? c->len : strlen(c->text);
		int head = snprintf(text, sizeof(text),
				    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
		memcpy(text + head, c->text, len);
		int got = refusal_of(text, (size_t)head + len);
		if (got != c->status) fprintf(stderr, "chunk case %zu got %d: %s\n", i, got, c->text);
		CHECK(got == c->status);
	}
}

/* ---- limits --------------------------------------------------------------------------------------- */

TEST(limits_of_heads)
{
	static char text[65536];
	const char *before = "GET / HTTP/1.1\r\n" HOST "X: ";
	size_t fixed = strlen(before) + 4;

	fill(text, sizeof(text), before, 'v', MAX_HEAD - fixed, "\r\n\r\n");
	CHECK(strlen(text) == MAX_HEAD && refusal_of(text, MAX_HEAD) == 0);
	fill(text, sizeof(text), before, 'v', MAX_HEAD - fixed + 1, "\r\n\r\n");
	CHECK(refusal_of(text, MAX_HEAD + 1) == 400);
	/* without an end in sight */
	fill(text, sizeof(text), before, 'v', MAX_HEAD, "");
	CHECK(refusal_of(text, MAX_HEAD) == 0);
	CHECK(refusal_of(text, MAX_HEAD + 1) == 400);

	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_http_new(NULL, MAX_HEAD));
	kms_http *http = (kms_http *)text;
	CHECK_STATUS(KMS_ERR_RANGE, kms_http_new(&http, KMS_HTTP_MIN_HEAD - 1));
	CHECK(http == NULL);
	CHECK_STATUS(KMS_ERR_RANGE, kms_http_new(&http, KMS_HTTP_MAX_HEAD + 1));
	CHECK_OK(kms_http_new(&http, KMS_HTTP_MIN_HEAD));
	kms_http_free(http);
	kms_http_free(NULL);
}

static int status_with_head(const char *text, size_t max_head)
{
	kms_http *http;
	if (kms_http_new(&http, max_head) != KMS_OK) abort();
	kms_http_event event = kms_http_feed(http, text, strlen(text));
	int status = event == KMS_HTTP_REQUEST ? 0
		     : event == KMS_HTTP_MORE  ? -1
					       : kms_http_get_refusal(http)->status;
	kms_http_free(http);
	return status;
}

TEST(limits_of_lines_and_fields)
{
	static char text[65536];
	fill(text, sizeof(text), "GET /", 'p', KMS_HTTP_MAX_LINE - 14, " HTTP/1.1\r\n" HOST "\r\n");
	CHECK(status_with_head(text, KMS_HTTP_MAX_HEAD) == 0);
	fill(text, sizeof(text), "GET /", 'p', KMS_HTTP_MAX_LINE - 13, " HTTP/1.1\r\n" HOST "\r\n");
	CHECK(status_with_head(text, KMS_HTTP_MAX_HEAD) == 400);
	fill(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "X:", 'v', KMS_HTTP_MAX_LINE - 2, "\r\n\r\n");
	CHECK(status_with_head(text, KMS_HTTP_MAX_HEAD) == 0);
	fill(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "X:", 'v', KMS_HTTP_MAX_LINE - 1, "\r\n\r\n");
	CHECK(status_with_head(text, KMS_HTTP_MAX_HEAD) == 400);

	for (unsigned fields = KMS_HTTP_MAX_FIELDS; fields <= KMS_HTTP_MAX_FIELDS + 1; fields++) {
		size_t at = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST);
		for (unsigned i = 1; i < fields; i++)
			at += (size_t)sprintf(text + at, "X%u: %u\r\n", i, i);
		strcpy(text + at, "\r\n");
		CHECK(status_with_head(text, KMS_HTTP_MAX_HEAD) == (fields > KMS_HTTP_MAX_FIELDS ? 400 : 0));
	}
}

TEST(limits_of_chunk_lines_and_trailers)
{
	static char text[16384];
	const char *head = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
	char before[256];
	snprintf(before, sizeof(before), "%s0;", head);
	fill(text, sizeof(text), before, 'e', KMS_HTTP_MAX_CHUNK_LINE - 3, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 0);
	fill(text, sizeof(text), before, 'e', KMS_HTTP_MAX_CHUNK_LINE - 2, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 400);
	snprintf(before, sizeof(before), "%s0\r\nT:", head);
	fill(text, sizeof(text), before, 't', KMS_HTTP_MAX_TRAILERS - 4, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 0);
	fill(text, sizeof(text), before, 't', KMS_HTTP_MAX_TRAILERS - 3, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 400);
}

TEST(limits_of_bodies)
{
	static char text[1024];
	char before[128];
	snprintf(before, sizeof(before), "POST / HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", BODY_LIMIT);
	fill(text, sizeof(text), before, 'b', BODY_LIMIT, "");
	CHECK(refusal_of(text, strlen(text)) == 0);
	snprintf(before, sizeof(before), "POST / HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
		 BODY_LIMIT + 1);
	CHECK(refusal_of(before, strlen(before)) == 413);
}

TEST(bodies_share_a_budget)
{
	const char *head = "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n";
	kms_http *a, *b;
	CHECK_OK(kms_http_new(&a, MAX_HEAD));
	CHECK_OK(kms_http_new(&b, MAX_HEAD));
	CHECK(kms_http_body_in_flight() == 0);
	kms_http_set_body_budget(15);
	CHECK(kms_http_feed(a, head, strlen(head)) == KMS_HTTP_REQUEST);
	CHECK(kms_http_feed(b, head, strlen(head)) == KMS_HTTP_REQUEST);
	CHECK(kms_http_read_body(a, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_read_body(b, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(a, "0123456789", 10) == KMS_HTTP_BODY);
	CHECK(kms_http_feed(b, "01234", 5) == KMS_HTTP_MORE);
	CHECK(kms_http_body_in_flight() == 15);
	CHECK(kms_http_feed(b, "5", 1) == KMS_HTTP_REFUSED);
	CHECK(kms_http_get_refusal(b)->status == 503);
	CHECK(kms_http_body_in_flight() == 10);
	kms_http_release_body(a);
	CHECK(kms_http_body(a)->len == 0);
	CHECK(kms_http_body_in_flight() == 0);
	CHECK(kms_http_next(a) == KMS_HTTP_MORE);
	CHECK(kms_http_next(b) == KMS_HTTP_REFUSED);
	kms_http_free(a);
	kms_http_free(b);
	kms_http_set_body_budget(SIZE_MAX);
}

/* ---- the unread rest -------------------------------------------------------------------------------- */

static kms_http *start(const char *text)
{
	kms_http *http;
	if (kms_http_new(&http, MAX_HEAD) != KMS_OK) abort();
	if (kms_http_feed(http, text, strlen(text)) != KMS_HTTP_REQUEST) abort();
	return http;
}

TEST(short_rest_is_drained)
{
	kms_http *http = start("POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n012");
	/* refused before it is read: the next request is still found */
	CHECK(kms_http_read_body(http, 9) == KMS_HTTP_REFUSED);
	CHECK(kms_http_get_refusal(http)->status == 413);
	CHECK(kms_http_drainable(http, 10) && !kms_http_drainable(http, 9));
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, "3456789GET /n HTTP/1.1\r\n" HOST "\r\n", 36) == KMS_HTTP_BODY);
	CHECK(kms_http_body(http)->len == 0 && kms_http_body_in_flight() == 0);
	CHECK(kms_http_next(http) == KMS_HTTP_REQUEST);
	CHECK_MEM(kms_http_get_request(http)->path.text, "/n", 2);
	kms_http_free(http);
}

TEST(long_rest_is_not)
{
	kms_http *http = start("POST / HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n");
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_REFUSED);
	kms_http_free(http);

	/* chunks: framing counts, at the bound and one past it */
	http = start("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	CHECK(kms_http_drain(http, 11) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, "1\r\na\r\n0\r\n\r\n", 11) == KMS_HTTP_BODY);
	CHECK(kms_http_next(http) == KMS_HTTP_MORE);
	kms_http_free(http);
	http = start("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, "1\r\na\r\n0\r\n\r\n", 11) == KMS_HTTP_REFUSED);
	kms_http_free(http);

	http = start("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n");
	CHECK(kms_http_next(http) == KMS_HTTP_REFUSED);
	CHECK(kms_http_get_refusal(http)->status == 400);
	kms_http_free(http);
}

TEST(expectation)
{
	kms_http *http =
	    start("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	CHECK(kms_http_get_request(http)->expects_continue);
	kms_http_free(http);
	http = start("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n");
	CHECK(!kms_http_get_request(http)->expects_continue);
	kms_http_free(http);
	/* RFC 9110 section 10.1.1: ignored from HTTP/1.0 clients */
	http = start("POST / HTTP/1.0\r\nExpect: what\r\nContent-Length: 1\r\n\r\n");
	CHECK(!kms_http_get_request(http)->expects_continue);
	kms_http_free(http);
}

/* ---- targets ----------------------------------------------------------------------------------------- */

static void decodes(int *failed_, const char *text, bool plus, const char *want, size_t want_len)
{
	uint8_t bytes[64];
	size_t len;
	CHECK_OK(kms_http_decode(bytes, &len, (kms_text){ text, strlen(text) }, plus));
	CHECK(len == want_len);
	CHECK_MEM(bytes, want, len);
}

TEST(percent_decoding)
{
	uint8_t bytes[64];
	size_t len;
	static const char *const bad[] = { "%", "a%", "%4", "%4g", "%g4", "%%41", "%-1" };
	CALL(decodes, "a%2Fb%2f%00+", false, "a/b/\0+", 6);
	CALL(decodes, "a+b%2B", true, "a b+", 4);
	CALL(decodes, "%e2%82%AC%25", false, "\xe2\x82\xac%", 4);
	CALL(decodes, "", false, "", 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_STATUS(KMS_ERR_HEX,
			     kms_http_decode(bytes, &len, (kms_text){ bad[i], strlen(bad[i]) }, false));
		CHECK(len == 0);
	}
}

static void query_has(int *failed_, const char *query, const char *name, unsigned count, const char *last)
{
	kms_text rest = { query, query ? strlen(query) : 0 }, value, found = { NULL, 0 };
	unsigned n = 0;
	while (kms_http_query_next(&value, &rest, (kms_text){ name, strlen(name) })) {
		found = value;
		n++;
	}
	CHECK(n == count);
	if (count == 0) return;
	CHECK(found.len == strlen(last));
	CHECK_MEM(found.text, last, found.len);
}

TEST(query_parameters)
{
	CALL(query_has, NULL, "a", 0, "");
	CALL(query_has, "", "a", 0, "");
	CALL(query_has, "a", "a", 1, "");
	CALL(query_has, "a=", "a", 1, "");
	CALL(query_has, "a=b=c", "a", 1, "b=c");
	CALL(query_has, "ab=1&a=2&b=3", "a", 1, "2");
	CALL(query_has, "&&a=1&&a=2&", "a", 2, "2");
	CALL(query_has, "A=1", "a", 0, "");
}

/* ---- hostile input ------------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((random_state >> 33) % n);
}

/* Changes, inserts or removes a few bytes; prefers those that mean something. */
static size_t mutate(char *bytes, size_t len, size_t cap)
{
	static const char special[] = "\r\n\t :;,/%?#0159afGZ\x7f\x80\x01";
	for (uint32_t edits = 1 + random_below(4); edits > 0; edits--) {
		size_t at = random_below((uint32_t)len);
		char c = random_below(8) ? special[random_below(sizeof(special))] : (char)random_below(256);
		switch (random_below(3)) {
		case 0:
			bytes[at] = c;
			break;
		case 1:
			if (len == cap) break;
			memmove(bytes + at + 1, bytes + at, len - at);
			bytes[at] = c;
			len++;
			break;
		default:
			if (len == 1) break;
			memmove(bytes + at, bytes + at + 1, len - at - 1);
			len--;
			break;
		}
	}
	return len;
}

TEST(mutations_read_the_same_at_any_cut)
{
	static trace whole, cut;
	char bytes[sizeof(stream) + 16];
	unsigned refused = 0;
	for (unsigned round = 0; round < 20000; round++) {
		random_state = round;
		memcpy(bytes, stream, sizeof(stream));
		size_t len = mutate(bytes, sizeof(stream) - 1, sizeof(bytes));
		read_cut(&whole, bytes, len, len);
		read_cut(&cut, bytes, len, 0);
		CHECK(whole.len == cut.len);
		CHECK_MEM(whole.text, cut.text, whole.len);
		read_cut(&cut, bytes, len, 1 + random_below((uint32_t)len));
		CHECK(whole.len == cut.len);
		CHECK_MEM(whole.text, cut.text, whole.len);
		if (strchr(whole.text, '!')) refused++;
	}
	CHECK(refused > 5000 && refused < 20000);
}

TEST(failing_allocations)
{
	static trace t;
	unsigned failures = 0;
	for (unsigned long n = 1;; n++) {
		kms_mem_fail_after(n);
		read_cut(&t, stream, sizeof(stream) - 1, 100);
		bool reached = kms_mem_allocations() >= n;
		kms_mem_fail_after(0);
		CHECK(kms_http_body_in_flight() == 0);
		if (!reached) break;
		/* A buffer that cannot double takes what it needs: then nothing is lost. */
		if (strcmp(t.text, stream_trace) == 0) continue;
		CHECK(t.len == 0 || strstr(t.text, "!503") != NULL);
		failures++;
	}
	CHECK(failures >= 3);
	CHECK(strcmp(t.text, stream_trace) == 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(requests_are_read_at_every_cut), T(texts_stay_while_input_arrives),
	  T(read_ahead_is_bounded), T(strict_heads), T(names_are_tokens), T(strict_chunks),
	  T(limits_of_heads), T(limits_of_lines_and_fields), T(limits_of_chunk_lines_and_trailers),
	  T(limits_of_bodies), T(bodies_share_a_budget), T(short_rest_is_drained), T(long_rest_is_not),
	  T(expectation), T(percent_decoding), T(query_parameters), T(mutations_read_the_same_at_any_cut),
	  T(failing_allocations))
