/* The memory that bodies share: pools, reserves and each caller's share (csrc/net/http_budget.c). */
#include "base/testing.h"
#include "http_kit.h"

#define LARGE (KMS_HTTP_SMALL_BODY + 1)

static const char ONE[] = "1001", OTHER[] = "1002";
static uint8_t content[4 * LARGE];

static bool limit(size_t total, size_t share, size_t small_reserve, size_t member_reserve)
{
	kms_http_body_limits limits = { .total = total,
					.share = share,
					.small_reserve = small_reserve,
					.member_reserve = member_reserve };
	return kms_http_set_body_limits(limits) == KMS_OK;
}

/* Begins a body of `announced` bytes (0: chunked), which belongs to `caller`. NULL when it cannot. */
static kms_http *begin(const char *caller, bool is_member, size_t announced)
{
	char head[128];
	kms_http *http;
	if (kms_http_new(&http, LIMITS, KMS_NO_TEXT) != KMS_OK) return NULL;
	if (announced)
		snprintf(head, sizeof(head), "POST / HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
			 announced);
	else
		snprintf(head, sizeof(head), "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	kms_http_event event = kms_http_feed(http, kms_span_of(head, strlen(head)));
	kms_http_body_owner owner = { .is_member = is_member };
	if (caller) owner.caller = (kms_text){ caller, strlen(caller) };
	if (event == KMS_HTTP_REQUEST && kms_http_read_body(http, sizeof(content), owner) == KMS_HTTP_MORE)
		return http;
	kms_http_free(http);
	return NULL;
}

/* Sends `len` bytes of the body. Returns the status of the refusal, 0 without one. */
static int take(kms_http *http, size_t len)
{
	while (len > 0) {
		size_t part = len < 4096 ? len : 4096;
		if (kms_http_feed(http, kms_span_of(content, part)) == KMS_HTTP_REFUSED)
			return kms_http_get_refusal(http)->status;
		len -= part;
	}
	return 0;
}

/* Begins a body and sends all but its last byte. Returns the status of the refusal, 0 without one. */
static int hold(kms_http **http, const char *caller, bool is_member, size_t announced)
{
	*http = begin(caller, is_member, announced);
	return !*http ? -1 : take(*http, announced - 1);
}

TEST(a_caller_takes_its_share_and_no_more)
{
	kms_http *a, *b, *c, *d;
	CHECK(limit(100, 20, 0, 0));
	CHECK(hold(&a, ONE, false, 11) == 0);
	CHECK(hold(&b, ONE, false, 11) == 0);
	CHECK(hold(&c, ONE, false, 2) == 429);
	CHECK(hold(&d, OTHER, false, 21) == 0);
	CHECK(kms_http_body_in_flight() == 40);
	kms_http_free(c);
	kms_http_release_body(a);
	CHECK(hold(&c, ONE, false, 11) == 0);
	kms_http_free(a);
	kms_http_free(b);
	kms_http_free(c);
	kms_http_free(d);
	CHECK(kms_http_body_in_flight() == 0);
}

TEST(bodies_of_nobody_and_of_members_have_no_share)
{
	kms_http *a, *b;
	CHECK(limit(100, 20, 0, 0));
	CHECK(hold(&a, NULL, false, 31) == 0);
	CHECK(hold(&b, ONE, true, 31) == 0);
	kms_http_free(a);
	kms_http_free(b);
}

TEST(large_bodies_leave_the_reserves)
{
	kms_http *large, *small, *member, *more;
	CHECK(limit(3 * (size_t)LARGE, SIZE_MAX, 1000, 500));
	CHECK(hold(&large, ONE, false, 3 * (size_t)LARGE - 1500 + 1) == 0);
	CHECK(hold(&more, OTHER, false, LARGE) == 503);
	kms_http_free(more);
	CHECK(hold(&small, ONE, false, 1001) == 0);
	CHECK(hold(&member, OTHER, true, 501) == 0);
	CHECK(hold(&more, OTHER, true, 2) == 503);
	kms_http_free(more);
	CHECK(hold(&more, OTHER, false, 2) == 503);
	kms_http_free(large);
	kms_http_free(small);
	kms_http_free(member);
	kms_http_free(more);
	CHECK(kms_http_body_in_flight() == 0);
}

TEST(members_leave_the_reserve_of_small_bodies)
{
	kms_http *member, *small;
	CHECK(limit(1000, SIZE_MAX, 100, 200));
	CHECK(hold(&member, ONE, true, 902) == 503);
	kms_http_free(member);
	CHECK(hold(&member, ONE, true, 901) == 0);
	CHECK(hold(&small, OTHER, false, 101) == 0);
	kms_http_free(member);
	kms_http_free(small);
}

TEST(a_chunked_body_that_outgrows_the_small_ones_leaves_their_reserve)
{
	kms_http *body, *small;
	CHECK(limit((size_t)LARGE + 5000, SIZE_MAX, 5000, 0));
	body = begin(ONE, false, 0);
	CHECK(body);
	char size[32];
	snprintf(size, sizeof(size), "%x\r\n", 2 * LARGE);
	CHECK(kms_http_feed(body, kms_span_of(size, strlen(size))) == KMS_HTTP_MORE);
	CHECK(take(body, LARGE) == 0);
	CHECK(take(body, 1) == 503);
	kms_http_free(body);
	body = begin(ONE, false, 0);
	CHECK(body);
	CHECK(kms_http_feed(body, kms_span_of(size, strlen(size))) == KMS_HTTP_MORE);
	CHECK(take(body, LARGE) == 0);
	CHECK(hold(&small, OTHER, false, 5001) == 0);
	kms_http_free(body);
	kms_http_free(small);
	CHECK(kms_http_body_in_flight() == 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_caller_takes_its_share_and_no_more),
	  T(bodies_of_nobody_and_of_members_have_no_share), T(large_bodies_leave_the_reserves),
	  T(members_leave_the_reserve_of_small_bodies),
	  T(a_chunked_body_that_outgrows_the_small_ones_leaves_their_reserve))
