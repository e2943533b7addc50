/*
 * The head of a request. A strict scan of the raw bytes comes first (RFC 9112 sections 2 to 5),
 * because the library http_parser accepts much that intermediaries interpret in another way. Then
 * the library parses the head, and its fields are checked here.
 */
#include "net/http_internal.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

#include "base/ensure.h"
#include "base/mem.h"

static const kms_http_refusal bad_line_end = { 400, "bad_request", "lines must end with CR LF" };
static const kms_http_refusal bad_request_line = { 400, "bad_request", "malformed request line" };
static const kms_http_refusal bad_target = { 400, "bad_request", "malformed request target" };
static const kms_http_refusal bad_version = { 400, "bad_request", "only HTTP/1.1 and HTTP/1.0 are served" };
static const kms_http_refusal bad_field = { 400, "bad_request", "malformed header" };
static const kms_http_refusal folded = { 400, "bad_request", "folded headers are not accepted" };
static const kms_http_refusal long_line = { 400, "bad_request", "line too long" };
static const kms_http_refusal long_head = { 400, "bad_request", "request head too large" };
static const kms_http_refusal many_fields = { 400, "bad_request", "too many headers" };
static const kms_http_refusal bad_request = { 400, "bad_request", "malformed request" };
static const kms_http_refusal bad_method = { 405, "method_not_allowed", "method not allowed" };
static const kms_http_refusal bad_host = { 400, "bad_request", "exactly one valid Host header is required" };
static const kms_http_refusal bad_length = { 400, "bad_request", "malformed Content-Length" };
static const kms_http_refusal bad_coding = { 400, "bad_request", "only Transfer-Encoding: chunked is known" };
static const kms_http_refusal both_lengths = { 400, "bad_request", "Content-Length with Transfer-Encoding" };
static const kms_http_refusal bad_expect = { 400, "bad_request", "only Expect: 100-continue is known" };
static const kms_http_refusal no_memory = { 503, "service_unavailable", "out of memory" };

/* ---- scan -------------------------------------------------------------------------------------- */

/* A character of names and methods (RFC 9110 section 5.6.2); a bit for each. */
static bool is_token(uint8_t c)
{
	static const uint32_t tokens[8] = { 0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff };
	return tokens[c / 32] >> (c % 32) & 1;
}

int kms_http_hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

static size_t token_len(const uint8_t *text, size_t len)
{
	size_t n = 0;
	while (n < len && is_token(text[n]))
		n++;
	return n;
}

/* An origin server accepts a path ("/...") or "*", the server as a whole. */
static bool target_valid(const uint8_t *target, size_t len)
{
	if (len == 0) return false;
	if (target[0] != '/') return len == 1 && target[0] == '*';
	for (size_t i = 0; i < len; i++) {
		if (target[i] <= ' ' || target[i] >= 0x7f || target[i] == '#') return false;
		if (target[i] != '%') continue;
		if (len - i < 3) return false;
		if (kms_http_hex_digit(target[i + 1]) < 0 || kms_http_hex_digit(target[i + 2]) < 0)
			return false;
	}
	return true;
}

static const kms_http_refusal *scan_request_line(kms_http_scan *scan, const uint8_t *line, size_t len)
{
	static const char version[] = "HTTP/1.";
	size_t method = token_len(line, len);
	if (method == 0 || method == len || line[method] != ' ') return &bad_request_line;

	const uint8_t *target = line + method + 1;
	size_t rest = len - method - 1;
	const uint8_t *space = memchr(target, ' ', rest);
	if (!space) return &bad_request_line;
	if (!target_valid(target, (size_t)(space - target))) return &bad_target;

	const uint8_t *at = space + 1;
	size_t left = rest - (size_t)(at - target);
	if (left != sizeof(version) || memcmp(at, version, sizeof(version) - 1) != 0) return &bad_version;
	uint8_t minor = at[sizeof(version) - 1];
	if (minor != '0' && minor != '1') return &bad_version;
	scan->minor = (unsigned)(minor - '0');
	return NULL;
}

static const kms_http_refusal *scan_field(const uint8_t *line, size_t len)
{
	if (line[0] == ' ' || line[0] == '\t') return &folded;
	size_t name = token_len(line, len);
	if (name == 0 || name == len || line[name] != ':') return &bad_field;
	for (size_t i = name + 1; i < len; i++)
		if ((line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) return &bad_field;
	return NULL;
}

/* Scans a line without its CR LF. */
static const kms_http_refusal *scan_line(kms_http_scan *scan, const uint8_t *line, size_t len)
{
	if (scan->lines == 0) return scan_request_line(scan, line, len);
	scan->complete = len == 0;
	if (scan->complete) return NULL;
	if (scan->lines > KMS_HTTP_MAX_FIELDS) return &many_fields;
	return scan_field(line, len);
}

const kms_http_refusal *kms_http_scan_head(kms_http_scan *scan, kms_span input, size_t max_head)
{
	const uint8_t *bytes = input.bytes;
	/* Refuse other protocols (a TLS hello) at once, without waiting for the end of a line. */
	if (input.len > 0 && !is_token(bytes[0])) return &bad_request_line;

	while (!scan->complete) {
		size_t left = input.len > scan->at ? input.len - scan->at : 0;
		const uint8_t *lf = left ? memchr(bytes + scan->at, '\n', left) : NULL;
		size_t end = lf ? (size_t)(lf - bytes) + 1 : input.len;

		/* The limit reached first decides, so that the result does not depend on how input was cut.
		 */
		size_t line_end = scan->line + KMS_HTTP_MAX_LINE + 2;
		if (end > line_end && line_end <= max_head) return &long_line;
		if (end > max_head) return &long_head;
		scan->at = end;
		if (!lf) return NULL;

		size_t line_len = end - scan->line;
		if (line_len < 2 || bytes[end - 2] != '\r') return &bad_line_end;
		const kms_http_refusal *refusal = scan_line(scan, bytes + scan->line, line_len - 2);
		if (refusal) return refusal;
		scan->line = end;
		scan->lines++;
	}
	return NULL;
}

/* ---- checks of fields -------------------------------------------------------------------------- */

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
	/* HTTP/1.0 has no chunks, so the length of such a body is undefined. */
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

/* ---- parsing ------------------------------------------------------------------------------------ */

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
	parser->upgrade = 0; /* never switch to another protocol */
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
	if (kms_buf_append(&http->head, kms_span_of(bytes, http->scan.line)) != KMS_OK) return &no_memory;
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = http;
	size_t done = http_parser_execute(&parser, &settings, (const char *)http->head.data, http->head.len);
	if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD) return &bad_method;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || done != http->head.len) return &bad_request;
	/* The scan and the library must agree. */
	if (http->field_count != fields || !http->request.method.text || !http->request.path.text)
		return &bad_request;

	const kms_http_refusal *refusal = check_host(http);
	if (!refusal) refusal = check_framing(http);
	if (!refusal) refusal = check_expect(http);
	return refusal;
}

/* ---- escapes and queries (RFC 3986) ------------------------------------------------------------ */

kms_status kms_http_decode(uint8_t *bytes, size_t *len, kms_text text, bool plus_is_space)
{
	size_t n = 0;
	*len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = (uint8_t)text.text[i];
		if (c == '+' && plus_is_space) c = ' ';
		if (c == '%') {
			ENSURE(text.len - i >= 3, KMS_ERR_HEX);
			int high = kms_http_hex_digit((uint8_t)text.text[i + 1]);
			int low = kms_http_hex_digit((uint8_t)text.text[i + 2]);
			ENSURE(high >= 0 && low >= 0, KMS_ERR_HEX);
			c = (uint8_t)(high * 16 + low);
			i += 2;
		}
		bytes[n++] = c;
	}
	*len = n;
	return KMS_OK;
}

bool kms_http_query_next(kms_text *value, kms_text *query, kms_text name)
{
	*value = (kms_text){ NULL, 0 };
	while (query->text) {
		const char *start = query->text;
		const char *amp = memchr(start, '&', query->len);
		size_t len = amp ? (size_t)(amp - start) : query->len;
		*query = amp ? (kms_text){ amp + 1, query->len - len - 1 } : (kms_text){ NULL, 0 };

		const char *equals = memchr(start, '=', len);
		size_t name_len = equals ? (size_t)(equals - start) : len;
		if (name_len != name.len || memcmp(start, name.text, name_len) != 0) continue;
		*value = equals ? (kms_text){ equals + 1, len - name_len - 1 } : (kms_text){ start + len, 0 };
		return true;
	}
	return false;
}
