/* The min-heap against a plain search, over random sequences of operations. */
#include "base/testing.h"
#include "base/min_heap.h"
#include "test.h"

#define ITEMS 300

typedef struct item {
	int before; /* a position in the middle of an item */
	uint32_t position;
	uint64_t key;
	bool there;
} item;

static kms_min_heap heap_make(void)
{
	return (kms_min_heap){ .position_offset = offsetof(item, position) };
}

static const item *smallest(const item *items)
{
	const item *found = NULL;
	for (size_t i = 0; i < ITEMS; i++) {
		if (items[i].there && (!found || items[i].key < found->key)) found = &items[i];
	}
	return found;
}

TEST(first_is_always_the_smallest)
{
	static item items[ITEMS];
	kms_min_heap heap = heap_make();
	uint64_t seed = 42, key;
	size_t count = 0;
	for (size_t i = 0; i < ITEMS; i++)
		items[i] = (item){ .position = KMS_MIN_HEAP_ABSENT };
	CHECK(!kms_min_heap_first(&key, &heap) && key == 0 && !kms_min_heap_first(NULL, &heap));
	CHECK_OK(kms_min_heap_reserve(&heap, ITEMS));
	for (int step = 0; step < 50000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		item *at = &items[(seed >> 33) % ITEMS];
		bool add = (seed >> 20) % 3 > 0;
		count += add && !at->there;
		count -= !add && at->there;
		if (add)
			kms_min_heap_set(&heap, at, at->key = (seed >> 45) % 1000 + 1); /* equal keys too */
		else
			kms_min_heap_remove(&heap, at);
		at->there = add;
		CHECK(kms_min_heap_key(&heap, at) == (add ? at->key : 0) && heap.count == count);
		const item *first = kms_min_heap_first(&key, &heap), *want = smallest(items);
		CHECK(!first == !want && (!first || (key == want->key && first->key == key)));
	}
	kms_min_heap_free(&heap);
	CHECK(heap.count == 0 && heap.position_offset == offsetof(item, position));
}

TEST(memory_is_reserved_and_given_back)
{
	kms_min_heap heap = heap_make();
	CHECK_STATUS(KMS_ERR_MEMORY, kms_min_heap_reserve(&heap, KMS_MIN_HEAP_ABSENT));
	CHECK_OK(kms_min_heap_reserve(&heap, 1000));
	size_t chunks = heap.chunk_count;
	CHECK_OK(kms_min_heap_reserve(&heap, 500));
	CHECK(heap.chunk_count == chunks);
	kms_min_heap_trim(&heap, 0);
	CHECK(heap.chunk_count > 0 && heap.chunk_count < 4);
	kms_mem_fail_after(1);
	CHECK_STATUS(KMS_ERR_MEMORY, kms_min_heap_reserve(&heap, 1000));
	kms_mem_fail_after(0);
	kms_min_heap_free(&heap);
}

RUN_TESTS(0, T(first_is_always_the_smallest), T(memory_is_reserved_and_given_back))
