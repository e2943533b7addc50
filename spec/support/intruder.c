/*
 * Another process of a node's user, which attacks the node:
 *
 *   intruder PID    tries every way in; prints a line for each: its name, and "ok" or the errno
 *   intruder wait   an unprotected process, for comparison; prints "ready"
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_result(const char *name, long result)
{
	printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
}

/* Access was granted, too, when the call fails only because the address is wrong (EFAULT). */
static long memory(long call, pid_t pid)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { NULL, 1 };
	long result = syscall(call, pid, &local, 1UL, &remote, 1UL, 0UL);
	return result < 0 && errno == EFAULT ? 0 : result;
}

static long attach(pid_t pid)
{
	long result = ptrace(PTRACE_ATTACH, pid, NULL, NULL);
	if (result < 0) return result;
	waitpid(pid, NULL, __WALL);
	return ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

static long seize(pid_t pid)
{
	long result = ptrace(PTRACE_SEIZE, pid, NULL, NULL);
	if (result < 0) return result;
	ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	waitpid(pid, NULL, __WALL);
	return ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

static long take_descriptor(pid_t pid)
{
	long process = syscall(SYS_pidfd_open, pid, 0);
	return process < 0 ? process : syscall(SYS_pidfd_getfd, process, 0, 0);
}

/* Opens an entry and, if it is a file, reads from it: some entries refuse only the read. */
static long open_entry(pid_t pid, const char *name, int flags)
{
	char path[64], byte;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	int file = open(path, flags | O_CLOEXEC);
	if (file < 0) return -1;
	if (flags & O_DIRECTORY) return file;
	long got = read(file, &byte, 1);
	return got < 0 && errno == EIO ? 0
				       : got; /* EIO: nothing at address 0 of mem, but the open was allowed */
}

static long read_link(pid_t pid, const char *name)
{
	char path[64], target[4096];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return readlink(path, target, sizeof(target));
}

static void intrude(pid_t pid)
{
	static const char *const files[] = { "environ", "maps", "smaps", "mem", "auxv", "io", "syscall" };
	static const char *const links[] = { "exe", "cwd", "root" };
	print_result("ptrace-attach", attach(pid));
	print_result("ptrace-seize", seize(pid));
	print_result("process_vm_readv", memory(SYS_process_vm_readv, pid));
	print_result("process_vm_writev", memory(SYS_process_vm_writev, pid));
	print_result("pidfd_getfd", take_descriptor(pid));
	print_result("kcmp", syscall(SYS_kcmp, getpid(), pid, 0, 0, 0)); /* 0: KCMP_FILE */
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		print_result(files[i], open_entry(pid, files[i], O_RDONLY));
	print_result("mem-write", open_entry(pid, "mem", O_RDWR));
	print_result("fd", open_entry(pid, "fd", O_RDONLY | O_DIRECTORY));
	print_result("map_files", open_entry(pid, "map_files", O_RDONLY | O_DIRECTORY));
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		print_result(links[i], read_link(pid, links[i]));
}

int main(int argc, char **argv)
{
	if (argc != 2) return 2;
	if (strcmp(argv[1], "wait") != 0) {
		intrude((pid_t)strtol(argv[1], NULL, 10));
		return 0;
	}
	/* Yama allows only parents to attach: let everyone. */
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
