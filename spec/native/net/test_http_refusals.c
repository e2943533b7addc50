/* What the HTTP parser refuses (RFC 9110, RFC 9112), at any cut of the input, and its limits. */
#include "http_kit.h"
#include "net/http_internal.h"

/* ---- malformed input ---------------------------------------------------------------------------- */

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
	{ 0, 0, "\r\nGET / HTTP/1.1\r\n" HOST "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "GET / HTTP/1.2\r\n" HOST "\r\n" },
	{ 0, 0, "GET / HTTP/1.9\r\n" HOST "\r\n" },
	{ 0, 0, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "GET HTTPS://b:1?q HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n" },
	{ 0, 0, "GET / HTTP/1.1\r\nHost: a%20b:\r\n\r\n" },
	{ 0, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n" },
	{ 0, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0000000000000000000000\r\n\r\n" },
	/* line ends, control characters */
	{ 400, 0, "GET / HTTP/1.1\nHost: a\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\n" HOST "\n" },
	{ 400, 0, "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "\rGET / HTTP/1.1\r\n" HOST "\r\n" },
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
	{ 501, 0, "BREW / HTTP/1.1\r\n" HOST "\r\n" },
	{ 501, 0, "get / HTTP/1.1\r\n" HOST "\r\n" },
	{ 505, 0, "GET / HTTP/2.0\r\n" HOST "\r\n" },
	{ 505, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
	{ 505, 0, "GET / HTTP/0.9\r\n" HOST "\r\n" },
	{ 501, 0, "GETGETGETGETGETGETGETGETGETGETGET" },
	{ 400, 0, "GET / HTTP/1.10\r\n" HOST "\r\n" },
	{ 400, 0, "GET / http/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET / ICE/1.0\r\n" HOST "\r\n" },
	/* target */
	{ 400, 0, "GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http:/// HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http://:80/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http://a:b/ HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http://a/#b HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET http://a/ HTTP/1.1\r\n\r\n" },
	{ 400, 0, "GET * HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET a HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET ** HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, 0, "GET ?a HTTP/1.1\r\n" HOST "\r\n" },
	{ 501, 0, "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n" },
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
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: []\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: [::1]8\r\n\r\n" },
	{ 400, 0, "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n" },
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
	{ 413, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n" },
	{ 413, 0, "POST / HTTP/1.1\r\n" HOST "content-length: 001000000000000000000\r\n\r\n" },
	{ 413, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 999999999999999999\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10000000000000000000, 1\r\n\r\n" },
	{ 501, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n" },
	{ 501, 0,
	  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: , chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n" },
	{ 400, 0,
	  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" },
	{ 400, 0, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n" },
	{ 417, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n" },
	{ 417, 0, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\n" },
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
	{ 0, 0, "00000000000000000000000000000001\r\na\r\n0\r\n\r\n" },
	{ 0, 0, "1 \t;x\r\na\r\n0 ;\"\x80\"\r\n\r\n" },
	{ 413, 0, "ffffffffffffffff\r\n01234567890123456789012345678901234567890123456789012345678901234" },
	{ 413, 0, "ffffffffffffffff1\r\n" },
	{ 413, 0, "10000000000000001\r\n" },
	{ 400, 0, "1 x\r\n" },
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
	{ 400, 0, "1;a\n" },
	{ 400, 0, "0\r\nT: v\n\r\n" },
	{ 400, 0, "0\r\nT: v\r\r\n" },
	{ 400, 0, "0\r\n\rX" },
	{ 400, 0, "0\r\nT\r\n\r\n" },
	{ 400, 0, "0\r\n: v\r\n\r\n" },
	{ 400, 0, "0\r\nT : v\r\n\r\n" },
	{ 400, 0, "0\r\nT: v\r\n w\r\n\r\n" },
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

/* ---- limits ------------------------------------------------------------------------------------- */

static int status_with(const char *text, kms_http_head_limits limits)
{
	kms_http *http;
	if (kms_http_new(&http, limits, KMS_NO_TEXT) != KMS_OK) abort();
	kms_http_event event = kms_http_feed(http, kms_span_of(text, strlen(text)));
	int status = event == KMS_HTTP_REQUEST ? 0
		     : event == KMS_HTTP_MORE  ? -1
					       : kms_http_get_refusal(http)->status;
	kms_http_free(http);
	return status;
}

TEST(limits_of_parsers)
{
	kms_http *http = (kms_http *)&http;
	kms_http_head_limits limits = LIMITS;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_http_new(NULL, limits, KMS_NO_TEXT));
	for (unsigned bound = 0; bound < 4; bound++) {
		limits = LIMITS;
		if (bound == 0) limits.line = KMS_HTTP_SHORT_LINE - 1;
		if (bound == 1) limits.line = KMS_HTTP_MAX_LINE + 1;
		if (bound == 2) limits.fields = KMS_HTTP_MIN_FIELDS - 1;
		if (bound == 3) limits.fields = KMS_HTTP_MAX_FIELDS + 1;
		CHECK_STATUS(KMS_ERR_RANGE, kms_http_new(&http, limits, KMS_NO_TEXT));
		CHECK(http == NULL);
	}
	limits = (kms_http_head_limits){ KMS_HTTP_MAX_LINE, KMS_HTTP_MIN_FIELDS };
	CHECK_OK(kms_http_new(&http, limits, KMS_NO_TEXT));
	kms_http_free(http);
	kms_http_free(NULL);
}

TEST(limits_of_request_lines)
{
	static char text[KMS_HTTP_MAX_LINE + 4096];
	size_t fixed = strlen("GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i < 2; i++) {
		kms_http_head_limits limits = { i ? KMS_HTTP_MAX_LINE : KMS_HTTP_SHORT_LINE, MAX_FIELDS };
		fill(text, sizeof(text), "GET /", 'p', limits.line - fixed, " HTTP/1.1\r\n" HOST "\r\n");
		CHECK(status_with(text, limits) == 0);
		fill(text, sizeof(text), "GET /", 'p', limits.line - fixed + 1, " HTTP/1.1\r\n" HOST "\r\n");
		CHECK(status_with(text, limits) == 414);
		/* without an end */
		fill(text, sizeof(text), "GET /", 'p', limits.line - 5, "");
		CHECK(status_with(text, limits) == -1);
		fill(text, sizeof(text), "GET /", 'p', limits.line - 4, "");
		CHECK(status_with(text, limits) == 414);
	}
	CHECK(kms_http_lines_in_flight() == 0);
}

TEST(a_long_line_leaves_no_buffer_behind)
{
	static char text[KMS_HTTP_MAX_LINE + 4096];
	kms_http_head_limits limits = { KMS_HTTP_MAX_LINE, MAX_FIELDS };
	kms_http *http;
	CHECK_OK(kms_http_new(&http, limits, KMS_NO_TEXT));
	fill(text, sizeof(text), "GET /", 'p', KMS_HTTP_MAX_LINE / 2, " HTTP/1.1\r\n" HOST "\r\nGET");
	CHECK(kms_http_feed(http, kms_span_of(text, strlen(text))) == KMS_HTTP_REQUEST);
	CHECK(kms_http_lines_in_flight() > 0);
	CHECK(kms_http_next(http) == KMS_HTTP_MORE);
	CHECK(kms_http_lines_in_flight() == 0);
	CHECK(http->in.cap <= KMS_HTTP_SHORT_LINE && http->head.cap <= KMS_HTTP_SHORT_LINE);
	text[0] = 0;
	strcat(text, " / HTTP/1.1\r\n" HOST "\r\n");
	CHECK(kms_http_feed(http, kms_span_of(text, strlen(text))) == KMS_HTTP_REQUEST);
	CHECK(kms_http_get_request(http)->path.len == 1);
	kms_http_free(http);
}

TEST(limits_of_fields)
{
	static char text[65536];
	const char *before = "GET / HTTP/1.1\r\n" HOST "X: ";
	size_t fixed = strlen(before) + 4 - strlen("GET / HTTP/1.1\r\n");

	fill(text, sizeof(text), before, 'v', MAX_FIELDS - fixed, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 0);
	fill(text, sizeof(text), before, 'v', MAX_FIELDS - fixed + 1, "\r\n\r\n");
	CHECK(refusal_of(text, strlen(text)) == 431);
	/* without an end */
	fill(text, sizeof(text), before, 'v', MAX_FIELDS - fixed + 4, "");
	CHECK(refusal_of(text, strlen(text)) == 0);
	fill(text, sizeof(text), before, 'v', MAX_FIELDS - fixed + 5, "");
	CHECK(refusal_of(text, strlen(text)) == 431);

	kms_http_head_limits limits = { KMS_HTTP_SHORT_LINE, KMS_HTTP_MAX_FIELDS };
	fill(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "X:", 'v', KMS_HTTP_MAX_FIELD - 2, "\r\n\r\n");
	CHECK(status_with(text, limits) == 0);
	fill(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "X:", 'v', KMS_HTTP_MAX_FIELD - 1, "\r\n\r\n");
	CHECK(status_with(text, limits) == 431);

	for (unsigned fields = KMS_HTTP_FIELD_COUNT; fields <= KMS_HTTP_FIELD_COUNT + 1; fields++) {
		size_t at = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST);
		for (unsigned i = 1; i < fields; i++)
			at += (size_t)sprintf(text + at, "X%u: %u\r\n", i, i);
		strcpy(text + at, "\r\n");
		CHECK(status_with(text, limits) == (fields > KMS_HTTP_FIELD_COUNT ? 431 : 0));
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

/* The status of chunks of one byte, each with an extension of 250 bytes and its CR. */
static int status_of_extensions(unsigned chunks)
{
	static char text[65536];
	size_t at = (size_t)sprintf(text, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < chunks; i++) {
		at += (size_t)sprintf(text + at, "1;");
		memset(text + at, 'e', 250);
		at += 250 + (size_t)sprintf(text + at + 250, "\r\na\r\n");
	}
	strcpy(text + at, "0\r\n\r\n");
	return refusal_of(text, strlen(text));
}

TEST(limits_of_extensions)
{
	unsigned most = KMS_HTTP_MAX_EXTENSIONS / 251;
	CHECK(most < BODY_LIMIT && status_of_extensions(most) == 0);
	CHECK(status_of_extensions(most + 1) == 400);
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(strict_heads), T(names_are_tokens), T(strict_chunks), T(limits_of_parsers),
	  T(limits_of_request_lines), T(a_long_line_leaves_no_buffer_behind), T(limits_of_fields),
	  T(limits_of_chunk_lines_and_trailers), T(limits_of_extensions), T(limits_of_bodies))
