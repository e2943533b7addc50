/* Process hardening and what the kernel lets the process lock. */
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/ensure.h"
#include "kms/secret.h"

kms_status kms_process_harden(void)
{
	const struct rlimit none = { 0, 0 };
	ENSURE(setrlimit(RLIMIT_CORE, &none) == 0, KMS_ERR_SYSTEM);
	ENSURE(prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	ENSURE(prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	/* A kernel or sandbox that says yes and does nothing must not pass. */
	ENSURE(prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	return KMS_OK;
}

#define STACK_BYTES (128u << 10) /* far more than any call on secrets takes */

/* In a frame of its own, below which the guarded part begins. */
static __attribute__((noinline)) void guard_stack_below(void)
{
	uint8_t below[STACK_BYTES];
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)below + page - 1) & ~(page - 1);
	uintptr_t end = ((uintptr_t)below + sizeof(below)) & ~(page - 1);

	/* Touched, so that the pages of a stack that grows are there. */
	kms_wipe(below, sizeof(below));
	(void)madvise((void *)first, end - first, MADV_DONTDUMP);
	/* Straight to the kernel, as sanitizers replace mlock; it may refuse beyond the limit. */
	(void)syscall(SYS_mlock, first, end - first);
}

void kms_stack_guard(void)
{
	static _Thread_local bool done;
	if (done) return;
	done = true;
	guard_stack_below();
}

static bool may_lock_any(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3, .pid = 0 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	ENSURE(syscall(SYS_capget, &header, sets) == 0, false);
	return (sets[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

size_t kms_guarded_grant(void)
{
	struct rlimit limit;
	if (may_lock_any()) return KMS_GUARDED_DEFAULT_BYTES;
	ENSURE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur > 0, 0);
	if (limit.rlim_cur == RLIM_INFINITY) return KMS_GUARDED_DEFAULT_BYTES;
	if (limit.rlim_cur > KMS_ARENA_MAX) return KMS_ARENA_MAX;
	return (size_t)1 << (63 - __builtin_clzll(limit.rlim_cur));
}
