/*
 * What a serving process gives up for good, beside what kms_process_harden (secret.h) did at its
 * start: to start programs, to attach to a process, to read another one's memory, to undo its
 * own hardening. For whoever gets to run code in it.
 *
 * There is no way to turn this off, in any build: tools that run other programs (the command
 * line, the devnet) do not call it. Sanitizers and gdb's core files work with it; a debugger does
 * not attach to a node with or without it.
 */
#ifndef KMS_CONFINE_H
#define KMS_CONFINE_H

#include "kms/kms.h"

/*
 * Confines the process, its running threads and every thread to come (seccomp(2) with TSYNC):
 *
 * - ends the process with SIGSYS: execve, fork and their kin; ptrace, process_vm_readv, kcmp,
 *   pidfd_getfd, perf_event_open, bpf and their kin; modules, mounts, namespaces, keyrings; to
 *   become dumpable or to allow core files again; to type into its terminal (TIOCSTI); calls of
 *   another architecture;
 * - fails: memory that can be written and executed, by one mapping or by two of the same (EACCES);
 *   clone3 and io_uring (ENOSYS: the filter cannot see what they are asked, and the C library goes
 *   on with clone); memfd_create (ENOSYS). What is left is code from a file, as name services are
 *   loaded late: a node's data belong on a mount with noexec where that is to be shut as well.
 *
 * Where the kernel has Landlock (5.13 and later), also for the calling thread and those it starts
 * from now on: no file can be executed, and no process outside can be attached to or read through
 * /proc/<pid>/mem. Hence: call it before threads are started.
 *
 * Out: landlock - whether that second part is in force; may be NULL.
 * Returns: KMS_OK, also when called again; ERR_CONFINE where the kernel has no seccomp filters.
 */
kms_status kms_process_confine(bool *landlock);

#endif
