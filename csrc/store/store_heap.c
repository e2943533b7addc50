/* Binary heaps of records; a record knows its place in each. */
#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"

#define CHUNK 64
#define MIN_DIRECTORY 4

static order_entry *entry_at(const store_order *order, size_t place)
{
	return &order->chunks[place / CHUNK][place % CHUNK];
}

static void entry_set(store_order *order, size_t place, order_entry entry)
{
	*entry_at(order, place) = entry;
	entry.record->places[order->kind] = (uint32_t)place;
}

static kms_status directory_grow(store_order *order)
{
	if (order->chunk_count < order->directory) return KMS_OK;
	size_t wanted = order->directory ? order->directory * 2 : MIN_DIRECTORY;
	order_entry **chunks = kms_heap_resize(order->chunks, wanted * sizeof(order_entry *));
	ENSURE(chunks, KMS_ERR_MEMORY);
	order->chunks = chunks;
	order->directory = wanted;
	return KMS_OK;
}

kms_status kms_order_reserve(store_order *order, size_t count)
{
	ENSURE(count < KMS_ORDER_NONE, KMS_ERR_MEMORY);
	while (order->chunk_count * CHUNK < count) {
		GUARD(directory_grow(order));
		order_entry *chunk = kms_heap_alloc(CHUNK, sizeof(*chunk));
		ENSURE(chunk, KMS_ERR_MEMORY);
		order->chunks[order->chunk_count++] = chunk;
	}
	return KMS_OK;
}

void kms_order_trim(store_order *order, size_t count)
{
	size_t wanted = count / CHUNK + 2; /* the one in use and a spare */
	while (order->chunk_count > wanted)
		kms_heap_free(order->chunks[--order->chunk_count]);
}

static void sift_up(store_order *order, size_t place, order_entry entry)
{
	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (entry_at(order, parent)->key <= entry.key) break;
		entry_set(order, place, *entry_at(order, parent));
		place = parent;
	}
	entry_set(order, place, entry);
}

static void sift_down(store_order *order, size_t place, order_entry entry)
{
	for (;;) {
		size_t child = 2 * place + 1;
		if (child >= order->count) break;
		if (child + 1 < order->count && entry_at(order, child + 1)->key < entry_at(order, child)->key)
			child++;
		if (entry_at(order, child)->key >= entry.key) break;
		entry_set(order, place, *entry_at(order, child));
		place = child;
	}
	entry_set(order, place, entry);
}

void kms_order_set(store_order *order, store_record *record, uint64_t key)
{
	kms_order_remove(order, record);
	sift_up(order, order->count++, (order_entry){ key, record });
}

void kms_order_remove(store_order *order, store_record *record)
{
	size_t place = record->places[order->kind];
	if (place == KMS_ORDER_NONE) return;
	record->places[order->kind] = KMS_ORDER_NONE;
	order_entry last = *entry_at(order, --order->count);
	if (last.record == record) return;
	bool up = place > 0 && last.key < entry_at(order, (place - 1) / 2)->key;
	if (up)
		sift_up(order, place, last);
	else
		sift_down(order, place, last);
}

uint64_t kms_order_key(const store_order *order, const store_record *record)
{
	uint32_t place = record->places[order->kind];
	return place == KMS_ORDER_NONE ? 0 : entry_at(order, place)->key;
}

store_record *kms_order_first(uint64_t *key, const store_order *order)
{
	if (key) *key = 0;
	ENSURE(order->count > 0, NULL);
	const order_entry *first = entry_at(order, 0);
	if (key) *key = first->key;
	return first->record;
}

void kms_order_free(store_order *order)
{
	for (size_t i = 0; i < order->chunk_count; i++)
		kms_heap_free(order->chunks[i]);
	kms_heap_free(order->chunks);
	*order = (store_order){ .kind = order->kind };
}
