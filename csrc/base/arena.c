#include "base/arena.h"

#include <stdlib.h>

#define UNIT 16u
#define MIN_UNITS 2u /* header and the links of a free block */
#define USED 0x80000000u
#define KEPT_UNITS 32u /* of the largest block that is kept */

/* What every block begins with. The two links are there only while it is free. */
struct kms_arena_block {
	uint32_t before; /* units of the block in front; 0: this is the first */
	uint32_t tagged; /* own units, header included, and USED */
	uint64_t check;  /* of address and `tagged` */
	kms_arena_block *next;
	kms_arena_block *prev;
};

_Static_assert(sizeof(kms_arena_block) == MIN_UNITS * UNIT, "a free block fits the smallest size");

static uint32_t units_of(const kms_arena_block *block)
{
	return block->tagged & ~USED;
}

static bool is_used(const kms_arena_block *block)
{
	return (block->tagged & USED) != 0;
}

static uint64_t check_of(const kms_arena *arena, const kms_arena_block *block)
{
	return ((uint64_t)(uintptr_t)block ^ arena->key) * 0x9e3779b97f4a7c15u ^ block->tagged;
}

static void tag(const kms_arena *arena, kms_arena_block *block, uint32_t tagged)
{
	block->tagged = tagged;
	block->check = check_of(arena, block);
}

/* Every header and link is checked before use; see arena.h on why a wrong one ends the process. */
static void require(bool intact)
{
	if (!intact) abort();
}

static kms_arena_block *block_at(const kms_arena *arena, uint8_t *at)
{
	kms_arena_block *block = (kms_arena_block *)(void *)at;
	require(at >= arena->base && at <= arena->base + arena->size - UNIT);
	require(block->check == check_of(arena, block));
	return block;
}

static kms_arena_block *block_of(const kms_arena *arena, const void *memory)
{
	uintptr_t offset = (uintptr_t)memory - (uintptr_t)arena->base;
	require(offset >= UNIT && offset < arena->size && offset % UNIT == 0);
	kms_arena_block *block = block_at(arena, arena->base + offset - UNIT);
	require(is_used(block));
	return block;
}

static kms_arena_block *block_after(const kms_arena *arena, kms_arena_block *block)
{
	return block_at(arena, (uint8_t *)block + (size_t)units_of(block) * UNIT);
}

/* Size class: below 16 units one each, above 16 linear steps in each power of two. */
static void class_of(unsigned *class, unsigned *step, uint32_t units)
{
	if (units < KMS_ARENA_STEPS) {
		*class = 0;
		*step = units;
		return;
	}
	unsigned log2 = 31u - (unsigned)__builtin_clz(units);
	*class = log2 - 3;
	*step = (units >> (log2 - 4)) & (KMS_ARENA_STEPS - 1);
}

static void list_add(kms_arena *arena, kms_arena_block *block)
{
	unsigned class, step;
	class_of(&class, &step, units_of(block));
	kms_arena_block *first = arena->lists[class][step];
	block->prev = NULL;
	block->next = first;
	if (first) first->prev = block;
	arena->lists[class][step] = block;
	arena->steps[class] |= 1u << step;
	arena->classes |= 1u << class;
}

static void list_remove(kms_arena *arena, kms_arena_block *block)
{
	unsigned class, step;
	class_of(&class, &step, units_of(block));
	require(!block->next || block->next->prev == block);
	require(block->prev ? block->prev->next == block : arena->lists[class][step] == block);
	if (block->next) block->next->prev = block->prev;
	if (block->prev)
		block->prev->next = block->next;
	else
		arena->lists[class][step] = block->next;
	block->next = NULL;
	block->prev = NULL;
	if (arena->lists[class][step]) return;
	arena->steps[class] &= ~(1u << step);
	if (arena->steps[class] == 0) arena->classes &= ~(1u << class);
}

/* A free block of at least `units`, out of the first class where every block is large enough. */
static kms_arena_block *list_find(const kms_arena *arena, uint32_t units)
{
	unsigned class, step;
	if (units >= KMS_ARENA_STEPS) units += (1u << (27u - (unsigned)__builtin_clz(units))) - 1;
	class_of(&class, &step, units);
	if (class >= KMS_ARENA_CLASSES) return NULL;
	uint32_t steps = arena->steps[class] & (~0u << step);
	if (steps == 0) {
		uint32_t classes = arena->classes & (~0u << class << 1);
		if (classes == 0) return NULL;
		class = (unsigned)__builtin_ctz(classes);
		steps = arena->steps[class];
	}
	return arena->lists[class][__builtin_ctz(steps)];
}

void kms_arena_init(kms_arena *arena, void *memory, size_t size, uint64_t key)
{
	*arena = (kms_arena){ .base = memory, .size = size, .key = key };
	uint32_t units = (uint32_t)(size / UNIT) - 1;
	kms_arena_block *first = memory;
	tag(arena, first, units);
	list_add(arena, first);
	/* The last unit is a header alone, used for ever, so that no block lacks a neighbour. */
	kms_arena_block *last = (kms_arena_block *)(void *)(arena->base + (size_t)units * UNIT);
	last->before = units;
	tag(arena, last, 1 | USED);
}

/* Cuts a free, unlisted block in two and lists the part that is not asked for. */
static kms_arena_block *split(kms_arena *arena, kms_arena_block *block, uint32_t units)
{
	uint32_t rest = units_of(block) - units;
	if (rest < MIN_UNITS) return block;
	kms_arena_block *after = block_after(arena, block);
	/* Large blocks live above, small ones below, so that small ones do not break up the room. */
	bool above = units > KMS_ARENA_LARGE / UNIT;
	uint32_t low = above ? rest : units;
	uint32_t high = above ? units : rest;
	kms_arena_block *upper = (kms_arena_block *)(void *)((uint8_t *)block + (size_t)low * UNIT);
	tag(arena, block, low);
	tag(arena, upper, high);
	upper->before = low;
	after->before = high;
	list_add(arena, above ? block : upper);
	return above ? upper : block;
}

/* Makes `upper` part of `lower`, its neighbour in front; both free and in no list. */
static void merge(kms_arena *arena, kms_arena_block *lower, kms_arena_block *upper)
{
	uint32_t units = units_of(lower) + units_of(upper);
	block_after(arena, upper)->before = units;
	*upper = (kms_arena_block){ 0 };
	tag(arena, lower, units);
}

/* Makes a block free: merges and lists it. */
static void give_back(kms_arena *arena, kms_arena_block *block)
{
	kms_arena_block *after = block_after(arena, block);
	require(after->before == units_of(block));
	tag(arena, block, units_of(block));
	if (!is_used(after)) {
		list_remove(arena, after);
		merge(arena, block, after);
	}
	if (block->before != 0) {
		kms_arena_block *front = block_at(arena, (uint8_t *)block - (size_t)block->before * UNIT);
		require(units_of(front) == block->before);
		if (!is_used(front)) {
			list_remove(arena, front);
			merge(arena, front, block);
			block = front;
		}
	}
	list_add(arena, block);
}

/* The kept block, where it has that size; otherwise it is given back. Its header says that it is used. */
static kms_arena_block *take_kept(kms_arena *arena, uint32_t units)
{
	kms_arena_block *block = arena->kept;
	if (!block) return NULL;
	arena->kept = NULL;
	require(block->check == check_of(arena, block) && is_used(block));
	if (units_of(block) == units) return block;
	give_back(arena, block);
	return NULL;
}

static kms_arena_block *take_listed(kms_arena *arena, uint32_t units)
{
	kms_arena_block *block = list_find(arena, units);
	if (!block) return NULL;
	require(block->check == check_of(arena, block) && !is_used(block));
	list_remove(arena, block);
	block = split(arena, block, units);
	tag(arena, block, block->tagged | USED);
	return block;
}

void *kms_arena_alloc(kms_arena *arena, size_t size, size_t reserve)
{
	if (size == 0 || size > arena->size) return NULL;
	uint32_t units = (uint32_t)((size + UNIT - 1) / UNIT) + 1;
	size_t bytes = (size_t)units * UNIT;
	size_t left = arena->size - arena->used;
	if (left < bytes || left - bytes < reserve) return NULL;
	kms_arena_block *block = take_kept(arena, units);
	if (!block) block = take_listed(arena, units);
	if (!block) return NULL;
	arena->used += (size_t)units_of(block) * UNIT;
	return (uint8_t *)block + UNIT;
}

void kms_arena_free(kms_arena *arena, void *memory)
{
	kms_arena_block *block = block_of(arena, memory), *kept = arena->kept;
	require(block != kept);
	require(block_after(arena, block)->before == units_of(block));
	arena->used -= (size_t)units_of(block) * UNIT;
	arena->kept = units_of(block) <= KEPT_UNITS ? block : NULL;
	if (!arena->kept) give_back(arena, block);
	if (kept) give_back(arena, kept);
}

size_t kms_arena_capacity(const kms_arena *arena, const void *memory)
{
	return ((size_t)units_of(block_of(arena, memory)) - 1) * UNIT;
}
