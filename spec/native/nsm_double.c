/*
 * A double of /dev/nsm for tests: a library for LD_PRELOAD (or linked into a test) that takes
 * open, ioctl and close of that device and speaks its real ioctl and CBOR. Everything else goes
 * to the C library. What it does is chosen by the environment, read at each call:
 *
 *   NSM_DOUBLE=fault or fault@n   from the n-th ioctl of the process on (default 1), see faults[]
 *   NSM_DOUBLE_FILE=path          a file with the same text, which is first: changes while a node runs
 *   NSM_DOUBLE_RANDOM=zero        the module's generator gives zeros
 *   NSM_DOUBLE_KERNEL=zero        getrandom of the C library gives zeros
 *   NSM_DOUBLE_LOG=path           each request's bytes are appended in hexadecimal, one a line
 *
 * The documents it makes have the form of real ones and are signed by nobody.
 */
/* Its inline open would stand in the way of the one below. */
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/nsm"
#define REQUEST_MAX 4096
#define RESPONSE_MAX 12288
#define RANDOM_BYTES 256
#define EXPORT __attribute__((visibility("default")))

typedef struct nsm_double_message {
	uint64_t request, request_len, response, response_len;
} message;

typedef struct bytes {
	uint8_t data[2 * RESPONSE_MAX];
	size_t len;
} bytes;

static atomic_int device = -1;
static atomic_uint calls;

static void *next(const char *name)
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
	const char *path = getenv("NSM_DOUBLE_FILE"), *env = getenv("NSM_DOUBLE");
	open_fn *real_open = (open_fn *)next("open");
	close_fn *real_close = (close_fn *)next("close");
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

static bool is(const char *fault, const char *name)
{
	return strcmp(fault, name) == 0;
}

/* ---- CBOR (RFC 8949) ---- */

static void put(bytes *out, const void *data, size_t len)
{
	if (out->len + len > sizeof(out->data)) abort();
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put_head(bytes *out, unsigned major, size_t n)
{
	uint8_t head[3] = { (uint8_t)(major << 5 | (n < 24    ? n
						    : n < 256 ? 24
							      : 25)),
			    (uint8_t)n, (uint8_t)n };
	if (n >= 256) head[1] = (uint8_t)(n >> 8);
	put(out, head, n < 24 ? 1 : n < 256 ? 2 : 3);
}

static void put_text(bytes *out, const char *text)
{
	put_head(out, 3, strlen(text));
	put(out, text, strlen(text));
}

static void put_bytes(bytes *out, const void *data, size_t len)
{
	put_head(out, 2, len);
	put(out, data, len);
}

static const uint8_t *find(const bytes *in, const void *data, size_t len)
{
	return memmem(in->data, in->len, data, len);
}

/* Copies the value of a member of the request: a byte string or null. */
static void put_member(bytes *out, const bytes *request, const char *name)
{
	bytes key = { .len = 0 };
	put_text(&key, name);
	const uint8_t *at = find(request, key.data, key.len);
	put_text(out, name);
	if (!at) abort(); /* the code under test always sends all three */
	at += key.len;
	size_t len = at[0] & 31, head = 1;
	if (at[0] == 0xf6) len = 0;
	if (at[0] == 0x58) len = at[1], head = 2;
	if (at[0] == 0x59) len = (size_t)at[1] << 8 | at[2], head = 3;
	if (at[0] != 0xf6 && at[0] >> 5 != 2) abort();
	put(out, at, head + len);
}

/* ---- answers ---- */

static void random_bytes(uint8_t *out, size_t len)
{
	const char *mode = getenv("NSM_DOUBLE_RANDOM");
	memset(out, 0, len);
	if (mode && is(mode, "zero")) return;
	getrandom_fn *real = (getrandom_fn *)next("getrandom");
	if (real(out, len, 0) != (ssize_t)len) abort();
}

static void answer_random(bytes *out, const char *fault)
{
	uint8_t random[RANDOM_BYTES];
	size_t len = is(fault, "short-random") ? 5 : is(fault, "empty-random") ? 0 : sizeof(random);
	random_bytes(random, sizeof(random));
	put_head(out, 5, 1);
	put_text(out, is(fault, "other-name") ? "Random" : "GetRandom");
	put_head(out, 5, is(fault, "extra-member") ? 2 : 1);
	put_text(out, is(fault, "other-member") ? "bytes" : "random");
	if (is(fault, "text-for-bytes")) {
		put_text(out, "these are no bytes at all, but text of some length");
	} else {
		put_bytes(out, random, len);
	}
	if (is(fault, "extra-member")) {
		put_text(out, "random");
		put_bytes(out, random, len);
	}
}

static void put_payload(bytes *out, const bytes *request)
{
	static const uint8_t certificate[64] = { 0x30, 62 };
	uint8_t pcr[48], time_ms[9] = { 0x1b };
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 0; i < 8; i++)
		time_ms[1 + i] = (uint8_t)(ms >> 8 * (7 - i));
	put_head(out, 5, 9);
	put_text(out, "module_id");
	put_text(out, "i-0123456789abcdef0-enc0123456789abcd");
	put_text(out, "digest");
	put_text(out, "SHA384");
	put_text(out, "timestamp");
	put(out, time_ms, sizeof(time_ms));
	put_text(out, "pcrs");
	put_head(out, 5, 16);
	for (uint8_t i = 0; i < 16; i++) {
		memset(pcr, i < 3 ? 0x10 + i : 0, sizeof(pcr));
		put_head(out, 0, i);
		put_bytes(out, pcr, sizeof(pcr));
	}
	put_text(out, "certificate");
	put_bytes(out, certificate, sizeof(certificate));
	put_text(out, "cabundle");
	put_head(out, 4, 1);
	put_bytes(out, certificate, sizeof(certificate));
	put_member(out, request, "public_key");
	put_member(out, request, "user_data");
	put_member(out, request, "nonce");
}

static void answer_attestation(bytes *out, const bytes *request)
{
	static const uint8_t protected_header[] = { 0xa1, 0x01, 0x38, 0x22 }, signature[96];
	static bytes payload, document;
	payload.len = document.len = 0;
	put_payload(&payload, request);
	put_head(&document, 4, 4);
	put_bytes(&document, protected_header, sizeof(protected_header));
	put_head(&document, 5, 0);
	put_bytes(&document, payload.data, payload.len);
	put_bytes(&document, signature, sizeof(signature));
	put_head(out, 5, 1);
	put_text(out, "Attestation");
	put_head(out, 5, 1);
	put_text(out, "document");
	put_bytes(out, document.data, document.len);
}

static void answer_description(bytes *out, const char *fault)
{
	put_head(out, 5, 1);
	put_text(out, "DescribeNSM");
	put_head(out, 5, is(fault, "member-missing") ? 6 : 7);
	put_text(out, "version_major");
	put_head(out, 0, 1);
	put_text(out, is(fault, "member-twice") ? "version_major" : "version_minor");
	put_head(out, 0, 0);
	put_text(out, "version_patch");
	put_head(out, 0, 7);
	put_text(out, "module_id");
	put_text(out, is(fault, "odd-text") ? "i-\n\033[0m" : "i-0123456789abcdef0-enc0123456789abcd");
	put_text(out, is(fault, "member-unknown") ? "max" : "max_pcrs");
	put_head(out, 0, 32);
	put_text(out, "locked_pcrs");
	put_head(out, 4, 4);
	for (size_t i = 0; i < 4; i++)
		put_head(out, 0, i);
	if (is(fault, "member-missing")) return;
	put_text(out, "digest");
	put_text(out, "SHA384");
}

static void answer_error(bytes *out, const char *code)
{
	put_head(out, 5, 1);
	put_text(out, "Error");
	if (code[0] >= '0' && code[0] <= '9')
		put_head(out, 0, strtoul(code, NULL, 10));
	else
		put_text(out, code);
}

static void answer(bytes *out, const bytes *request, const char *fault)
{
	static const uint8_t random[] = "\x69GetRandom", attestation[] = "\xa1\x6b"
									 "Attestation\xa3";
	static const uint8_t describe[] = "\x6b"
					  "DescribeNSM";
	if (strncmp(fault, "error=", 6) == 0)
		answer_error(out, fault + 6);
	else if (request->len == sizeof(random) - 1 && memcmp(request->data, random, request->len) == 0)
		answer_random(out, fault);
	else if (request->len == sizeof(describe) - 1 && memcmp(request->data, describe, request->len) == 0)
		answer_description(out, fault);
	else if (find(request, attestation, sizeof(attestation) - 1) == request->data)
		answer_attestation(out, request);
	else
		answer_error(out, "InvalidArgument");
}

/* What faults do to a finished answer. */
static void spoil(bytes *out, const char *fault)
{
	static const uint8_t huge[] = { 0xa1, 0x69, 'G',  'e', 't', 'R', 'a', 'n', 'd', 'o',
					'm',  0xa1, 0x66, 'r', 'a', 'n', 'd', 'o', 'm', 0x5b,
					0,    0,    1,    0,   0,   0,   0,   0 };
	if (is(fault, "short")) out->len /= 2;
	if (is(fault, "empty")) out->len = 0;
	if (is(fault, "trailing")) put(out, "\0", 1);
	if (is(fault, "garbage")) memset(out->data, 0xff, out->len);
	if (is(fault, "noise")) random_bytes(out->data, out->len);
	if (is(fault, "array")) out->data[0] = 0x81;
	if (is(fault, "indefinite")) out->data[0] = 0xbf;
	if (is(fault, "tag")) out->data[0] = 0xc1;
	if (is(fault, "huge")) {
		out->len = 0;
		put(out, huge, sizeof(huge));
	}
}

/* ---- the device ---- */

static void log_request(const bytes *request)
{
	const char *path = getenv("NSM_DOUBLE_LOG");
	if (!path) return;
	FILE *file = fopen(path, "ae");
	if (!file) abort();
	for (size_t i = 0; i < request->len; i++)
		fprintf(file, "%02x", request->data[i]);
	fputc('\n', file);
	fclose(file);
}

/* The errno of a call that fails; 0 for one that does not. */
static int failure(const char *fault, unsigned call)
{
	if (is(fault, "gone")) return ENODEV;
	if (is(fault, "io")) return EIO;
	if (is(fault, "not-permitted")) return EPERM;
	if (is(fault, "interrupted")) return EINTR;
	if (is(fault, "interrupted-often")) return call % 4 ? EINTR : 0;
	return 0;
}

static int exchange(message *m)
{
	static bytes request, out;
	char fault[64];
	unsigned call = atomic_fetch_add(&calls, 1) + 1;
	current_fault(fault, call);
	int error = failure(fault, call);
	if (is(fault, "slow")) usleep(1000000);
	if (m->request_len > REQUEST_MAX) error = EMSGSIZE;
	if (m->response_len != RESPONSE_MAX) error = EINVAL; /* the code under test always has it all */
	if (error) {
		m->response_len = 1; /* nothing may be read into what a failed call leaves */
		errno = error;
		return -1;
	}
	request.len = out.len = 0;
	put(&request, (const void *)(uintptr_t)m->request, m->request_len);
	log_request(&request);
	answer(&out, &request, fault);
	spoil(&out, fault);
	memcpy((void *)(uintptr_t)m->response, out.data, out.len < RESPONSE_MAX ? out.len : RESPONSE_MAX);
	m->response_len = is(fault, "oversized") ? RESPONSE_MAX + 1 : out.len;
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
	open_fn *real = (open_fn *)next("open");
	int fd = real("/dev/null", O_RDWR | O_CLOEXEC);
	atomic_store(&device, fd);
	return fd;
}

static mode_t mode_of(int flags, va_list list)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                   \
	EXPORT int name(const char *path, int flags, ...);           \
	EXPORT int name(const char *path, int flags, ...)            \
	{                                                            \
		va_list list;                                        \
		va_start(list, flags);                               \
		mode_t mode = mode_of(flags, list);                  \
		va_end(list);                                        \
		if (strcmp(path, DEVICE) == 0) return open_device(); \
		return ((open_fn *)next(#name))(path, flags, mode);  \
	}

#define OPENAT(name)                                                          \
	EXPORT int name(int folder, const char *path, int flags, ...);        \
	EXPORT int name(int folder, const char *path, int flags, ...)         \
	{                                                                     \
		va_list list;                                                 \
		va_start(list, flags);                                        \
		mode_t mode = mode_of(flags, list);                           \
		va_end(list);                                                 \
		if (strcmp(path, DEVICE) == 0) return open_device();          \
		return ((openat_fn *)next(#name))(folder, path, flags, mode); \
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
	if (fd < 0 || fd != atomic_load(&device)) return ((ioctl_fn *)next("ioctl"))(fd, number, argument);
	if (number == _IOWR(0x0A, 0x0, message)) return exchange(argument);
	errno = ENOTTY;
	return -1;
}

EXPORT int close(int fd)
{
	int held = fd;
	if (fd >= 0) atomic_compare_exchange_strong(&device, &held, -1);
	return ((close_fn *)next("close"))(fd);
}

EXPORT ssize_t getrandom(void *out, size_t len, unsigned flags)
{
	const char *mode = getenv("NSM_DOUBLE_KERNEL");
	if (!mode || !is(mode, "zero")) return ((getrandom_fn *)next("getrandom"))(out, len, flags);
	memset(out, 0, len);
	return (ssize_t)len;
}
