/* HTTP heads, and requests that follow each other: the events do not depend on how the input is cut. */
#include "http_kit.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 1;

/* The first byte is where the input is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static trace whole, cut, bytewise;
	fuzz_start();
	if (size < 2 || size > FUZZ_MAX_INPUT / 2) return 0;
	const char *input = (const char *)data + 1;
	size_t len = size - 1;
	read_cut(&whole, input, len, len);
	read_cut(&cut, input, len, 1 + data[0] % len);
	read_cut(&bytewise, input, len, 0);
	HOLDS(whole.len == cut.len && memcmp(whole.text, cut.text, whole.len) == 0);
	HOLDS(whole.len == bytewise.len && memcmp(whole.text, bytewise.text, whole.len) == 0);
	if (strchr(whole.text, '=')) fuzz_accept(0);
	HOLDS(kms_http_body_in_flight() == 0);
	return 0;
}

void fuzz_seeds(void)
{
	static const char *const seeds[] = {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /status?x=%41+b HTTP/1.1\r\nHost: a:80\r\nX: \t y \r\nx:z\r\n\r\n",
		"POST /kms/derive HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: "
		"100-continue\r\n\r\nabcGET / HTTP/1.1\r\n",
		"PUT /kms/data HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		"chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: 1\r\n\r\n",
		"GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\n folded\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		fuzz_seed_choice((uint8_t)(7 * i), kms_text_span(kms_text_from(seeds[i])));
}
