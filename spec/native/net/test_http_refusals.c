/* What the HTTP parser refuses (RFC 9110, RFC 9112), at any cut of the input, and its limits. */
#include "http_kit.h"

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

/* ---- limits ------------------------------------------------------------------------------------- */

TEST(limits_of_heads)
{
	static char text[65536];
	const char *before = "GET / HTTP/1.1\r\n" HOST "X: ";
	size_t fixed = strlen(before) + 4;

	fill(text, sizeof(text), before, 'v', MAX_HEAD - fixed, "\r\n\r\n");
	CHECK(strlen(text) == MAX_HEAD && refusal_of(text, MAX_HEAD) == 0);
	fill(text, sizeof(text), before, 'v', MAX_HEAD - fixed + 1, "\r\n\r\n");
	CHECK(refusal_of(text, MAX_HEAD + 1) == 400);
	/* without an end */
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
	kms_http_event event = kms_http_feed(http, kms_span_of(text, strlen(text)));
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(strict_heads), T(names_are_tokens), T(strict_chunks), T(limits_of_heads),
	  T(limits_of_lines_and_fields), T(limits_of_chunk_lines_and_trailers), T(limits_of_bodies))
