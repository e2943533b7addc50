#include "kms/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/ensure.h"

/* open() takes the lowest free descriptor, so each one is filled in turn. */
static kms_status fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
		ENSURE(open("/dev/null", O_RDWR) == fd, KMS_ERR_SYSTEM);
	}
	return KMS_OK;
}

static void reset_timers(void)
{
	const struct itimerval none = { { 0, 0 }, { 0, 0 } };
	(void)setitimer(ITIMER_REAL, &none, NULL);
	(void)setitimer(ITIMER_VIRTUAL, &none, NULL);
	(void)setitimer(ITIMER_PROF, &none, NULL);
}

static void reset_signals(bool serves)
{
	static const int defaults[] = { SIGCHLD, SIGTERM, SIGINT };
	sigset_t all;
	for (size_t i = 0; i < KMS_ARRAY_LEN(defaults); i++)
		(void)signal(defaults[i], SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A write beyond the limit of a file's size (RLIMIT_FSIZE) fails, as on a full disk. */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (serves) (void)signal(SIGHUP, SIG_IGN);
	/* Last: a signal that was blocked arrives now. */
	sigfillset(&all);
	(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
}

kms_status kms_process_settle(bool serves)
{
	GUARD(fill_standard_descriptors());
	reset_timers();
	reset_signals(serves);
	if (serves) (void)umask(077);
	return KMS_OK;
}
