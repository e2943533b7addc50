/*
 * What a process gives up, so that its secrets stay in it even when an attacker runs code in it or
 * next to it. There is no way to turn any of this off, in any build. The steps, in order:
 *
 * 0. kms_process_settle: undoes what a supervisor, cron or a shell may have left behind.
 * 1. kms_process_harden: the first call of main (csrc/main.c), in every process of the program,
 *    before Lua starts and before anything is read from the environment.
 * 2. kms_guarded_init, kms_stack_guard, kms_crypto_init, kms_selftest: native.init
 *    (csrc/bind/process.c), before the first secret; the arena comes before the stack, as it may
 *    need all the memory that the process may lock.
 * 3. Secrets leave the environment for guarded memory: native.take_env.
 * 4. kms_process_confine: native.confine, called by `nova-kms serve` alone (lua/kms/cli/serve.lua),
 *    after the configuration is read; before the first thread, the first socket and the policy.
 * 5. kms_stack_guard in each thread of the pool, before its first job (csrc/bind/thread.c).
 *
 * Commands that run other programs (devnet) never confine. Sanitizers and core files written by
 * gdb work in a confined process. No debugger can attach after step 1.
 *
 * Threads: call these functions from the main thread, unless one says otherwise.
 */
#ifndef KMS_PROCESS_H
#define KMS_PROCESS_H

#include "kms/kms.h"
#include "kms/view.h"

/*
 * Gives the process the surroundings that its code expects, whatever started it: descriptors 0, 1 and 2 are
 * open (to /dev/null when they were closed, so that no socket takes their place and gets log lines); no
 * signal is blocked and no alarm runs; SIGCHLD, SIGTERM and SIGINT have their defaults; SIGPIPE and SIGXFSZ
 * are ignored. A process that `serves` also ignores SIGHUP until its loop handles it, and lets nobody else
 * read the files that it makes (umask 077). Returns: KMS_OK; ERR_SYSTEM when /dev/null cannot be opened.
 */
kms_status kms_process_settle(bool serves);

/*
 * Hardens the process: no core dumps (RLIMIT_CORE 0), not dumpable (other processes of the same
 * user can neither trace it nor read /proc/<pid>/mem), no new privileges, no io_uring. libuv makes
 * rings with its first loop and aborts when their system calls fail later, in a confined process;
 * with none from the start it uses epoll. Where the kernel has no seccomp filters, io_uring stays
 * available and kms_process_confine fails.
 * Returns: KMS_OK; ERR_SYSTEM when the kernel refuses, or does not do what it accepted.
 */
kms_status kms_process_harden(void);

/*
 * Confines the process, its running threads and all later ones. With seccomp(2):
 *
 * - these calls end the process with SIGSYS: to start a program or a child (execve, fork, ...); to
 *   inspect processes or the kernel (ptrace, process_vm_readv, kcmp, pidfd_getfd, perf_event_open,
 *   bpf, ...); to change modules, mounts, namespaces or keyrings; to become dumpable or to allow
 *   core files again; to type into the terminal (TIOCSTI, TIOCLINUX); any call of another
 *   architecture;
 * - these calls fail: to get memory that is writable and executable, through one mapping or two
 *   (EACCES); clone3 and io_uring (ENOSYS: a filter cannot see their arguments, and the C library
 *   falls back to clone); memfd_create (ENOSYS).
 *
 * Code can still be mapped from files, because the C library loads name services late. Mount the
 * data folder with noexec to close that too.
 *
 * With Landlock, where the kernel has it (5.13 and later), also: no file can be executed, none below
 * /proc can be written (/proc/self/mem would rewrite code), and no process outside can be attached to, or
 * read through /proc/<pid>/mem. Landlock holds the calling thread and those that it starts afterwards, so
 * call this before the first thread starts. Returns: KMS_OK, and the same again for a repeated call;
 * ERR_CONFINE when the kernel has no seccomp filters. Out: landlock - whether Landlock is in force; may be
 * NULL.
 */
kms_status kms_process_confine(bool *landlock);

/*
 * Sends one message to the supervisor that started the process, as sd_notify(3) does: one datagram to a Unix
 * socket. Never waits; works in a confined process.
 * In: name - the socket's: an absolute path, or "@" and an abstract name; message - at least one byte.
 * Returns: KMS_OK; ERR_RANGE when the name is none or does not fit into an address (108 bytes, with the NUL
 * that ends a path); ERR_BUSY when the supervisor has not read its earlier messages: send it again later;
 * ERR_SYSTEM with errno, ENOENT or ECONNREFUSED when nobody listens. Threads: any.
 */
kms_status kms_process_notify(kms_text name, kms_text message);

#endif
