#include "kms/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/ensure.h"
#include "process/process_internal.h"

kms_status kms_process_harden(void)
{
	const struct rlimit none = { 0, 0 };
	ENSURE(setrlimit(RLIMIT_CORE, &none) == 0, KMS_ERR_SYSTEM);
	ENSURE(prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	ENSURE(prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	/* Some sandboxes accept the call and do nothing: refuse to run in one. */
	ENSURE(prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) == 0, KMS_ERR_SYSTEM);
	kms_process_refuse_rings();
	return KMS_OK;
}
