/*
 * Ordinary memory; guarded memory is in kms/secret.h. Nothing else in csrc calls malloc.
 * Threads: any.
 */
#ifndef KMS_BASE_MEM_H
#define KMS_BASE_MEM_H

#include "kms/kms.h"

/* Zeroed memory of count * size bytes; NULL when there is none, or the product overflows or is 0. */
void *kms_heap_alloc(size_t count, size_t size);

/* Like realloc: on failure NULL, and the old block stays. New bytes are not zeroed. */
void *kms_heap_resize(void *memory, size_t size);

#define KMS_HUGE_PAGE ((size_t)2 << 20) /* bytes */

/*
 * A huge page, and the hint that it be one: the processor finds its bytes without a walk through page tables
 * for each 4 KiB that were not used of late. Not zeroed; NULL when there is no memory.
 */
void *kms_heap_alloc_huge(void);

/* NULL is fine. */
void kms_heap_free(void *memory);

/*
 * Frees a block that may be large: another thread wipes it and gives it back soon.
 * In: memory - may be NULL. size - what was allocated.
 */
void kms_heap_free_async(void *memory, size_t size, bool wipe);

/*
 * Makes the C library merge small freed blocks at once. Otherwise they pile up until a large block
 * is freed: after a million of them that one call takes 50 ms.
 */
void kms_heap_merge_eagerly(void);

/* For allocators: counts an allocation; false when a test wants it to fail (base/testing.h). */
bool kms_mem_permit(void);

#endif
