/*
 * HTTP calls to other servers: libcurl's multi interface on a libuv loop.
 *
 * Whatever comes back is bounded as it arrives (bytes, header bytes, time), redirects are
 * never followed, TLS is always verified, and no environment variable changes where a call
 * goes. With check_address the address that a connection is really opened to must be public
 * (kms/address.h), so DNS cannot lead it elsewhere after the URL was looked at.
 *
 * Everything here belongs to the loop's thread. kms_guarded_init comes first where it is
 * used, because libcurl's libraries may use OpenSSL.
 */
#ifndef KMS_NET_FETCH_H
#define KMS_NET_FETCH_H

#include <uv.h>

#include "kms/buf.h"
#include "kms/pop.h"

#define KMS_FETCH_MAX_URL (64u << 10)
#define KMS_FETCH_MAX_HEADER (64u << 10)      /* bytes of response headers, interim ones included */
#define KMS_FETCH_MAX_HEADER_LINES 256        /* of a response */
#define KMS_FETCH_MAX_SENT_HEADER (64u << 10) /* bytes of a request's own headers */

/* ---- the fetcher: connections and bounds ------------------------------------------------- */

typedef struct kms_fetcher kms_fetcher;

typedef struct kms_fetcher_limits {
	unsigned max_transfers; /* running and queued; beyond it kms_fetch_start says ERR_BUSY */
	/*
	 * Open at once, busy or kept for reuse, of checked and of unchecked calls each; further
	 * transfers wait in libcurl's queue. (Keeping fewer than may be busy would close each.)
	 */
	unsigned max_connections;
} kms_fetcher_limits;

/* Returns: KMS_OK, ERR_RANGE (a limit of 0), ERR_MEMORY, ERR_SYSTEM. */
kms_status kms_fetcher_new(kms_fetcher **fetcher, uv_loop_t *loop, const kms_fetcher_limits *limits);
/*
 * Ends every transfer (ERR_STATE, each `done` is called), closes the connections and gives
 * the memory back once the loop has closed the handles. NULL is fine.
 */
void kms_fetcher_close(kms_fetcher *fetcher);
/* Transfers running or queued. */
size_t kms_fetcher_running(const kms_fetcher *fetcher);

/* ---- one transfer ------------------------------------------------------------------------- */

typedef struct kms_fetch kms_fetch;

typedef struct kms_fetch_request {
	const char *url;             /* http or https, a host, no user info; copied */
	const char *method;          /* 1 to 16 upper-case letters; copied */
	kms_text body;               /* absent: text NULL; borrowed until `done` */
	const char *proxy;           /* http or https URL of a proxy, copied; NULL: none */
	const char *unix_socket;     /* path of the socket to use instead of the URL's host, copied; NULL */
	uint32_t timeout_ms;         /* for all of it, waiting in the queue included */
	uint32_t connect_timeout_ms; /* name, connection, TLS */
	size_t max_bytes;            /* of the response body; more is ERR_TOO_LARGE */
	bool wiped; /* the collected body is wiped on free, as libcurl's buffers always are */
	/*
	 * Only public addresses. Through a proxy, which resolves names itself, the URL's host is
	 * checked instead as kms_address_check_host does; the proxy's address is the operator's.
	 */
	bool check_address;
} kms_fetch_request;

/* Returns: KMS_OK, ERR_URL, ERR_ADDRESS_REFUSED, ERR_RANGE (method, times), ERR_MEMORY. */
kms_status kms_fetch_new(kms_fetch **fetch, const kms_fetch_request *request);
/*
 * Adds a request header. ERR_ARGUMENT: not a token, a control character in the value, one
 * of those that frame or route the message (Content-Length, Host, ...). ERR_TOO_LARGE.
 */
kms_status kms_fetch_add_header(kms_fetch *fetch, kms_text name, kms_text value);
/*
 * Starts; `done` is called once, later, from the loop (or from kms_fetcher_close), unless the
 * fetch is freed before. Returns: KMS_OK, ERR_BUSY, ERR_STATE (started before, or the
 * fetcher is closed), ERR_MEMORY; then `done` is not called.
 */
kms_status kms_fetch_start(kms_fetch *fetch, kms_fetcher *fetcher, void (*done)(void *context),
			   void *context);
/*
 * Makes one that was never started, or is done, ready for another start with the same URL, method,
 * headers and times: libcurl's handle with its options is what costs at each new one.
 * In: body - borrowed until `done`; absent exactly where there was none before (ERR_ARGUMENT).
 * Returns: KMS_OK, ERR_STATE (it runs), ERR_SYSTEM.
 */
kms_status kms_fetch_reuse(kms_fetch *fetch, kms_text body, size_t max_bytes);
/* Ends it if it runs (`done` is then not called) and frees everything. NULL is fine. */
void kms_fetch_free(kms_fetch *fetch);

/*
 * What came of it, once done: KMS_OK (an HTTP answer of whatever status), ERR_TIMEOUT,
 * ERR_CONNECT, ERR_RESOLVE, ERR_TLS, ERR_TOO_LARGE, ERR_ADDRESS_REFUSED, ERR_HTTP, ERR_MEMORY,
 * ERR_STATE (the fetcher was closed).
 */
kms_status kms_fetch_result(const kms_fetch *fetch);
/* Text of a failure for an operator: names of hosts, never a path. Borrowed. */
const char *kms_fetch_detail(const kms_fetch *fetch);
/* HTTP status, 0 unless the result is KMS_OK. */
int kms_fetch_http_status(const kms_fetch *fetch);
/* The body; the caller may take it over by emptying the buffer. */
kms_buf *kms_fetch_body(kms_fetch *fetch);
/*
 * The response's headers one by one, in the order received, trailers never: *at is 0 at
 * first. False at the end. The texts are borrowed; `name` is lower-case.
 */
bool kms_fetch_next_header(kms_text *name, kms_text *value, size_t *at, const kms_fetch *fetch);

#endif
