/* Process hardening and what the kernel lets the process lock. */
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/safe.h"
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
