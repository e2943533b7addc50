/*
 * Small blocks of ordinary memory for one thread that makes and drops thousands of them a request, as a Lua
 * state does: free ones wait in lists by size, so that either takes a few instructions. Their memory is never
 * given back before the end. Blocks above KMS_BLOCKS_SMALL bytes are the C library's.
 */
#ifndef KMS_BASE_BLOCKS_H
#define KMS_BASE_BLOCKS_H

#include "kms/kms.h"

#define KMS_BLOCKS_SMALL 512
#define KMS_BLOCKS_STEP 16 /* between two sizes, and the alignment */

typedef struct kms_block kms_block;

/* Starts as zeros. */
typedef struct kms_blocks {
	kms_block *free[KMS_BLOCKS_SMALL / KMS_BLOCKS_STEP]; /* of 16, 32, ... bytes */
	kms_block *slabs; /* what small blocks are cut from, newest first */
	size_t left;      /* bytes of the newest slab that no block had yet */
} kms_blocks;

/*
 * As realloc, for a block that has `size` bytes, 0 with NULL. The new bytes are not zeroed. `wanted` 0 frees.
 * Returns: the block; NULL for `wanted` 0, or without memory, and then the old block stays. A block that
 * shrinks always finds its place.
 */
void *kms_blocks_resize(kms_blocks *blocks, void *memory, size_t size, size_t wanted);

/* Gives the memory of all small blocks back. */
void kms_blocks_free(kms_blocks *blocks);

#endif
