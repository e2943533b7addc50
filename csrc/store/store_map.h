/* Hash table from keys to records: open addressing, resized a few slots at a time. */
#ifndef KMS_STORE_STORE_MAP_H
#define KMS_STORE_STORE_MAP_H

#include "store/store_record.h"

typedef struct map_slot {
	uint64_t hash;
	store_record *record; /* NULL: empty */
} map_slot;

typedef struct map_table {
	map_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t count;
} map_table;

typedef struct store_map {
	map_table current;
	map_table old;    /* being moved into `current` */
	size_t to_move;   /* first slot of `old` that may hold a record */
	map_slot *recent; /* records found last in a large table; may be NULL */
	size_t recent_size;
} store_map;

store_record *kms_map_find(store_map *map, uint64_t hash, kms_text key);
/* Reserves memory for one more record; nothing else here fails. */
kms_status kms_map_reserve(store_map *map);
void kms_map_insert(store_map *map, store_record *record);
/* Replaces `old` by `record`, which has the same key. */
void kms_map_replace(store_map *map, const store_record *old, store_record *record);
void kms_map_remove(store_map *map, const store_record *record);
size_t kms_map_count(const store_map *map);
/* It is then empty, and can be used again. */
void kms_map_free(store_map *map);

#endif
