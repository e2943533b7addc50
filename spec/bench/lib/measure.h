/*
 * What the benchmarks share: clocks, medians, and the unit that figures are compared with,
 * which is measured next to each of them: one secp256k1 public key recovery and one
 * recoverable signature by libsecp256k1 itself, without any code of ours around them.
 */
#ifndef KMS_BENCH_MEASURE_H
#define KMS_BENCH_MEASURE_H

#include "kms/kms.h"

uint64_t bench_wall_ns(void);
uint64_t bench_thread_ns(void);  /* CPU time of this thread */
uint64_t bench_process_ns(void); /* CPU time of all threads */

/* Both sort `values`. Median; the value that a share (0 to 1) of all are not above. */
double bench_median(double *values, size_t count);
double bench_percentile(double *values, size_t count, double share);

/* CPU time of one recovery and one signature, in microseconds, over a few milliseconds. */
double bench_unit_us(void);

/* One line of a table: its operation is run often enough to be measured, several times. */
typedef struct bench_case {
	const char *name;
	/* Does the operation `count` times. */
	kms_status (*run)(void *context, size_t count);
	/* Makes ready for such a run, not measured; may be NULL. */
	kms_status (*prepare)(void *context, size_t count);
	void *context;
	size_t max_count; /* bound on `count`; 0: 1 million */
} bench_case;

/* Medians over the runs of a case, of one operation. */
typedef struct bench_figure {
	double cpu_us;
	double wall_us;
	double ratio; /* CPU time by the unit's */
} bench_figure;

/* Measures without printing; a failure is printed and remembered for bench_exit. */
bool bench_measure(bench_figure *figure, const bench_case *test);
/* Measures and prints a line. */
void bench_row(const bench_case *test);
/* Heading of a table of such lines. */
void bench_title(const char *title);

/* Prints a figure beside its target, with "ok" or "over". */
void bench_at_most(const char *what, double value, double target);
void bench_at_least(const char *what, double value, double target);

/* Says what did not work; false, so that `return bench_failed(...)` reads well. */
bool bench_failed(const char *what, kms_status status);
/* Exit status of the program: 0 unless something failed to run. */
int bench_exit(void);

/* Arena and algorithms, as every program begins; false after a message. */
bool bench_begin(void);

#endif
