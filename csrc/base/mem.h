/*
 * The only allocators of the core: ordinary memory here, guarded memory in kms/secret.h.
 * A test can make the n-th allocation of either kind fail (see kms_mem_fail_after).
 */
#ifndef KMS_BASE_MEM_H
#define KMS_BASE_MEM_H

#include <stdbool.h>

#include "kms/kms.h"

/* Zeroed memory of count * size bytes, or NULL (also when the product wraps or is 0). */
void *kms_heap_alloc(size_t count, size_t size);
/* Like realloc: on failure NULL and the old block stays. New bytes are not zeroed. */
void *kms_heap_resize(void *memory, size_t size);
void kms_heap_free(void *memory);
/*
 * The same for a block that may be large: wiping it and giving it back is then left to another
 * thread, and happens soon. `size` is what was allocated; NULL is fine.
 */
void kms_heap_free_later(void *memory, size_t size, bool wipe);
/*
 * Makes the C library merge small freed blocks as they come. Otherwise they pile up until some
 * large block is freed: after a million of them that one call takes 50 ms.
 */
void kms_heap_merge_eagerly(void);

/*
 * Fault injection for tests: the n-th allocation from now (1 = the next), heap or guarded,
 * on any thread, fails; 0 turns it off. OpenSSL's allocations count too.
 */
void kms_mem_fail_after(unsigned long n);
/* Allocations counted since the last kms_mem_fail_after (0 before the first). */
unsigned long kms_mem_allocations(void);

/* Counts an allocation; false when a test wants it to fail. Every allocator asks first. */
bool kms_mem_permit(void);

#endif
