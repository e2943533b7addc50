/*
 * Clocks, medians, and the unit in which benchmarks are expressed: one secp256k1 public key recovery and
 * one recoverable signature, by libsecp256k1 alone. It is measured next to each figure, so that figures of
 * different machines compare.
 */
#ifndef KMS_BENCH_MEASURE_H
#define KMS_BENCH_MEASURE_H

#include "kms/kms.h"

uint64_t bench_wall_ns(void);
uint64_t bench_thread_ns(void);  /* CPU time of this thread */
uint64_t bench_process_ns(void); /* CPU time of all threads */

/* The median, and the value at a share (0 to 1) of all values in order. Both sort `values`. */
double bench_median(double *values, size_t count);
double bench_percentile(double *values, size_t count, double share);

/* The median of a figure's rounds, and the quartiles: half of the rounds lie between them. */
typedef struct bench_spread {
	double median, low, high;
} bench_spread;

/* Sorts `values`. */
bench_spread bench_spread_of(double *values, size_t count);

/* The unit in microseconds of CPU time, measured over a few milliseconds: around each round of a load, since
   it changes with what else the machine does. */
double bench_unit_us(void);

/* One line of a table. The operation is repeated until it takes measurable time, in several runs. */
typedef struct bench_case {
	const char *name;
	/* Does the operation `count` times. */
	kms_status (*run)(void *context, size_t count);
	/* Prepares a run, not measured; may be NULL. */
	kms_status (*prepare)(void *context, size_t count);
	void *context;
	size_t max_count; /* bound on `count`; 0: 1 million */
} bench_case;

/* Medians over the runs of a case, for one operation. */
typedef struct bench_figure {
	double cpu_us;
	double wall_us;
	double ratio; /* CPU time in units */
} bench_figure;

/* Measures without printing. Prints a failure and remembers it for bench_exit. */
bool bench_measure(bench_figure *figure, const bench_case *test);
/* Measures and prints a line. */
void bench_row(const bench_case *test);
/* Heading of a table of such lines. */
void bench_title(const char *title);

/* Prints a figure beside its target, with "ok" or "over". */
void bench_at_most(const char *what, double value, double target);
void bench_at_least(const char *what, double value, double target);
/* The median of rounds beside its target, and how far the rounds lie apart. */
void bench_median_at_most(const char *what, const bench_spread *rounds, double target);
void bench_median_at_least(const char *what, const bench_spread *rounds, double target);

/* Prints a failure and remembers it for bench_exit. Returns false, for `return bench_failed(...)`. */
bool bench_failed(const char *what, kms_status status);
/* Exit status of the program: 0 unless something failed. */
int bench_exit(void);

/* Sets up the arena and the algorithms; on failure prints why and returns false. */
bool bench_begin(void);

#endif
