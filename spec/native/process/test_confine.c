/*
 * What a confined process cannot do any more, each in a child of its own. The same on a running
 * node, from outside and from inside: spec/e2e/hardening_spec.lua.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kms/confine.h"
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

static int all_that_is_needed(void)
{
	pthread_t thread;
	bool landlock;
	if (kms_process_confine(&landlock) != KMS_OK || kms_process_confine(NULL) != KMS_OK) return 3;
	if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) return 4;
	if (syscall(SYS_clone3, NULL, 0UL) != -1 || errno != ENOSYS) return 5;
	void *page = mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED || errno != EACCES) return 6;
	/* A file of the C library's, as name services are loaded late. */
	FILE *file = fopen("/etc/passwd", "re");
	if (!file) return 7;
	fclose(file);
	return 0;
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

/* valgrind takes some of these calls for itself: nothing is to be learned there. */
static bool cannot_be_tried(void)
{
	const char *preloaded = getenv("LD_PRELOAD");
	return preloaded && strstr(preloaded, "vgpreload");
}

TEST(threads_that_were_there_before_are_held_too)
{
	if (cannot_be_tried()) return;
	CHECK(ended_by_the_filter(child_status(older_thread)));
}

TEST(no_child_is_started)
{
	if (cannot_be_tried()) return;
	CHECK(ended_by_the_filter(child_status(start_a_child)));
}

TEST(what_a_node_needs_goes_on)
{
	if (cannot_be_tried()) return;
	CHECK(child_status(all_that_is_needed) == 0);
}

RUN_TESTS(0, T(threads_that_were_there_before_are_held_too), T(no_child_is_started),
	  T(what_a_node_needs_goes_on))
