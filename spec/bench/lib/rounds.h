/*
 * Rounds of load: nonces are fetched, requests signed and encrypted, sent and checked. The
 * node's CPU time is taken around each phase, and the unit measured between them, while the
 * node rests.
 */
#ifndef KMS_BENCH_ROUNDS_H
#define KMS_BENCH_ROUNDS_H

#include "app.h"
#include "client.h"

#define LOAD_MAX_REQUESTS 100000u
#define LOAD_MAX_ROUNDS 50u

/* A load on a node: who asks, how much, and room for one round. */
typedef struct load {
	struct sockaddr_in address;
	app app;
	client *client;
	int pid;
	size_t count; /* requests a round */
	unsigned connections;
	unsigned rounds;
	uint64_t deadline_ns;
	exchange *nonces, *answers;
	app_request *requests;
	double *times;
} load;

/* One phase of a round, or the medians of all rounds; times in microseconds. */
typedef struct phase {
	double rate, p50, p99, cpu;
} phase;

typedef struct result {
	phase nonce, request;
	double both_ratio, request_ratio; /* by the unit of the same round */
} result;

/* In: l - address, connections, count, rounds, pid, deadline_ns set; the rest is made here. */
kms_status load_open(load *l);
void load_close(load *l);

/* Sends a list; each answer must be a 200. */
kms_status load_phase(phase *p, load *l, exchange *list, size_t count);
/* Fetches `count` nonces, one a request; signs and encrypts the requests that use them. */
kms_status load_nonces(phase *p, load *l, size_t count);
kms_status load_write(load *l, app_operation operation, size_t value_len, size_t count);
/* Frees the requests and answers of a round. */
void load_clear(load *l, size_t count);

/* All of it, with a sample of the answers checked. */
kms_status load_round(result *r, load *l, app_operation operation, size_t value_len, size_t count);

/* Medians of results, field by field. */
void load_medians(result *out, const result *results, unsigned count);

#endif
