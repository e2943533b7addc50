/*
 * A two-level segregated-fit allocator over one given range of memory; guarded.c gives it the
 * locked pages and a lock. All in constant time: size classes with bitmaps find a free block,
 * boundary tags merge neighbours. The small block that was freed last is kept as it is for the next request
 * of its size: OpenSSL frees and allocates the state of a digest each time that it begins one.
 *
 * Free memory stays zero (apart from its bookkeeping), so that a new block needs no clearing.
 * Every header carries a keyed check value. A wrong one means an overrun or a bad free and ends
 * the process, because going on could leak secrets.
 */
#ifndef KMS_BASE_ARENA_H
#define KMS_BASE_ARENA_H

#include "kms/kms.h"

#define KMS_ARENA_CLASSES 29 /* powers of two of a block's units */
#define KMS_ARENA_STEPS 16   /* linear steps in each */
#define KMS_ARENA_MAX ((size_t)1 << 34)
#define KMS_ARENA_LARGE 4096 /* from here on a block comes from the upper end of a gap */

typedef struct kms_arena_block kms_arena_block;

typedef struct kms_arena {
	uint8_t *base;
	size_t size;
	size_t used;  /* bytes of used blocks, headers included */
	uint64_t key; /* of the check values */
	uint32_t classes;
	uint32_t steps[KMS_ARENA_CLASSES];
	kms_arena_block *lists[KMS_ARENA_CLASSES][KMS_ARENA_STEPS];
	kms_arena_block *kept; /* freed last, and not merged yet; NULL: none */
} kms_arena;

/* In: memory - zeroed, 16-byte aligned; size - a multiple of 16, at most KMS_ARENA_MAX. */
void kms_arena_init(kms_arena *arena, void *memory, size_t size, uint64_t key);
/* Zeroed memory aligned to 16, or NULL; at least `reserve` bytes stay unused after it. */
void *kms_arena_alloc(kms_arena *arena, size_t size, size_t reserve);
/* Takes a block back. The caller has zeroed all of kms_arena_capacity. */
void kms_arena_free(kms_arena *arena, void *memory);
/* Usable bytes of a block in use. Needs no lock: only the owner's calls change them. */
size_t kms_arena_capacity(const kms_arena *arena, const void *memory);

#endif
