/* What the files of the HTTP parser share; http.h is its interface. http.c uses the others. */
#ifndef KMS_NET_HTTP_INTERNAL_H
#define KMS_NET_HTTP_INTERNAL_H

#include <sys/queue.h>

#include "net/http.h"

/* ---- http_target.c -------------------------------------------------------------------------- */

/* The value of a hexadecimal digit, or -1. */
int kms_http_hex_digit(uint8_t c);

/* Whether `text` is the value of a Host header: a host, which may be empty, and perhaps a port. */
bool kms_http_authority_valid(kms_text text);

/* Fills path, query and, where the target names one, host. False when the target is malformed. */
bool kms_http_read_target(kms_http_request *request, kms_text method, kms_text target);

/* ---- http_scan.c ---------------------------------------------------------------------------- */

/* Progress of the scan of a head; zero before it. Offsets count from its start. */
typedef struct kms_http_scan {
	size_t line;         /* start of the first incomplete line */
	size_t at;           /* searched for a line end up to here */
	size_t request_line; /* its bytes, once it is complete */
	unsigned lines;      /* complete lines, the request line included */
	unsigned minor;      /* HTTP/1.minor; higher ones than 1 count as 1 */
	bool complete;       /* the empty line was found: the head has `line` bytes */
} kms_http_scan;

/*
 * Continues the scan over what has arrived of a head. NULL, or why it is refused; the result does
 * not depend on how the input was cut.
 */
const kms_http_refusal *kms_http_scan_head(kms_http_scan *scan, kms_span input, kms_http_head_limits limits);

/* A character of names and methods (RFC 9110 section 5.6.2). */
bool kms_http_is_token(uint8_t c);

/* ---- http_head.c ---------------------------------------------------------------------------- */

/* Prepares the library, once in the process. */
void kms_http_prepare(void);

/* Copies the scanned head, fills `request` and `fields` from it. NULL, or why it is refused. */
const kms_http_refusal *kms_http_read_head(kms_http *http, const uint8_t *bytes);

/* ---- http_budget.c -------------------------------------------------------------------------- */

typedef enum kms_http_pool {
	KMS_HTTP_POOL_SMALL = 0,
	KMS_HTTP_POOL_LARGE,
	KMS_HTTP_POOL_MEMBER,
	KMS_HTTP_POOLS,
} kms_http_pool;

/* What a body holds of the memory of all bodies; zero before. */
typedef struct kms_http_charge {
	kms_http_pool pool;
	bool shares;     /* counts against its caller's share too */
	uint64_t caller; /* a keyed hash of its name */
	size_t bytes;
} kms_http_charge;

/* In: announced - length of the body; 0 for a chunked one. */
void kms_http_charge_start(kms_http_charge *charge, kms_http_body_owner owner, size_t announced);
/* Charges `bytes` more. NULL, or why they are refused; then nothing is charged. */
const kms_http_refusal *kms_http_charge_add(kms_http_charge *charge, size_t bytes);
void kms_http_charge_release(kms_http_charge *charge);

/* The hash under which a caller or client counts; 0 for none. */
uint64_t kms_http_hash_caller(kms_text caller);

/* What a request line holds of the memory of long ones. `client` and `input` are set before it is charged. */
typedef struct kms_http_line {
	TAILQ_ENTRY(kms_http_line) link;
	uint64_t client; /* of kms_http_hash_caller */
	kms_buf *input;  /* where it arrives */
	size_t bytes;    /* charged */
	bool arriving;   /* linked: another line may take its memory */
	bool dropped;    /* one has, and `input` is empty */
} kms_http_line;

/*
 * Charges a request line that has `len` bytes so far. NULL, or why it is refused. Lines of other parsers may
 * be dropped for it.
 */
const kms_http_refusal *kms_http_charge_line(kms_http_line *line, size_t len, bool complete);
void kms_http_release_line(kms_http_line *line);
/* Why a dropped line is refused. */
extern const kms_http_refusal kms_http_no_line;

/* ---- http_body.c ---------------------------------------------------------------------------- */

typedef enum kms_http_chunk_step {
	KMS_HTTP_CHUNK_SIZE = 0,
	KMS_HTTP_CHUNK_BLANK, /* white space before an extension */
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
	bool discard;  /* draining: bytes are dropped, without a limit on content */
	uint64_t left; /* missing bytes of the body or the chunk */
	size_t limit;  /* content bytes allowed */
	kms_http_chunk_step step;
	unsigned digits;             /* of the chunk size */
	size_t line;                 /* bytes of the chunk line or trailer line so far */
	bool named;                  /* the trailer line has its colon */
	size_t extensions, trailers; /* bytes of them so far */
	kms_buf bytes;
	kms_http_charge charge;
} kms_http_intake;

void kms_http_intake_start(kms_http_intake *intake, kms_http_framing framing, uint64_t length);
/* Takes bytes until the body is complete. Out: used - how many. NULL, or why it is refused. */
const kms_http_refusal *kms_http_intake_take(size_t *used, kms_http_intake *intake, kms_span input);
/*
 * Copies the first `want` bytes of content in the input of an intake that has taken nothing. Returns: whether
 * no more of them will come.
 */
bool kms_http_intake_look(uint8_t *front, size_t *got, size_t want, const kms_http_intake *intake,
			  kms_span input);
/* Frees the content and gives back what it was charged. */
void kms_http_intake_release(kms_http_intake *intake);

/* ---- http.c ---------------------------------------------------------------------------------- */

typedef enum kms_http_state {
	STATE_HEAD = 0, /* a head arrives */
	STATE_WAIT,     /* the body is not being read or drained yet */
	STATE_BODY,     /* a body arrives */
	STATE_DONE,     /* the request is complete */
	STATE_REFUSED,
} kms_http_state;

typedef struct kms_http_field {
	kms_text name;
	kms_text value;
} kms_http_field;

struct kms_http {
	kms_http_state state;
	kms_http_head_limits limits;
	kms_http_line line;
	bool skipped; /* an empty line before the request line was ignored */
	kms_buf in;   /* input; consumed up to `at` */
	size_t at;
	kms_http_scan scan;
	kms_buf head; /* a copy of the head: `in` moves when it grows */
	kms_http_field *fields;
	size_t field_count;
	size_t field_cap;
	kms_http_request request;
	kms_http_intake intake;
	size_t drain_left; /* wire bytes that a drain may still discard */
	const kms_http_refusal *refusal;
};

#endif
