/*
 * One whole derive in process, as the node's thread pool does it: proof of possession, opening,
 * execution, sealing, response signature. Then the same on one thread and on two.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/kdf.h"
#include "kms/nonce.h"
#include "kms/p384.h"
#include "kms/pop.h"
#include "kms/request.h"
#include "kms/wallet.h"
#include "lib/measure.h"

#define APP 49
#define NOW_S 1700000000u
#define LETTERS 4096u
#define ONE_RUN 256u
#define BODY 1024u
#define PAIRS 15

/* A request of the application, for one use. */
typedef struct letter {
	char nonce[KMS_NONCE_TEXT];
	char signature[KMS_SIGNATURE_TEXT];
	char body[BODY];
	size_t body_len;
} letter;

typedef struct node {
	kms_secret *master;
	kms_wallet *wallet, *app_wallet;
	kms_p384 *key, *app_key;
	kms_channels *channels;
	kms_nonces *nonces;
	kms_store *store;
	uint64_t mono_s;
	uint8_t own20[20];
	letter *letters;
} node;

static kms_status wallet_new(kms_wallet **wallet)
{
	kms_secret *key32 = NULL;
	GUARD(kms_secret_random(&key32, 32));
	kms_status status = kms_wallet_new(wallet, key32);
	kms_secret_unref(key32);
	return status;
}

static kms_status set_up(node *n)
{
	const kms_store_config config = {
		.self20 = { 1 },
		.max_key = 4096,
		.max_value = 1u << 20,
		.max_app_bytes = 10u << 20,
		.max_total_bytes = 512u << 20,
		.max_namespaces = 10000,
		.max_tombstones = 100000,
		.tombstone_retention_ms = 86400000,
		.max_clock_skew_ms = 15000,
	};
	kms_secret *channel = NULL;
	GUARD(kms_store_new(&n->store, &config));
	GUARD(kms_secret_random(&n->master, KMS_MASTER_BYTES));
	GUARD(wallet_new(&n->wallet));
	GUARD(wallet_new(&n->app_wallet));
	GUARD(kms_p384_generate(&n->key));
	GUARD(kms_p384_generate(&n->app_key));
	GUARD(kms_channels_new(&n->channels, 1024));
	GUARD(kms_channels_get(&channel, n->channels, n->key, kms_p384_public(n->app_key)));
	kms_secret_unref(channel);
	GUARD(kms_nonces_new(&n->nonces, 120));
	kms_wallet_address(n->own20, n->wallet);
	n->mono_s = 1000;
	n->letters = kms_heap_alloc(LETTERS, sizeof(letter));
	return n->letters ? KMS_OK : KMS_ERR_MEMORY;
}

/* The application's side of one request. */
static kms_status write_letter(letter *l, node *n, const kms_secret *channel)
{
	char plain[320];
	GUARD(kms_nonces_issue(l->nonce, n->nonces, n->mono_s));
	GUARD(kms_pop_sign(l->signature, n->app_wallet, KMS_POP_APP, (kms_text){ l->nonce, KMS_NONCE_TEXT },
			   n->own20, NOW_S));
	int len = snprintf(plain, sizeof(plain), "{\"length\":32,\"path\":\"wallets/main\",\"pop\":\"%.*s\"}",
			   KMS_SIGNATURE_TEXT, l->signature);
	ENSURE(len > 0 && (size_t)len < sizeof(plain), KMS_ERR_RANGE);
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, BODY);
	kms_status status =
	    kms_envelope_seal(&body, channel, kms_p384_public(n->app_key), kms_span_of(plain, (size_t)len));
	l->body_len = body.len;
	if (status == KMS_OK) memcpy(l->body, body.data, body.len);
	kms_buf_free(&body);
	return status;
}

static kms_status write_letters(void *context, size_t count)
{
	node *n = context;
	kms_status status = KMS_OK;
	kms_secret *channel = kms_channels_find(n->channels, n->key, kms_p384_public(n->app_key));
	ENSURE(channel, KMS_ERR_NOT_FOUND);
	n->mono_s += 121;
	for (size_t i = 0; i < count && status == KMS_OK; i++)
		status = write_letter(&n->letters[i], n, channel);
	kms_secret_unref(channel);
	return status;
}

static kms_status authenticate(uint8_t caller20[20], node *n, const letter *l)
{
	const kms_pop pop = { .domain = KMS_POP_APP,
			      .signature = { l->signature, KMS_SIGNATURE_TEXT },
			      .nonce = { l->nonce, KMS_NONCE_TEXT },
			      .timestamp = { "1700000000", 10 } };
	return kms_pop_check(caller20, n->nonces, &pop, n->own20, NOW_S, n->mono_s, 120);
}

static kms_status make_reply(kms_buf *sealed, kms_buf *plain, kms_request *request, node *n, letter *l)
{
	const kms_request_limits limits = { .max_value = 1u << 20, .max_key = 4096 };
	const kms_text signature = { l->signature, KMS_SIGNATURE_TEXT };
	const uint8_t *peer97 = kms_p384_public(n->app_key);
	const char *field = NULL;
	kms_envelope envelope;

	GUARD(kms_envelope_parse(&envelope, l->body, l->body_len));
	GUARD(kms_envelope_check_sender(&envelope, peer97));
	kms_secret *channel = kms_channels_find(n->channels, n->key, peer97);
	ENSURE(channel, KMS_ERR_NOT_FOUND);
	kms_status status = kms_envelope_open(plain, &envelope, channel);
	if (status == KMS_OK) status = kms_request_parse(request, &field, plain, KMS_REQUEST_DERIVE, &limits);
	if (status == KMS_OK) status = kms_request_check_pop(request, signature, true);
	if (status == KMS_OK) {
		const kms_execution execution = { .app_id = APP,
						  .master = n->master,
						  .store = n->store,
						  .now_ms = NOW_S * 1000ull,
						  .pop = signature };
		status = kms_request_execute(plain, request, &execution);
	}
	if (status == KMS_OK)
		status = kms_envelope_seal(sealed, channel, kms_p384_public(n->key), kms_buf_span(plain));
	kms_secret_unref(channel);
	return status;
}

static kms_status derive_one(node *n, letter *l)
{
	uint8_t caller20[20];
	char next[KMS_NONCE_TEXT], signature[KMS_SIGNATURE_TEXT];

	GUARD(authenticate(caller20, n, l));
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1u << 20);
	kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, 1u << 20);
	kms_request request = { .kind = KMS_REQUEST_DERIVE };
	kms_status status = make_reply(&sealed, &plain, &request, n, l);
	kms_request_clear(&request);
	kms_buf_free(&plain);
	kms_buf_free(&sealed);
	GUARD(status);
	GUARD(kms_response_sign(signature, n->wallet, (kms_text){ l->signature, KMS_SIGNATURE_TEXT }));
	return kms_nonces_issue(next, n->nonces, n->mono_s);
}

static kms_status run_derive(void *context, size_t count)
{
	node *n = context;
	for (size_t i = 0; i < count; i++)
		GUARD(derive_one(n, &n->letters[i]));
	return KMS_OK;
}

static kms_status run_authenticate(void *context, size_t count)
{
	node *n = context;
	uint8_t caller20[20];
	for (size_t i = 0; i < count; i++)
		GUARD(authenticate(caller20, n, &n->letters[i]));
	return KMS_OK;
}

static kms_status run_reply(void *context, size_t count)
{
	node *n = context;
	for (size_t i = 0; i < count; i++) {
		kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1u << 20);
		kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, 1u << 20);
		kms_request request = { .kind = KMS_REQUEST_DERIVE };
		kms_status status = make_reply(&sealed, &plain, &request, n, &n->letters[i]);
		kms_request_clear(&request);
		kms_buf_free(&plain);
		kms_buf_free(&sealed);
		GUARD(status);
	}
	return KMS_OK;
}

/* ---- threads -------------------------------------------------------------------------------- */

/* What the threads do: whole derives, or units, which share nothing and so show what the machine gives. */
typedef enum workload { DERIVES, UNITS, WORKLOADS } workload;

#define UNIT_RUNS 32

typedef struct share {
	node *node;
	workload load;
	size_t from, to; /* letters; of UNITS, runs */
	pthread_barrier_t *start;
	uint64_t begun_ns, ended_ns;
	kms_status status;
} share;

/* A thread looks at the clock itself: while all cores work, nobody else may get to it. */
static void *work(void *context)
{
	share *s = context;
	(void)pthread_barrier_wait(s->start);
	s->begun_ns = bench_wall_ns();
	for (size_t i = s->from; i < s->to && s->status == KMS_OK; i++) {
		if (s->load == UNITS)
			(void)bench_unit_us();
		else
			s->status = derive_one(s->node, &s->node->letters[i]);
	}
	s->ended_ns = bench_wall_ns();
	return NULL;
}

/* What 1 or 2 threads do a second, which divide the work. */
static kms_status rate_of(double *rate, node *n, workload load, unsigned threads)
{
	pthread_t ids[2];
	share shares[2];
	pthread_barrier_t start;
	unsigned made = 0;
	size_t count = load == UNITS ? UNIT_RUNS : LETTERS;

	if (load == DERIVES) GUARD(write_letters(n, LETTERS));
	if (pthread_barrier_init(&start, NULL, threads) != 0) return KMS_ERR_SYSTEM;
	for (; made < threads; made++) {
		size_t part = count / threads;
		shares[made] = (share){ n, load, made * part, (made + 1) * part, &start, 0, 0, KMS_OK };
		/* With a thread missing, the others would wait at the barrier forever. */
		if (pthread_create(&ids[made], NULL, work, &shares[made]) != 0) abort();
	}
	kms_status status = KMS_OK;
	uint64_t begun = UINT64_MAX, ended = 0;
	for (unsigned i = 0; i < threads; i++) {
		(void)pthread_join(ids[i], NULL);
		if (status == KMS_OK) status = shares[i].status;
		if (shares[i].begun_ns < begun) begun = shares[i].begun_ns;
		if (shares[i].ended_ns > ended) ended = shares[i].ended_ns;
	}
	*rate = (double)count * 1e9 / (double)(ended - begun);
	(void)pthread_barrier_destroy(&start);
	return status;
}

/* One thread and two by turns, so that what else the machine does meets both. */
static kms_status bench_threads(node *n)
{
	static double rates[WORKLOADS][2][PAIRS], by_one[WORKLOADS][PAIRS];
	for (int i = 0; i < PAIRS; i++) {
		for (workload load = DERIVES; load < WORKLOADS; load++) {
			for (unsigned threads = 1; threads <= 2; threads++)
				GUARD(rate_of(&rates[load][threads - 1][i], n, load, threads));
			by_one[load][i] = rates[load][1][i] / rates[load][0][i];
		}
	}
	printf("  %-42s %12.0f a second\n", "derive, one thread", bench_median(rates[DERIVES][0], PAIRS));
	printf("  %-42s %12.0f a second\n", "derive, two threads", bench_median(rates[DERIVES][1], PAIRS));
	const bench_spread units = bench_spread_of(by_one[UNITS], PAIRS);
	printf("  %-42s %12.2f  (rounds: %.2f to %.2f)\n", "units, two threads by one", units.median,
	       units.low, units.high);
	const bench_spread derives = bench_spread_of(by_one[DERIVES], PAIRS);
	bench_median_at_least("derives, two threads by one", &derives, 1.7);
	return KMS_OK;
}

int main(void)
{
	static node n;
	if (!bench_begin()) return 1;
	kms_status status = set_up(&n);
	if (status == KMS_OK) {
		bench_title("A derive in process");
		bench_row(
		    &(bench_case){ "proof of possession", run_authenticate, write_letters, &n, ONE_RUN });
		bench_row(
		    &(bench_case){ "open, parse, derive, seal", run_reply, write_letters, &n, ONE_RUN });
		bench_row(&(bench_case){ "whole derive", run_derive, write_letters, &n, ONE_RUN });
		status = bench_threads(&n);
	}
	if (status != KMS_OK) (void)bench_failed("derive", status);
	kms_heap_free(n.letters);
	return bench_exit();
}
