/*
 * A test program is one .c file: TEST(name) { ... } blocks with CHECKs, and RUN_TESTS at the
 * end that names them. A failed CHECK prints where and what, and ends its test. The program
 * closes with "N passed, N failed" and a matching exit status.
 */
#ifndef KMS_SPEC_TEST_H
#define KMS_SPEC_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/crypto.h"
#include "kms/kms.h"
#include "kms/secret.h"

typedef struct test_case {
	const char *name;
	void (*run)(int *failed_);
} test_case;

#define TEST(name) static void name(int *failed_)

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #cond); \
			*failed_ = 1;                                                            \
			return;                                                                  \
		}                                                                                \
	} while (0)

/* The call must return exactly `want`. */
#define CHECK_STATUS(want, call)                                                                   \
	do {                                                                                       \
		kms_status got_ = (call);                                                          \
		if (got_ != (want)) {                                                              \
			fprintf(stderr, "%s:%d: %s: got %s, want %s\n", __FILE__, __LINE__, #call, \
				kms_status_name(got_), kms_status_name(want));                     \
			*failed_ = 1;                                                              \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define CHECK_OK(call) CHECK_STATUS(KMS_OK, call)
#define CHECK_MEM(a, b, len) CHECK(memcmp((a), (b), (len)) == 0)

/* Calls a test helper `static void h(int *failed_, ...)` that uses CHECK; ends this test too if it failed. */
#define CALL(helper, ...)                     \
	do {                                  \
		helper(failed_, __VA_ARGS__); \
		if (*failed_) return;         \
	} while (0)

/* valgrind handles some of the calls of a confined process itself, so there is nothing to test there. */
static inline bool test_under_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");
	return preloaded && strstr(preloaded, "vgpreload");
}

static inline int test_main(const test_case *cases, size_t count, size_t arena, int argc, char **argv)
{
	int passed = 0, bad = 0;
	if (arena && (kms_guarded_init(arena) != KMS_OK || kms_crypto_init() != KMS_OK)) {
		fprintf(stderr, "cannot set up guarded memory and crypto\n");
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		int failed = 0;
		if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;
		cases[i].run(&failed);
		if (failed) fprintf(stderr, "FAIL %s\n", cases[i].name);
		if (failed)
			bad++;
		else
			passed++;
	}
	printf("%d passed, %d failed\n", passed, bad);
	return bad || !passed;
}

/* main() of a test program: arena size in bytes (0: set nothing up), then the tests. */
#define RUN_TESTS(arena, ...)                                                                      \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		static const test_case cases_[] = { __VA_ARGS__ };                                 \
		return test_main(cases_, sizeof(cases_) / sizeof(cases_[0]), (arena), argc, argv); \
	}
#define T(name)             \
	{                   \
#name, name \
	}

#endif
