/*
 * An attacker who runs code in a node: a library for LD_PRELOAD with a thread that started before
 * the node's confinement. The thread waits for the file $INSIDER, does the act that the file
 * names, and writes the result to $INSIDER.done: "returned" or the name of the errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define X32_BIT 0x40000000

static char *const no_arguments[] = { "/bin/true", NULL };
static char *const no_environment[] = { NULL };

/* Acts: each returns -1 and sets errno when the kernel refuses it. */

static long start_execve(void)
{
	return syscall(SYS_execve, no_arguments[0], no_arguments, no_environment);
}

static long start_execveat(void)
{
	return syscall(SYS_execveat, AT_FDCWD, no_arguments[0], no_arguments, no_environment, 0);
}

static long start_fork(void)
{
	pid_t child = fork();
	if (child == 0) _exit(0);
	return child;
}

static long start_vfork(void)
{
	pid_t child = vfork();
	if (child == 0) _exit(0);
	return child;
}

static long start_system(void)
{
	return system("true");
}

/* The filter cannot see the arguments, so the call must not exist. */
static long start_clone3(void)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD };
	long child = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (child == 0) _exit(0);
	return child;
}

#ifdef __x86_64__
/* The same calls through the other ABIs of the kernel. */
static long start_execve_32(void)
{
	long result = 11; /* execve of i386 */
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(0L), "c"(0L), "d"(0L) : "memory");
	errno = (int)-result;
	return -1;
}

static long start_execve_x32(void)
{
	return syscall(X32_BIT | 520, no_arguments[0], no_arguments, no_environment);
}
#endif

static long attach_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long be_traced(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long read_memory(void)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { no_arguments[0], 1 };
	return process_vm_readv(getppid(), &local, 1, &remote, 1, 0);
}

static long write_memory(void)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { no_arguments[0], 1 };
	return process_vm_writev(getppid(), &local, 1, &remote, 1, 0);
}

/*
 * Opens the memory of the process INSIDER_VICTIM, of the same user. The main thread does it, because
 * Landlock does not hold this thread, which is older than the confinement.
 */
static pthread_t main_thread;
static char victim[64];
static atomic_int opened; /* descriptor, or -errno; 0: not tried yet */

static void on_main_thread(int number)
{
	(void)number;
	int saved = errno;
	int file = open(victim, O_RDONLY | O_CLOEXEC);
	atomic_store(&opened, file < 0 ? -errno : file);
	errno = saved;
}

static long open_memory(void)
{
	const struct sigaction action = { .sa_handler = on_main_thread, .sa_flags = SA_RESTART };
	const char *pid = getenv("INSIDER_VICTIM");
	snprintf(victim, sizeof(victim), "/proc/%s/mem", pid ? pid : "self");
	sigaction(SIGUSR2, &action, NULL);
	pthread_kill(main_thread, SIGUSR2);
	while (atomic_load(&opened) == 0)
		usleep(1000);
	errno = -atomic_load(&opened);
	return atomic_load(&opened) < 0 ? -1 : 0;
}

static long compare(void)
{
	return syscall(SYS_kcmp, getpid(), getppid(), 0, 0, 0);
}

static long take_descriptor(void)
{
	long process = syscall(SYS_pidfd_open, getppid(), 0);
	return process < 0 ? process : syscall(SYS_pidfd_getfd, process, 0, 0);
}

static long open_perf_event(void)
{
	struct perf_event_attr event = { .size = sizeof(event) };
	return syscall(SYS_perf_event_open, &event, getppid(), -1, -1, 0);
}

static long load_bpf(void)
{
	union bpf_attr attribute = { 0 };
	return syscall(SYS_bpf, BPF_PROG_LOAD, &attribute, sizeof(attribute));
}

static long leave_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static long use_keyring(void)
{
	return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static long become_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
}

static long allow_tracer(void)
{
	return prctl(PR_SET_PTRACER, (long)getppid(), 0L, 0L, 0L);
}

static long allow_core(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	return setrlimit(RLIMIT_CORE, &all);
}

static long ring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL);
}

static long map_writable_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? -1 : 0;
}

static long make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

/* Code in a file, which a second mapping could write. */
static long share_code(void)
{
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, 4096) != 0) return -1;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
	int error = errno;
	close(file);
	errno = error;
	return page == MAP_FAILED ? -1 : 0;
}

static long attach_code(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0700);
	if (id < 0) return -1;
	void *page = shmat(id, NULL, SHM_EXEC);
	int error = errno;
	shmctl(id, IPC_RMID, NULL);
	errno = error;
	return (intptr_t)page == -1 ? -1 : 0;
}

static long file_without_mount(void)
{
	return memfd_create("code", MFD_CLOEXEC);
}

/* The kernel ignores the high half of the number; the filter must too. */
static long type_into_terminal(void)
{
	char byte = '\n';
	return syscall(SYS_ioctl, 0, 1UL << 32 | TIOCSTI, &byte);
}

static long paste_into_console(void)
{
	char paste = 3;
	return ioctl(0, TIOCLINUX, &paste);
}

/* Acts that a node needs. */

static void *nothing(void *argument)
{
	return argument;
}

static long start_thread(void)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, nothing, NULL);
	if (!error) error = pthread_join(thread, NULL);
	errno = error;
	return error ? -1 : 0;
}

static long resolve(void)
{
	struct addrinfo *list = NULL;
	int error = getaddrinfo("localhost", "80", NULL, &list);
	if (!error) freeaddrinfo(list);
	errno = error ? ENOENT : 0;
	return error ? -1 : 0;
}

static long look_at_limits(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_CORE, &limit);
}

static const struct {
	const char *name;
	long (*act)(void);
} acts[] = {
	{ "execve", start_execve },
	{ "execveat", start_execveat },
	{ "fork", start_fork },
	{ "vfork", start_vfork },
	{ "system", start_system },
	{ "clone3", start_clone3 },
#ifdef __x86_64__
	{ "execve-32", start_execve_32 },
	{ "execve-x32", start_execve_x32 },
#endif
	{ "ptrace", attach_ptrace },
	{ "traceme", be_traced },
	{ "process_vm_readv", read_memory },
	{ "process_vm_writev", write_memory },
	{ "proc-mem", open_memory },
	{ "kcmp", compare },
	{ "pidfd_getfd", take_descriptor },
	{ "perf", open_perf_event },
	{ "bpf", load_bpf },
	{ "unshare", leave_namespace },
	{ "keyctl", use_keyring },
	{ "dumpable", become_dumpable },
	{ "ptracer", allow_tracer },
	{ "core", allow_core },
	{ "io_uring", ring },
	{ "writable-code", map_writable_code },
	{ "make-code", make_code },
	{ "shared-code", share_code },
	{ "attached-code", attach_code },
	{ "memfd", file_without_mount },
	{ "tiocsti", type_into_terminal },
	{ "tioclinux", paste_into_console },
	{ "thread", start_thread },
	{ "resolve", resolve },
	{ "getrlimit", look_at_limits },
};

static void report(const char *path, long result, int error)
{
	char done[4096], half_done[4096];
	snprintf(done, sizeof(done), "%s.done", path);
	snprintf(half_done, sizeof(half_done), "%s.half", path);
	FILE *file = fopen(half_done, "we");
	if (!file) return;
	fputs(result == -1 ? strerrorname_np(error) : "returned", file);
	fclose(file);
	rename(half_done, done);
}

static void act(const char *path)
{
	char name[64] = "";
	FILE *file = fopen(path, "re");
	if (!file || !fgets(name, sizeof(name), file)) return;
	fclose(file);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (strcmp(acts[i].name, name) != 0) continue;
		errno = 0;
		long result = acts[i].act();
		report(path, result, errno);
	}
}

/* Removes the file after each act. */
static void *wait_and_act(void *path)
{
	for (;;) {
		if (access(path, R_OK) == 0) {
			act(path);
			unlink(path);
		}
		usleep(10000);
	}
	return NULL;
}

static __attribute__((constructor)) void begin(void)
{
	pthread_t thread;
	char *path = getenv("INSIDER");
	main_thread = pthread_self();
	if (path) pthread_create(&thread, NULL, wait_and_act, path);
}
