/*
 * The strict scan of a request's head (RFC 9112 sections 2 to 5). It comes before the
 * library, which accepts much that intermediaries read in another way.
 */
#include "net/http_internal.h"

#include <string.h>

static const kms_http_refusal bad_line_end = { 400, "bad_request", "lines must end with CR LF" };
static const kms_http_refusal bad_request_line = { 400, "bad_request", "malformed request line" };
static const kms_http_refusal bad_target = { 400, "bad_request", "malformed request target" };
static const kms_http_refusal bad_version = { 400, "bad_request", "only HTTP/1.1 and HTTP/1.0 are served" };
static const kms_http_refusal bad_field = { 400, "bad_request", "malformed header" };
static const kms_http_refusal folded = { 400, "bad_request", "folded headers are not accepted" };
static const kms_http_refusal long_line = { 400, "bad_request", "line too long" };
static const kms_http_refusal long_head = { 400, "bad_request", "request head too large" };
static const kms_http_refusal many_fields = { 400, "bad_request", "too many headers" };

/* RFC 9110 section 5.6.2, a bit for each character. */
bool kms_http_is_token(uint8_t c)
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
	while (n < len && kms_http_is_token(text[n]))
		n++;
	return n;
}

/* An origin server is asked by path ("/...", or "*" for the server as a whole). */
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

/* A line without its CR LF. */
static const kms_http_refusal *scan_line(kms_http_scan *scan, const uint8_t *line, size_t len)
{
	if (scan->lines == 0) return scan_request_line(scan, line, len);
	scan->complete = len == 0;
	if (scan->complete) return NULL;
	if (scan->lines > KMS_HTTP_MAX_FIELDS) return &many_fields;
	return scan_field(line, len);
}

const kms_http_refusal *kms_http_scan_head(kms_http_scan *scan, const uint8_t *bytes, size_t len,
					   size_t max_head)
{
	/* What is no request at all (a TLS hello) is refused without waiting for a line end. */
	if (len > 0 && !kms_http_is_token(bytes[0])) return &bad_request_line;

	while (!scan->complete) {
		const uint8_t *lf = len > scan->at ? memchr(bytes + scan->at, '\n', len - scan->at) : NULL;
		size_t end = lf ? (size_t)(lf - bytes) + 1 : len;

		/* The limit that is reached first decides, as it does byte by byte. */
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
