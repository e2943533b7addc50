/*
 * A fake /dev/nsm for tests: a library for LD_PRELOAD (or linked into a test) that replaces open,
 * ioctl and close of that device and speaks its real ioctl and CBOR (nsm_fake_responses.c). All
 * other calls go to the C library. Environment variables, read at each call, choose what it does:
 *
 *   NSM_FAKE=fault or fault@n   from the n-th ioctl of the process on (default 1); the names of
 *                               faults are in failure(), open_device() and nsm_fake_responses.c
 *   NSM_FAKE_FILE=path          a file with the same text, which has priority: it can change while
 *                               a node runs
 *   NSM_FAKE_RANDOM=zero        the module's generator gives zeros
 *   NSM_FAKE_KERNEL=zero        getrandom of the C library gives zeros
 *   NSM_FAKE_LOG=path           appends each request in hexadecimal, one a line
 *
 * The documents it makes have the form of real ones, but nobody has signed them.
 */
/* The inline open of fortified headers would collide with the one below. */
#undef _FORTIFY_SOURCE
#include "nsm_fake.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#define DEVICE "/dev/nsm"
#define REQUEST_MAX 4096
#define EXPORT __attribute__((visibility("default")))

typedef struct nsm_message {
	uint64_t request, request_len, response, response_len;
} message;

static atomic_int device = -1;
static atomic_uint calls;

void *nsm_fake_next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

typedef int open_fn(const char *, int, ...);
typedef int openat_fn(int, const char *, int, ...);
typedef int ioctl_fn(int, unsigned long, ...);
typedef int close_fn(int);
typedef ssize_t getrandom_fn(void *, size_t, unsigned);

/* ---- faults ---- */

/* The fault that is in force; "" for none. `calls` counts from 1. */
static void current_fault(char fault[64], unsigned call)
{
	char text[64] = "";
	unsigned from = 1;
	const char *path = getenv("NSM_FAKE_FILE"), *env = getenv("NSM_FAKE");
	open_fn *real_open = (open_fn *)nsm_fake_next("open");
	close_fn *real_close = (close_fn *)nsm_fake_next("close");
	int file = path ? real_open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file >= 0) {
		ssize_t got = read(file, text, sizeof(text) - 1);
		text[got > 0 ? got : 0] = '\0';
		real_close(file);
	} else if (env) {
		snprintf(text, sizeof(text), "%s", env);
	}
	char *at = strchr(text, '@');
	if (at) {
		*at = '\0';
		from = (unsigned)strtoul(at + 1, NULL, 10);
	}
	snprintf(fault, 64, "%s", call >= from ? text : "");
}

/* ---- the device ---- */

static void log_request(const nsm_bytes *request)
{
	const char *path = getenv("NSM_FAKE_LOG");
	if (!path) return;
	FILE *file = fopen(path, "ae");
	if (!file) abort();
	for (size_t i = 0; i < request->len; i++)
		fprintf(file, "%02x", request->data[i]);
	fputc('\n', file);
	fclose(file);
}

/* "interrupted=N": whether this is one of the first N calls since that was set. */
static bool is_interrupted(const char *fault)
{
	static const char name[] = "interrupted=";
	static char last[64];
	static unsigned long left;
	if (strcmp(last, fault) != 0) {
		snprintf(last, sizeof(last), "%s", fault);
		left = strncmp(fault, name, sizeof(name) - 1) == 0
			   ? strtoul(fault + sizeof(name) - 1, NULL, 10)
			   : 0;
	}
	if (left == 0) return false;
	left--;
	return true;
}

/* The errno of a call that fails; 0 for one that does not. */
static int failure(const char *fault, unsigned call)
{
	if (is(fault, "gone")) return ENODEV;
	if (is(fault, "io")) return EIO;
	if (is(fault, "not-permitted")) return EPERM;
	if (is(fault, "interrupted") || is_interrupted(fault)) return EINTR;
	if (is(fault, "interrupted-often")) return call % 4 ? EINTR : 0;
	return 0;
}

static int exchange(message *m)
{
	static nsm_bytes request, out;
	char fault[64];
	unsigned call = atomic_fetch_add(&calls, 1) + 1;
	current_fault(fault, call);
	int error = failure(fault, call);
	if (m->request_len > REQUEST_MAX) error = EMSGSIZE;
	if (m->response_len != NSM_RESPONSE_MAX)
		error = EINVAL; /* the code under test always offers it all */
	if (error) {
		m->response_len = 1; /* a caller must not use what a failed call leaves */
		errno = error;
		return -1;
	}
	request.len = out.len = 0;
	nsm_fake_put(&request, (const void *)(uintptr_t)m->request, m->request_len);
	log_request(&request);
	while (is(fault, "slow")) { /* until the file says something else */
		usleep(10000);
		current_fault(fault, call);
	}
	nsm_fake_respond(&out, &request, fault);
	memcpy((void *)(uintptr_t)m->response, out.data,
	       out.len < NSM_RESPONSE_MAX ? out.len : NSM_RESPONSE_MAX);
	m->response_len = is(fault, "oversized") ? NSM_RESPONSE_MAX + 1 : out.len;
	return 0;
}

static int open_device(void)
{
	char fault[64];
	current_fault(fault, 1);
	if (is(fault, "missing") || is(fault, "denied")) {
		errno = is(fault, "missing") ? ENOENT : EACCES;
		return -1;
	}
	open_fn *real = (open_fn *)nsm_fake_next("open");
	int fd = real("/dev/null", O_RDWR | O_CLOEXEC);
	atomic_store(&device, fd);
	return fd;
}

static mode_t mode_of(int flags, va_list list)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                           \
	EXPORT int name(const char *path, int flags, ...);                   \
	EXPORT int name(const char *path, int flags, ...)                    \
	{                                                                    \
		va_list list;                                                \
		va_start(list, flags);                                       \
		mode_t mode = mode_of(flags, list);                          \
		va_end(list);                                                \
		if (strcmp(path, DEVICE) == 0) return open_device();         \
		return ((open_fn *)nsm_fake_next(#name))(path, flags, mode); \
	}

#define OPENAT(name)                                                                   \
	EXPORT int name(int folder, const char *path, int flags, ...);                 \
	EXPORT int name(int folder, const char *path, int flags, ...)                  \
	{                                                                              \
		va_list list;                                                          \
		va_start(list, flags);                                                 \
		mode_t mode = mode_of(flags, list);                                    \
		va_end(list);                                                          \
		if (strcmp(path, DEVICE) == 0) return open_device();                   \
		return ((openat_fn *)nsm_fake_next(#name))(folder, path, flags, mode); \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

EXPORT int ioctl(int fd, unsigned long number, ...)
{
	va_list list;
	va_start(list, number);
	void *argument = va_arg(list, void *);
	va_end(list);
	if (fd < 0 || fd != atomic_load(&device))
		return ((ioctl_fn *)nsm_fake_next("ioctl"))(fd, number, argument);
	if (number == _IOWR(0x0A, 0x0, message)) return exchange(argument);
	errno = ENOTTY;
	return -1;
}

EXPORT int close(int fd)
{
	int held = fd;
	if (fd >= 0) atomic_compare_exchange_strong(&device, &held, -1);
	return ((close_fn *)nsm_fake_next("close"))(fd);
}

EXPORT ssize_t getrandom(void *out, size_t len, unsigned flags)
{
	const char *mode = getenv("NSM_FAKE_KERNEL");
	if (!mode || !is(mode, "zero")) return ((getrandom_fn *)nsm_fake_next("getrandom"))(out, len, flags);
	memset(out, 0, len);
	return (ssize_t)len;
}
