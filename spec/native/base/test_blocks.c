/* Small blocks, against what they must hold. */
#include <string.h>

#include "base/blocks.h"
#include "base/mem.h"
#include "base/testing.h"
#include "test.h"

#define COUNT 400

typedef struct block {
	uint8_t *memory;
	size_t size;
	uint8_t letter;
} block;

/* Whether a block still has what was written into it: another one would have overwritten it. */
static bool is_whole(const block *b)
{
	for (size_t i = 0; i < b->size; i++)
		if (b->memory[i] != b->letter) return false;
	return true;
}

TEST(blocks_keep_what_they_hold_while_others_come_go_and_change_size)
{
	static block list[COUNT];
	kms_blocks blocks = { 0 };
	uint64_t seed = 7;
	for (int step = 0; step < 60000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		block *b = &list[(seed >> 33) % COUNT];
		size_t wanted = (seed >> 12) % (2 * KMS_BLOCKS_SMALL),
		       kept = b->size < wanted ? b->size : wanted;
		CHECK(is_whole(b));
		uint8_t *moved = kms_blocks_resize(&blocks, b->memory, b->size, wanted);
		CHECK((moved != NULL) == (wanted > 0) && (uintptr_t)moved % KMS_BLOCKS_STEP == 0);
		*b = (block){ moved, kept, b->letter };
		CHECK(is_whole(b));
		*b = (block){ moved, wanted, (uint8_t)step };
		if (moved) memset(moved, b->letter, wanted);
	}
	for (size_t i = 0; i < COUNT; i++) {
		CHECK(is_whole(&list[i]));
		CHECK(!kms_blocks_resize(&blocks, list[i].memory, list[i].size, 0));
	}
	kms_blocks_free(&blocks);
	CHECK(!blocks.slabs && !blocks.left);
}

TEST(a_block_that_was_freed_is_the_next_of_its_size)
{
	kms_blocks blocks = { 0 };
	for (size_t size = 1; size <= KMS_BLOCKS_SMALL; size++) {
		void *first = kms_blocks_resize(&blocks, NULL, 0, size);
		CHECK(first && !kms_blocks_resize(&blocks, first, size, 0));
		CHECK(kms_blocks_resize(&blocks, NULL, 0, (size - 1) / 16 * 16 + 1) == first);
		CHECK(!kms_blocks_resize(&blocks, first, (size - 1) / 16 * 16 + 1, 0));
	}
	CHECK(!kms_blocks_resize(&blocks, NULL, 0, 0));
	kms_blocks_free(&blocks);
}

TEST(without_memory_a_block_stays_and_one_that_shrinks_is_fine)
{
	kms_blocks blocks = { 0 };
	size_t large = KMS_BLOCKS_SMALL + 1;
	kms_mem_fail_after(1);
	CHECK(!kms_blocks_resize(&blocks, NULL, 0, 16));
	uint8_t *data = kms_blocks_resize(&blocks, NULL, 0, large);
	CHECK(data);
	memset(data, 1, large);
	kms_mem_fail_after(1);
	CHECK(!kms_blocks_resize(&blocks, data, large, 2 * large));
	CHECK(data[0] == 1 && data[large - 1] == 1);
	kms_mem_fail_after(1);
	CHECK(kms_blocks_resize(&blocks, data, large, 16) == data && data[0] == 1);
	kms_mem_fail_after(0);
	CHECK(!kms_blocks_resize(&blocks, data, 16, 0));
	CHECK(kms_blocks_resize(&blocks, NULL, 0, 16) == data);
	/* It came from the C library: the table does not know it any more. */
	kms_heap_free(data);
	kms_blocks_free(&blocks);
}

RUN_TESTS(0, T(blocks_keep_what_they_hold_while_others_come_go_and_change_size),
	  T(a_block_that_was_freed_is_the_next_of_its_size),
	  T(without_memory_a_block_stays_and_one_that_shrinks_is_fine))
