/*
 * A small HTTP/1.1 client for load: sends prepared requests over keep-alive connections to a server on
 * this machine, one at a time on each connection. A client is used by one thread at a time.
 */
#ifndef KMS_BENCH_CLIENT_H
#define KMS_BENCH_CLIENT_H

#include <netinet/in.h>

#include "kms/buf.h"
#include "kms/eth_text.h"
#include "kms/nonce.h"
#include "kms/pop.h"

#define CLIENT_MAX_CONNECTIONS 256u

/* A request and its reply. */
typedef struct exchange {
	kms_text request; /* borrowed: head and body as sent */
	bool keep;        /* whether the reply's body is kept */
	unsigned status;  /* 0: no reply */
	double took_us;   /* from the first byte sent to the last received */
	kms_buf body;
	size_t signature_len; /* X-KMS-Response-Signature; 0: absent */
	char signature[KMS_SIGNATURE_TEXT];
} exchange;

/* Parses "127.0.0.1:8000". False for any other text, and for addresses outside 127.0.0.0/8. */
bool client_address(struct sockaddr_in *address, const char *text);

typedef struct client client;

/* In: connections - 1 to CLIENT_MAX_CONNECTIONS, opened at first use. */
kms_status client_new(client **made, const struct sockaddr_in *address, unsigned connections);
void client_free(client *c);

/*
 * Sends all requests and waits for all replies. The caller frees the replies with exchange_clear.
 * Returns: KMS_OK when each has a reply of any status; ERR_TIMEOUT; ERR_CONNECT, also when the server
 * closes a connection in the middle; ERR_HTTP; ERR_MEMORY.
 */
kms_status client_run(client *c, exchange *list, size_t count, uint64_t deadline_ns);

/* Frees a reply, not the request. */
void exchange_clear(exchange *e);

#endif
