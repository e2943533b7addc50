/*
 * Linear probing. A slot holds the whole hash, so that a look-up touches one slot's cache line and the
 * record itself. Growing and shrinking move a few slots with each operation: no single operation
 * pays for a whole table.
 *
 * In a large table keys in use lie each on a page of its own, and translating addresses costs more than
 * searching. A large table therefore has a small direct-mapped cache of the records found last.
 */
#include "store/store_map.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/ensure.h"

#define MIN_SIZE 16
#define MOVE_EACH 16            /* slots; a table must be empty before the next one is full */
#define RELEASE_EACH (1u << 14) /* moved slots whose pages go back at once (256 KiB) */
#define PAGE 4096u
#define RECENT_FROM (1u << 16) /* slots of a table that gets a cache of recent records */
#define RECENT_SHARE 64        /* that many times smaller than the table */

static bool same_key(const store_record *record, kms_text key)
{
	return record->key_len == key.len && memcmp(record->key, key.text, key.len) == 0;
}

/* The slot of a key, or the empty one where its search ends; NULL without a table. */
static map_slot *probe(const map_table *table, uint64_t hash, kms_text key)
{
	ENSURE(table->size > 0, NULL);
	size_t mask = table->size - 1;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		map_slot *slot = &table->slots[i];
		if (!slot->record) return slot;
		if (slot->hash == hash && same_key(slot->record, key)) return slot;
	}
}

static map_slot *probe_record(const map_table *table, const store_record *record)
{
	map_slot *slot = probe(table, record->hash, kms_record_key(record));
	return slot && slot->record ? slot : NULL;
}

static void table_add(map_table *table, store_record *record)
{
	size_t mask = table->size - 1;
	size_t i = record->hash & mask;
	while (table->slots[i].record)
		i = (i + 1) & mask;
	table->slots[i] = (map_slot){ record->hash, record };
	table->count++;
}

/* Empties a slot and closes the gap, so that no search ends too early. */
static void table_clear_slot(map_table *table, size_t gap)
{
	size_t mask = table->size - 1;
	for (size_t i = (gap + 1) & mask; table->slots[i].record; i = (i + 1) & mask) {
		size_t home = table->slots[i].hash & mask;
		if (((i - home) & mask) < ((i - gap) & mask)) continue;
		table->slots[gap] = table->slots[i];
		gap = i;
	}
	table->slots[gap].record = NULL;
	table->count--;
}

static void table_free(map_table *table)
{
	kms_heap_free(table->slots);
	*table = (map_table){ NULL, 0, 0 };
}

/*
 * Returns the pages of moved slots to the system step by step: freeing a large table in one call
 * takes milliseconds. The pages then read as zeros, which are empty slots.
 */
static void release_moved(const store_map *map)
{
	if (map->to_move == 0 || map->to_move % RELEASE_EACH != 0) return;
	uintptr_t to = (uintptr_t)(map->old.slots + map->to_move) / PAGE * PAGE;
	uintptr_t from = to - (RELEASE_EACH * sizeof(map_slot) - PAGE); /* starts after the first slot */
	(void)madvise((void *)from, to - from, MADV_DONTNEED); /* NOLINT(performance-no-int-to-ptr) */
}

static void move_some(store_map *map)
{
	for (int i = 0; i < MOVE_EACH && map->old.count > 0; i++, map->to_move++) {
		release_moved(map);
		const map_slot *slot = &map->old.slots[map->to_move];
		while (slot->record) { /* closing the gap may bring another one here */
			table_add(&map->current, slot->record);
			table_clear_slot(&map->old, map->to_move);
		}
	}
	if (map->old.size > 0 && map->old.count == 0) table_free(&map->old);
}

static map_slot *recent_slot(const store_map *map, uint64_t hash)
{
	return map->recent ? &map->recent[hash & (map->recent_size - 1)] : NULL;
}

static void recent_forget(const store_map *map, const store_record *record)
{
	map_slot *slot = recent_slot(map, record->hash);
	if (slot && slot->record == record) slot->record = NULL;
}

/* Without memory for the cache look-ups are only slower. */
static void recent_resize(store_map *map, size_t table_size)
{
	kms_heap_free(map->recent);
	map->recent_size = table_size / RECENT_SHARE;
	map->recent = table_size >= RECENT_FROM ? kms_heap_alloc(map->recent_size, sizeof(map_slot)) : NULL;
}

static kms_status resize(store_map *map, size_t size)
{
	map_slot *slots = kms_heap_alloc(size, sizeof(*slots));
	ENSURE(slots, KMS_ERR_MEMORY);
	map->old = map->current;
	map->to_move = 0;
	map->current = (map_table){ slots, size, 0 };
	recent_resize(map, size);
	return KMS_OK;
}

size_t kms_map_count(const store_map *map)
{
	return map->current.count + map->old.count;
}

static store_record *search(const store_map *map, uint64_t hash, kms_text key)
{
	const map_slot *slot = probe(&map->current, hash, key);
	if (slot && slot->record) return slot->record;
	slot = probe(&map->old, hash, key);
	return slot ? slot->record : NULL;
}

store_record *kms_map_find(store_map *map, uint64_t hash, kms_text key)
{
	if (map->old.size > 0) move_some(map);
	map_slot *recent = recent_slot(map, hash);
	if (recent && recent->record && recent->hash == hash && same_key(recent->record, key))
		return recent->record;
	store_record *found = search(map, hash, key);
	if (recent && found) *recent = (map_slot){ hash, found };
	return found;
}

kms_status kms_map_reserve(store_map *map)
{
	size_t size = map->current.size;
	if (kms_map_count(map) + 1 <= size / 4 * 3) return KMS_OK;
	while (map->old.size > 0) /* does not happen: see MOVE_EACH */
		move_some(map);
	return resize(map, size ? size * 2 : MIN_SIZE);
}

void kms_map_insert(store_map *map, store_record *record)
{
	move_some(map);
	table_add(&map->current, record);
}

void kms_map_replace(store_map *map, const store_record *old, store_record *record)
{
	recent_forget(map, old);
	map_slot *slot = probe_record(&map->current, old);
	if (!slot) slot = probe_record(&map->old, old);
	slot->record = record;
}

void kms_map_remove(store_map *map, const store_record *record)
{
	recent_forget(map, record);
	map_table *table = &map->current;
	const map_slot *slot = probe_record(table, record);
	if (!slot) {
		table = &map->old;
		slot = probe_record(table, record);
	}
	table_clear_slot(table, (size_t)(slot - table->slots));
	move_some(map);
	size_t size = map->current.size;
	if (map->old.size > 0 || size <= MIN_SIZE || map->current.count >= size / 16 * 3) return;
	(void)resize(map, size / 2); /* without memory the table stays large */
}

void kms_map_free(store_map *map)
{
	table_free(&map->current);
	table_free(&map->old);
	kms_heap_free(map->recent);
	*map = (store_map){ .recent = NULL };
}
