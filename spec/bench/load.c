/*
 * Load on a node on this machine: fetches nonces, signs and encrypts requests as a client does,
 * sends them over keep-alive connections, and checks the replies. The node is idle while this
 * program prepares and checks, so that neither takes the other's cores.
 *
 * load port                               prints a free port
 * load wait ADDRESS SECONDS               waits until GET /ready says 200
 * load run ADDRESS PID SEED [CONNECTIONS [REQUESTS [ROUNDS]]]
 *                                         MASTER_SECRET_HEX: what the node was started with
 * load odyn ...                           the same for a node with TEE=odyn: the CPU time of its own
 *                                         process, while a service has the keys
 * load health ...                         the time of GET /health while derives run
 * load pairs ...                          derives with their nonces alone, for strace and perf
 * load sessions ...                       openings and messages of sessions alone
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "lib/measure.h"
#include "lib/rounds.h"
#include "lib/session.h"

#define MAX_PROBES 20000u
#define RUN_SECONDS 600u

/* ---- tables --------------------------------------------------------------------------------- */

static void print_head(const char *what)
{
	printf("\n%-36s %10s %10s %10s %12s %8s\n", what, "a second", "p50 us", "p99 us", "server CPU",
	       "x unit");
}

static void print_requests(const char *name, const summary *s)
{
	const phase *p = &s->request;
	printf("  %-34s %10.0f %10.0f %10.0f %12.1f %8.2f\n", name, p->rate, p->p50, p->p99, p->cpu,
	       s->request_ratio.median);
	(void)fflush(stdout);
}

/* Rounds of one operation, `count` requests each, after one round to warm up. */
static kms_status bench_operation(summary *out, const char *name, load *l, app_operation operation,
				  size_t value_len, size_t count)
{
	result results[LOAD_MAX_ROUNDS];
	char both[64];

	GUARD(load_round(&results[0], l, operation, value_len, count));
	for (unsigned i = 0; i < l->rounds; i++)
		GUARD(load_round(&results[i], l, operation, value_len, count));
	*out = load_summary(results, l->rounds);
	print_requests(name, out);
	(void)snprintf(both, sizeof(both), "%s with its nonce", name);
	printf("  %-34s %32s %12.1f %8.2f\n", both, "", out->nonce.cpu + out->request.cpu,
	       out->both_ratio.median);
	return KMS_OK;
}

/* Rounds of a GET, which needs no cryptography. */
static kms_status bench_get(summary *out, const char *name, load *l, const char *path)
{
	char text[96];
	result results[LOAD_MAX_ROUNDS];

	(void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
	for (unsigned i = 0; i <= l->rounds; i++) {
		unsigned at = i ? i - 1 : 0; /* the first round warms up */
		for (size_t j = 0; j < l->count; j++)
			l->replies[j] = (exchange){ .request = { text, strlen(text) } };
		results[at] = (result){ 0 };
		double unit = bench_unit_us();
		GUARD(load_phase(&results[at].request, l, l->replies, l->count));
		unit = (unit + bench_unit_us()) / 2;
		results[at].request_ratio = results[at].request.cpu / unit;
	}
	*out = load_summary(results, l->rounds);
	print_requests(name, out);
	return KMS_OK;
}

/* ---- health under load ---------------------------------------------------------------------- */

typedef struct prober {
	const load *load;
	atomic_bool stop;
	double times[MAX_PROBES];
	size_t count;
	kms_status status;
} prober;

static void pause_us(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };
	(void)nanosleep(&t, NULL);
}

static kms_status probe(prober *p, client *c)
{
	static const char get[] = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	while (!atomic_load(&p->stop) && p->count < MAX_PROBES) {
		exchange e = { .request = { get, sizeof(get) - 1 } };
		GUARD(client_run(c, &e, 1, p->load->deadline_ns));
		ENSURE(e.status == 200, KMS_ERR_HTTP);
		p->times[p->count++] = e.took_us;
		pause_us(1000);
	}
	return KMS_OK;
}

static void *probe_thread(void *context)
{
	prober *p = context;
	client *c = NULL;
	p->status = client_new(&c, &p->load->address, 1);
	if (p->status == KMS_OK) p->status = probe(p, c);
	client_free(c);
	return NULL;
}

/* Rounds of derives, while another connection requests /health without pause. */
static kms_status derive_and_probe(summary *loaded, prober *p, load *l)
{
	result results[LOAD_MAX_ROUNDS] = { 0 };
	kms_status status = KMS_OK;

	for (unsigned i = 0; i < l->rounds && status == KMS_OK; i++) {
		pthread_t thread;
		status = load_nonces(&results[i].nonce, l, l->count);
		if (status == KMS_OK) status = load_write(l, APP_DERIVE, 0, l->count);
		atomic_store(&p->stop, false);
		if (status == KMS_OK && pthread_create(&thread, NULL, probe_thread, p) != 0)
			status = KMS_ERR_SYSTEM;
		if (status == KMS_OK) {
			status = load_phase(&results[i].request, l, l->replies, l->count);
			atomic_store(&p->stop, true);
			(void)pthread_join(thread, NULL);
			if (status == KMS_OK) status = p->status;
		}
		load_clear(l, l->count);
	}
	if (status == KMS_OK) *loaded = load_summary(results, l->rounds);
	return status;
}

/* The time of one derive on the only connection to the node. */
static kms_status derive_alone(result *alone, load *l)
{
	client *many = l->client;
	size_t count = l->count < 500 ? l->count : 500;
	GUARD(client_new(&l->client, &l->address, 1));
	kms_status status = load_round(alone, l, APP_DERIVE, 0, count);
	if (status == KMS_OK) status = load_round(alone, l, APP_DERIVE, 0, count);
	client_free(l->client);
	l->client = many;
	return status;
}

static kms_status bench_health(load *l)
{
	result alone = { 0 };
	summary loaded = { 0 };
	print_head("Health of a node that derives");
	prober *p = kms_heap_alloc(1, sizeof(*p));
	ENSURE(p, KMS_ERR_MEMORY);
	p->load = l;
	kms_status status = derive_alone(&alone, l);
	if (status == KMS_OK) status = derive_and_probe(&loaded, p, l);
	if (status == KMS_OK) {
		double p50 = bench_percentile(p->times, p->count, 0.5);
		double p99 = bench_percentile(p->times, p->count, 0.99);
		printf("  %-34s %10s %10.0f %10.0f\n", "derive, one connection alone", "", alone.request.p50,
		       alone.request.p99);
		printf("  %-34s %10.0f %10.0f %10.0f\n", "derive, while health is asked for",
		       loaded.request.rate, loaded.request.p50, loaded.request.p99);
		printf("  %-34s %10s %10.0f %10.0f\n", "GET /health under derive load", "", p50, p99);
		bench_at_most("p50 of health by the time of one derive", p50 / alone.request.p50, 3.0);
	}
	kms_heap_free(p);
	return status;
}

/* ---- commands ------------------------------------------------------------------------------- */

static int print_free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return 1;
	printf("%u\n", ntohs(address.sin_port));
	return close(fd) == 0 ? 0 : 1;
}

/* A single GET; the caller clears the reply. */
static kms_status get(exchange *e, const struct sockaddr_in *address, const char *path, uint64_t deadline_ns)
{
	char text[96];
	client *c = NULL;
	int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
	*e = (exchange){ .request = { text, (size_t)len }, .keep = true };
	GUARD(client_new(&c, address, 1));
	kms_status status = client_run(c, e, 1, deadline_ns);
	client_free(c);
	return status;
}

static int wait_ready(const struct sockaddr_in *address, unsigned seconds)
{
	uint64_t deadline_ns = bench_wall_ns() + seconds * 1000000000ull;
	while (bench_wall_ns() < deadline_ns) {
		exchange e;
		kms_status status = get(&e, address, "/ready", deadline_ns);
		unsigned code = e.status;
		exchange_clear(&e);
		if (status == KMS_OK && code == 200) return 0;
		pause_us(50000);
	}
	fprintf(stderr, "load: the node is not ready after %u s\n", seconds);
	return 1;
}

static kms_status open_load(load *l, const char *host, const char *seed_path, const char *master_hex)
{
	exchange e;
	l->deadline_ns = bench_wall_ns() + RUN_SECONDS * 1000000000ull;
	GUARD(load_open(l));
	kms_status status = get(&e, &l->address, "/status", l->deadline_ns);
	if (status == KMS_OK)
		status = app_open(&l->app, host, seed_path, master_hex, (char *)e.body.data, e.body.len);
	exchange_clear(&e);
	return status;
}

/* A derive and a put take three calls to the service, a get two; only the node's CPU time counts. */
static kms_status bench_odyn(load *l)
{
	result alone = { 0 };
	summary derive, out;

	print_head("Requests to a node with TEE=odyn");
	GUARD(bench_operation(&derive, "derive", l, APP_DERIVE, 0, l->count));
	bench_median_at_most("server CPU of a derive with its nonce, x unit", &derive.both_ratio, 2.6);
	GUARD(bench_operation(&out, "put 256 bytes", l, APP_PUT, 256, l->count));
	GUARD(bench_operation(&out, "get 256 bytes", l, APP_GET, 256, l->count));
	GUARD(derive_alone(&alone, l));
	printf("  %-34s %10s %10.0f %10.0f\n", "derive, one connection alone", "", alone.request.p50,
	       alone.request.p99);
	return KMS_OK;
}

/* Only derives, each with its nonce: what strace and perf look at. */
static kms_status bench_pairs(load *l)
{
	summary derive;
	print_head("Pairs of a nonce and a derive");
	return bench_operation(&derive, "derive", l, APP_DERIVE, 0, l->count);
}

static kms_status bench_sessions(load *l)
{
	print_head("Messages of a session, to a node");
	return session_bench(l);
}

static kms_status bench_node(load *l)
{
	summary derive, out;
	size_t few = l->count < 50 ? l->count : 50;

	print_head("Requests to a node");
	GUARD(bench_get(&out, "GET /health", l, "/health"));
	bench_median_at_most("server CPU of GET /health, x unit", &out.request_ratio, 0.2);
	GUARD(bench_get(&out, "GET /nonce", l, "/nonce"));
	GUARD(bench_operation(&derive, "derive", l, APP_DERIVE, 0, l->count));
	bench_median_at_most("server CPU of a derive with its nonce, x unit", &derive.both_ratio, 1.8);
	GUARD(bench_operation(&out, "put 256 bytes", l, APP_PUT, 256, l->count));
	GUARD(bench_operation(&out, "get 256 bytes", l, APP_GET, 256, l->count));
	GUARD(bench_operation(&out, "put 32 KiB", l, APP_PUT, 32768, few));
	GUARD(bench_operation(&out, "get 32 KiB", l, APP_GET, 32768, few));
	return bench_sessions(l);
}

typedef kms_status load_bench(load *l);

/* NULL for any other name. */
static load_bench *bench_named(const char *name)
{
	static const struct {
		const char *name;
		load_bench *bench;
	} all[] = { { "run", bench_node },
		    { "health", bench_health },
		    { "odyn", bench_odyn },
		    { "pairs", bench_pairs },
		    { "sessions", bench_sessions } };
	for (size_t i = 0; i < KMS_ARRAY_LEN(all); i++)
		if (strcmp(all[i].name, name) == 0) return all[i].bench;
	return NULL;
}

static bool number(unsigned *value, const char *text, unsigned min, unsigned max)
{
	uint64_t parsed = 0;
	if (kms_decimal_parse(&parsed, kms_text_from(text)) != KMS_OK || parsed < min || parsed > max)
		return false;
	*value = (unsigned)parsed;
	return true;
}

static int run_load(load *l, const char *host, const char *seed_path, load_bench *bench)
{
	const char *master_hex = getenv("MASTER_SECRET_HEX");
	if (!bench_begin()) return 1;
	kms_status status = master_hex ? open_load(l, host, seed_path, master_hex) : KMS_ERR_FIELD_MISSING;
	if (status == KMS_OK) status = bench(l);
	load_close(l);
	if (status != KMS_OK) (void)bench_failed("load", status);
	return bench_exit();
}

int main(int argc, char **argv)
{
	static load l;
	unsigned value = 0, count = 500;

	if (argc == 2 && strcmp(argv[1], "port") == 0) return print_free_port();
	bool wait = argc == 4 && strcmp(argv[1], "wait") == 0;
	load_bench *bench = argc >= 5 && argc <= 8 ? bench_named(argv[1]) : NULL;
	if ((!wait && !bench) || !number(&value, argv[3], 1, 4194304)) {
		fprintf(
		    stderr,
		    "usage: load port | wait ADDRESS SECONDS | "
		    "run|health|odyn|pairs|sessions ADDRESS PID SEED [CONNECTIONS [REQUESTS [ROUNDS]]]\n");
		return 2;
	}
	if (!client_address(&l.address, argv[2])) {
		fprintf(stderr, "load: %s: only 127.0.0.0/8 with a port is accepted\n", argv[2]);
		return 2;
	}
	if (wait) return wait_ready(&l.address, value);
	l.pid = (int)value;
	l.connections = 32;
	l.rounds = 35; /* short ones: what else the machine does meets a request and the unit alike */
	if ((argc > 5 && !number(&l.connections, argv[5], 1, CLIENT_MAX_CONNECTIONS)) ||
	    (argc > 6 && !number(&count, argv[6], 1, LOAD_MAX_REQUESTS)) ||
	    (argc > 7 && !number(&l.rounds, argv[7], 1, LOAD_MAX_ROUNDS))) {
		fprintf(stderr, "load: at most %u connections, %u requests, %u rounds\n",
			CLIENT_MAX_CONNECTIONS, LOAD_MAX_REQUESTS, LOAD_MAX_ROUNDS);
		return 2;
	}
	l.count = count;
	return run_load(&l, argv[2], argv[4], bench);
}
