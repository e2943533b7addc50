/*
 * A kernel without room for a request: a library for LD_PRELOAD that has the first write of a request to
 * /late fail with EAGAIN.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

static const char late[] = "POST /late ";

/* Overrides libc's. */
__attribute__((visibility("default"))) ssize_t writev(int fd, const struct iovec *parts, int count);
ssize_t writev(int fd, const struct iovec *parts, int count)
{
	static ssize_t (*real)(int, const struct iovec *, int);
	static bool was_late;
	if (!real) *(void **)&real = dlsym(RTLD_NEXT, "writev");
	if (!was_late && count > 0 && parts[0].iov_len >= sizeof(late) - 1 &&
	    memcmp(parts[0].iov_base, late, sizeof(late) - 1) == 0) {
		was_late = true;
		errno = EAGAIN;
		return -1;
	}
	return real(fd, parts, count);
}
