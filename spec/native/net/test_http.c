/* What the HTTP parser reads (RFC 9110, RFC 9112), at any cut of the input; draining, targets, mutations. */
#include "base/ensure.h"
#include "base/testing.h"
#include "http_kit.h"

#define NOBODY ((kms_http_body_owner){ 0 })

/* ---- reading ------------------------------------------------------------------------------------ */

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
	CHECK_OK(kms_http_new(&http, LIMITS, KMS_NO_TEXT));
	const char *head = "POST /k HTTP/1.1\r\nHost: a\r\nX: kept\r\nContent-Length: 9\r\n\r\n";
	CHECK(kms_http_feed(http, kms_span_of(head, strlen(head))) == KMS_HTTP_REQUEST);
	CHECK(kms_http_header(&before, http, "X") == 1);
	CHECK(kms_http_feed(http, KMS_SPAN(ahead)) == KMS_HTTP_MORE);
	CHECK(kms_http_ahead(http) == sizeof(ahead));
	CHECK(kms_http_header(&after, http, "x") == 1);
	CHECK(before.text == after.text && after.len == 4);
	CHECK_MEM(after.text, "kept", 4);
	CHECK(kms_http_read_body(http, 9, NOBODY) == KMS_HTTP_BODY);
	CHECK(kms_http_ahead(http) == sizeof(ahead) - 9);
	kms_http_free(http);
}

static void check_front(int *failed_, const kms_http *http, bool ends, const char *want)
{
	uint8_t front[5];
	size_t got;
	CHECK(kms_http_body_front(front, &got, http, sizeof(front)) == ends);
	CHECK(got == strlen(want));
	CHECK_MEM(front, want, got);
}

TEST(the_front_of_a_body_is_seen_before_it_is_read)
{
	kms_http *http;
	CHECK_OK(kms_http_new(&http, LIMITS, KMS_NO_TEXT));
	CALL(check_front, http, true, "");
	const char *head = "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n";
	CHECK(kms_http_feed(http, kms_span_of(head, strlen(head))) == KMS_HTTP_REQUEST);
	CALL(check_front, http, false, "");
	CHECK(kms_http_feed(http, KMS_BYTES("he")) == KMS_HTTP_MORE);
	CALL(check_front, http, false, "he");
	CHECK(kms_http_feed(http, KMS_BYTES("llo!GET /")) == KMS_HTTP_MORE);
	CALL(check_front, http, true, "hello");
	CHECK(kms_http_read_body(http, 6, NOBODY) == KMS_HTTP_BODY);
	CALL(check_front, http, true, "");
	CHECK_MEM(kms_http_body(http)->data, "hello!", 6);
	kms_http_free(http);
}

/* What has been seen of a chunked body at every cut, and whether no more will come. */
TEST(the_front_of_a_chunked_body_is_seen_before_it_is_read)
{
	static const struct {
		const char *body, *front;
		size_t seen_at; /* bytes of the body that are needed */
		bool is_body;
	} bodies[] = {
		{ "9\r\nhello you\r\n0\r\n\r\n", "hello", 8, true },
		{ "1;x=y\r\nh\r\n2\r\nel\r\n09 \t;z\r\nlo you tt\r\n0\r\n\r\n", "hello", 27, true },
		{ "3\r\nhel\r\n0\r\nA: b\r\n\r\nGET / HTTP", "hel", 19, true },
		{ "0\r\n\r\n", "", 5, true },
		{ "2\r\nhe\rX\n", "he", 7, false },
		{ "x\r\nhello\r\n", "", 1, false },
		{ "fffffffffffffffff\r\nhello", "", 17, false },
	};
	for (size_t b = 0; b < KMS_ARRAY_LEN(bodies); b++) {
		kms_http *http;
		CHECK_OK(kms_http_new(&http, LIMITS, KMS_NO_TEXT));
		const char *head = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
		CHECK(kms_http_feed(http, kms_span_of(head, strlen(head))) == KMS_HTTP_REQUEST);
		uint8_t front[5];
		size_t got, len = strlen(bodies[b].body);
		for (size_t at = 1; at <= len; at++) {
			CHECK(kms_http_feed(http, kms_span_of(bodies[b].body + at - 1, 1)) == KMS_HTTP_MORE);
			bool ends = kms_http_body_front(front, &got, http, sizeof(front));
			CHECK(ends == (at >= bodies[b].seen_at));
			CHECK(got <= strlen(bodies[b].front));
			CHECK_MEM(front, bodies[b].front, got);
		}
		CHECK(got == strlen(bodies[b].front));
		/* Looking has taken nothing. */
		kms_http_event event = kms_http_read_body(http, 64, NOBODY);
		CHECK(event == (bodies[b].is_body ? KMS_HTTP_BODY : KMS_HTTP_REFUSED));
		if (bodies[b].is_body && got) CHECK_MEM(kms_http_body(http)->data, bodies[b].front, got);
		kms_http_free(http);
	}
}

TEST(read_ahead_is_bounded)
{
	kms_http *http;
	static char ahead[1u << 16];
	kms_http_event event = KMS_HTTP_MORE;
	size_t fed = 0;
	memset(ahead, 'x', sizeof(ahead));
	CHECK_OK(kms_http_new(&http, LIMITS, KMS_NO_TEXT));
	CHECK(kms_http_feed(http, kms_span_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27)) == KMS_HTTP_REQUEST);
	for (; event == KMS_HTTP_MORE && fed < 4 * KMS_HTTP_MAX_AHEAD; fed += sizeof(ahead))
		event = kms_http_feed(http, KMS_SPAN(ahead));
	CHECK(event == KMS_HTTP_REFUSED && fed <= KMS_HTTP_MAX_AHEAD + sizeof(ahead));
	CHECK(kms_http_get_refusal(http)->status == 400);
	CHECK(kms_http_get_request(http) == NULL);
	CHECK(kms_http_feed(http, kms_span_of("x", 1)) == KMS_HTTP_MORE);
	kms_http_free(http);
}

TEST(bodies_share_a_budget)
{
	const char *head = "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n";
	kms_http *a, *b;
	CHECK_OK(kms_http_new(&a, LIMITS, KMS_NO_TEXT));
	CHECK_OK(kms_http_new(&b, LIMITS, KMS_NO_TEXT));
	CHECK(kms_http_body_in_flight() == 0);
	CHECK_OK(kms_http_set_body_limits((kms_http_body_limits){ .total = 15, .share = SIZE_MAX }));
	CHECK(kms_http_feed(a, kms_span_of(head, strlen(head))) == KMS_HTTP_REQUEST);
	CHECK(kms_http_feed(b, kms_span_of(head, strlen(head))) == KMS_HTTP_REQUEST);
	CHECK(kms_http_read_body(a, 10, NOBODY) == KMS_HTTP_MORE);
	CHECK(kms_http_read_body(b, 10, NOBODY) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(a, kms_span_of("0123456789", 10)) == KMS_HTTP_BODY);
	CHECK(kms_http_feed(b, kms_span_of("01234", 5)) == KMS_HTTP_MORE);
	CHECK(kms_http_body_in_flight() == 15);
	CHECK(kms_http_feed(b, kms_span_of("5", 1)) == KMS_HTTP_REFUSED);
	CHECK(kms_http_get_refusal(b)->status == 503);
	CHECK(kms_http_body_in_flight() == 10);
	kms_http_release_body(a);
	CHECK(kms_http_body(a)->len == 0);
	CHECK(kms_http_body_in_flight() == 0);
	CHECK(kms_http_next(a) == KMS_HTTP_MORE);
	CHECK(kms_http_next(b) == KMS_HTTP_REFUSED);
	kms_http_free(a);
	kms_http_free(b);
	CHECK_OK(kms_http_set_body_limits((kms_http_body_limits){ .total = SIZE_MAX, .share = SIZE_MAX }));
}

/* ---- draining ----------------------------------------------------------------------------------- */

TEST(a_short_rest_is_drained)
{
	kms_http *http = start("POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n012");
	/* refused before it was read: the parser still finds the next request */
	CHECK(kms_http_read_body(http, 9, NOBODY) == KMS_HTTP_REFUSED);
	CHECK(kms_http_get_refusal(http)->status == 413);
	CHECK(kms_http_drainable(http, 10) && !kms_http_drainable(http, 9));
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, kms_span_of("3456789GET /n HTTP/1.1\r\n" HOST "\r\n", 36)) ==
	      KMS_HTTP_BODY);
	CHECK(kms_http_body(http)->len == 0 && kms_http_body_in_flight() == 0);
	CHECK(kms_http_next(http) == KMS_HTTP_REQUEST);
	CHECK_MEM(kms_http_get_request(http)->path.text, "/n", 2);
	kms_http_free(http);
}

TEST(a_long_rest_is_refused)
{
	kms_http *http = start("POST / HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n");
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_REFUSED);
	kms_http_free(http);

	/* chunks: the framing counts too; at the limit and one past it */
	http = start("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	CHECK(kms_http_drain(http, 11) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, kms_span_of("1\r\na\r\n0\r\n\r\n", 11)) == KMS_HTTP_BODY);
	CHECK(kms_http_next(http) == KMS_HTTP_MORE);
	kms_http_free(http);
	http = start("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	CHECK(kms_http_drain(http, 10) == KMS_HTTP_MORE);
	CHECK(kms_http_feed(http, kms_span_of("1\r\na\r\n0\r\n\r\n", 11)) == KMS_HTTP_REFUSED);
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

/* ---- targets ------------------------------------------------------------------------------------ */

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

/* ---- hostile input ------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((random_state >> 33) % n);
}

/* Changes, inserts or removes a few bytes; most new ones are special to the parser. */
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
		/* A buffer that cannot double may still get what it needs: then nothing fails. */
		if (strcmp(t.text, stream_trace) == 0) continue;
		CHECK(t.len == 0 || strstr(t.text, "!503") != NULL);
		failures++;
	}
	CHECK(failures >= 3);
	CHECK(strcmp(t.text, stream_trace) == 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(requests_are_read_at_every_cut), T(texts_stay_while_input_arrives),
	  T(the_front_of_a_body_is_seen_before_it_is_read),
	  T(the_front_of_a_chunked_body_is_seen_before_it_is_read), T(read_ahead_is_bounded),
	  T(bodies_share_a_budget), T(a_short_rest_is_drained), T(a_long_rest_is_refused), T(expectation),
	  T(percent_decoding), T(query_parameters), T(mutations_read_the_same_at_any_cut),
	  T(failing_allocations))
