/*
 * A small HTTP/1.1 client for load: requests made beforehand go out over keep-alive
 * connections to a server on this machine, each connection with one request in flight. A
 * client belongs to one thread at a time.
 */
#ifndef KMS_BENCH_CLIENT_H
#define KMS_BENCH_CLIENT_H

#include <netinet/in.h>

#include "kms/buf.h"
#include "kms/eth_text.h"
#include "kms/nonce.h"
#include "kms/pop.h"

#define CLIENT_MAX_CONNECTIONS 256u

/* A request and its answer. */
typedef struct exchange {
	kms_text request; /* borrowed: header and body as sent */
	bool keep;        /* whether the answer's body is kept */
	unsigned status;  /* 0: no answer */
	double took_us;   /* from the first byte sent to the last one received */
	kms_buf body;
	size_t signature_len; /* X-KMS-Response-Signature; 0: absent */
	char signature[KMS_SIGNATURE_TEXT];
} exchange;

/* "127.0.0.1:8000"; addresses other than 127.0.0.0/8 are refused. False: it is none. */
bool client_address(struct sockaddr_in *address, const char *text);

typedef struct client client;

/* In: connections - 1 to CLIENT_MAX_CONNECTIONS, opened when they are needed. */
kms_status client_new(client **made, const struct sockaddr_in *address, unsigned connections);
void client_free(client *c);

/*
 * Sends all requests and waits for all answers. What a list holds is released by the caller,
 * with exchange_clear.
 * Returns: KMS_OK when each has an answer of any status; ERR_TIMEOUT, ERR_CONNECT (closed by
 * the server in the middle included), ERR_HTTP, ERR_MEMORY.
 */
kms_status client_run(client *c, exchange *list, size_t count, uint64_t deadline_ns);

/* Frees an answer, not the request. */
void exchange_clear(exchange *e);

#endif
