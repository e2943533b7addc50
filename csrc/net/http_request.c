/* From a scanned head to a request: the library takes it apart, what it says is checked here. */
#include "net/http_internal.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static const kms_http_refusal bad_request = { 400, "bad_request", "malformed request" };
static const kms_http_refusal bad_method = { 405, "method_not_allowed", "method not allowed" };
static const kms_http_refusal bad_host = { 400, "bad_request", "exactly one valid Host header is required" };
static const kms_http_refusal bad_length = { 400, "bad_request", "malformed Content-Length" };
static const kms_http_refusal bad_coding = { 400, "bad_request", "only Transfer-Encoding: chunked is known" };
static const kms_http_refusal both_lengths = { 400, "bad_request", "Content-Length with Transfer-Encoding" };
static const kms_http_refusal bad_expect = { 400, "bad_request", "only Expect: 100-continue is known" };
static const kms_http_refusal no_memory = { 503, "service_unavailable", "out of memory" };

/* ---- what the head says ------------------------------------------------------------------------ */

static bool text_is(kms_text text, const char *want)
{
	return text.len == strlen(want) && strncasecmp(text.text, want, text.len) == 0;
}

unsigned kms_http_header(kms_text *value, const kms_http *http, const char *name)
{
	unsigned count = 0;
	*value = (kms_text){ NULL, 0 };
	for (size_t i = 0; i < http->field_count; i++) {
		if (!text_is(http->fields[i].name, name)) continue;
		if (count++ == 0) *value = http->fields[i].value;
	}
	return count;
}

bool kms_http_header_nth(kms_text *value, const kms_http *http, const char *name, unsigned nth)
{
	*value = (kms_text){ NULL, 0 };
	for (size_t i = 0; i < http->field_count; i++) {
		if (!text_is(http->fields[i].name, name) || nth-- > 0) continue;
		*value = http->fields[i].value;
		return true;
	}
	return false;
}

static const kms_http_refusal *check_host(const kms_http *http)
{
	kms_text host;
	unsigned count = kms_http_header(&host, http, "host");
	if (count > 1 || (count == 0 && http->scan.minor == 1)) return &bad_host;
	for (size_t i = 0; i < host.len; i++)
		if ((uint8_t)host.text[i] <= ' ' || (uint8_t)host.text[i] >= 0x7f ||
		    strchr("/?#@\\,\"<>", host.text[i]))
			return &bad_host;
	return NULL;
}

static const kms_http_refusal *read_length(kms_http_request *request, kms_text text)
{
	if (text.len == 0 || text.len > 18) return &bad_length;
	for (size_t i = 0; i < text.len; i++) {
		if (text.text[i] < '0' || text.text[i] > '9') return &bad_length;
		request->length = request->length * 10 + (unsigned)(text.text[i] - '0');
	}
	request->framing = request->length ? KMS_HTTP_SIZED : KMS_HTTP_NO_BODY;
	return NULL;
}

static const kms_http_refusal *check_framing(kms_http *http)
{
	kms_text length, coding;
	unsigned lengths = kms_http_header(&length, http, "content-length");
	unsigned codings = kms_http_header(&coding, http, "transfer-encoding");

	if (lengths && codings) return &both_lengths;
	if (lengths > 1) return &bad_length;
	if (lengths) return read_length(&http->request, length);
	if (!codings) return NULL;
	/* HTTP/1.0 has no chunks: what is behind such a head is anybody's guess. */
	if (codings > 1 || http->scan.minor == 0 || !text_is(coding, "chunked")) return &bad_coding;
	http->request.framing = KMS_HTTP_CHUNKED;
	return NULL;
}

static const kms_http_refusal *check_expect(kms_http *http)
{
	kms_text expect;
	unsigned count = kms_http_header(&expect, http, "expect");
	if (count == 0 || http->scan.minor == 0) return NULL;
	if (count > 1 || !text_is(expect, "100-continue")) return &bad_expect;
	http->request.expects_continue = http->request.framing != KMS_HTTP_NO_BODY;
	return NULL;
}

/* ---- the library ------------------------------------------------------------------------------- */

static int on_url(http_parser *parser, const char *at, size_t len)
{
	kms_http *http = parser->data;
	const char *question = memchr(at, '?', len);
	http->request.path = (kms_text){ at, question ? (size_t)(question - at) : len };
	if (question) http->request.query = (kms_text){ question + 1, len - http->request.path.len - 1 };
	return 0;
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
	kms_http *http = parser->data;
	if (http->field_count == http->field_cap) return -1;
	http->fields[http->field_count++] = (kms_http_field){ { at, len }, { at + len, 0 } };
	return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
	kms_http *http = parser->data;
	if (http->field_count == 0) return -1;
	while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	http->fields[http->field_count - 1].value = (kms_text){ at, len };
	return 0;
}

static int on_head(http_parser *parser)
{
	kms_http *http = parser->data;
	const char *method = http_method_str((enum http_method)parser->method);
	http->request.method = (kms_text){ method, strlen(method) };
	http->request.keep_alive = parser->http_minor == 1 && http_should_keep_alive(parser);
	parser->upgrade = 0; /* no other protocol is ever switched to */
	return 0;
}

static bool reserve_fields(kms_http *http, size_t count)
{
	if (count <= http->field_cap) return true;
	kms_http_field *fields = kms_heap_resize(http->fields, count * sizeof(*fields));
	if (!fields) return false;
	http->fields = fields;
	http->field_cap = count;
	return true;
}

const kms_http_refusal *kms_http_read_head(kms_http *http, const uint8_t *bytes)
{
	static const http_parser_settings settings = {
		.on_url = on_url,
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_head,
	};
	size_t fields = http->scan.lines - 2; /* without the request line and the empty one */
	http_parser parser;

	if (!reserve_fields(http, fields)) return &no_memory;
	if (kms_buf_append(&http->head, bytes, http->scan.line) != KMS_OK) return &no_memory;
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = http;
	size_t done = http_parser_execute(&parser, &settings, (const char *)http->head.data, http->head.len);
	if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD) return &bad_method;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || done != http->head.len) return &bad_request;
	/* Both readings of the head must agree. */
	if (http->field_count != fields || !http->request.method.text || !http->request.path.text)
		return &bad_request;

	const kms_http_refusal *refusal = check_host(http);
	if (!refusal) refusal = check_framing(http);
	if (!refusal) refusal = check_expect(http);
	return refusal;
}
