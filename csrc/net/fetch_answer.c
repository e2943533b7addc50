/*
 * The response of a transfer without libcurl (fetch.h), as its connection brings it: interim ones are
 * skipped, and the body goes into the transfer's buffer. The server is not trusted.
 */
#include "net/fetch_internal.h"

#include "base/ensure.h"

static int refuse(fetch_answer *answer, kms_status status)
{
	answer->refused = status;
	return -1;
}

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
	kms_status status =
	    parser->content_length ? kms_buf_reserve(body, (size_t)parser->content_length) : KMS_OK;
	return status == KMS_OK ? 0 : refuse(answer, status);
}

static int on_body(http_parser *parser, const char *bytes, size_t len)
{
	fetch_answer *answer = parser->data;
	kms_status status = kms_buf_append(answer->body, kms_span_of(bytes, len));
	return status == KMS_OK ? 0 : refuse(answer, status);
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

/* Parses bytes, or the end of the connection (0). Returns how many belong to the response. */
static size_t parse(fetch_answer *answer, const char *bytes, size_t len)
{
	static const http_parser_settings settings = { .on_headers_complete = on_headers_complete,
						       .on_body = on_body,
						       .on_message_complete = on_message_complete };
	return http_parser_execute(&answer->parser, &settings, bytes, len);
}

void fetch_answer_begin(fetch_answer *answer, kms_buf *body)
{
	*answer = (fetch_answer){ .body = body };
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
	(void)parse(answer, NULL, 0);
	answer->keep = false;
	return answer->complete;
}
