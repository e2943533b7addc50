/*
 * A binary min-heap of items ordered by a 64-bit key. Every item stores its own position in a uint32_t at a
 * fixed offset, so that any item can be moved or removed. Once memory is reserved, nothing fails.
 */
#ifndef KMS_BASE_MIN_HEAP_H
#define KMS_BASE_MIN_HEAP_H

#include "kms/kms.h"

#define KMS_MIN_HEAP_ABSENT UINT32_MAX /* position of an item that is not in the heap */

typedef struct kms_min_heap_entry {
	uint64_t key;
	void *item;
} kms_min_heap_entry;

/* Entries lie in chunks, so that growing never copies them. Zero but for `position_offset` is an empty heap.
 */
typedef struct kms_min_heap {
	kms_min_heap_entry **chunks;
	size_t chunk_count;
	size_t chunk_capacity; /* pointers that fit in `chunks` */
	size_t count;
	size_t position_offset; /* of an item's position */
} kms_min_heap;

/* Reserves memory for `count` items in all. */
kms_status kms_min_heap_reserve(kms_min_heap *heap, size_t count);
/* Frees memory beyond `count` items, except a spare chunk. */
void kms_min_heap_trim(kms_min_heap *heap, size_t count);
/* Adds an item, or moves one that is there to its new key. */
void kms_min_heap_set(kms_min_heap *heap, void *item, uint64_t key);
/* Does nothing when the item is not there. */
void kms_min_heap_remove(kms_min_heap *heap, void *item);
/* The key of an item; 0 when it is not there. */
uint64_t kms_min_heap_key(const kms_min_heap *heap, const void *item);
/* The item with the smallest key, or NULL. `key` may be NULL. */
void *kms_min_heap_first(uint64_t *key, const kms_min_heap *heap);
void kms_min_heap_free(kms_min_heap *heap);

#endif
