/*
 * What the files of the HTTP client share. Each uses only those above it in this header:
 * fetch_memory.c, fetch_direct.c, fetch_answer.c (which has a header of its own), fetch_link.c,
 * fetch_header.c, fetch_transfer.c, fetch_loop.c; fetch.c is on top.
 */
#ifndef KMS_NET_FETCH_INTERNAL_H
#define KMS_NET_FETCH_INTERNAL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "net/fetch.h"
#include "net/fetch_answer.h"

typedef enum fetch_state {
	FETCH_NEW,     /* not started yet, or made ready for another start */
	FETCH_RUNNING, /* libcurl has it, maybe in its queue */
	FETCH_READY,   /* finished, `done` not called yet */
	FETCH_DONE,
} fetch_state;

/* A transfer's part that fetch_direct.c has. */
typedef struct fetch_direct {
	kms_fetch_direct kind;
	struct sockaddr_storage address;
	kms_buf head; /* of the request, without Content-Length and the empty line */
	kms_text body;
	struct fetch_link *link; /* the connection that carries it */
	TAILQ_ENTRY(kms_fetch) waiting;
	bool is_waiting; /* for a connection */
	bool sent;       /* a byte of the request, at least */
	unsigned http_status;
} fetch_direct;

struct kms_fetch {
	TAILQ_ENTRY(kms_fetch) link; /* in the fetcher's active or ready list */
	fetch_state state;
	kms_fetcher *fetcher; /* while RUNNING or READY */
	uv_timer_t deadline;  /* libcurl's own timeout does not cover its queue */
	bool has_deadline;
	uint64_t ends_ms;     /* by the loop's clock */
	fetch_direct *direct; /* NULL: libcurl carries it */
	CURL *easy;           /* NULL with `direct` */
	CURLU *url;
	struct curl_slist *sent; /* request headers */
	size_t sent_bytes;
	bool has_content_type;
	bool has_accept;
	bool has_body;
	bool prepared;
	void (*done)(void *context);
	void *context;
	uint32_t timeout_ms;
	uint32_t connect_timeout_ms;
	bool check_address; /* also selects the pool of connections */
	bool check_socket;  /* check_address without a proxy: check the socket's address */
	bool refused;       /* an address was refused */
	bool once;          /* the body is read by libcurl, which cannot rewind it */
	kms_text upload;    /* once: what of it is left */
	kms_status status;
	char detail[CURL_ERROR_SIZE];
	kms_buf body;
	kms_buf headers; /* lines of the response, with names in lower case */
	size_t header_bytes;
	unsigned header_lines;
	bool headers_done;
};

/* ---- fetch_memory.c -------------------------------------------------------------------------- */

/*
 * Starts libcurl with allocators that wipe what they free, because requests and responses pass
 * through its buffers. Call it before any other function of libcurl; later calls do nothing.
 */
kms_status fetch_memory_init(void);

/* ---- fetch_direct.c -------------------------------------------------------------------------- */

/* Makes the transfer a direct one if the request suits that. In: host - of the parsed URL. */
kms_status fetch_direct_init(kms_fetch *fetch, const kms_fetch_request *request, const char *host);
void fetch_direct_free(kms_fetch *fetch);
/* Adds a line to the request's head. */
kms_status fetch_direct_append_line(kms_fetch *fetch, const char *line);

/* ---- fetch_link.c ----------------------------------------------------------------------------- */

TAILQ_HEAD(fetch_list, kms_fetch);
TAILQ_HEAD(fetch_link_list, fetch_link);
typedef struct fetch_link fetch_link;
typedef struct fetch_links fetch_links;

/* What connections tell the fetcher that they belong to. */
typedef struct fetch_links_owner {
	void (*handle_opened)(fetch_links *links);
	void (*handle_closed)(fetch_links *links);
	void (*limit)(kms_fetch *fetch, bool connecting); /* its deadline */
	void (*conclude)(kms_fetch *fetch, kms_status status);
	void (*deliver)(fetch_links *links); /* may start, free or close anything */
} fetch_links_owner;

/* The connections of direct transfers. */
struct fetch_links {
	const fetch_links_owner *owner;
	kms_fetcher *fetcher;
	uv_loop_t *loop;
	struct fetch_link_list idle; /* the one used last first */
	struct fetch_list waiting;   /* transfers without a connection, FIFO */
	unsigned count, max;         /* open connections */
	bool closed;
	char *buffer;
};

#define FETCH_OWNER(type, member, pointer) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

kms_status fetch_links_init(fetch_links *links, const fetch_links_owner *owner, kms_fetcher *fetcher,
			    uv_loop_t *loop, unsigned max);
/* Closes idle connections; no transfer begins any more. */
void fetch_links_close(fetch_links *links);
void fetch_links_free(fetch_links *links);
/* Sends the request on an idle connection or a new one, or has it wait for one. */
kms_status fetch_links_start(kms_fetch *fetch, fetch_links *links);
/* Takes a running transfer off its connection, which is closed, or out of the queue for one. */
void fetch_links_stop(kms_fetch *fetch, fetch_links *links);

/* ---- fetch_header.c -------------------------------------------------------------------------- */

/* Fails a callback: libcurl ends a transfer when a callback takes fewer bytes than it was given. */
size_t fetch_refuse(kms_fetch *fetch, kms_status status);
/* CURLOPT_HEADERFUNCTION. */
size_t fetch_on_header(char *line, size_t size, size_t count, void *context);
/* Adds a line to the request's header, in libcurl's notation. */
kms_status fetch_append_line(kms_fetch *fetch, const char *line);

/* ---- fetch_transfer.c ------------------------------------------------------------------------ */

/* Makes libcurl's handle and sets its options. */
kms_status fetch_transfer_init(kms_fetch *fetch, const kms_fetch_request *request);
/* Clears the last response and sets what may differ in the next request. */
kms_status fetch_transfer_reset(kms_fetch *fetch, kms_text body, size_t max_bytes);
/* Sets the options that need all headers; later calls do nothing. */
kms_status fetch_transfer_prepare(kms_fetch *fetch);
/* The status of a finished transfer. In: code - libcurl's result. */
kms_status fetch_transfer_outcome(kms_fetch *fetch, CURLcode code);

/* ---- fetch_loop.c ---------------------------------------------------------------------------- */

/* Takes a transfer out of its fetcher without calling `done`. */
void fetch_detach(kms_fetch *fetch);

#endif
