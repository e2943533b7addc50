/* The hash table of a namespace, beside what a store shows of it. */
#include "base/testing.h"
#include "store/store_map.h"
#include "store_kit.h"

enum { MANY = 30000 }; /* enough for the cache of recent records */

static store_record *record_of(size_t number)
{
	store_record *made = NULL;
	kms_clock_entry clock[1] = { { { 9 }, 1 } };
	const kms_record source = { .key = kms_text_from(numbered(number)), .state = KMS_RECORD_TOMBSTONE };
	const uint64_t hash = number * 0x9e3779b97f4a7c15ull;
	if (kms_record_new(&made, &source, hash, (kms_clock){ clock, 1 }) != KMS_OK) abort();
	return made;
}

/* Without memory to shrink, a table that has no records any more is as large as ever. */
TEST(a_table_that_was_freed_while_large_can_be_used_again)
{
	store_map map = { .recent = NULL };
	store_record **records = calloc(MANY, sizeof(*records));
	CHECK(records != NULL);
	for (size_t i = 0; records && i < MANY; i++) {
		records[i] = record_of(i);
		CHECK_OK(kms_map_reserve(&map));
		kms_map_insert(&map, records[i]);
		CHECK(kms_map_find(&map, records[i]->hash, kms_record_key(records[i])) == records[i]);
	}
	for (size_t i = 0; records && i < MANY; i++) {
		kms_mem_fail_after(1);
		kms_map_remove(&map, records[i]);
		kms_mem_fail_after(0);
	}
	CHECK(map.recent != NULL && kms_map_count(&map) == 0);
	kms_map_free(&map);
	CHECK(map.recent == NULL && map.recent_size == 0);
	if (records && !map.recent) {
		CHECK(kms_map_find(&map, records[0]->hash, kms_record_key(records[0])) == NULL);
		CHECK_OK(kms_map_reserve(&map));
		kms_map_insert(&map, records[0]);
		CHECK(kms_map_find(&map, records[0]->hash, kms_record_key(records[0])) == records[0]);
		kms_map_free(&map);
	}
	for (size_t i = 0; records && i < MANY; i++)
		kms_record_free(records[i]);
	free(records);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_table_that_was_freed_while_large_can_be_used_again))
