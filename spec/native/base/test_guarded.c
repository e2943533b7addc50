/* Guarded memory. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/testing.h"
#include "test.h"

#define ARENA KMS_GUARDED_MIN_BYTES

typedef struct page_range {
	uintptr_t from;
	uintptr_t to;
	char flags[512];
} page_range;

/* The mapping that holds an address, from /proc/self/smaps. */
static bool find_mapping(page_range *range, const void *address)
{
	char line[512];
	bool inside = false;
	FILE *maps = fopen("/proc/self/smaps", "r");
	*range = (page_range){ 0 };
	while (maps && fgets(line, sizeof(line), maps)) {
		uintptr_t from, to;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
			inside = from <= (uintptr_t)address && (uintptr_t)address < to;
			if (inside) range->from = from, range->to = to;
		}
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(range->flags, sizeof(range->flags), "%s ", line + 8);
	}
	if (maps) fclose(maps);
	return range->to != 0;
}

static bool has_flag(const page_range *range, const char *flag)
{
	char padded[8];
	snprintf(padded, sizeof(padded), " %s ", flag);
	return strstr(range->flags, padded) != NULL;
}

TEST(pages_are_locked_undumpable_and_between_guard_pages)
{
	page_range arena, below, above;
	void *memory = kms_guarded_alloc(100);
	CHECK(memory);
	CHECK(find_mapping(&arena, memory));
	CHECK(arena.to - arena.from == kms_guarded_size());
	CHECK(kms_guarded_size() == ARENA);
	CHECK(arena.from % KMS_HUGE_PAGE == 0);
	CHECK(has_flag(&arena, "lo"));
	CHECK(has_flag(&arena, "dd"));
	CHECK(has_flag(&arena, "wf"));
	CHECK(find_mapping(&below, (void *)(arena.from - 1)));
	CHECK(find_mapping(&above, (void *)arena.to));
	CHECK(!has_flag(&below, "rd") && !has_flag(&below, "wr"));
	CHECK(!has_flag(&above, "rd") && !has_flag(&above, "wr"));
	kms_guarded_free(memory);
}

static void *guard_own_stack(void *flags)
{
	page_range below;
	volatile uint8_t here = 0;
	kms_stack_guard();
	kms_stack_guard();
	/* Some frames deeper than this one. */
	if (find_mapping(&below, (const void *)((uintptr_t)&here - 65536)))
		*(int *)flags = 1 + 2 * has_flag(&below, "lo") + 4 * has_flag(&below, "dd");
	return NULL;
}

/* Libraries hold keys on the stacks of the threads that compute with them. */
TEST(stacks_of_working_threads_are_locked_and_undumpable)
{
	pthread_t thread;
	int flags = 0;
	CHECK(pthread_create(&thread, NULL, guard_own_stack, &flags) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(flags & 4);
	/* Best effort beyond the memlock limit, which the arena may have used up. */
	CHECK((flags & 2) || kms_guarded_grant() <= ARENA);
}

/* The signal that ends a child which runs `act`; 0 when it ends by itself. */
static int signal_of_child(void (*act)(void *), void *argument)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL); /* sanitizers catch it otherwise */
		signal(SIGABRT, SIG_DFL);
		act(argument);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch(void *at)
{
	*(volatile uint8_t *)at = 1;
}

TEST(guard_pages_stop_overflow_and_underflow)
{
	page_range arena;
	void *memory = kms_guarded_alloc(100);
	CHECK(memory && find_mapping(&arena, memory));
	kms_guarded_free(memory);
	CHECK(signal_of_child(touch, (void *)(arena.from - 1)) == SIGSEGV);
	CHECK(signal_of_child(touch, (void *)arena.to) == SIGSEGV);
	CHECK(signal_of_child(touch, (void *)arena.from) == 0);
	CHECK(signal_of_child(touch, (void *)(arena.to - 1)) == 0);
}

static void expect_zero(void *memory)
{
	if (((volatile uint8_t *)memory)[0] != 0) abort();
}

TEST(a_forked_child_sees_no_secret)
{
	uint8_t *memory = kms_guarded_alloc(64);
	CHECK(memory);
	memset(memory, 0x5a, 64);
	CHECK(signal_of_child(expect_zero, memory) == 0);
	CHECK(memory[0] == 0x5a);
	kms_guarded_free(memory);
}

static void free_it(void *memory)
{
	kms_guarded_free(memory);
}

/* In a child the arena is empty, so every header is as wrong as one that was overrun. */
TEST(a_wrong_header_ends_the_process)
{
	void *memory = kms_guarded_alloc(64);
	CHECK(memory);
	CHECK(signal_of_child(free_it, memory) == SIGABRT);
	CHECK(signal_of_child(free_it, (uint8_t *)memory + 16) == SIGABRT);
	int local = 0;
	CHECK(signal_of_child(free_it, &local) == SIGABRT);
	kms_guarded_free(memory);
}

TEST(second_init_is_refused)
{
	CHECK_STATUS(KMS_ERR_STATE, kms_guarded_init(ARENA));
	CHECK_STATUS(KMS_ERR_RANGE, kms_guarded_init(ARENA - 1));
	CHECK_STATUS(KMS_ERR_RANGE, kms_guarded_init(0));
	CHECK_STATUS(KMS_ERR_RANGE, kms_guarded_init(SIZE_MAX));
	CHECK(kms_guarded_ready());
}

TEST(memory_is_zeroed_wiped_and_aligned)
{
	size_t before = kms_guarded_used();
	for (size_t size = 1; size <= 5000; size = size * 3 / 2 + 1) {
		uint8_t *memory = kms_guarded_alloc(size);
		CHECK(memory && (uintptr_t)memory % 16 == 0);
		for (size_t i = 0; i < size; i++)
			CHECK(memory[i] == 0);
		memset(memory, 0xa5, size);
		kms_guarded_free(memory);
		/* Still mapped: beyond the two links at the front it must be zero. */
		for (size_t i = 16; i < size; i++)
			CHECK(memory[i] == 0);
	}
	CHECK(kms_guarded_used() == before);
	CHECK(kms_guarded_alloc(0) == NULL);
	kms_guarded_free(NULL);
}

static kms_arena kept_arena;

static void free_in_arena(void *memory)
{
	kms_arena_free(&kept_arena, memory);
}

/* OpenSSL frees and allocates the same size at the beginning of each digest. */
TEST(the_small_block_that_was_freed_last_serves_the_next_request_of_its_size)
{
	static _Alignas(16) uint8_t memory[4096];
	kms_arena_init(&kept_arena, memory, sizeof(memory), 7);
	uint8_t *first = kms_arena_alloc(&kept_arena, 112, 0), *second = kms_arena_alloc(&kept_arena, 112, 0);
	CHECK(first && second && kept_arena.used == 256);
	CHECK(signal_of_child(free_in_arena, first) == 0);
	kms_arena_free(&kept_arena, first);
	CHECK(kept_arena.used == 128);
	/* Its header says that it is used; a second time it is refused nevertheless. */
	CHECK(signal_of_child(free_in_arena, first) == SIGABRT);
	CHECK(kms_arena_alloc(&kept_arena, 97, 0) == first);
	kms_arena_free(&kept_arena, first);
	kms_arena_free(&kept_arena, second);
	CHECK(signal_of_child(free_in_arena, first) == SIGABRT);
	/* For another size it becomes free like any other: both are part of a large one again. */
	CHECK(kms_arena_alloc(&kept_arena, 3900, 0));
}

TEST(large_requests_leave_an_eighth)
{
	enum { MAX = ARENA / 4096 };
	static void *large[MAX], *small[4096];
	size_t before = kms_guarded_used(), n = 0, m = 0;
	while (n < MAX && (large[n] = kms_guarded_alloc(4096)))
		n++;
	CHECK(n > 0 && n < MAX);
	CHECK(kms_guarded_size() - kms_guarded_used() >= ARENA / 8);
	CHECK(kms_guarded_size() - kms_guarded_used() < ARENA / 8 + 4096 + 64);
	/* What is left is for small ones and OpenSSL. */
	void *of_openssl = OPENSSL_malloc(65536);
	CHECK(of_openssl);
	OPENSSL_free(of_openssl);
	while (m < 4096 && (small[m] = kms_guarded_alloc(4095)))
		m++;
	CHECK(m > ARENA / 8 / 4096 * 9 / 10);
	CHECK(kms_guarded_alloc(4095) == NULL);
	while (m)
		kms_guarded_free(small[--m]);
	while (n)
		kms_guarded_free(large[--n]);
	CHECK(kms_guarded_used() == before);
	/* All neighbours are merged again. */
	void *most = kms_guarded_alloc(ARENA / 2);
	CHECK(most);
	kms_guarded_free(most);
}

TEST(largest_request_and_one_past_it)
{
	CHECK(kms_guarded_alloc(SIZE_MAX) == NULL);
	CHECK(kms_guarded_alloc(SIZE_MAX - 15) == NULL);
	CHECK(kms_guarded_alloc(ARENA) == NULL);
	size_t free_for_large = kms_guarded_size() - kms_guarded_used() - ARENA / 8;
	size_t fits = free_for_large / 16 * 16 - 16; /* one header */
	CHECK(kms_guarded_alloc(fits + 1) == NULL);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Each slot is filled with its own pattern, looked at before it is freed. */
static void churn(int *failed_, uint32_t seed)
{
	enum { SLOTS = 200, ROUNDS = 40000 };
	uint8_t *slots[SLOTS] = { NULL };
	size_t sizes[SLOTS] = { 0 };
	for (int round = 0; round < ROUNDS + SLOTS; round++) {
		size_t i = round < ROUNDS ? next_random(&seed) % SLOTS : (size_t)(round - ROUNDS);
		uint8_t pattern = (uint8_t)(i + 1);
		for (size_t at = 0; at < sizes[i]; at += 7)
			CHECK(slots[i][at] == pattern);
		kms_guarded_free(slots[i]);
		slots[i] = NULL;
		sizes[i] = 0;
		if (round >= ROUNDS) continue;
		size_t size = 1 + next_random(&seed) % (next_random(&seed) % 16 ? 600 : 20000);
		slots[i] = kms_guarded_alloc(size);
		CHECK(slots[i]);
		CHECK(slots[i][0] == 0 && slots[i][size / 2] == 0 && slots[i][size - 1] == 0);
		memset(slots[i], pattern, size);
		sizes[i] = size;
	}
}

static void *churn_thread(void *seed)
{
	int failed = 0;
	churn(&failed, *(uint32_t *)seed);
	return failed ? seed : NULL;
}

TEST(blocks_of_several_threads_stay_apart)
{
	pthread_t threads[4];
	uint32_t seeds[4] = { 1, 2, 3, 4 };
	size_t before = kms_guarded_used();
	void *bad = NULL;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn_thread, &seeds[i]) == 0);
	for (int i = 0; i < 4; i++) {
		void *result;
		CHECK(pthread_join(threads[i], &result) == 0);
		if (result) bad = result;
	}
	CHECK(!bad);
	CHECK(kms_guarded_used() == before);
}

TEST(openssl_allocates_here)
{
	size_t before = kms_guarded_used();
	uint8_t *memory = OPENSSL_malloc(1000);
	CHECK(memory && kms_guarded_used() >= before + 1000);
	memset(memory, 0x77, 1000);
	memory = OPENSSL_realloc(memory, 5000);
	CHECK(memory && kms_guarded_used() >= before + 5000);
	for (size_t i = 0; i < 1000; i++)
		CHECK(memory[i] == 0x77);
	CHECK(OPENSSL_realloc(memory, ARENA) == NULL);
	CHECK(memory[999] == 0x77);
	CHECK(OPENSSL_realloc(memory, 0) == NULL); /* frees, as OpenSSL's own does */
	CHECK(OPENSSL_malloc(0) == NULL);
	CHECK(kms_guarded_used() == before);
}

TEST(allocation_faults_are_counted_and_hit_once)
{
	kms_mem_fail_after(2);
	void *first = kms_guarded_alloc(16);
	void *second = kms_heap_alloc(1, 16);
	void *third = OPENSSL_malloc(16);
	CHECK(first && !second && third);
	CHECK(kms_mem_allocations() == 3);
	kms_mem_fail_after(0);
	CHECK(kms_mem_allocations() == 0);
	kms_guarded_free(first);
	OPENSSL_free(third);
	CHECK(kms_heap_alloc(SIZE_MAX / 2, 3) == NULL);
	CHECK(kms_heap_alloc(0, 3) == NULL);
	uint8_t *heap = kms_heap_alloc(4, 4);
	CHECK(heap && heap[15] == 0);
	heap[15] = 9;
	kms_mem_fail_after(1);
	CHECK(kms_heap_resize(heap, 100) == NULL);
	kms_mem_fail_after(0);
	CHECK(heap[15] == 9 && kms_heap_resize(heap, 0) == NULL);
	heap = kms_heap_resize(heap, 100);
	CHECK(heap && heap[15] == 9);
	kms_heap_free(heap);
	kms_heap_free(NULL);
	kms_mem_fail_after(1);
	CHECK(kms_heap_alloc_huge() == NULL);
	kms_mem_fail_after(0);
	uint8_t *huge = kms_heap_alloc_huge();
	CHECK(huge && (uintptr_t)huge % KMS_HUGE_PAGE == 0);
	huge[0] = huge[KMS_HUGE_PAGE - 1] = 1;
	kms_heap_free(huge);
}

static void granted_with_limit(void *unused)
{
	/* Lower than any limit that a test runs under. */
	struct rlimit limit = { (5u << 20) + 5, (5u << 20) + 5 };
	(void)unused;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) abort();
	/* Only without the capability does the limit count. */
	if (geteuid() == 0 && setuid(65534) != 0) abort();
	if (kms_guarded_grant() != 4u << 20) abort();
	limit.rlim_cur = 0;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || kms_guarded_grant() != 0) abort();
}

TEST(grant_follows_the_limit)
{
	size_t grant = kms_guarded_grant();
	CHECK(grant != 0 && (grant & (grant - 1)) == 0);
	CHECK(signal_of_child(granted_with_limit, NULL) == 0);
}

RUN_TESTS(ARENA, T(pages_are_locked_undumpable_and_between_guard_pages),
	  T(stacks_of_working_threads_are_locked_and_undumpable), T(guard_pages_stop_overflow_and_underflow),
	  T(a_forked_child_sees_no_secret), T(a_wrong_header_ends_the_process), T(second_init_is_refused),
	  T(memory_is_zeroed_wiped_and_aligned),
	  T(the_small_block_that_was_freed_last_serves_the_next_request_of_its_size),
	  T(large_requests_leave_an_eighth), T(largest_request_and_one_past_it),
	  T(blocks_of_several_threads_stay_apart), T(openssl_allocates_here),
	  T(allocation_faults_are_counted_and_hit_once), T(grant_follows_the_limit))
