/*
 * The target of a request: a path, or in absolute form a URL (RFC 9112 section 3.2); percent-escapes and
 * queries (RFC 3986).
 */
#include <string.h>
#include <strings.h>

#include "base/ensure.h"
#include "net/http_internal.h"

int kms_http_hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether a percent-escape stands at `at`. */
static bool is_escape(kms_text text, size_t at)
{
	return text.len - at >= 3 && kms_http_hex_digit((uint8_t)text.text[at + 1]) >= 0 &&
	       kms_http_hex_digit((uint8_t)text.text[at + 2]) >= 0;
}

static kms_text rest_of(kms_text text, size_t at)
{
	return kms_text_of(text.text + at, text.len - at);
}

/* ---- host and port ------------------------------------------------------------------------------- */

/* A character of a registered name, but for escapes: unreserved and sub-delims (RFC 3986 section 3.2.2). */
static bool is_name_char(char c)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return letter || is_digit(c) || (c && strchr("-._~!$&'()*+,;=", c));
}

static bool port_valid(kms_text port)
{
	for (size_t i = 0; i < port.len; i++)
		if (!is_digit(port.text[i])) return false;
	return true;
}

/* "[...]": an IPv6 address, whose exact form does not matter to this server. */
static bool literal_valid(kms_text literal)
{
	for (size_t i = 1; i + 1 < literal.len; i++)
		if (literal.text[i] != ':' && !is_name_char(literal.text[i])) return false;
	return literal.len > 2;
}

static bool name_valid(kms_text name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.text[i] == '%' && is_escape(name, i))
			i += 2;
		else if (!is_name_char(name.text[i]) || name.text[i] == ',')
			return false; /* a comma joins the values of two headers */
	}
	return true;
}

/* How many bytes of an authority are its host. */
static size_t host_len(kms_text text)
{
	const char *end;
	if (text.len > 0 && text.text[0] == '[') {
		end = memchr(text.text, ']', text.len);
		return end ? (size_t)(end - text.text) + 1 : text.len;
	}
	end = text.len ? memchr(text.text, ':', text.len) : NULL;
	return end ? (size_t)(end - text.text) : text.len;
}

bool kms_http_authority_valid(kms_text text)
{
	size_t len = host_len(text);
	kms_text host = kms_text_of(text.text, len);
	bool literal = len > 0 && host.text[0] == '[';
	if (literal ? host.text[len - 1] != ']' || !literal_valid(host) : !name_valid(host)) return false;
	if (len == text.len) return true;
	return text.text[len] == ':' && port_valid(rest_of(text, len + 1));
}

/* ---- target -------------------------------------------------------------------------------------- */

static bool path_valid(kms_text path)
{
	for (size_t i = 0; i < path.len; i++) {
		uint8_t c = (uint8_t)path.text[i];
		if (c <= ' ' || c >= 0x7f || c == '#') return false;
		if (c == '%' && !is_escape(path, i)) return false;
	}
	return true;
}

static bool read_path(kms_http_request *request, kms_text target)
{
	if (!path_valid(target)) return false;
	const char *question = memchr(target.text, '?', target.len);
	request->path = kms_text_of(target.text, question ? (size_t)(question - target.text) : target.len);
	if (question) request->query = rest_of(target, request->path.len + 1);
	return true;
}

/* How many bytes of a target are "http://" or "https://"; 0 for none. */
static size_t scheme_len(kms_text target)
{
	static const char *const schemes[] = { "http://", "https://" };
	for (size_t i = 0; i < KMS_ARRAY_LEN(schemes); i++) {
		size_t len = strlen(schemes[i]);
		if (target.len >= len && strncasecmp(target.text, schemes[i], len) == 0) return len;
	}
	return 0;
}

/* A URL without a path means the server where the method is OPTIONS (section 3.2.4), else its root. */
static bool read_url(kms_http_request *request, bool is_options, kms_text url)
{
	size_t len = 0;
	while (len < url.len && url.text[len] != '/' && url.text[len] != '?')
		len++;
	request->host = kms_text_of(url.text, len);
	if (host_len(request->host) == 0 || !kms_http_authority_valid(request->host)) return false;
	kms_text rest = rest_of(url, len);
	if (rest.len > 0 && rest.text[0] == '/') return read_path(request, rest);
	if (!read_path(request, rest)) return false;
	request->path = is_options && rest.len == 0 ? KMS_TEXT("*") : KMS_TEXT("/");
	return true;
}

bool kms_http_read_target(kms_http_request *request, kms_text method, kms_text target)
{
	bool is_options = method.len == 7 && memcmp(method.text, "OPTIONS", 7) == 0;
	if (target.len == 0) return false;
	if (target.text[0] == '/') return read_path(request, target);
	size_t scheme = scheme_len(target);
	if (scheme > 0) return read_url(request, is_options, rest_of(target, scheme));
	request->path = target;
	return is_options && target.len == 1 && target.text[0] == '*';
}

/* ---- escapes and queries ------------------------------------------------------------------------- */

kms_status kms_http_decode(uint8_t *bytes, size_t *len, kms_text text, bool plus_is_space)
{
	size_t n = 0;
	*len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = (uint8_t)text.text[i];
		if (c == '+' && plus_is_space) c = ' ';
		if (c == '%') {
			ENSURE(is_escape(text, i), KMS_ERR_HEX);
			c = (uint8_t)(kms_http_hex_digit((uint8_t)text.text[i + 1]) * 16 +
				      kms_http_hex_digit((uint8_t)text.text[i + 2]));
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
