/* CPU time of another process on this machine. */
#ifndef KMS_BENCH_PROCESS_H
#define KMS_BENCH_PROCESS_H

#include "kms/kms.h"

/*
 * CPU time of all threads of a process, in user space and kernel, in nanoseconds, as the scheduler
 * counts it (/proc/<pid>/task/<tid>/schedstat).
 * Returns: KMS_OK; ERR_SYSTEM when there is no such process.
 */
kms_status process_cpu_ns(uint64_t *ns, int pid);

#endif
