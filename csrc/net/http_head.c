/*
 * The head of a request, behind the scan of its bytes (http_scan.c): the library http_parser splits it, its
 * target and the fields that decide about framing are checked here.
 */
#include "net/http_internal.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

#include "base/ensure.h"
#include "base/mem.h"

static const kms_http_refusal bad_target = { 400, "bad_request", "malformed request target" };
static const kms_http_refusal bad_request = { 400, "bad_request", "malformed request" };
static const kms_http_refusal bad_method = { 501, "not_implemented", "method not known" };
static const kms_http_refusal bad_host = { 400, "bad_request", "exactly one valid Host header is required" };
static const kms_http_refusal bad_length = { 400, "bad_request", "malformed Content-Length" };
static const kms_http_refusal bad_coding = { 400, "bad_request", "Transfer-Encoding must be chunked" };
static const kms_http_refusal other_coding = { 501, "not_implemented",
					       "only Transfer-Encoding: chunked is known" };
static const kms_http_refusal both_lengths = { 400, "bad_request", "Content-Length with Transfer-Encoding" };
static const kms_http_refusal bad_expect = { 417, "bad_request", "only Expect: 100-continue is known" };
static const kms_http_refusal no_memory = { 503, "service_unavailable", "out of memory" };

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

/* The next element of a list (RFC 9110 section 5.6.1); false at its end. Empty ones are ignored. */
static bool next_element(kms_text *element, kms_text *list)
{
	while (list->len > 0) {
		const char *comma = memchr(list->text, ',', list->len);
		size_t len = comma ? (size_t)(comma - list->text) : list->len;
		const char *start = list->text;
		*list = kms_text_of(start + len + (comma != NULL), list->len - len - (comma != NULL));
		while (len > 0 && (*start == ' ' || *start == '\t')) {
			start++;
			len--;
		}
		while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t'))
			len--;
		*element = kms_text_of(start, len);
		if (len > 0) return true;
	}
	return false;
}

/* Counts the elements of all fields of a name that are `want`, and the others. */
static void count_elements(unsigned *equal, unsigned *other, const kms_http *http, const char *name,
			   const char *want)
{
	kms_text list, element;
	*equal = *other = 0;
	for (unsigned nth = 0; kms_http_header_nth(&list, http, name, nth); nth++)
		while (next_element(&element, &list))
			text_is(element, want) ? ++*equal : ++*other;
}

/* A target that names a host overrides the header, which must be valid all the same (RFC 9112 section 3.2.2).
 */
static const kms_http_refusal *check_host(kms_http *http)
{
	kms_text host;
	unsigned count = kms_http_header(&host, http, "host");
	if (count > 1 || (count == 0 && http->scan.minor == 1)) return &bad_host;
	if (count == 1 && !kms_http_authority_valid(host)) return &bad_host;
	if (!http->request.host.text) http->request.host = host;
	return NULL;
}

/* The scan has refused what does not fit. */
static const kms_http_refusal *read_length(kms_http_request *request, kms_text text)
{
	if (text.len == 0) return &bad_length;
	for (size_t i = 0; i < text.len; i++) {
		if (text.text[i] < '0' || text.text[i] > '9') return &bad_length;
		request->length = request->length * 10 + (unsigned)(text.text[i] - '0');
	}
	request->framing = request->length ? KMS_HTTP_SIZED : KMS_HTTP_NO_BODY;
	return NULL;
}

/*
 * HTTP/1.0 has no chunks, so the length of such a body is undefined; so it is where chunked is not the last
 * coding (RFC 9112 sections 6.1 and 6.3). What is not plainly one coding, as written by anybody, is not
 * interpreted.
 */
static const kms_http_refusal *check_coding(const kms_http *http, kms_text coding, unsigned codings)
{
	unsigned chunked, other;
	kms_text last, list;
	count_elements(&chunked, &other, http, "transfer-encoding", "chunked");
	if (http->scan.minor == 0 || chunked != 1) return &bad_coding;
	if (other == 0) return codings == 1 && text_is(coding, "chunked") ? NULL : &bad_coding;
	kms_http_header_nth(&list, http, "transfer-encoding", codings - 1);
	last = KMS_NO_TEXT;
	while (next_element(&last, &list))
		;
	return text_is(last, "chunked") ? &other_coding : &bad_coding;
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
	const kms_http_refusal *refusal = check_coding(http, coding, codings);
	if (!refusal) http->request.framing = KMS_HTTP_CHUNKED;
	return refusal;
}

static const kms_http_refusal *check_expect(kms_http *http)
{
	unsigned known, unknown;
	if (http->scan.minor == 0) return NULL; /* RFC 9110 section 10.1.1 */
	count_elements(&known, &unknown, http, "expect", "100-continue");
	if (unknown) return &bad_expect;
	http->request.expects_continue = known > 0 && http->request.framing != KMS_HTTP_NO_BODY;
	return NULL;
}

/* Connections of HTTP/1.0 are not kept, even where the client asks for it. */
static void read_connection(kms_http *http)
{
	unsigned close, other;
	count_elements(&close, &other, http, "connection", "close");
	http->request.keep_alive = http->scan.minor == 1 && close == 0;
}

/* ---- parsing ------------------------------------------------------------------------------------ */

static int on_url(http_parser *parser, const char *at, size_t len)
{
	kms_http *http = parser->data;
	http->request.path = (kms_text){ at, len }; /* the whole target, until it is read */
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
	parser->upgrade = 0; /* never switch to another protocol */
	return 0;
}

/* Looked for once here, so that the server does not ask for each of them in every request. */
static void read_rare_headers(kms_http *http)
{
	static const char *const names[] = { "if-match", "if-none-match", "content-encoding" };
	kms_text value;
	for (size_t i = 0; i < KMS_ARRAY_LEN(names); i++)
		if (kms_http_header(&value, http, names[i])) http->request.rare_headers = true;
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

static void blank_tab(char *c)
{
	if (*c == '\t') *c = ' ';
}

/* White space around values may be tabs, which the library takes for part of a Content-Length. */
static void blank_tabs(kms_buf *head)
{
	char *at = (char *)head->data, *end = at + head->len, *lf;
	for (; (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
		char *colon = memchr(at, ':', (size_t)(lf - at));
		if (!colon) continue; /* the empty line, or a request line, which has no tabs */
		for (char *c = colon + 1; *c == ' ' || *c == '\t'; c++)
			blank_tab(c);
		for (char *c = lf - 2; *c == ' ' || *c == '\t'; c--)
			blank_tab(c);
	}
}

void kms_http_prepare(void)
{
	http_parser_set_max_header_size(KMS_HTTP_MAX_LINE + KMS_HTTP_MAX_FIELDS + 1);
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
	blank_tabs(&http->head);
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = http;
	size_t done = http_parser_execute(&parser, &settings, (const char *)http->head.data, http->head.len);
	if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD) return &bad_method;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || done != http->head.len) return &bad_request;
	/* The scan and the library must agree. */
	if (http->field_count != fields || !http->request.method.text || !http->request.path.text)
		return &bad_request;

	/* Only CONNECT has a target in authority form; nothing here implements it. */
	if (parser.method == HTTP_CONNECT) return &bad_method;
	if (!kms_http_read_target(&http->request, http->request.method, http->request.path))
		return &bad_target;
	const kms_http_refusal *refusal = check_host(http);
	if (!refusal) refusal = check_framing(http);
	if (!refusal) refusal = check_expect(http);
	if (!refusal) read_connection(http);
	if (!refusal) read_rare_headers(http);
	return refusal;
}
