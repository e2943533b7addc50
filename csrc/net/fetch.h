/*
 * HTTP calls to other servers: libcurl's multi interface on a libuv loop; without libcurl where a caller
 * repeats its calls in clear to an address (`direct`).
 *
 * Everything that arrives is bounded (bytes, header bytes, time), redirects are never followed, TLS
 * is always verified, and no environment variable changes where a call goes. With check_address
 * the address that a connection is opened to must be public (kms/address.h), so DNS cannot lead
 * the call elsewhere after the URL was checked.
 *
 * Threads: the loop thread only. Call kms_guarded_init first in processes that use it, because
 * libraries of libcurl may use OpenSSL.
 */
#ifndef KMS_NET_FETCH_H
#define KMS_NET_FETCH_H

#include <uv.h>

#include "kms/buf.h"
#include "kms/view.h"
#include "net/http.h"

#define KMS_FETCH_MAX_URL KMS_HTTP_MAX_LINE   /* bytes */
#define KMS_FETCH_MAX_HEADER (64u << 10)      /* bytes of response headers, interim ones included */
#define KMS_FETCH_MAX_HEADER_LINES 256        /* of a response; where its headers are kept */
#define KMS_FETCH_MAX_SENT_HEADER (64u << 10) /* bytes of headers that the caller adds */

/* ---- the fetcher: connections and bounds ------------------------------------------------- */

typedef struct kms_fetcher kms_fetcher;

typedef struct kms_fetcher_limits {
	unsigned max_transfers; /* running and queued; more: kms_fetch_start returns ERR_BUSY */
	/*
	 * Open connections, busy or idle, of each of five pools: checked and unchecked calls, and each kind
	 * of direct ones. Further transfers wait in libcurl's queue, or for a direct connection. (One limit
	 * for both, because with a lower limit for idle ones libcurl would close each connection after use.)
	 */
	unsigned max_connections;
} kms_fetcher_limits;

/*
 * Creates a fetcher.
 * Returns: KMS_OK; ERR_RANGE for a limit of 0; ERR_MEMORY; ERR_SYSTEM.
 * Out: fetcher - owned by the caller, ended with kms_fetcher_close.
 * In: loop - must run until its handles are closed.
 */
kms_status kms_fetcher_new(kms_fetcher **fetcher, uv_loop_t *loop, const kms_fetcher_limits *limits);
/*
 * Ends every transfer with ERR_STATE (and calls each `done`), closes the connections, and frees
 * the fetcher once the loop has closed its handles. NULL is fine.
 */
void kms_fetcher_close(kms_fetcher *fetcher);

/* ---- one transfer ------------------------------------------------------------------------- */

typedef struct kms_fetch kms_fetch;

/*
 * Who is called without libcurl. Each kind has connections of its own, so that servers of one kind which hang
 * take none of those to another.
 */
typedef enum kms_fetch_direct {
	KMS_FETCH_INDIRECT = 0,   /* through libcurl */
	KMS_FETCH_DIRECT_SERVICE, /* that has the node's keys */
	KMS_FETCH_DIRECT_CHAIN,
	KMS_FETCH_DIRECT_PEER,
} kms_fetch_direct;
#define KMS_FETCH_DIRECT_KINDS KMS_FETCH_DIRECT_PEER

/* Texts are copied; NULL means none where marked optional. */
typedef struct kms_fetch_request {
	const char *url;             /* http or https, with a host, without user info */
	const char *method;          /* 1 to 16 upper-case letters */
	kms_text body;               /* optional; borrowed until `done` */
	const char *proxy;           /* optional: http or https URL of a proxy */
	const char *unix_socket;     /* optional: path of a socket to connect to instead of the host */
	uint32_t timeout_ms;         /* for everything, time in the queue included */
	uint32_t connect_timeout_ms; /* for name look-up, connection and TLS */
	uint32_t stall_s;            /* ERR_TIMEOUT after so long without a byte; 0: no such limit */
	size_t max_bytes;            /* of the response body; more is ERR_TOO_LARGE */
	bool wiped;                  /* wipe the response body when freed (libcurl's buffers always are) */
	/*
	 * Connect to public addresses only. A proxy resolves names itself, so with a proxy the URL's
	 * host is checked instead (kms_address_check_host); the operator chooses the proxy's address.
	 */
	bool check_address;
	/*
	 * For calls that are repeated: those in clear to a literal address by an ASCII URL, without a proxy
	 * or stall_s, bypass libcurl, for a third of the CPU time. The headers of a response below 300 are
	 * not kept then. Other calls go through libcurl all the same.
	 */
	kms_fetch_direct direct;
	/*
	 * Send the body at most once. Otherwise a request is sent again, on another connection, when
	 * one that was kept alive breaks before a byte of the response; then it is ERR_CONNECT.
	 */
	bool once;
} kms_fetch_request;

/*
 * Creates a transfer.
 * Returns: KMS_OK; ERR_URL; ERR_ADDRESS_REFUSED; ERR_RANGE for the method, the times, or a HEAD
 * with a body; ERR_MEMORY; ERR_SYSTEM.
 * Out: fetch - owned by the caller, freed with kms_fetch_free.
 */
kms_status kms_fetch_new(kms_fetch **fetch, const kms_fetch_request *request);
/*
 * Adds a request header.
 * Returns: KMS_OK; ERR_ARGUMENT when the name is no token, the value has a control character, or
 * the header frames or routes the message (Content-Length, Host, ...); ERR_STATE once started;
 * ERR_TOO_LARGE; ERR_MEMORY.
 */
kms_status kms_fetch_add_header(kms_fetch *fetch, kms_text name, kms_text value);
/*
 * Starts the transfer. Calls `done` once, later, from the loop or from kms_fetcher_close; never
 * when this fails, and never after kms_fetch_free.
 * Returns: KMS_OK; ERR_BUSY; ERR_STATE when it was started before or the fetcher is closed;
 * ERR_MEMORY; of a direct one also ERR_CONNECT, when this machine has no way to the address, and ERR_SYSTEM.
 */
kms_status kms_fetch_start(kms_fetch *fetch, kms_fetcher *fetcher, void (*done)(void *context),
			   void *context);
/*
 * Prepares a transfer that is done, or was never started, for another start with the same URL,
 * method, headers and times. It saves the most expensive part of a new one: libcurl's handle.
 * Returns: KMS_OK; ERR_STATE while it runs; ERR_ARGUMENT when one of the requests has a body and
 * the other has none; ERR_SYSTEM.
 * In: body - borrowed until `done`.
 */
kms_status kms_fetch_reuse(kms_fetch *fetch, kms_text body, size_t max_bytes);
/* Ends the transfer if it runs, without calling `done`, and frees it. NULL is fine. */
void kms_fetch_free(kms_fetch *fetch);

/*
 * The outcome.
 * Returns: KMS_OK for an HTTP response of any status; ERR_TIMEOUT; ERR_CONNECT; ERR_RESOLVE;
 * ERR_TLS; ERR_TOO_LARGE; ERR_ADDRESS_REFUSED; ERR_HTTP; ERR_MEMORY; ERR_STATE when the fetcher
 * was closed, or before `done`.
 */
kms_status kms_fetch_result(const kms_fetch *fetch);
/* Text of a failure for the operator: may have host names, never a path. Borrowed. */
const char *kms_fetch_detail(const kms_fetch *fetch);
/* Whether any byte of the request may have reached the server: false only where none was sent. */
bool kms_fetch_sent(const kms_fetch *fetch);
/* The HTTP status; 0 unless the result is KMS_OK. */
int kms_fetch_http_status(const kms_fetch *fetch);
/* The response body; the caller may move it out and leave the buffer empty. */
kms_buf *kms_fetch_body(kms_fetch *fetch);
/*
 * Steps through the response headers, in the order received, without trailers and those of interim responses.
 * Returns: false after the last one.
 * Out: name - lower case. value. Both borrowed.
 * In-out: at - the position; 0 to begin.
 */
bool kms_fetch_next_header(kms_text *name, kms_text *value, size_t *at, const kms_fetch *fetch);

#endif
