/* The response of a transfer without libcurl (fetch.h), as its connection brings it, of an untrusted server.
 */
#ifndef KMS_NET_FETCH_ANSWER_H
#define KMS_NET_FETCH_ANSWER_H

#include <http_parser.h>

#include "net/fetch.h"

/* Whether a header's value has no control characters but tabs. */
bool fetch_is_header_value(kms_text value);

/* A response that arrives. */
typedef struct fetch_answer {
	http_parser parser;
	kms_buf *body;     /* borrowed */
	kms_buf *headers;  /* borrowed */
	size_t head_bytes; /* of its head and of interim ones, so far */
	unsigned header_lines;
	bool in_value; /* the last that came of a header is of its value */
	bool has_head; /* its head is complete */
	bool complete; /* all of it is */
	bool keep;     /* complete: the server keeps the connection, and has sent nothing more */
	kms_status refused;
} fetch_answer;

/*
 * Begins to read a response. It must not move until that ends.
 * In: body, headers - empty, borrowed until then. Where the status is 300 or more, `headers` gets a line for
 *     each header, trailers excepted: "name:value", with the name in lower case.
 */
void fetch_answer_begin(fetch_answer *answer, kms_buf *body, kms_buf *headers);
/* The most bytes that it takes next. */
size_t fetch_answer_room(const fetch_answer *answer);
/*
 * Takes what has arrived, at most as much as there is room for.
 * Returns: KMS_OK; ERR_HTTP; ERR_TOO_LARGE for more than KMS_FETCH_MAX_HEADER bytes before the body, for more
 * than KMS_FETCH_MAX_HEADER_LINES headers where they are kept, or a body of more than its buffer may have;
 * ERR_MEMORY.
 */
kms_status fetch_answer_take(fetch_answer *answer, const char *bytes, size_t len);
/* Takes the end of the connection. Returns whether the response is complete. */
bool fetch_answer_end(fetch_answer *answer);

#endif
