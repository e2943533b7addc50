/*
 * What can go wrong before the first request: no right to lock memory, OpenSSL used too early,
 * memory that runs out, a host's OpenSSL configuration. Each in a process of its own, forked
 * while this one has no arena yet.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/testing.h"
#include "test.h"

/* Exit status of a child that runs `act`, -1 when a signal ended it. */
static int child_result(int (*act)(unsigned long), unsigned long argument)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) _exit(act(argument));
	if (child < 0 || waitpid(child, &status, 0) != child) return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 0 when the status is the wanted one. */
static int want(kms_status status, kms_status wanted)
{
	if (status != wanted) fprintf(stderr, "got %s\n", kms_status_name(status));
	return status != wanted;
}

static int without_the_right_to_lock(unsigned long limit)
{
	const struct rlimit locked = { limit, limit };
	if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) return 2;
	if (geteuid() == 0 && setuid(65534) != 0) return 3;
	if (want(kms_guarded_init(KMS_GUARDED_MIN_BYTES), KMS_ERR_MLOCK)) return 4;
	return kms_guarded_ready() || kms_guarded_size() != 0 || kms_guarded_alloc(16) != NULL;
}

/* An unprivileged process can have exactly what the limit says: the guard pages do not count. */
static int with_just_enough(unsigned long limit)
{
	const struct rlimit locked = { limit, limit };
	if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) return 2;
	if (geteuid() == 0 && setuid(65534) != 0) return 3;
	if (kms_guarded_grant() != KMS_GUARDED_MIN_BYTES) return 4;
	return want(kms_guarded_init(kms_guarded_grant()), KMS_OK);
}

static int after_openssl_was_used(unsigned long unused)
{
	(void)unused;
	OPENSSL_free(OPENSSL_malloc(1));
	if (want(kms_guarded_init(KMS_GUARDED_MIN_BYTES), KMS_ERR_STATE)) return 1;
	return kms_guarded_ready();
}

static int crypto_without_arena(unsigned long unused)
{
	uint8_t digest[32];
	(void)unused;
	if (want(kms_crypto_init(), KMS_ERR_STATE)) return 1;
	return want(kms_sha256(digest, kms_span_of(digest, 32)), KMS_ERR_STATE);
}

static int rounded_down(unsigned long unused)
{
	(void)unused;
	if (want(kms_guarded_init(2 * KMS_GUARDED_MIN_BYTES - 1), KMS_OK)) return 1;
	return kms_guarded_size() != KMS_GUARDED_MIN_BYTES;
}

/* 0: started in spite of it or never got there; 10: refused cleanly. */
static int start_with_refused_allocation(unsigned long n)
{
	if (kms_guarded_init(KMS_GUARDED_MIN_BYTES) != KMS_OK) return 1;
	kms_mem_fail_after(n);
	kms_status status = kms_crypto_init();
	bool reached = kms_mem_allocations() >= n;
	kms_mem_fail_after(0);
	const char *failed;
	if (status == KMS_OK && kms_selftest(&failed) != KMS_OK) return 2;
	if (status == KMS_OK) return reached ? 0 : 20;
	return kms_status_category(status) == KMS_CATEGORY_BUSY ? 10 : 3;
}

TEST(memory_that_cannot_be_locked)
{
	CHECK(child_result(without_the_right_to_lock, KMS_GUARDED_MIN_BYTES - 1) == 0);
	CHECK(child_result(without_the_right_to_lock, 0) == 0);
	CHECK(child_result(with_just_enough, KMS_GUARDED_MIN_BYTES) == 0);
}

TEST(wrong_order_and_odd_sizes)
{
	CHECK(child_result(after_openssl_was_used, 0) == 0);
	CHECK(child_result(crypto_without_arena, 0) == 0);
	CHECK(child_result(rounded_down, 0) == 0);
}

/* The first ones all, then ever wider steps: the libraries make some thousand allocations. */
TEST(refused_allocations_at_the_start)
{
	int result = 0, refused = 0;
	for (unsigned long n = 1; result != 20; n += 1 + n / 16) {
		result = child_result(start_with_refused_allocation, n);
		if (result != 0 && result != 10 && result != 20)
			fprintf(stderr, "allocation %lu: %d\n", n, result);
		CHECK(result == 0 || result == 10 || result == 20);
		if (result == 10) refused++;
		CHECK(n < 1000000);
	}
	CHECK(refused > 10);
}

/* A configuration that turns off every algorithm must not even be read. */
static int with_configuration_of_the_host(unsigned long unused)
{
	const char *failed;
	char path[] = "/tmp/kms-openssl-XXXXXX";
	static const char text[] = "openssl_conf = init\n[init]\nproviders = p\nalg_section = a\n"
				   "[p]\nnull = n\n[n]\nactivate = 1\n[a]\ndefault_properties = fips=yes\n";
	(void)unused;
	int file = mkstemp(path);
	if (file < 0 || write(file, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1) return 1;
	setenv("OPENSSL_CONF", path, 1);
	int result = 0;
	if (want(kms_guarded_init(KMS_GUARDED_MIN_BYTES), KMS_OK))
		result = 2;
	else if (want(kms_crypto_init(), KMS_OK))
		result = 3;
	else if (want(kms_selftest(&failed), KMS_OK))
		result = 4;
	close(file);
	unlink(path);
	return result;
}

TEST(no_configuration_of_the_host_is_read)
{
	CHECK(child_result(with_configuration_of_the_host, 0) == 0);
}

RUN_TESTS(0, T(memory_that_cannot_be_locked), T(wrong_order_and_odd_sizes),
	  T(refused_allocations_at_the_start), T(no_configuration_of_the_host_is_read))
