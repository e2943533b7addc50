/*
 * What a hardened and a confined process can no longer do, each in a child of its own.
 * spec/e2e/hardening_spec.lua tests the same on a running node, from outside and from inside.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kms/process.h"
#include "test.h"

static pthread_barrier_t barrier;

static void *start_a_program(void *unused)
{
	char *const arguments[] = { "/bin/true", NULL };
	pthread_barrier_wait(&barrier); /* the process is confined now */
	pthread_barrier_wait(&barrier);
	execv(arguments[0], arguments);
	return unused;
}

static int older_thread(void)
{
	pthread_t thread;
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, start_a_program, NULL) != 0) return 2;
	pthread_barrier_wait(&barrier);
	if (kms_process_confine(NULL) != KMS_OK) return 3;
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return 4;
}

static int start_a_child(void)
{
	if (kms_process_confine(NULL) != KMS_OK) return 3;
	return fork() == 0 ? 4 : 5;
}

static void *nothing(void *argument)
{
	return argument;
}

static int use_what_a_node_needs(void)
{
	pthread_t thread;
	bool landlock;
	if (kms_process_confine(&landlock) != KMS_OK || kms_process_confine(NULL) != KMS_OK) return 3;
	if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) return 4;
	if (syscall(SYS_clone3, NULL, 0UL) != -1 || errno != ENOSYS) return 5;
	void *page = mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED || errno != EACCES) return 6;
	/* Code could be rewritten there, by root. */
	if (landlock && (open("/proc/self/mem", O_RDWR | O_CLOEXEC) != -1 || errno != EACCES)) return 8;
	int file_to_write = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file_to_write < 0) return 9;
	(void)close(file_to_write);
	/* A file that the C library reads for name services, which it loads late. */
	FILE *file = fopen("/etc/passwd", "re");
	if (!file) return 7;
	fclose(file);
	return 0;
}

static int harden(void)
{
	struct rlimit core;
	if (kms_process_harden() != KMS_OK || prctl(PR_GET_DUMPABLE) != 0) return 3;
	if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0) return 4;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 5;
	/* libuv of Debian 13 would make a ring and abort once the process is confined. */
	return syscall(SYS_io_uring_setup, 1u, NULL) == -1 && errno == ENOSYS ? 0 : 6;
}

/* Wait status of a child that runs `act`. */
static int child_status(int (*act)(void))
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) _exit(act());
	return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static bool ended_by_the_filter(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

TEST(hardening_takes_effect)
{
	CHECK(child_status(harden) == 0);
}

TEST(threads_started_before_are_confined_too)
{
	if (test_under_valgrind()) return;
	CHECK(ended_by_the_filter(child_status(older_thread)));
}

TEST(no_child_is_started)
{
	if (test_under_valgrind()) return;
	CHECK(ended_by_the_filter(child_status(start_a_child)));
}

TEST(what_a_node_needs_still_works)
{
	if (test_under_valgrind()) return;
	CHECK(child_status(use_what_a_node_needs) == 0);
}

RUN_TESTS(0, T(hardening_takes_effect), T(threads_started_before_are_confined_too), T(no_child_is_started),
	  T(what_a_node_needs_still_works))
