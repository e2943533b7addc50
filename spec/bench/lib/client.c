#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "measure.h"

#define MAX_REPLY (8u << 20)
#define READ_BYTES 65536u
#define POLL_NS 200000 /* between two polls of many connections */

typedef struct connection {
	int fd; /* -1: not open */
	exchange *current;
	size_t sent;
	uint64_t begun_ns;
	kms_buf in;
	size_t head_len; /* once the header block is complete */
	size_t body_len;
} connection;

struct client {
	struct sockaddr_in address;
	int epoll;
	unsigned count;
	connection connections[];
};

bool client_address(struct sockaddr_in *address, const char *text)
{
	char host[INET_ADDRSTRLEN];
	uint64_t port = 0;
	const char *colon = strrchr(text, ':');

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	if (!colon || (size_t)(colon - text) >= sizeof(host)) return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	if (inet_pton(AF_INET, host, &address->sin_addr) != 1) return false;
	if (ntohl(address->sin_addr.s_addr) >> 24 != 127) return false;
	if (kms_decimal_parse(&port, kms_text_from(colon + 1)) != KMS_OK) return false;
	address->sin_port = htons((uint16_t)port);
	return port > 0 && port < 65536;
}

kms_status client_new(client **made, const struct sockaddr_in *address, unsigned connections)
{
	*made = NULL;
	ENSURE(connections >= 1 && connections <= CLIENT_MAX_CONNECTIONS, KMS_ERR_RANGE);
	client *c = kms_heap_alloc(1, sizeof(*c) + connections * sizeof(connection));
	ENSURE(c, KMS_ERR_MEMORY);
	c->address = *address;
	c->count = connections;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < connections; i++) {
		c->connections[i].fd = -1;
		c->connections[i].in = kms_buf_make(KMS_BUF_PLAIN, MAX_REPLY);
	}
	if (c->epoll < 0) {
		client_free(c);
		return KMS_ERR_SYSTEM;
	}
	*made = c;
	return KMS_OK;
}

static void disconnect(connection *conn)
{
	if (conn->fd >= 0) (void)close(conn->fd);
	conn->fd = -1;
	conn->current = NULL;
	kms_buf_clear(&conn->in);
}

void client_free(client *c)
{
	if (!c) return;
	for (unsigned i = 0; i < c->count; i++) {
		disconnect(&c->connections[i]);
		kms_buf_free(&c->connections[i].in);
	}
	if (c->epoll >= 0) (void)close(c->epoll);
	kms_heap_free(c);
}

void exchange_clear(exchange *e)
{
	kms_buf_free(&e->body);
}

/* A connect to this machine does not block. */
static kms_status connect_one(client *c, connection *conn)
{
	int on = 1;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn };
	conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ENSURE(conn->fd >= 0, KMS_ERR_SYSTEM);
	if (connect(conn->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) != 0)
		return KMS_ERR_CONNECT;
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return epoll_ctl(c->epoll, EPOLL_CTL_ADD, conn->fd, &event) == 0 ? KMS_OK : KMS_ERR_SYSTEM;
}

static kms_status send_rest(connection *conn)
{
	const kms_text *request = &conn->current->request;
	while (conn->sent < request->len) {
		ssize_t n = send(conn->fd, request->text + conn->sent, request->len - conn->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return errno == EAGAIN ? KMS_OK : KMS_ERR_CONNECT;
		conn->sent += (size_t)n;
	}
	return KMS_OK;
}

static kms_status begin(client *c, connection *conn, exchange *e)
{
	if (conn->fd < 0) GUARD(connect_one(c, conn));
	conn->current = e;
	conn->sent = 0;
	conn->head_len = 0;
	kms_buf_clear(&conn->in);
	conn->begun_ns = bench_wall_ns();
	return send_rest(conn);
}

/* The value of a header without leading spaces; may be absent. */
static kms_text header(const char *head, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	const char *end = head + len;
	for (const char *line = head; line < end;) {
		const char *stop = memchr(line, '\r', (size_t)(end - line));
		if (!stop) break;
		if ((size_t)(stop - line) > name_len && line[name_len] == ':' &&
		    strncasecmp(line, name, name_len) == 0) {
			const char *value = line + name_len + 1;
			while (value < stop && *value == ' ')
				value++;
			return (kms_text){ value, (size_t)(stop - value) };
		}
		line = stop + 2;
	}
	return (kms_text){ NULL, 0 };
}

static kms_status read_head(connection *conn)
{
	static const char start[] = "HTTP/1.1 ";
	const char *bytes = (const char *)conn->in.data;
	uint64_t number = 0;
	exchange *e = conn->current;

	const char *end = conn->in.len ? memmem(bytes, conn->in.len, "\r\n\r\n", 4) : NULL;
	if (!end) return KMS_OK;
	size_t head = (size_t)(end - bytes) + 4;
	ENSURE(head > sizeof(start) + 3 && memcmp(bytes, start, sizeof(start) - 1) == 0, KMS_ERR_HTTP);
	GUARD(kms_decimal_parse(&number, kms_text_of(bytes + sizeof(start) - 1, 3)));
	e->status = (unsigned)number;
	kms_text length = header(bytes, head, "Content-Length");
	ENSURE(length.text && kms_decimal_parse(&number, length) == KMS_OK, KMS_ERR_HTTP);
	ENSURE(number <= MAX_REPLY - head, KMS_ERR_TOO_LARGE);
	kms_text signature = header(bytes, head, "X-KMS-Response-Signature");
	e->signature_len = 0;
	if (signature.text && signature.len <= sizeof(e->signature)) {
		memcpy(e->signature, signature.text, signature.len);
		e->signature_len = signature.len;
	}
	conn->head_len = head;
	conn->body_len = (size_t)number;
	return KMS_OK;
}

/* Reads what has arrived. Out: done - whether the reply is complete. */
static kms_status receive(bool *done, connection *conn)
{
	exchange *e = conn->current;
	*done = false;
	for (;;) {
		GUARD(kms_buf_reserve(&conn->in, READ_BYTES));
		ssize_t n = recv(conn->fd, conn->in.data + conn->in.len, READ_BYTES, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN) return KMS_OK;
		ENSURE(n > 0, KMS_ERR_CONNECT);
		conn->in.len += (size_t)n;
		if (!conn->head_len) GUARD(read_head(conn));
		if (!conn->head_len || conn->in.len < conn->head_len + conn->body_len) continue;
		ENSURE(conn->in.len == conn->head_len + conn->body_len, KMS_ERR_TRAILING);
		e->took_us = (double)(bench_wall_ns() - conn->begun_ns) / 1e3;
		*done = true;
		if (!e->keep) return KMS_OK;
		e->body = kms_buf_make(KMS_BUF_PLAIN, MAX_REPLY);
		return kms_buf_append(&e->body, kms_span_of(conn->in.data + conn->head_len, conn->body_len));
	}
}

/* Handles an event: continues the connection's exchange, or begins the next one. */
static kms_status step(client *c, connection *conn, exchange *list, size_t *next, size_t *done, size_t count)
{
	bool complete = false;
	if (!conn->current) return KMS_OK;
	GUARD(send_rest(conn));
	GUARD(receive(&complete, conn));
	if (!complete) return KMS_OK;
	conn->current = NULL;
	(*done)++;
	return *next < count ? begin(c, conn, &list[(*next)++]) : KMS_OK;
}

/* Whether the server has closed an idle connection. */
static bool ended(const connection *conn)
{
	char byte;
	return conn->fd >= 0 && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/*
 * Waits for events. With many connections it polls: waking up for each reply would interrupt the node
 * each time, which a client on another machine does not. With one connection, which is there to
 * measure latency, it waits for the event.
 */
static int wait_events(struct epoll_event *events, int max, const client *c, uint64_t left_ns)
{
	static const struct timespec rest = { .tv_nsec = POLL_NS };
	if (c->count == 1) return epoll_wait(c->epoll, events, max, (int)(left_ns / 1000000 + 1));
	(void)nanosleep(&rest, NULL);
	return epoll_wait(c->epoll, events, max, 0);
}

static kms_status run(client *c, exchange *list, size_t count, uint64_t deadline_ns)
{
	size_t next = 0, done = 0;
	for (unsigned i = 0; i < c->count && next < count; i++) {
		if (ended(&c->connections[i])) disconnect(&c->connections[i]);
		GUARD(begin(c, &c->connections[i], &list[next++]));
	}
	while (done < count) {
		struct epoll_event events[64];
		uint64_t now = bench_wall_ns();
		ENSURE(now < deadline_ns, KMS_ERR_TIMEOUT);
		int n = wait_events(events, KMS_ARRAY_LEN(events), c, deadline_ns - now);
		if (n < 0 && errno == EINTR) continue;
		ENSURE(n >= 0, KMS_ERR_SYSTEM);
		for (int i = 0; i < n; i++)
			GUARD(step(c, events[i].data.ptr, list, &next, &done, count));
	}
	return KMS_OK;
}

kms_status client_run(client *c, exchange *list, size_t count, uint64_t deadline_ns)
{
	kms_status status = run(c, list, count, deadline_ns);
	/* Drop unfinished exchanges: their replies would be taken for those to later requests. */
	for (unsigned i = 0; i < c->count; i++) {
		if (status != KMS_OK || c->connections[i].current) disconnect(&c->connections[i]);
	}
	return status;
}
