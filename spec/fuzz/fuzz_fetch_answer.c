/*
 * Responses to transfers without libcurl: what comes of one does not depend on how it is cut, and headers are
 * lines with a name.
 */
#include "lib/fuzz.h"
#include "net/fetch_answer.h"

#define MAX_BODY 256

enum { SUCCESS, OTHER_STATUS };
const unsigned fuzz_kinds = OTHER_STATUS + 1;

typedef struct outcome {
	kms_status status;
	bool complete;
	unsigned http_status;
	kms_buf body, headers;
} outcome;

/* Takes the bytes in pieces, the first one of `cut` bytes, the others of `piece`, and the connection's end.
 */
static outcome take(kms_span bytes, size_t cut, size_t piece)
{
	outcome got = { .body = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY),
			.headers = kms_buf_make(KMS_BUF_PLAIN, KMS_FETCH_MAX_HEADER) };
	fetch_answer answer;
	size_t at = 0, next = cut;
	fetch_answer_begin(&answer, &got.body, &got.headers);
	while (at < bytes.len && got.status == KMS_OK && !answer.complete) {
		size_t len = next < bytes.len - at ? next : bytes.len - at;
		kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_span_of(bytes.bytes + at, len));
		HOLDS(len <= fetch_answer_room(&answer));
		got.status = fetch_answer_take(&answer, (const char *)copy.data, len);
		kms_buf_free(&copy);
		at += len;
		next = piece;
	}
	if (got.status == KMS_OK && !answer.complete) (void)fetch_answer_end(&answer);
	got.complete = got.status == KMS_OK && answer.complete;
	got.http_status = answer.parser.status_code;
	return got;
}

static void check_headers(const outcome *got)
{
	kms_text headers = kms_buf_text(&got->headers);
	if (headers.len == 0) return;
	const char *at = headers.text, *end = at + headers.len;
	unsigned lines = 0;
	HOLDS(got->http_status >= 300);
	for (const char *next; at < end; at = next, lines++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline ? newline : end;
		const char *colon = memchr(at, ':', (size_t)(line_end - at));
		HOLDS(colon && colon > at && *at != ' ');
		for (const char *c = at; c < colon; c++)
			HOLDS(*c >= ' ' && !(*c >= 'A' && *c <= 'Z'));
		next = newline ? newline + 1 : end;
	}
	HOLDS(lines <= KMS_FETCH_MAX_HEADER_LINES);
}

static bool same(const kms_buf *a, const kms_buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check_equal(const outcome *whole, const outcome *other)
{
	/* Of two faults the cut may decide which is found. */
	HOLDS((whole->status == KMS_OK) == (other->status == KMS_OK) && whole->complete == other->complete);
	if (!whole->complete) return;
	HOLDS(whole->http_status == other->http_status);
	HOLDS(same(&whole->body, &other->body) && same(&whole->headers, &other->headers));
}

static void outcome_free(outcome *got)
{
	kms_buf_free(&got->body);
	kms_buf_free(&got->headers);
}

/* The first byte is where the input is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_start();
	if (size < 2 || size > FUZZ_MAX_INPUT) return 0;
	kms_span bytes = kms_span_of(data + 1, size - 1);
	outcome whole = take(bytes, bytes.len, bytes.len);
	outcome cut = take(bytes, 1 + data[0] % bytes.len, bytes.len), bytewise = take(bytes, 1, 1);
	check_equal(&whole, &cut);
	check_equal(&whole, &bytewise);
	if (whole.complete) {
		check_headers(&whole);
		HOLDS(whole.http_status >= 200 && whole.body.len <= MAX_BODY);
		fuzz_accept(whole.http_status < 300 ? SUCCESS : OTHER_STATUS);
	}
	outcome_free(&whole);
	outcome_free(&cut);
	outcome_free(&bytewise);
	return 0;
}

void fuzz_seeds(void)
{
	static const char *const seeds[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-Empty:\r\nx: y \r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\nX: "
		"1\r\n\r\n4;a=b\r\nbody\r\n0\r\nRetry-After: "
		"3\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nX: 1\r\n 2\r\n\r\nto the end",
		"HTTP/1.1 103 Early\r\nRetry-After: 1\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 503 Busy\r\n Folded: 1\r\n\r\n",
		"HTTP/1.0 500 No\nX:y\n\n",
		"HTTP/1.1 503 No\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		fuzz_seed_choice((uint8_t)(11 * i), kms_text_span(kms_text_from(seeds[i])));
}
