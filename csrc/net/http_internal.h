/* What the files of the HTTP parser share (http.h is its interface). */
#ifndef KMS_NET_HTTP_INTERNAL_H
#define KMS_NET_HTTP_INTERNAL_H

#include "net/http.h"

/* ---- http_head.c ---------------------------------------------------------------------------- */

/* How far the scan of a head has come; zeroed before a head. Offsets are from its start. */
typedef struct kms_http_scan {
	size_t line;    /* start of the line that is not complete yet */
	size_t at;      /* no line end before here */
	unsigned lines; /* complete ones, the request line included */
	unsigned minor; /* HTTP/1.minor */
	bool complete;  /* the empty line was seen: the head is `line` bytes */
} kms_http_scan;

/*
 * Scans what has arrived of a head, from where it stopped. NULL while nothing is wrong; the
 * answer does not depend on how the bytes were cut.
 */
const kms_http_refusal *kms_http_scan_head(kms_http_scan *scan, const uint8_t *bytes, size_t len,
					   size_t max_head);

/* A character of names and methods (RFC 9110 section 5.6.2); value of a hex digit or -1. */
bool kms_http_is_token(uint8_t c);
int kms_http_hex_digit(uint8_t c);

/* ---- http_body.c ---------------------------------------------------------------------------- */

typedef enum kms_http_chunk_step {
	KMS_HTTP_CHUNK_SIZE = 0,
	KMS_HTTP_CHUNK_EXTENSION,
	KMS_HTTP_CHUNK_SIZE_LF,
	KMS_HTTP_CHUNK_DATA,
	KMS_HTTP_CHUNK_DATA_CR,
	KMS_HTTP_CHUNK_DATA_LF,
	KMS_HTTP_CHUNK_TRAILER,
	KMS_HTTP_CHUNK_TRAILER_LF,
} kms_http_chunk_step;

typedef struct kms_http_intake {
	kms_http_framing framing;
	bool complete;
	bool discard;  /* drained: bytes are dropped, no limit on content */
	uint64_t left; /* bytes of the body, or of the chunk, that are missing */
	size_t limit;  /* content bytes allowed */
	kms_http_chunk_step step;
	unsigned digits; /* of the chunk size */
	size_t line;     /* bytes of the chunk line or trailer line so far */
	size_t trailers; /* bytes of trailers so far */
	kms_buf bytes;
	size_t charged; /* of the budget */
} kms_http_intake;

void kms_http_intake_start(kms_http_intake *intake, kms_http_framing framing, uint64_t length);
/* Takes bytes until the body is complete. Out: used. NULL, or what is wrong. */
const kms_http_refusal *kms_http_intake_take(size_t *used, kms_http_intake *intake, const uint8_t *bytes,
					     size_t len);
/* Frees the content and gives its bytes back to the budget. */
void kms_http_intake_release(kms_http_intake *intake);

/* ---- http_request.c -------------------------------------------------------------------------- */

typedef enum kms_http_state {
	STATE_HEAD = 0, /* a head is coming in */
	STATE_WAIT,     /* its body is neither read nor drained yet */
	STATE_BODY,     /* a body is coming in */
	STATE_DONE,     /* all of the request is here */
	STATE_REFUSED,
} kms_http_state;

typedef struct kms_http_field {
	kms_text name;
	kms_text value;
} kms_http_field;

struct kms_http {
	kms_http_state state;
	size_t max_head;
	kms_buf in; /* as it arrived; used up to `at` */
	size_t at;
	kms_http_scan scan;
	kms_buf head; /* of the request, copied: `in` moves as it grows */
	kms_http_field *fields;
	size_t field_count;
	size_t field_cap;
	kms_http_request request;
	kms_http_intake intake;
	size_t drain_left; /* wire bytes that a drain may still throw away */
	const kms_http_refusal *refusal;
};

/* Copies the scanned head and fills `request` and `fields` from it. NULL, or what is wrong. */
const kms_http_refusal *kms_http_read_head(kms_http *http, const uint8_t *bytes);

#endif
