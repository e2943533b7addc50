/* Headers of a transfer: received and sent (fetch.h). */
#include "net/fetch_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/ensure.h"

/* ---- received ------------------------------------------------------------------------------ */

size_t fetch_refuse(kms_fetch *fetch, kms_status status)
{
	fetch->status = status;
	return 0;
}

static bool is_blank(const char *line, size_t len)
{
	return (len == 1 && line[0] == '\n') || (len == 2 && line[0] == '\r' && line[1] == '\n');
}

/* The end of a header block, which is the last one unless the status is interim. */
static size_t end_of_block(kms_fetch *fetch, size_t len)
{
	long code = 0;
	curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &code);
	fetch->headers_done = code >= 200;
	return len;
}

size_t fetch_on_header(char *line, size_t size, size_t count, void *context)
{
	kms_fetch *fetch = context;
	size_t len = size * count;

	fetch->header_bytes += len;
	if (fetch->header_bytes > KMS_FETCH_MAX_HEADER) return fetch_refuse(fetch, KMS_ERR_TOO_LARGE);
	if (fetch->headers_done) return len; /* trailers are ignored */
	if (is_blank(line, len)) return end_of_block(fetch, len);
	if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
		kms_buf_clear(&fetch->headers);
		fetch->header_lines = 0;
		return len;
	}
	const char *colon = memchr(line, ':', len);
	if (!colon || colon == line || isspace((unsigned char)line[0]))
		return fetch_refuse(fetch, KMS_ERR_HTTP);
	if (++fetch->header_lines > KMS_FETCH_MAX_HEADER_LINES) return fetch_refuse(fetch, KMS_ERR_TOO_LARGE);
	for (char *p = line; p < colon; p++)
		*p = (char)tolower((unsigned char)*p);
	kms_status status = kms_buf_append(&fetch->headers, kms_span_of(line, len));
	return status == KMS_OK ? len : fetch_refuse(fetch, status);
}

bool kms_fetch_next_header(kms_text *name, kms_text *value, size_t *at, const kms_fetch *fetch)
{
	if (*at >= fetch->headers.len) return false;
	const char *line = (const char *)fetch->headers.data + *at;
	size_t left = fetch->headers.len - *at;
	const char *newline = memchr(line, '\n', left);
	const char *end = newline ? newline : line + left;
	const char *colon = memchr(line, ':', left);

	*at += newline ? (size_t)(newline - line) + 1 : left;
	*name = (kms_text){ line, (size_t)(colon - line) };
	const char *first = colon + 1;
	while (first < end && (*first == ' ' || *first == '\t'))
		first++;
	while (end > first && isspace((unsigned char)end[-1]))
		end--;
	*value = (kms_text){ first, (size_t)(end - first) };
	return true;
}

/* ---- sent ----------------------------------------------------------------------------- */

static bool is_token(kms_text name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.text[i];
		if (c == 0 || c >= 0x80 || (!isalnum(c) && !strchr("!#$%&'*+-.^_`|~", c))) return false;
	}
	return name.len > 0;
}

static bool is_one_of(kms_text name, const char *const *names)
{
	for (; *names; names++)
		if (strlen(*names) == name.len && strncasecmp(*names, name.text, name.len) == 0) return true;
	return false;
}

kms_status fetch_append_line(kms_fetch *fetch, const char *line)
{
	if (fetch->direct) return fetch_direct_append_line(fetch, line);
	struct curl_slist *longer = curl_slist_append(fetch->sent, line);
	ENSURE(longer, KMS_ERR_MEMORY);
	fetch->sent = longer;
	return KMS_OK;
}

kms_status kms_fetch_add_header(kms_fetch *fetch, kms_text name, kms_text value)
{
	static const char *const framing[] = { "host",       "content-length", "transfer-encoding",
					       "connection", "expect",         "upgrade",
					       "te",         "trailer",        NULL };
	static const char *const content_type[] = { "content-type", NULL };
	static const char *const accept[] = { "accept", NULL };
	ENSURE(fetch && name.text && value.text, KMS_ERR_ARGUMENT);
	ENSURE(fetch->state == FETCH_NEW, KMS_ERR_STATE);
	ENSURE(is_token(name) && fetch_is_header_value(value) && !is_one_of(name, framing), KMS_ERR_ARGUMENT);
	fetch->sent_bytes += name.len + value.len + 4;
	ENSURE(fetch->sent_bytes <= KMS_FETCH_MAX_SENT_HEADER, KMS_ERR_TOO_LARGE);

	DEFER(kms_buf_free) kms_buf line = kms_buf_make(KMS_BUF_WIPED, KMS_FETCH_MAX_SENT_HEADER + 1);
	GUARD(kms_buf_append(&line, kms_text_span(name)));
	/* libcurl sends an empty value for "Name;"; "Name:" would remove the header. */
	GUARD(kms_buf_append_text(&line, value.len || fetch->direct ? ": " : ";"));
	GUARD(kms_buf_append(&line, kms_text_span(value)));
	GUARD(kms_buf_append(&line, kms_span_of("", 1)));
	if (is_one_of(name, content_type)) fetch->has_content_type = true;
	if (is_one_of(name, accept)) fetch->has_accept = true;
	return fetch_append_line(fetch, (const char *)line.data);
}
