/* Interim responses are skipped; body and headers go into the transfer's buffers (fetch_answer.h). */
#include "net/fetch_answer.h"

#include <ctype.h>

#include "base/ensure.h"

#define FIRST_KEPT_STATUS 300 /* whose headers are kept */

static int refuse(fetch_answer *answer, kms_status status)
{
	answer->refused = status;
	return -1;
}

/* Callbacks return 0, or -1, which ends the parsing. */
static int end_unless_ok(fetch_answer *answer, kms_status status)
{
	return status == KMS_OK ? 0 : refuse(answer, status);
}

bool fetch_is_header_value(kms_text value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.text[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
	}
	return true;
}

/* ---- headers ----------------------------------------------------------------------------------------- */

/* Trailers come after the head. */
static bool keeps_headers(const fetch_answer *answer)
{
	return answer->parser.status_code >= FIRST_KEPT_STATUS && !answer->has_head;
}

/* In: first - byte of the name. The parser would take a line that continues none for a name with a blank. */
static kms_status begin_line(fetch_answer *answer, uint8_t first)
{
	ENSURE(first != ' ', KMS_ERR_HTTP);
	ENSURE(++answer->header_lines <= KMS_FETCH_MAX_HEADER_LINES, KMS_ERR_TOO_LARGE);
	answer->in_value = false;
	return answer->header_lines == 1 ? KMS_OK : kms_buf_append_text(answer->headers, "\n");
}

static kms_status append_name(fetch_answer *answer, kms_span part)
{
	kms_buf *headers = answer->headers;
	if (answer->header_lines == 0 || answer->in_value) GUARD(begin_line(answer, part.bytes[0]));
	GUARD(kms_buf_append(headers, part));
	for (size_t i = headers->len - part.len; i < headers->len; i++)
		headers->data[i] = (uint8_t)tolower(headers->data[i]);
	return KMS_OK;
}

static kms_status append_value(fetch_answer *answer, kms_span part)
{
	if (!answer->in_value) GUARD(kms_buf_append_text(answer->headers, ":"));
	answer->in_value = true;
	return kms_buf_append(answer->headers, part);
}

/*
 * Both are called again for what the next bytes bring of the same name or value; a line that continues a
 * value comes with its white space.
 */
static int on_header_name(http_parser *parser, const char *text, size_t len)
{
	fetch_answer *answer = parser->data;
	if (!keeps_headers(answer)) return 0;
	return end_unless_ok(answer, append_name(answer, kms_span_of(text, len)));
}

static int on_header_value(http_parser *parser, const char *text, size_t len)
{
	fetch_answer *answer = parser->data;
	/* The parser looks at some of these bytes only, and which ones depends on how they arrive. */
	if (!fetch_is_header_value((kms_text){ text, len })) return refuse(answer, KMS_ERR_HTTP);
	if (!keeps_headers(answer)) return 0;
	return end_unless_ok(answer, append_value(answer, kms_span_of(text, len)));
}

/* ---- the end of the head, and the body -------------------------------------------------------------- */

/* Returns 0; 1: there is no body, whatever the head says (RFC 9112 section 6.3); -1 refuses the response. */
static int on_headers_complete(http_parser *parser)
{
	fetch_answer *answer = parser->data;
	kms_buf *body = answer->body;

	if (parser->upgrade || parser->status_code == 101) return refuse(answer, KMS_ERR_HTTP);
	if (parser->status_code < 200) return 1;
	answer->has_head = true;
	if (parser->status_code == 204 || parser->status_code == 304) return 1;
	if (parser->content_length == UINT64_MAX) return 0;
	if (parser->content_length > body->max) return refuse(answer, KMS_ERR_TOO_LARGE);
	/* Growing step by step would copy the body again and again. */
	if (parser->content_length == 0) return 0;
	return end_unless_ok(answer, kms_buf_reserve(body, (size_t)parser->content_length));
}

static int on_body(http_parser *parser, const char *bytes, size_t len)
{
	fetch_answer *answer = parser->data;
	return end_unless_ok(answer, kms_buf_append(answer->body, kms_span_of(bytes, len)));
}

static int on_message_complete(http_parser *parser)
{
	fetch_answer *answer = parser->data;
	if (parser->status_code < 200) return 0; /* the response follows */
	answer->complete = true;
	answer->keep = http_should_keep_alive(parser);
	http_parser_pause(parser, 1);
	return 0;
}

/* ---- what arrives ----------------------------------------------------------------------------------- */

/* Parses bytes, or the end of the connection (0). Returns how many belong to the response. */
static size_t parse(fetch_answer *answer, const char *bytes, size_t len)
{
	static const http_parser_settings settings = { .on_header_field = on_header_name,
						       .on_header_value = on_header_value,
						       .on_headers_complete = on_headers_complete,
						       .on_body = on_body,
						       .on_message_complete = on_message_complete };
	return http_parser_execute(&answer->parser, &settings, bytes, len);
}

void fetch_answer_begin(fetch_answer *answer, kms_buf *body, kms_buf *headers)
{
	*answer = (fetch_answer){ .body = body, .headers = headers };
	http_parser_init(&answer->parser, HTTP_RESPONSE);
	answer->parser.data = answer;
}

size_t fetch_answer_room(const fetch_answer *answer)
{
	return answer->has_head ? SIZE_MAX : KMS_FETCH_MAX_HEADER - answer->head_bytes;
}

kms_status fetch_answer_take(fetch_answer *answer, const char *bytes, size_t len)
{
	if (!answer->has_head) answer->head_bytes += len;
	bool is_all = parse(answer, bytes, len) == len;
	if (answer->complete) {
		answer->keep = answer->keep && is_all;
		return KMS_OK;
	}
	if (answer->refused != KMS_OK) return answer->refused;
	enum http_errno error = HTTP_PARSER_ERRNO(&answer->parser);
	if (error == HPE_HEADER_OVERFLOW || fetch_answer_room(answer) == 0) return KMS_ERR_TOO_LARGE;
	return error == HPE_OK ? KMS_OK : KMS_ERR_HTTP;
}

bool fetch_answer_end(fetch_answer *answer)
{
	(void)parse(answer, "", 0);
	answer->keep = false;
	return answer->complete;
}
