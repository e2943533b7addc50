/* The check at start: passes, and reports whatever goes wrong under it. */
#include "base/testing.h"
#include "test.h"

TEST(known_answers_pass)
{
	const char *failed = "?";
	CHECK_OK(kms_selftest(&failed));
	CHECK(failed == NULL);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_selftest(NULL));
}

TEST(every_refused_allocation_is_a_named_failure)
{
	const char *failed = NULL;
	size_t before = 0, used;
	unsigned long n = 1, failures = 0;
	CHECK_OK(kms_selftest(&failed)); /* contexts of this thread are made */
	before = kms_guarded_used();
	for (;; n++) {
		kms_mem_fail_after(n);
		kms_status status = kms_selftest(&failed);
		bool reached = kms_mem_allocations() >= n;
		kms_mem_fail_after(0);
		if (!reached) break;
		used = kms_guarded_used();
		if (status != KMS_OK) failures++;
		CHECK(status == KMS_OK || (status == KMS_ERR_SELFTEST && failed));
		CHECK(used <= before + 2048); /* contexts and the error queue may differ, nothing piles up */
		CHECK(n < 100000);
	}
	CHECK(failures > 10);
	CHECK_OK(kms_selftest(&failed));
	CHECK(kms_guarded_used() <= before + 2048);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(known_answers_pass), T(every_refused_allocation_is_a_named_failure))
