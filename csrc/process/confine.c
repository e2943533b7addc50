#include "kms/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ensure.h"
#include "process/process_internal.h"

/* ---- seccomp ---- */

/* No node ever needs these, and they are how an attacker would take one over: they end the process. */
static const int deadly[] = {
	/* start a program or a child */
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(uselib),
	/* trace a process, read its memory, take its descriptors */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
	SCMP_SYS(process_mrelease), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd), SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd), SCMP_SYS(lookup_dcookie),
	/* change the kernel */
	SCMP_SYS(bpf), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(iopl), SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt), SCMP_SYS(personality), SCMP_SYS(acct), SCMP_SYS(swapon), SCMP_SYS(swapoff),
	/* leave its file system, mounts or namespaces */
	SCMP_SYS(chroot), SCMP_SYS(pivot_root), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(move_mount),
	SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(mount_setattr), SCMP_SYS(setns),
	SCMP_SYS(unshare), SCMP_SYS(open_by_handle_at),
	/* the kernel's keyrings */
	SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl)
};

/* Libraries try these and can do without them: they fail as on a kernel that lacks them. */
static const int absent[] = { SCMP_SYS(clone3), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
			      SCMP_SYS(io_uring_register),
			      /* a file without a mount, hence without noexec: code could be mapped from it */
			      SCMP_SYS(memfd_create) };

/* A call that is deadly only with this argument. */
typedef struct condition {
	int call;
	struct scmp_arg_cmp argument;
} condition;

static const condition deadly_if[] = {
	/* Starts a child, not a thread. */
	{ SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0) },
	/* Undoes the hardening. */
	{ SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_DUMPABLE) },
	{ SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_PTRACER) },
	{ SCMP_SYS(setrlimit), SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE) },
	/* Types into the terminal: the shell that started the node would run it. */
	{ SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI) },
	{ SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCLINUX) },
};

static bool add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		/* -EDOM: this architecture does not have the call. */
		int result = seccomp_rule_add(filter, action, calls[i], 0);
		if (result != 0 && result != -EDOM) return false;
	}
	return true;
}

static bool add_conditions(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < KMS_ARRAY_LEN(deadly_if); i++)
		if (seccomp_rule_add_array(filter, SCMP_ACT_KILL_PROCESS, deadly_if[i].call, 1,
					   &deadly_if[i].argument) != 0)
			return false;
	/* Sets a limit (argument 2 is not NULL) for core files, of any process. */
	return seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(prlimit64), 2,
				SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE),
				SCMP_A2(SCMP_CMP_NE, 0, 0)) == 0;
}

/*
 * Refuses writable code. Not deadly, because libraries try it (closures of libffi) and fall back.
 * Two ways lead to it in two steps: mprotect to executable, and a shared mapping of code, which a
 * second mapping can write. The loader needs neither: it maps code private and executable at once.
 */
static bool add_memory(scmp_filter_ctx filter)
{
	const uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
	const unsigned both = PROT_WRITE | PROT_EXEC;
	return seccomp_rule_add(filter, refuse, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, both, both)) ==
		   0 &&
	       /* The bit of MAP_SHARED is set in MAP_SHARED_VALIDATE too. */
	       seccomp_rule_add(filter, refuse, SCMP_SYS(mmap), 2,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC),
				SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_SHARED, MAP_SHARED)) == 0 &&
	       seccomp_rule_add(filter, refuse, SCMP_SYS(shmat), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, SHM_EXEC, SHM_EXEC)) == 0 &&
	       seccomp_rule_add(filter, refuse, SCMP_SYS(mprotect), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0 &&
	       seccomp_rule_add(filter, refuse, SCMP_SYS(pkey_mprotect), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) == 0;
}

static void filter_release(scmp_filter_ctx *filter)
{
	if (*filter) seccomp_release(*filter);
}

void kms_process_refuse_rings(void)
{
	static const int rings[] = { SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
				     SCMP_SYS(io_uring_register) };
	DEFER(filter_release) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (filter && add_all(filter, SCMP_ACT_ERRNO(ENOSYS), rings, KMS_ARRAY_LEN(rings)))
		(void)seccomp_load(filter);
}

static bool set_filter(void)
{
	DEFER(filter_release) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter) return false;
	return seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
	       seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
	       /* A binary tree: every system call of the node passes the filter. */
	       seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
	       add_all(filter, SCMP_ACT_KILL_PROCESS, deadly, KMS_ARRAY_LEN(deadly)) &&
	       add_all(filter, SCMP_ACT_ERRNO(ENOSYS), absent, KMS_ARRAY_LEN(absent)) &&
	       add_conditions(filter) && add_memory(filter) && seccomp_load(filter) == 0;
}

/* ---- Landlock ---- */

static void close_ruleset(const int *ruleset)
{
	if (*ruleset >= 0) (void)close(*ruleset);
}

static void close_folder(DIR **folder)
{
	if (*folder) (void)closedir(*folder);
}

/* Files may be written below every entry of the root but /proc. Entries that cannot be opened stay closed. */
static bool allow_writing(int ruleset)
{
	DEFER(close_folder) DIR *folder = opendir("/");
	ENSURE(folder, false);
	for (const struct dirent *entry; (entry = readdir(folder));) {
		static const char *const without[] = { ".", "..", "proc" };
		bool skip = false;
		for (size_t i = 0; i < KMS_ARRAY_LEN(without); i++)
			skip |= strcmp(entry->d_name, without[i]) == 0;
		if (skip) continue;
		int fd = openat(dirfd(folder), entry->d_name, O_PATH | O_CLOEXEC);
		if (fd < 0) continue;
		const struct landlock_path_beneath_attr rule = { .allowed_access =
								     LANDLOCK_ACCESS_FS_WRITE_FILE,
								 .parent_fd = fd };
		(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
		(void)close(fd);
	}
	return true;
}

/*
 * Enters a domain that forbids to execute files, and to write below /proc: through /proc/self/mem code could
 * be rewritten, by root. Being in any domain also keeps the process from tracing processes outside (ptrace(2)
 * and /proc/<pid>/mem, which seccomp cannot see).
 */
static bool enter_domain(void)
{
	const struct landlock_ruleset_attr rules = { .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE |
									  LANDLOCK_ACCESS_FS_WRITE_FILE };
	DEFER(close_ruleset)
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	ENSURE(ruleset >= 0 && allow_writing(ruleset), false);
	return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}

kms_status kms_process_confine(bool *landlock)
{
	static bool confined, in_domain; /* main thread only */
	if (!confined) {
		in_domain = enter_domain();
		confined = set_filter();
	}
	if (landlock) *landlock = confined && in_domain;
	return confined ? KMS_OK : KMS_ERR_CONFINE;
}
