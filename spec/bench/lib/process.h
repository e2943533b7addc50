/* What another process of this machine spends. */
#ifndef KMS_BENCH_PROCESS_H
#define KMS_BENCH_PROCESS_H

#include "kms/kms.h"

/*
 * CPU time of all threads of a process, kernel included, in nanoseconds, as the scheduler
 * counts it (/proc/<pid>/task/<tid>/schedstat). ERR_SYSTEM when there is no such process.
 */
kms_status process_cpu_ns(uint64_t *ns, int pid);

#endif
