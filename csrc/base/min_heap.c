#include "base/min_heap.h"

#include "base/mem.h"
#include "base/ensure.h"

#define CHUNK 64
#define MIN_CHUNK_CAPACITY 4

static uint32_t *position_of(const kms_min_heap *heap, const void *item)
{
	return (uint32_t *)(void *)((uint8_t *)(uintptr_t)item + heap->position_offset);
}

static kms_min_heap_entry *entry_at(const kms_min_heap *heap, size_t position)
{
	return &heap->chunks[position / CHUNK][position % CHUNK];
}

static void entry_set(kms_min_heap *heap, size_t position, kms_min_heap_entry entry)
{
	*entry_at(heap, position) = entry;
	*position_of(heap, entry.item) = (uint32_t)position;
}

static kms_status chunk_list_grow(kms_min_heap *heap)
{
	if (heap->chunk_count < heap->chunk_capacity) return KMS_OK;
	size_t wanted = heap->chunk_capacity ? heap->chunk_capacity * 2 : MIN_CHUNK_CAPACITY;
	kms_min_heap_entry **chunks = kms_heap_resize(heap->chunks, wanted * sizeof(kms_min_heap_entry *));
	ENSURE(chunks, KMS_ERR_MEMORY);
	heap->chunks = chunks;
	heap->chunk_capacity = wanted;
	return KMS_OK;
}

kms_status kms_min_heap_reserve(kms_min_heap *heap, size_t count)
{
	ENSURE(count < KMS_MIN_HEAP_ABSENT, KMS_ERR_MEMORY);
	while (heap->chunk_count * CHUNK < count) {
		GUARD(chunk_list_grow(heap));
		kms_min_heap_entry *chunk = kms_heap_alloc(CHUNK, sizeof(*chunk));
		ENSURE(chunk, KMS_ERR_MEMORY);
		heap->chunks[heap->chunk_count++] = chunk;
	}
	return KMS_OK;
}

void kms_min_heap_trim(kms_min_heap *heap, size_t count)
{
	size_t wanted = count / CHUNK + 2; /* the one in use and a spare */
	while (heap->chunk_count > wanted)
		kms_heap_free(heap->chunks[--heap->chunk_count]);
}

static void sift_up(kms_min_heap *heap, size_t position, kms_min_heap_entry entry)
{
	while (position > 0) {
		size_t parent = (position - 1) / 2;
		if (entry_at(heap, parent)->key <= entry.key) break;
		entry_set(heap, position, *entry_at(heap, parent));
		position = parent;
	}
	entry_set(heap, position, entry);
}

static void sift_down(kms_min_heap *heap, size_t position, kms_min_heap_entry entry)
{
	for (;;) {
		size_t child = 2 * position + 1;
		if (child >= heap->count) break;
		if (child + 1 < heap->count && entry_at(heap, child + 1)->key < entry_at(heap, child)->key)
			child++;
		if (entry_at(heap, child)->key >= entry.key) break;
		entry_set(heap, position, *entry_at(heap, child));
		position = child;
	}
	entry_set(heap, position, entry);
}

/* Puts an entry where the one at `position` was, then moves it to where it belongs. */
static void entry_replace(kms_min_heap *heap, size_t position, kms_min_heap_entry entry)
{
	if (position > 0 && entry.key < entry_at(heap, (position - 1) / 2)->key)
		sift_up(heap, position, entry);
	else
		sift_down(heap, position, entry);
}

void kms_min_heap_set(kms_min_heap *heap, void *item, uint64_t key)
{
	kms_min_heap_entry entry = { key, item };
	uint32_t position = *position_of(heap, item);
	if (position == KMS_MIN_HEAP_ABSENT)
		sift_up(heap, heap->count++, entry);
	else
		entry_replace(heap, position, entry);
}

void kms_min_heap_remove(kms_min_heap *heap, void *item)
{
	uint32_t position = *position_of(heap, item);
	if (position == KMS_MIN_HEAP_ABSENT) return;
	*position_of(heap, item) = KMS_MIN_HEAP_ABSENT;
	kms_min_heap_entry last = *entry_at(heap, --heap->count);
	if (last.item != item) entry_replace(heap, position, last);
}

uint64_t kms_min_heap_key(const kms_min_heap *heap, const void *item)
{
	uint32_t position = *position_of(heap, item);
	return position == KMS_MIN_HEAP_ABSENT ? 0 : entry_at(heap, position)->key;
}

void *kms_min_heap_first(uint64_t *key, const kms_min_heap *heap)
{
	if (key) *key = 0;
	ENSURE(heap->count > 0, NULL);
	const kms_min_heap_entry *first = entry_at(heap, 0);
	if (key) *key = first->key;
	return first->item;
}

void kms_min_heap_free(kms_min_heap *heap)
{
	for (size_t i = 0; i < heap->chunk_count; i++)
		kms_heap_free(heap->chunks[i]);
	kms_heap_free(heap->chunks);
	*heap = (kms_min_heap){ .position_offset = heap->position_offset };
}
