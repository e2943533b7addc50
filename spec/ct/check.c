/*
 * Runs every operation of ours on secrets with the secret bytes hidden (taint.h): valgrind
 * counts each branch and each index that depends on one. Started by spec/ct/run, under valgrind.
 *
 * First come three functions that do depend on a secret: a check that does not see them sees
 * nothing. Closes with "N passed, N failed".
 */
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "taint.h"

#define KEY 32

/* ---- planted ---- */

static volatile int sink;

static void planted_memcmp(void)
{
	kms_secret *a = hidden_secret(KEY, 1), *b = hidden_secret(KEY, 2);
	if (memcmp(kms_secret_bytes(a), kms_secret_bytes(b), KEY) == 0) sink = 1;
	kms_secret_unref(a);
	kms_secret_unref(b);
}

static void planted_branch(void)
{
	kms_secret *a = hidden_secret(KEY, 1);
	if (kms_secret_bytes(a)[KEY - 1] & 1) sink = 2;
	kms_secret_unref(a);
}

static void planted_index(void)
{
	static const uint8_t table[256] = { 1, 2, 3 };
	kms_secret *a = hidden_secret(KEY, 1);
	sink = table[kms_secret_bytes(a)[0]];
	show((const void *)&sink, sizeof(sink));
	kms_secret_unref(a);
}

static const ct_case planted[] = {
	{ "planted: memcmp", planted_memcmp },
	{ "planted: a branch", planted_branch },
	{ "planted: an index", planted_index },
	{ NULL, NULL },
};

/* ---- what comes from generators ---- */

static bool hide_random;

void ct_hide_random(bool hidden)
{
	hide_random = hidden;
}

/* In the place of the C library's. */
ssize_t getrandom(void *out, size_t len, unsigned flags)
{
	ssize_t got = (ssize_t)syscall(SYS_getrandom, out, len, flags);
	if (got > 0 && hide_random) hide(out, (size_t)got);
	return got;
}

/* ---- counting ---- */

static int passed, failed;

static void run(const ct_case *cases, bool must_report)
{
	for (; cases->name; cases++) {
		unsigned before = VALGRIND_COUNT_ERRORS;
		cases->run();
		ct_hide_random(false);
		unsigned reports = VALGRIND_COUNT_ERRORS - before;
		bool good = must_report ? reports > 0 : reports == 0;
		if (good)
			passed++;
		else
			failed++;
		printf("%s %s (%u reports)\n", good ? "ok  " : "FAIL", cases->name, reports);
	}
}

int main(void)
{
	if (!RUNNING_ON_VALGRIND) {
		fprintf(stderr, "start this with `make ctcheck`: without valgrind it checks nothing\n");
		return 2;
	}
	MUST(kms_guarded_init(KMS_GUARDED_MIN_BYTES));
	MUST(kms_crypto_init());
	run(planted, true);
	run(ct_codecs, false);
	run(ct_primitives, false);
	run(ct_flows, false);
	run(ct_sessions, false);
	run(ct_recovery, false);
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0 || passed == 0;
}
