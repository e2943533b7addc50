/* Inside of a fetch, shared by fetch.c and fetch_header.c (one transfer) and fetch_loop.c (all). */
#ifndef KMS_NET_FETCH_INTERNAL_H
#define KMS_NET_FETCH_INTERNAL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "net/fetch.h"

typedef enum fetch_state { FETCH_NEW, FETCH_RUNNING, FETCH_READY, FETCH_DONE } fetch_state;

struct kms_fetch {
	TAILQ_ENTRY(kms_fetch) link; /* in the fetcher's running or ready list */
	fetch_state state;
	kms_fetcher *fetcher; /* while RUNNING or READY */
	uv_timer_t deadline;  /* libcurl's own does not cover its queue */
	bool has_deadline;
	CURL *easy;
	CURLU *url;
	struct curl_slist *sent; /* request headers */
	size_t sent_bytes;
	bool has_content_type;
	bool has_body;
	bool prepared;
	void (*done)(void *context);
	void *context;
	uint32_t timeout_ms;
	bool check_address; /* decides the pool, too */
	bool check_socket;
	bool refused; /* an address was refused */
	kms_status status;
	char detail[CURL_ERROR_SIZE];
	kms_buf body;
	kms_buf headers; /* lines of the response as received */
	size_t header_bytes;
	unsigned header_lines;
	bool headers_done;
};

/* Fails a callback: libcurl ends the transfer when fewer bytes are taken than were offered. */
size_t fetch_refuse(kms_fetch *fetch, kms_status status);
/* CURLOPT_HEADERFUNCTION. */
size_t fetch_on_header(char *line, size_t size, size_t count, void *context);
/* A line of the request's header, in libcurl's notation. */
kms_status fetch_append_line(kms_fetch *fetch, const char *line);

/*
 * Starts libcurl with memory that is wiped when it is given back: requests and answers pass
 * through its buffers. Before anything else of libcurl; again: nothing done.
 */
kms_status fetch_memory_init(void);

/* Options that can only be set when all headers are known. */
kms_status fetch_prepare(kms_fetch *fetch);
/* Status of a finished transfer from libcurl's result. */
kms_status fetch_outcome(kms_fetch *fetch, CURLcode code);
/* Takes a transfer out of its fetcher without calling `done`. */
void fetch_detach(kms_fetch *fetch);

#endif
