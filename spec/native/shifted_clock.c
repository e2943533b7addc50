/*
 * A machine whose clock is wrong: a library for LD_PRELOAD that adds SHIFT_SECONDS of the environment
 * to the real-time clock. LATER_SECONDS, which the program may set itself, are added to the monotonic one.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int get_time(clockid_t id, struct timespec *now);

static get_time *real;
static long shift_s;

static long seconds_of(const char *name)
{
	const char *text = getenv(name);
	return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void find(void)
{
	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	shift_s = seconds_of("SHIFT_SECONDS");
}

/* Overrides libc's. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *now);
int clock_gettime(clockid_t id, struct timespec *now)
{
	if (!real) find();
	int result = real(id, now);
	if (result == 0 && id == CLOCK_REALTIME) now->tv_sec += shift_s;
	if (result == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE))
		now->tv_sec += seconds_of("LATER_SECONDS");
	return result;
}
