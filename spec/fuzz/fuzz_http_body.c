/*
 * HTTP bodies, sized and chunked: what is read, and whether draining succeeds, do not depend on how the input
 * is cut; a body stays within its limit.
 */
#include "base/ensure.h"
#include "http_kit.h"
#include "lib/fuzz.h"

#define HEAD "POST / HTTP/1.1\r\n" HOST
#define MAX_DRAIN 256

static const char *const heads[] = {
	HEAD "Transfer-Encoding: chunked\r\n\r\n",
	HEAD "Content-Length: 20\r\n\r\n",
	HEAD "Content-Length: 0\r\n\r\n",
	HEAD "Content-Length: 65\r\n\r\n",
};

const unsigned fuzz_kinds = KMS_ARRAY_LEN(heads);

static void check_read(const char *input, size_t len, size_t head_len)
{
	static trace whole, bytewise;
	read_cut(&whole, input, len, len);
	read_cut(&bytewise, input, len, 0);
	HOLDS(whole.len == bytewise.len && memcmp(whole.text, bytewise.text, whole.len) == 0);
	read_cut(&bytewise, input, len, head_len);
	HOLDS(whole.len == bytewise.len && memcmp(whole.text, bytewise.text, whole.len) == 0);
}

/* The last event of a parser that drains its first request. */
static kms_http_event drain(const char *input, size_t len, size_t step)
{
	kms_http *http;
	kms_http_event event = KMS_HTTP_MORE;
	HOLDS_OK(kms_http_new(&http, LIMITS, KMS_NO_TEXT));
	for (size_t at = 0; at < len && (event == KMS_HTTP_MORE); at += step) {
		size_t part = step < len - at ? step : len - at;
		event = kms_http_feed(http, kms_span_of(input + at, part));
		if (event == KMS_HTTP_REQUEST) event = kms_http_drain(http, MAX_DRAIN);
	}
	if (kms_http_body(http)) HOLDS(kms_http_body(http)->len == 0);
	kms_http_free(http);
	return event;
}

/* The first byte chooses the head. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char input[FUZZ_MAX_INPUT];
	fuzz_start();
	if (size < 1 || size > FUZZ_MAX_INPUT / 2) return 0;
	const char *head = heads[data[0] % KMS_ARRAY_LEN(heads)];
	size_t head_len = strlen(head);
	memcpy(input, head, head_len);
	memcpy(input + head_len, data + 1, size - 1);
	size_t len = head_len + size - 1;
	check_read(input, len, head_len);
	kms_http_event event = drain(input, len, len);
	if (event == KMS_HTTP_BODY) fuzz_accept(data[0] % KMS_ARRAY_LEN(heads));
	HOLDS(event == drain(input, len, 1));
	HOLDS(kms_http_body_in_flight() == 0);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_seed_choice(0, KMS_BYTES("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"));
	fuzz_seed_choice(0, KMS_BYTES("00A;name=\"value\"\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"));
	fuzz_seed_choice(0, KMS_BYTES("41\r\n0123456789012345678901234567890123456789"));
	fuzz_seed_choice(0, KMS_BYTES("ffffffffffffffff\r\n"));
	fuzz_seed_choice(0, KMS_BYTES("1\nx\n0\n\n"));
	fuzz_seed_choice(1, KMS_BYTES("01234567890123456789GET / HTTP/1.1\r\n"));
	fuzz_seed_choice(2, KMS_BYTES("POST / HTTP/1.1\r\n" HOST "\r\n"));
	fuzz_seed_choice(3, KMS_BYTES("0123456789"));
	fuzz_seed_choice(3, KMS_BYTES("01234567890123456789012345678901234567890123456789012345678901234"));
}
