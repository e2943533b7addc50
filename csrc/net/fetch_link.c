/*
 * Connections of transfers without libcurl (fetch.h). A call takes one look, one write and one read, since
 * its connection stays registered with the loop as long as it is kept alive. Through libcurl 7.88 it took two
 * polls and two to four changes of that registration more, and 17 us of CPU time more.
 */
#include "net/fetch_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/secret.h"

#define READ_BYTES 16384 /* that one read takes at most */
/* After a longer time something on the way may have forgotten the connection. libcurl waits as long. */
#define MAX_IDLE_MS 118000

/* A connection, which carries one transfer at a time. */
struct fetch_link {
	uv_tcp_t tcp;
	uv_connect_t connecting;
	uv_write_t writing;
	fetch_answer answer;
	TAILQ_ENTRY(fetch_link) entry; /* while idle */
	fetch_links *links;
	kms_fetch *fetch; /* NULL while idle or closing */
	struct sockaddr_storage address;
	uint64_t idle_ms; /* since when, by the loop's clock */
	bool used;        /* an earlier transfer was complete */
	bool is_writing;  /* libuv has `writing`, and may call on_written after the kernel has all bytes */
	bool answered;    /* a byte of the response has arrived */
};

/* ---- connections ---------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	fetch_link *link = FETCH_OWNER(fetch_link, tcp, handle);
	link->links->owner->handle_closed(link->links);
	kms_heap_free(link);
}

/* Ends a connection. Its transfer, if it has one, has none any more. */
static void link_close(fetch_link *link)
{
	if (link->fetch) link->fetch->direct->link = NULL;
	link->fetch = NULL;
	link->links->count--;
	uv_close((uv_handle_t *)&link->tcp, on_closed);
}

static void link_idle(fetch_link *link)
{
	link->fetch->direct->link = NULL;
	link->fetch = NULL;
	link->used = true;
	link->idle_ms = uv_now(link->links->loop);
	TAILQ_INSERT_HEAD(&link->links->idle, link, entry);
}

/*
 * Whether nothing has arrived on an idle connection, not even its end, that the loop has not seen yet: it
 * would be taken for the answer to the next request.
 */
static bool is_quiet(const fetch_link *link)
{
	uv_os_fd_t fd;
	char byte;
	if (uv_fileno((const uv_handle_t *)&link->tcp, &fd) != 0) return false;
	ssize_t count = recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
	return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static fetch_link *take_idle(fetch_links *links, const struct sockaddr_storage *address)
{
	fetch_link *next;
	for (fetch_link *link = TAILQ_FIRST(&links->idle); link; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (memcmp(&link->address, address, sizeof(*address)) != 0) continue;
		TAILQ_REMOVE(&links->idle, link, entry);
		bool is_old = uv_now(links->loop) - link->idle_ms > MAX_IDLE_MS;
		if (!is_old && is_quiet(link)) return link;
		link_close(link);
	}
	return NULL;
}

static void on_written(uv_write_t *request, int status)
{
	(void)status; /* where it failed, reading fails too */
	FETCH_OWNER(fetch_link, writing, request)->is_writing = false;
}

/* Writes the request; what the kernel does not take now, libuv writes later. Returns false where nothing was
 * sent, nor will be. */
static bool send_request(fetch_link *link)
{
	fetch_direct *direct = link->fetch->direct;
	char length[KMS_DECIMAL_MAX + 32];
	size_t head = direct->head.len, sent = 0, part = 0;

	fetch_answer_begin(&link->answer, &link->fetch->body, &link->fetch->headers);
	link->answered = false;
	int len = direct->body.text
		      ? snprintf(length, sizeof(length), "Content-Length: %zu\r\n\r\n", direct->body.len)
		      : snprintf(length, sizeof(length), "\r\n");
	if (kms_buf_append(&direct->head, kms_span_of(length, (size_t)len)) != KMS_OK) return false;
	uv_buf_t parts[] = { { (char *)direct->head.data, direct->head.len },
			     { (char *)direct->body.text, direct->body.len } };
	unsigned count = direct->body.len ? 2 : 1;
	size_t total = parts[0].len + (count == 2 ? parts[1].len : 0);
	/* The head's memory keeps these bytes; the next request begins behind its constant part. */
	direct->head.len = head;
	int taken = uv_try_write((uv_stream_t *)&link->tcp, parts, count);
	if (taken < 0 && taken != UV_EAGAIN) return false;
	sent = taken > 0 ? (size_t)taken : 0;
	direct->sent = direct->sent || sent;
	if (sent == total) return true;
	if (sent >= parts[0].len) {
		sent -= parts[0].len;
		part = 1;
	}
	parts[part].base += sent;
	parts[part].len -= sent;
	/* From here on libuv may send at any time. */
	link->is_writing = uv_write(&link->writing, (uv_stream_t *)&link->tcp, parts + part,
				    count - (unsigned)part, on_written) == 0;
	direct->sent = direct->sent || link->is_writing;
	/* What has been sent in part is not begun again elsewhere: it would end at its deadline. */
	return direct->sent;
}

static void finish(fetch_link *link, kms_status status);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

/*
 * All connections read into one buffer, which on_read empties and wipes before the next of them reads. Of
 * what comes before a body no more is read than a head may have.
 */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	fetch_link *link = FETCH_OWNER(fetch_link, tcp, handle);
	size_t room = fetch_answer_room(&link->answer);
	(void)suggested;
	*buffer = uv_buf_init(link->links->buffer, (unsigned)(room < READ_BYTES ? room : READ_BYTES));
}

static void on_connected(uv_connect_t *request, int status)
{
	fetch_link *link = FETCH_OWNER(fetch_link, connecting, request);
	if (!link->fetch) return; /* it is closed */
	link->links->owner->limit(link->fetch, false);
	uv_tcp_nodelay(&link->tcp, 1);
	if (status == 0) status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
	if (status == 0 && send_request(link)) return;
	if (status != 0)
		(void)snprintf(link->fetch->detail, sizeof(link->fetch->detail), "cannot connect: %s",
			       uv_strerror(status));
	finish(link, KMS_ERR_CONNECT);
}

static kms_status link_open(fetch_links *links, kms_fetch *fetch)
{
	fetch_link *link = kms_heap_alloc(1, sizeof(*link));
	ENSURE(link, KMS_ERR_MEMORY);
	if (uv_tcp_init(links->loop, &link->tcp) != 0) {
		kms_heap_free(link);
		return KMS_ERR_SYSTEM;
	}
	/* A transfer's deadline keeps the loop running, an idle connection does not. */
	uv_unref((uv_handle_t *)&link->tcp);
	links->owner->handle_opened(links);
	links->count++;
	link->links = links;
	link->address = fetch->direct->address;
	link->fetch = fetch;
	fetch->direct->link = link;
	if (uv_tcp_connect(&link->connecting, &link->tcp, (const struct sockaddr *)&link->address,
			   on_connected) == 0) {
		links->owner->limit(fetch, true);
		return KMS_OK;
	}
	link_close(link);
	return KMS_ERR_CONNECT;
}

/* Sends the request on an idle connection or, unless one is to be used, on a new one. ERR_BUSY: all are in
 * use. */
static kms_status begin(kms_fetch *fetch, fetch_links *links, bool fresh)
{
	fetch_link *link;
	while (!fresh && (link = take_idle(links, &fetch->direct->address))) {
		link->fetch = fetch;
		fetch->direct->link = link;
		if (send_request(link)) return KMS_OK;
		link_close(link);
	}
	if (links->count == links->max) {
		link = TAILQ_LAST(&links->idle, fetch_link_list); /* to another address */
		ENSURE(link, KMS_ERR_BUSY);
		TAILQ_REMOVE(&links->idle, link, entry);
		link_close(link);
	}
	return link_open(links, fetch);
}

/* Begins transfers that wait for a connection. One that cannot begin waits on, until its deadline, and delays
 * no other. */
static void begin_next(fetch_links *links)
{
	kms_fetch *next;
	for (kms_fetch *fetch = TAILQ_FIRST(&links->waiting); fetch && !links->closed; fetch = next) {
		next = TAILQ_NEXT(fetch, direct->waiting);
		kms_status status = begin(fetch, links, false);
		if (status == KMS_ERR_BUSY) return;
		if (status != KMS_OK) continue;
		TAILQ_REMOVE(&links->waiting, fetch, direct->waiting);
		fetch->direct->is_waiting = false;
	}
}

/* ---- what arrives ----------------------------------------------------------------------------------- */

/* Ends the transfer of a connection, which goes on to the next one where that is possible. */
static void finish(fetch_link *link, kms_status status)
{
	kms_fetch *fetch = link->fetch;
	fetch_links *links = link->links;

	fetch->direct->http_status = link->answer.parser.status_code;
	if (status == KMS_OK && link->answer.keep && !link->is_writing)
		link_idle(link);
	else
		link_close(link);
	begin_next(links);
	links->owner->conclude(fetch, status);
	links->owner->deliver(links);
}

/* The server has closed a connection, or it failed. In: closed - it was closed in order. */
static void on_end(fetch_link *link, bool closed)
{
	kms_fetch *fetch = link->fetch;
	fetch_links *links = link->links;
	if (!link->answered && link->used && !fetch->once) {
		/* It was closed while it was idle, and the request crossed that on its way. */
		link_close(link);
		kms_status status = begin(fetch, links, true);
		if (status == KMS_OK) return;
		begin_next(links); /* another may have a way to its server */
		links->owner->conclude(fetch, status);
		links->owner->deliver(links);
		return;
	}
	/* The body may end where the connection does, but not where that breaks. */
	bool complete = closed && fetch_answer_end(&link->answer);
	finish(link, complete ? KMS_OK : KMS_ERR_CONNECT);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	fetch_link *link = FETCH_OWNER(fetch_link, tcp, stream);
	size_t len = count > 0 ? (size_t)count : 0;
	kms_status status = KMS_OK;

	if (count == 0) return;
	if (link->fetch && len) {
		link->answered = true;
		status = fetch_answer_take(&link->answer, buffer->base, len);
	}
	kms_wipe(buffer->base, len);
	if (!link->fetch) {
		/* Nothing may arrive while no request is on its way. */
		TAILQ_REMOVE(&link->links->idle, link, entry);
		link_close(link);
	} else if (!len) {
		on_end(link, count == UV_EOF);
	} else if (link->answer.complete || status != KMS_OK) {
		finish(link, status);
	}
}

/* ---- transfers -------------------------------------------------------------------------------------- */

kms_status fetch_links_init(fetch_links *links, const fetch_links_owner *owner, kms_fetcher *fetcher,
			    uv_loop_t *loop, unsigned max)
{
	links->owner = owner;
	links->fetcher = fetcher;
	TAILQ_INIT(&links->idle);
	TAILQ_INIT(&links->waiting);
	links->loop = loop;
	links->max = max;
	links->buffer = kms_heap_alloc(1, READ_BYTES);
	return links->buffer ? KMS_OK : KMS_ERR_MEMORY;
}

void fetch_links_close(fetch_links *links)
{
	links->closed = true;
	for (fetch_link *link; (link = TAILQ_FIRST(&links->idle));) {
		TAILQ_REMOVE(&links->idle, link, entry);
		link_close(link);
	}
}

void fetch_links_free(fetch_links *links)
{
	kms_heap_free(links->buffer);
	links->buffer = NULL;
}

kms_status fetch_links_start(kms_fetch *fetch, fetch_links *links)
{
	kms_status status = begin(fetch, links, false);
	if (status != KMS_ERR_BUSY) return status;
	TAILQ_INSERT_TAIL(&links->waiting, fetch, direct->waiting);
	fetch->direct->is_waiting = true;
	return KMS_OK;
}

void fetch_links_stop(kms_fetch *fetch, fetch_links *links)
{
	fetch_direct *direct = fetch->direct;
	if (direct->is_waiting) TAILQ_REMOVE(&links->waiting, fetch, direct->waiting);
	direct->is_waiting = false;
	if (!direct->link) return;
	link_close(direct->link);
	begin_next(links);
}
