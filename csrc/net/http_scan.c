/*
 * A strict scan of the raw bytes of a head (RFC 9112 sections 2 to 5), before the library http_parser sees
 * them: that accepts much that intermediaries interpret in another way.
 */
#include <string.h>
#include <strings.h>

#include "net/http_internal.h"

static const kms_http_refusal bad_line_end = { 400, "bad_request", "lines must end with CR LF" };
static const kms_http_refusal bad_request_line = { 400, "bad_request", "malformed request line" };
static const kms_http_refusal bad_version = { 400, "bad_request", "malformed HTTP version" };
static const kms_http_refusal other_version = { 505, "not_implemented",
						"only HTTP/1.1 and HTTP/1.0 are served" };
static const kms_http_refusal bad_method = { 501, "not_implemented", "method not known" };
static const kms_http_refusal bad_field = { 400, "bad_request", "malformed header" };
static const kms_http_refusal large_body = { 413, "payload_too_large", "body is larger than allowed" };
static const kms_http_refusal folded = { 400, "bad_request", "folded headers are not accepted" };
static const kms_http_refusal long_line = { 414, "bad_request", "request line too long" };
static const kms_http_refusal long_field = { 431, "bad_request", "header too long" };
static const kms_http_refusal long_fields = { 431, "bad_request", "headers too large" };
static const kms_http_refusal many_fields = { 431, "bad_request", "too many headers" };

/* ---- lines --------------------------------------------------------------------------------------- */

bool kms_http_is_token(uint8_t c)
{
	static const uint32_t tokens[8] = { 0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff }; /* a bit for each */
	return tokens[c / 32] >> (c % 32) & 1;
}

static size_t token_len(const uint8_t *text, size_t len)
{
	size_t n = 0;
	while (n < len && kms_http_is_token(text[n]))
		n++;
	return n;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* A higher minor version is served as the highest that is known (RFC 9110 section 2.5). */
static const kms_http_refusal *scan_version(kms_http_scan *scan, const uint8_t *at, size_t len)
{
	if (len != 8 || memcmp(at, "HTTP/", 5) != 0 || at[6] != '.') return &bad_version;
	if (!is_digit(at[5]) || !is_digit(at[7])) return &bad_version;
	if (at[5] != '1') return &other_version;
	scan->minor = at[7] == '0' ? 0 : 1;
	return NULL;
}

/* Without controls: white space would be read in another way elsewhere. */
static bool target_is_plain(const uint8_t *target, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (target[i] <= ' ' || target[i] == 0x7f) return false;
	return len > 0;
}

static const kms_http_refusal *scan_request_line(kms_http_scan *scan, const uint8_t *line, size_t len)
{
	size_t method = token_len(line, len);
	if (method == 0 || method == len || line[method] != ' ') return &bad_request_line;
	const uint8_t *target = line + method + 1;
	size_t rest = len - method - 1;
	const uint8_t *space = memchr(target, ' ', rest);
	if (!space || !target_is_plain(target, (size_t)(space - target))) return &bad_request_line;
	const uint8_t *version = space + 1;
	return scan_version(scan, version, rest - (size_t)(version - target));
}

/* Whether the value of Content-Length is a number that does not fit into 63 bits. */
static bool is_large(const uint8_t *value, size_t len)
{
	while (len > 0 && (*value == ' ' || *value == '\t' || *value == '0')) {
		value++;
		len--;
	}
	size_t digits = 0;
	while (digits < len && is_digit(value[digits]))
		digits++;
	size_t end = digits;
	while (end < len && (value[end] == ' ' || value[end] == '\t'))
		end++;
	return end == len && digits > 18;
}

static bool is_length(const uint8_t *name, size_t len)
{
	static const char length[] = "Content-Length";
	return len == sizeof(length) - 1 && strncasecmp((const char *)name, length, len) == 0;
}

static const kms_http_refusal *scan_field(const uint8_t *line, size_t len)
{
	if (line[0] == ' ' || line[0] == '\t') return &folded;
	size_t name = token_len(line, len);
	if (name == 0 || name == len || line[name] != ':') return &bad_field;
	for (size_t i = name + 1; i < len; i++)
		if ((line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) return &bad_field;
	bool large = is_length(line, name) && is_large(line + name + 1, len - name - 1);
	return large ? &large_body : NULL;
}

/* Scans a line without its CR LF. */
static const kms_http_refusal *scan_line(kms_http_scan *scan, const uint8_t *line, size_t len)
{
	if (scan->lines == 0) return scan_request_line(scan, line, len);
	scan->complete = len == 0;
	if (scan->complete) return NULL;
	if (scan->lines > KMS_HTTP_FIELD_COUNT) return &many_fields;
	return scan_field(line, len);
}

/* ---- the head ------------------------------------------------------------------------------------ */

/* What can be refused before the request line is complete: other protocols (a TLS hello), endless methods. */
static const kms_http_refusal *scan_start(kms_span input)
{
	if (input.len == 0) return NULL;
	if (!kms_http_is_token(input.bytes[0])) return &bad_request_line;
	if (input.len <= KMS_HTTP_MAX_METHOD) return NULL;
	return token_len(input.bytes, KMS_HTTP_MAX_METHOD + 1) > KMS_HTTP_MAX_METHOD ? &bad_method : NULL;
}

/* Whether a limit ends the head before `end`. The one that is reached first decides, however input was cut.
 */
static const kms_http_refusal *check_limits(const kms_http_scan *scan, size_t end,
					    kms_http_head_limits limits)
{
	if (scan->lines == 0) return end > limits.line ? &long_line : NULL;
	size_t field_end = scan->line + KMS_HTTP_MAX_FIELD + 2,
	       fields_end = scan->request_line + limits.fields;
	if (end > field_end && field_end <= fields_end) return &long_field;
	return end > fields_end ? &long_fields : NULL;
}

const kms_http_refusal *kms_http_scan_head(kms_http_scan *scan, kms_span input, kms_http_head_limits limits)
{
	const uint8_t *bytes = input.bytes;
	const kms_http_refusal *refusal = scan_start(input);

	while (!refusal && !scan->complete) {
		size_t left = input.len > scan->at ? input.len - scan->at : 0;
		const uint8_t *lf = left ? memchr(bytes + scan->at, '\n', left) : NULL;
		size_t end = lf ? (size_t)(lf - bytes) + 1 : input.len;
		refusal = check_limits(scan, end, limits);
		if (refusal) break;
		scan->at = end;
		if (!lf) return NULL;

		size_t line_len = end - scan->line;
		if (line_len < 2 || bytes[end - 2] != '\r') return &bad_line_end;
		refusal = scan_line(scan, bytes + scan->line, line_len - 2);
		if (scan->lines == 0) scan->request_line = end;
		scan->line = end;
		scan->lines++;
	}
	return refusal;
}
