/*
 * The input of one HTTP/1.1 connection (RFC 9112): a strict parser of requests that follow each
 * other. Input comes in pieces of any size through kms_http_feed; the events do not depend on how
 * it was cut.
 *
 * Debian's http_parser parses each head, after a scan here has refused what that library accepts
 * (bare LF, folding, `Host :`, HTTP/1.10, 8-bit targets). Bodies are framed here: Debian builds the
 * library without its checks of line ends in chunks.
 *
 * Threads: heads are parsed on one thread, since a long request line can take the memory of another parser's;
 * apart from that one at a time per parser. The bounds on bodies are shared and safe. What a parser lends of
 * a request (texts, fields, body) stays in place until kms_http_release, kms_http_drain or kms_http_next,
 * also while more input is fed, so that a job on another thread may read it.
 */
#ifndef KMS_NET_HTTP_H
#define KMS_NET_HTTP_H

#include "kms/buf.h"
#include "kms/view.h"

#define KMS_HTTP_SHORT_LINE 8192 /* bytes; longer request lines share memory */
#define KMS_HTTP_MAX_LINE (1u << 19)
#define KMS_HTTP_MIN_FIELDS 256 /* bounds of the limit on all fields, bytes */
#define KMS_HTTP_MAX_FIELDS 65536
#define KMS_HTTP_MAX_FIELD 8192       /* bytes of a field */
#define KMS_HTTP_FIELD_COUNT 100      /* header fields of a request */
#define KMS_HTTP_MAX_METHOD 32        /* bytes; no method that anybody has registered is as long */
#define KMS_HTTP_MAX_CHUNK_LINE 256   /* bytes of a chunk size with its extensions */
#define KMS_HTTP_MAX_EXTENSIONS 8192  /* bytes of chunk extensions in all; they are ignored */
#define KMS_HTTP_MAX_TRAILERS 4096    /* bytes of trailers in all; they are ignored */
#define KMS_HTTP_MAX_AHEAD (1u << 18) /* bytes of unread input beyond a head */
#define KMS_HTTP_SMALL_BODY 65536     /* bodies up to this many bytes have a reserve of memory */

typedef struct kms_http kms_http;

/* What a function that takes input, or continues with it, returns. */
typedef enum kms_http_event {
	KMS_HTTP_MORE = 0, /* nothing new: feed more input */
	KMS_HTTP_REQUEST,  /* a head is complete: kms_http_get_request */
	KMS_HTTP_BODY,     /* the body is complete, or drained */
	KMS_HTTP_REFUSED,  /* reply with kms_http_get_refusal, then close */
} kms_http_event;

/* Why input is refused; all are static. `code` is one of docs/protocol.md section 2. */
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
	kms_text path;  /* "/..." or "*"; not decoded; its percent-escapes are valid */
	kms_text query; /* after the '?'; absent without one */
	kms_text host; /* with its port: of the target if that names one, else of Host; absent without both */
	bool keep_alive; /* false for HTTP/1.0 */
	bool expects_continue;
	bool rare_headers; /* has If-Match, If-None-Match or Content-Encoding, which few requests have */
	kms_http_framing framing;
	uint64_t length; /* of a SIZED body */
} kms_http_request;

/* Bounds on a head, in bytes, line ends included. */
typedef struct kms_http_head_limits {
	size_t line;   /* the request line: KMS_HTTP_SHORT_LINE to KMS_HTTP_MAX_LINE */
	size_t fields; /* all fields: KMS_HTTP_MIN_FIELDS to KMS_HTTP_MAX_FIELDS */
} kms_http_head_limits;

/* Whose body it is. */
typedef struct kms_http_body_owner {
	kms_text caller; /* absent: nobody's, which has no share */
	bool is_member;
} kms_http_body_owner;

/* Bounds on the bodies that all parsers hold, in bytes. */
typedef struct kms_http_body_limits {
	size_t total;
	size_t share;          /* of one caller that is no member */
	size_t small_reserve;  /* for bodies of up to KMS_HTTP_SMALL_BODY */
	size_t member_reserve; /* for bodies of members */
} kms_http_body_limits;

/*
 * Creates a parser.
 * Returns: KMS_OK; ERR_RANGE; ERR_MEMORY.
 * Out: http - owned by the caller, freed with kms_http_free.
 * In: client - tells clients apart, each of which has a share of the memory of long request lines; absent: no
 * share.
 */
kms_status kms_http_new(kms_http **http, kms_http_head_limits limits, kms_text client);
/* NULL is fine. */
void kms_http_free(kms_http *http);

/* Takes input. Input behind a request waits for kms_http_read_body or kms_http_next. */
kms_http_event kms_http_feed(kms_http *http, kms_span input);
/*
 * Collects the body, of at most `limit` bytes. Refusals: 413; 429 beyond the caller's share, 503 beyond the
 * memory of all bodies.
 */
kms_http_event kms_http_read_body(kms_http *http, size_t limit, kms_http_body_owner owner);
/* Discards the unread rest of the body; refused when that is more than `max` bytes on the wire. */
kms_http_event kms_http_drain(kms_http *http, size_t max);
/* Whether kms_http_drain can succeed: nothing is unread, or at most `max` bytes as announced. */
bool kms_http_drainable(const kms_http *http, size_t max);
/* Ends the request, whose body must be complete or refused, and continues with the next one. */
kms_http_event kms_http_next(kms_http *http);

/* The request, from its REQUEST event until kms_http_next, else NULL. */
const kms_http_request *kms_http_get_request(const kms_http *http);
/* The reason, after REFUSED, else NULL. */
const kms_http_refusal *kms_http_get_refusal(const kms_http *http);

/*
 * Finds a header field.
 * Returns: how many fields have this name.
 * Out: value - of the first, without surrounding white space; absent when there is none.
 * In: name - NUL-terminated, any case.
 */
unsigned kms_http_header(kms_text *value, const kms_http *http, const char *name);
/*
 * Finds the field after `nth` others of its name.
 * Returns: false, and `value` absent, when there is none.
 */
bool kms_http_header_nth(kms_text *value, const kms_http *http, const char *name, unsigned nth);
/* The body collected so far; the caller may change its bytes in place. */
kms_buf *kms_http_body(kms_http *http);
/* Frees the body earlier than kms_http_next does: as soon as it is read. */
void kms_http_release_body(kms_http *http);
/* The same, and the texts and fields: as soon as the reply is made. */
void kms_http_release(kms_http *http);

/*
 * Copies the first `want` bytes of a body that is not being read yet, sized or chunked.
 * Returns: whether no more of them will come: because they are all there, or the body ends before, or is
 * malformed, or no body waits. Out: front - `got` bytes.
 */
bool kms_http_body_front(uint8_t *front, size_t *got, const kms_http *http, size_t want);
/* Bytes fed and not consumed yet; the caller bounds its read-ahead by them. */
size_t kms_http_ahead(const kms_http *http);

/*
 * Sets the bounds that the bodies of all parsers share; there are none before.
 * Returns: KMS_OK; ERR_SYSTEM without randomness.
 */
kms_status kms_http_set_body_limits(kms_http_body_limits limits);
/* Bytes that bodies hold now. */
size_t kms_http_body_in_flight(void);
/* Bytes that long request lines hold now. */
size_t kms_http_lines_in_flight(void);

/*
 * Decodes percent-escapes (RFC 3986 section 2.1).
 * Returns: KMS_OK; ERR_HEX for a malformed escape.
 * Out: bytes - room for text.len, may be the same memory as `text`. len - 0 on failure.
 * In: plus_is_space - as in query strings.
 */
kms_status kms_http_decode(uint8_t *bytes, size_t *len, kms_text text, bool plus_is_space);

/*
 * Finds the next query parameter of a name.
 * Returns: false when there is none left.
 * Out: value - not decoded; empty without '='.
 * In-out: query - the part not searched yet.
 */
bool kms_http_query_next(kms_text *value, kms_text *query, kms_text name);

#endif
