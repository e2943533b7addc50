/*
 * Rounds of load: fetches nonces, signs and encrypts requests, sends them and checks the replies. Takes
 * the node's CPU time around each phase, and measures the unit between phases, while the node is idle.
 */
#ifndef KMS_BENCH_ROUNDS_H
#define KMS_BENCH_ROUNDS_H

#include "app.h"
#include "client.h"
#include "measure.h"

#define LOAD_MAX_REQUESTS 100000u
#define LOAD_MAX_ROUNDS 50u

/* A load on a node: the application, the numbers, and memory for one round. */
typedef struct load {
	struct sockaddr_in address;
	app app;
	client *client;
	int pid;
	size_t count; /* requests a round */
	unsigned connections;
	unsigned rounds;
	uint64_t deadline_ns;
	exchange *nonces, *replies;
	app_request *requests;
	double *times;
} load;

/* One phase of a round, or the medians of all rounds; times in microseconds, of one request. */
typedef struct phase {
	double rate, p50, p99, cpu;
} phase;

typedef struct result {
	phase nonce, request;
	double both_ratio, request_ratio; /* CPU time, in units of the same round */
} result;

/* All rounds of a load. */
typedef struct summary {
	phase nonce, request;
	bench_spread both_ratio, request_ratio;
} summary;

/* In-out: l - address, connections, count, rounds, pid and deadline_ns are set; makes the rest. */
kms_status load_open(load *l);
void load_close(load *l);

/* Sends a list; each reply must be a 200. */
kms_status load_phase(phase *p, load *l, exchange *list, size_t count);
/* Fetches a nonce for each request; then load_write signs and encrypts the requests. */
kms_status load_nonces(phase *p, load *l, size_t count);
kms_status load_write(load *l, app_operation operation, size_t value_len, size_t count);
/* Frees the requests and replies of a round. */
void load_clear(load *l, size_t count);

/* One whole round; checks a sample of the replies. */
kms_status load_round(result *r, load *l, app_operation operation, size_t value_len, size_t count);

/* The medians of results, field by field. */
summary load_summary(const result *results, unsigned count);

#endif
