#include "measure.h"

#include <secp256k1_recovery.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/secret.h"

#define RUNS 9
#define RUN_NS 10000000u /* least time of a run */
#define MAX_COUNT 1000000u
#define UNIT_COUNT 60u

static int failures;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;
	if (clock_gettime(id, &t) != 0) abort();
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t bench_thread_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_process_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
	if (count == 0) return 0;
	qsort(values, count, sizeof(*values), by_value);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double bench_percentile(double *values, size_t count, double share)
{
	if (count == 0) return 0;
	qsort(values, count, sizeof(*values), by_value);
	size_t at = (size_t)(share * (double)count);
	return values[at < count ? at : count - 1];
}

bench_spread bench_spread_of(double *values, size_t count)
{
	return (bench_spread){ .median = bench_median(values, count),
			       .low = bench_percentile(values, count, 0.25),
			       .high = bench_percentile(values, count, 0.75) };
}

double bench_unit_us(void)
{
	static secp256k1_context *context;
	static const uint8_t key32[32] = { 0x4b, 1, 2, 3, [31] = 0x53 };
	uint8_t digest32[32] = { 1 };

	if (!context) context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
	if (!context) abort();
	uint64_t start = bench_thread_ns();
	for (unsigned i = 0; i < UNIT_COUNT; i++) {
		secp256k1_ecdsa_recoverable_signature signature;
		secp256k1_pubkey key;
		digest32[0] = (uint8_t)i;
		if (!secp256k1_ecdsa_sign_recoverable(context, &signature, digest32, key32, NULL, NULL) ||
		    !secp256k1_ecdsa_recover(context, &key, &signature, digest32))
			abort();
	}
	return (double)(bench_thread_ns() - start) / 1e3 / UNIT_COUNT;
}

static bool run_once(uint64_t *cpu_ns, uint64_t *wall_ns, const bench_case *test, size_t count)
{
	kms_status status = test->prepare ? test->prepare(test->context, count) : KMS_OK;
	if (status != KMS_OK) return bench_failed(test->name, status);
	uint64_t wall = bench_wall_ns(), cpu = bench_process_ns();
	status = test->run(test->context, count);
	*cpu_ns = bench_process_ns() - cpu;
	*wall_ns = bench_wall_ns() - wall;
	return status == KMS_OK || bench_failed(test->name, status);
}

bool bench_measure(bench_figure *figure, const bench_case *test)
{
	size_t max = test->max_count ? test->max_count : MAX_COUNT, count = 1;
	double cpu[RUNS], wall[RUNS], ratio[RUNS];
	uint64_t cpu_ns = 0, wall_ns = 0;

	*figure = (bench_figure){ 0, 0, 0 };
	for (;;) {
		if (!run_once(&cpu_ns, &wall_ns, test, count)) return false;
		if (cpu_ns >= RUN_NS || count == max) break;
		count = count < max / 2 ? count * 2 : max;
	}
	for (int i = 0; i < RUNS; i++) {
		double unit = bench_unit_us();
		if (!run_once(&cpu_ns, &wall_ns, test, count)) return false;
		cpu[i] = (double)cpu_ns / 1e3 / (double)count;
		wall[i] = (double)wall_ns / 1e3 / (double)count;
		ratio[i] = cpu[i] / unit;
	}
	*figure =
	    (bench_figure){ bench_median(cpu, RUNS), bench_median(wall, RUNS), bench_median(ratio, RUNS) };
	return true;
}

void bench_row(const bench_case *test)
{
	bench_figure figure;
	if (!bench_measure(&figure, test)) return;
	printf("  %-42s %12.3f %12.3f %10.4f\n", test->name, figure.cpu_us, figure.wall_us, figure.ratio);
	(void)fflush(stdout);
}

void bench_title(const char *title)
{
	printf("\n%-44s %12s %12s %10s\n", title, "CPU us", "wall us", "x unit");
}

static void target(const char *what, double value, const char *relation, double wanted, bool ok)
{
	printf("  target: %-47s %8.2f  %s %.2f  %s\n", what, value, relation, wanted, ok ? "ok" : "over");
	(void)fflush(stdout);
}

void bench_at_most(const char *what, double value, double wanted)
{
	target(what, value, "<=", wanted, value <= wanted);
}

static void median(const char *what, const bench_spread *rounds, const char *relation, double wanted, bool ok)
{
	printf("  target: %-47s %8.2f  %s %.2f  %s  (rounds: %.2f to %.2f)\n", what, rounds->median, relation,
	       wanted, ok ? "ok" : "over", rounds->low, rounds->high);
	(void)fflush(stdout);
}

void bench_median_at_most(const char *what, const bench_spread *rounds, double wanted)
{
	median(what, rounds, "<=", wanted, rounds->median <= wanted);
}

void bench_median_at_least(const char *what, const bench_spread *rounds, double wanted)
{
	median(what, rounds, ">=", wanted, rounds->median >= wanted);
}

void bench_at_least(const char *what, double value, double wanted)
{
	target(what, value, ">=", wanted, value >= wanted);
}

bool bench_failed(const char *what, kms_status status)
{
	fprintf(stderr, "bench: %s: %s\n", what, kms_status_name(status));
	failures++;
	return false;
}

int bench_exit(void)
{
	return failures ? 1 : 0;
}

bool bench_begin(void)
{
	kms_status status = kms_guarded_init(KMS_GUARDED_DEFAULT_BYTES);
	/* Where the memlock limit is lower, the smallest arena is enough. */
	if (status == KMS_ERR_MLOCK) status = kms_guarded_init(KMS_GUARDED_MIN_BYTES);
	if (status == KMS_OK) status = kms_crypto_init();
	return status == KMS_OK || bench_failed("guarded memory and algorithms", status);
}
