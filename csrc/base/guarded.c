/*
 * The guarded arena: one private mapping between inaccessible pages, locked, left out of
 * core dumps, empty in a forked child; an allocator over it (arena.h); OpenSSL's allocations.
 *
 * Why not OpenSSL's own secure heap: measured on the target, a malloc and free of 200 bytes
 * takes 1.3 us there and 2.8 us with two threads, several times per EVP call; it rounds sizes
 * up to powers of two, and it can only be set up through the allocator that it should replace.
 * Here nothing of OpenSSL is ever on the ordinary heap, and a pair takes a tenth of that.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/arena.h"
#include "base/guarded.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "kms/secret.h"

#define RESERVED_SHARE 8 /* large requests leave 1/8 of the arena */

typedef struct mapping {
	uint8_t *memory; /* guard page first */
	size_t size;     /* both guard pages included; 0 once handed over */
} mapping;

static struct {
	kms_arena arena;
	pthread_mutex_t lock;
	atomic_bool claimed; /* by a kms_guarded_init that is running or has succeeded */
	atomic_bool ready;
} guarded = { .lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP };

static _Thread_local bool openssl_starved;

static void *guarded_take(size_t size, size_t reserve)
{
	ENSURE(kms_guarded_ready() && kms_mem_permit(), NULL);
	pthread_mutex_lock(&guarded.lock);
	void *memory = kms_arena_alloc(&guarded.arena, size, reserve);
	pthread_mutex_unlock(&guarded.lock);
	return memory;
}

void *kms_guarded_alloc(size_t size)
{
	return guarded_take(size, size < KMS_ARENA_LARGE ? 0 : guarded.arena.size / RESERVED_SHARE);
}

void kms_guarded_free(void *memory)
{
	if (!memory) return;
	/* Wiped before the lock is taken: others need not wait for a large block. */
	kms_wipe(memory, kms_arena_capacity(&guarded.arena, memory));
	pthread_mutex_lock(&guarded.lock);
	kms_arena_free(&guarded.arena, memory);
	pthread_mutex_unlock(&guarded.lock);
}

static void *openssl_alloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	if (size == 0) return NULL;
	void *memory = guarded_take(size, 0);
	if (!memory) openssl_starved = true;
	return memory;
}

static void openssl_free(void *memory, const char *file, int line)
{
	(void)file, (void)line;
	kms_guarded_free(memory);
}

static void *openssl_resize(void *memory, size_t size, const char *file, int line)
{
	if (!memory) return openssl_alloc(size, file, line);
	if (size == 0) {
		kms_guarded_free(memory);
		return NULL;
	}
	size_t capacity = kms_arena_capacity(&guarded.arena, memory);
	if (size <= capacity) return memory;
	void *larger = openssl_alloc(size, file, line);
	if (!larger) return NULL;
	memcpy(larger, memory, capacity);
	kms_guarded_free(memory);
	return larger;
}

bool kms_guarded_starved_openssl(void)
{
	bool starved = openssl_starved;
	openssl_starved = false;
	return starved;
}

static void mapping_release(mapping *map)
{
	if (map->size) munmap(map->memory, map->size);
}

/* Straight to the kernel: sanitizers replace mlock by a function that does nothing. */
static bool lock_pages(void *memory, size_t size)
{
	return syscall(SYS_mlock, memory, size) == 0;
}

static kms_status arena_create(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t total;
	uint64_t key;
	ENSURE(KMS_ADD(&total, size, 2 * page + KMS_HUGE_PAGE), KMS_ERR_RANGE);
	ENSURE(getrandom(&key, sizeof(key), 0) == sizeof(key), KMS_ERR_SYSTEM);

	void *memory = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ENSURE(memory != MAP_FAILED, KMS_ERR_SYSTEM);
	DEFER(mapping_release) mapping map = { memory, total };
	/* In huge pages, where there are any: the keys of thousands of sessions lie far apart. */
	uint8_t *base = map.memory + page;
	base += -(uintptr_t)base % KMS_HUGE_PAGE;
	(void)madvise(base, size, MADV_HUGEPAGE);
	ENSURE(mprotect(base, size, PROT_READ | PROT_WRITE) == 0, KMS_ERR_SYSTEM);
	ENSURE(madvise(base, size, MADV_DONTDUMP) == 0, KMS_ERR_SYSTEM);
	ENSURE(madvise(base, size, MADV_WIPEONFORK) == 0, KMS_ERR_SYSTEM);
	ENSURE(lock_pages(base, size), KMS_ERR_MLOCK);
	kms_arena_init(&guarded.arena, base, size, key);
	/* Refused by OpenSSL once it has allocated anything. */
	if (!CRYPTO_set_mem_functions(openssl_alloc, openssl_resize, openssl_free)) {
		guarded.arena = (kms_arena){ 0 };
		return KMS_ERR_STATE;
	}
	map.size = 0;
	return KMS_OK;
}

kms_status kms_guarded_init(size_t bytes)
{
	ENSURE(bytes >= KMS_GUARDED_MIN_BYTES && bytes <= KMS_ARENA_MAX, KMS_ERR_RANGE);
	ENSURE(!atomic_exchange(&guarded.claimed, true), KMS_ERR_STATE);
	size_t size = (size_t)1 << (63 - __builtin_clzll(bytes));
	kms_status status = arena_create(size);
	atomic_store(status == KMS_OK ? &guarded.ready : &guarded.claimed, status == KMS_OK);
	GUARD(status);
	/*
	 * OpenSSL's first initialisation step, now that its allocations cannot fail: OpenSSL 3.5 reports a
	 * refused allocation by the very step that it is in, and waits for itself.
	 */
	ENSURE(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
				       OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS,
				   NULL),
	       KMS_ERR_LOCKED_MEMORY);
	return KMS_OK;
}

bool kms_guarded_ready(void)
{
	return atomic_load_explicit(&guarded.ready, memory_order_acquire);
}

size_t kms_guarded_size(void)
{
	return kms_guarded_ready() ? guarded.arena.size : 0;
}

size_t kms_guarded_used(void)
{
	ENSURE(kms_guarded_ready(), 0);
	pthread_mutex_lock(&guarded.lock);
	size_t used = guarded.arena.used;
	pthread_mutex_unlock(&guarded.lock);
	return used;
}
