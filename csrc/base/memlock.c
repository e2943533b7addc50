/* What the process may lock, and locked stacks (kms/secret.h). */
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/ensure.h"
#include "kms/secret.h"

#define STACK_BYTES (128u << 10) /* more than any call on secrets needs */

/* Not inlined: the guarded part starts below this frame. */
static __attribute__((noinline)) void guard_stack_below(void)
{
	uint8_t below[STACK_BYTES];
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)below + page - 1) & ~(page - 1);
	uintptr_t end = ((uintptr_t)below + sizeof(below)) & ~(page - 1);

	/* Touches the pages, so that a stack that grows on demand has them. */
	kms_wipe(below, sizeof(below));
	(void)madvise((void *)first, end - first, MADV_DONTDUMP);
	/* Not mlock(), which sanitizers replace. May fail beyond the memlock limit: best effort. */
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
