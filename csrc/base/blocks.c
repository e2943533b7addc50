#include "base/blocks.h"

#include <string.h>

#include "base/mem.h"

/* A Lua state walks through all of its memory: in pages of 4 KiB that cost 4 % of a session's message. */
#define SLAB_BYTES KMS_HUGE_PAGE

/* The beginning of a free block, or of a slab. */
struct kms_block {
	kms_block *next;
};

/* The list of blocks of this size, counted from 0. `size` is not 0. */
static size_t list_of(size_t size)
{
	return (size - 1) / KMS_BLOCKS_STEP;
}

static bool add_slab(kms_blocks *blocks)
{
	kms_block *slab = kms_heap_alloc_huge();
	if (!slab) return false;
	slab->next = blocks->slabs;
	blocks->slabs = slab;
	blocks->left = SLAB_BYTES - KMS_BLOCKS_STEP;
	return true;
}

static void *take(kms_blocks *blocks, size_t size)
{
	if (size > KMS_BLOCKS_SMALL) return kms_heap_resize(NULL, size);
	size_t list = list_of(size), bytes = (list + 1) * KMS_BLOCKS_STEP;
	kms_block *block = blocks->free[list];
	if (block) {
		blocks->free[list] = block->next;
		/* A collection of garbage freed it long ago. Fetched now, it is in the cache when it is
		   taken: 2 % of a session's message, and less of other requests. */
		__builtin_prefetch(block->next, 1);
		return block;
	}
	/* What is left of the newest slab is lost: less than a block in 2 MiB. */
	if (blocks->left < bytes && !add_slab(blocks)) return NULL;
	blocks->left -= bytes;
	return (uint8_t *)blocks->slabs + KMS_BLOCKS_STEP + blocks->left;
}

static void give_back(kms_blocks *blocks, void *memory, size_t size)
{
	if (size > KMS_BLOCKS_SMALL) {
		kms_heap_free(memory);
		return;
	}
	kms_block *block = memory;
	block->next = blocks->free[list_of(size)];
	blocks->free[list_of(size)] = block;
}

void *kms_blocks_resize(kms_blocks *blocks, void *memory, size_t size, size_t wanted)
{
	if (!memory) return wanted ? take(blocks, wanted) : NULL;
	if (wanted == 0) {
		give_back(blocks, memory, size);
		return NULL;
	}
	if (size > KMS_BLOCKS_SMALL && wanted > KMS_BLOCKS_SMALL) return kms_heap_resize(memory, wanted);
	bool same =
	    size <= KMS_BLOCKS_SMALL && wanted <= KMS_BLOCKS_SMALL && list_of(size) == list_of(wanted);
	if (same) return memory;
	void *moved = take(blocks, wanted);
	/* A block may be longer than its list says. */
	if (!moved) return wanted <= size ? memory : NULL;
	memcpy(moved, memory, size < wanted ? size : wanted);
	give_back(blocks, memory, size);
	return moved;
}

void kms_blocks_free(kms_blocks *blocks)
{
	while (blocks->slabs) {
		kms_block *slab = blocks->slabs;
		blocks->slabs = slab->next;
		kms_heap_free(slab);
	}
	*blocks = (kms_blocks){ 0 };
}
