/*
 * libcurl's allocators: every block records its size and is wiped when freed, because requests
 * and responses pass through them, with TEE=odyn plaintext too. GnuTLS does not allocate here;
 * calls that carry plaintext stay on this machine and use no TLS.
 *
 * libcurl 8 keeps its transfer buffers, with what passed last, as long as the process lives: blocks
 * of their size are locked and left out of core dumps while guarded memory has room for them.
 */
#include "net/fetch_internal.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/secret.h"

#define TRANSFER_BUFFER_MIN 16384u /* bytes; libcurl's upload buffer is the largest, 64 KiB */
#define TRANSFER_BUFFER_MAX 65600u

/* Stands before each block; keeps the block aligned as malloc does. */
typedef union block {
	struct {
		size_t size; /* of the block */
		bool guarded;
	};
	max_align_t align;
} block;

static block *block_of(void *memory)
{
	return (block *)memory - 1;
}

static void *memory_new(size_t size)
{
	size_t total;
	ENSURE(KMS_ADD(&total, size, sizeof(block)), NULL);
	block *b = NULL;
	if (size >= TRANSFER_BUFFER_MIN && size <= TRANSFER_BUFFER_MAX) b = kms_guarded_alloc(total);
	bool guarded = b != NULL;
	if (!guarded) b = kms_heap_resize(NULL, total);
	ENSURE(b, NULL);
	b->size = size;
	b->guarded = guarded;
	return b + 1;
}

static void memory_free(void *memory)
{
	if (!memory) return;
	block *b = block_of(memory);
	if (b->guarded) {
		kms_guarded_free(b); /* wipes */
		return;
	}
	kms_wipe(memory, b->size);
	kms_heap_free(b);
}

/* Always a new block: realloc would leave a copy of the old bytes behind. */
static void *memory_resize(void *memory, size_t size)
{
	if (!memory) return memory_new(size);
	size_t old = block_of(memory)->size;
	void *larger = memory_new(size);
	ENSURE(larger, NULL);
	memcpy(larger, memory, old < size ? old : size);
	memory_free(memory);
	return larger;
}

static void *memory_new_zeroed(size_t count, size_t size)
{
	size_t total;
	ENSURE(KMS_MUL(&total, count, size), NULL);
	void *memory = memory_new(total);
	if (memory) memset(memory, 0, total);
	return memory;
}

static char *memory_copy(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memory_new(size);
	if (copy) memcpy(copy, text, size);
	return copy;
}

kms_status fetch_memory_init(void)
{
	static bool done; /* loop thread only; never undone */
	if (done) return KMS_OK;
	CURLcode code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, memory_new, memory_free, memory_resize,
					     memory_copy, memory_new_zeroed);
	ENSURE(code == CURLE_OK, KMS_ERR_SYSTEM);
	done = true;
	return KMS_OK;
}
