/*
 * One HTTP/1.1 connection's input (RFC 9112): requests are taken from a read buffer one
 * after the other, strictly. Bytes go in with kms_http_feed in any pieces; the events come out
 * the same wherever the pieces were cut.
 *
 * Debian's http_parser reads each head, after a scan of its own has refused what that library
 * lets pass (bare LF, folding, `Host :`, HTTP/1.9, 8-bit targets). Bodies are framed here:
 * the library is built without its checks of the line ends of chunks.
 *
 * A parser belongs to one thread. What it lends of a request (texts, fields, the body) stays
 * where it is until kms_http_next, also while more input is fed, so a job on another thread
 * may read it.
 */
#ifndef KMS_NET_HTTP_H
#define KMS_NET_HTTP_H

#include "kms/buf.h"
#include "kms/pop.h"

#define KMS_HTTP_MIN_HEAD 256 /* bounds of the limit on a head, bytes */
#define KMS_HTTP_MAX_HEAD 65536
#define KMS_HTTP_MAX_LINE 8192        /* request line, or one field */
#define KMS_HTTP_MAX_FIELDS 100       /* header fields of a request */
#define KMS_HTTP_MAX_CHUNK_LINE 256   /* chunk size with its extensions */
#define KMS_HTTP_MAX_TRAILERS 4096    /* trailers in all; they are ignored */
#define KMS_HTTP_MAX_AHEAD (1u << 18) /* unread input beyond a head */

typedef struct kms_http kms_http;

typedef enum kms_http_event {
	KMS_HTTP_MORE = 0, /* nothing new until more input */
	KMS_HTTP_REQUEST,  /* a head is complete: kms_http_get_request */
	KMS_HTTP_BODY,     /* the body is complete (or was drained) */
	KMS_HTTP_REFUSED,  /* kms_http_get_refusal: answer it and close */
} kms_http_event;

/* Why input is refused; all static. `code` is one of docs/protocol.md section 2. */
typedef struct kms_http_refusal {
	int status;
	const char *code;
	const char *message;
} kms_http_refusal;

typedef enum kms_http_framing {
	KMS_HTTP_NO_BODY = 0,
	KMS_HTTP_SIZED,
	KMS_HTTP_CHUNKED,
} kms_http_framing;

typedef struct kms_http_request {
	kms_text method;
	kms_text path;   /* raw; its percent-escapes are valid */
	kms_text query;  /* after the '?'; text NULL without one */
	bool keep_alive; /* never for HTTP/1.0 */
	bool expects_continue;
	kms_http_framing framing;
	uint64_t length; /* SIZED */
} kms_http_request;

/* In: max_head - bytes of request line and fields with line ends (ERR_RANGE, ERR_MEMORY). */
kms_status kms_http_new(kms_http **http, size_t max_head);
void kms_http_free(kms_http *http);

/* Takes input; it is kept while a request waits for kms_http_read_body or kms_http_next. */
kms_http_event kms_http_feed(kms_http *http, const void *bytes, size_t len);
/* Collects the body, of at most `limit` bytes; 413 and 503 (memory budget) are refusals. */
kms_http_event kms_http_read_body(kms_http *http, size_t limit);
/*
 * Throws the unread rest of the body away: refused when that is, or becomes, more than
 * `max` bytes on the wire.
 */
kms_http_event kms_http_drain(kms_http *http, size_t max);
/* Whether kms_http_drain has a chance: nothing is unread, or no more than `max` announced. */
bool kms_http_drainable(const kms_http *http, size_t max);
/* Ends the request (its body must be complete or refused) and goes on to the next one. */
kms_http_event kms_http_next(kms_http *http);

/* The request, from REQUEST until kms_http_next; a refusal after REFUSED, else NULL. */
const kms_http_request *kms_http_get_request(const kms_http *http);
const kms_http_refusal *kms_http_get_refusal(const kms_http *http);

/*
 * How often a field stands in the head.
 * Out: value - of the first one, white space around it removed; absent: text NULL.
 */
unsigned kms_http_header(kms_text *value, const kms_http *http, const char *name);
/* The one after `nth` others of the same name; false where there is none. */
bool kms_http_header_nth(kms_text *value, const kms_http *http, const char *name, unsigned nth);
/* The body as collected so far; the caller may change its bytes in place. */
kms_buf *kms_http_body(kms_http *http);
/* Frees the body before kms_http_next does: as soon as the answer is made. */
void kms_http_release_body(kms_http *http);

/* Bytes that were fed and not used yet: what read-ahead is bounded by. */
size_t kms_http_ahead(const kms_http *http);

/* Bodies of all parsers share one budget (MAX_BODY_MEMORY_BYTES; unbounded at first). */
void kms_http_set_body_budget(size_t bytes);
size_t kms_http_body_in_flight(void);

/*
 * Decodes percent-escapes; `bytes` needs room for `text_len` and may be the same memory.
 * In: plus_is_space - as in query strings. ERR_HEX for a malformed escape.
 */
kms_status kms_http_decode(uint8_t *bytes, size_t *len, kms_text text, bool plus_is_space);

/*
 * Steps through a query's parameters of one name; `query` is used up as far as looked at.
 * Out: value - raw, empty where there is no '='. Returns: whether there was another one.
 */
bool kms_http_query_next(kms_text *value, kms_text *query, kms_text name);

#endif
