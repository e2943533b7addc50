#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/ensure.h"
#include "base/testing.h"

/* Counting starts with the first kms_mem_fail_after, so that a node pays one plain load. */
static atomic_bool counting;
static atomic_ulong counted;
static atomic_ulong failing; /* number of the allocation that fails; 0: none */

void kms_mem_fail_after(unsigned long n)
{
	atomic_store(&counted, 0);
	atomic_store(&failing, n);
	atomic_store(&counting, true);
}

unsigned long kms_mem_allocations(void)
{
	return atomic_load(&counted);
}

bool kms_mem_permit(void)
{
	if (!atomic_load_explicit(&counting, memory_order_relaxed)) return true;
	return atomic_fetch_add(&counted, 1) + 1 != atomic_load(&failing);
}

void *kms_heap_alloc(size_t count, size_t size)
{
	size_t total;
	ENSURE(KMS_MUL(&total, count, size) && total > 0, NULL);
	ENSURE(kms_mem_permit(), NULL);
	return calloc(count, size);
}

void *kms_heap_resize(void *memory, size_t size)
{
	ENSURE(size > 0, NULL);
	ENSURE(kms_mem_permit(), NULL);
	return realloc(memory, size);
}

void *kms_heap_alloc_huge(void)
{
	ENSURE(kms_mem_permit(), NULL);
	void *memory = aligned_alloc(KMS_HUGE_PAGE, KMS_HUGE_PAGE);
	/* Where the system has no huge pages it says so, and the memory serves as it is. */
	if (memory) (void)madvise(memory, KMS_HUGE_PAGE, MADV_HUGEPAGE);
	return memory;
}

void kms_heap_free(void *memory)
{
	free(memory);
}

void kms_heap_merge_eagerly(void)
{
	(void)mallopt(M_MXFAST, 0);
}
