/* What the tests of the hash tree share. */
#ifndef KMS_SPEC_TREE_KIT_H
#define KMS_SPEC_TREE_KIT_H

#include "kms/tree.h"
#include "store_kit.h"

#define HOUR 3600000ull

/* A master secret of 32 equal bytes. */
static inline kms_secret *kit_master(uint8_t byte)
{
	uint8_t bytes[32];
	kms_secret *master = NULL;
	memset(bytes, byte, sizeof(bytes));
	if (kms_secret_new(&master, KMS_SPAN(bytes)) != KMS_OK) abort();
	return master;
}

static inline void kit_set_key(kms_store *store, uint8_t byte)
{
	kms_secret *master = kit_master(byte);
	if (kms_tree_set_key(&(bool){ false }, store, master, SIZE_MAX) != KMS_OK) abort();
	kms_secret_unref(master);
}

/* A store with a hash tree. */
static inline kms_store *tree_store(uint8_t self)
{
	kms_store *store = kit_store(self);
	kit_set_key(store, 7);
	return store;
}

static inline kms_tree_root kit_root(kms_store *store)
{
	kms_tree_root root;
	if (kms_tree_get_root(&root, store, 1) != KMS_OK) abort();
	return root;
}

static inline bool same_root(kms_store *a, kms_store *b)
{
	kms_tree_root x = kit_root(a), y = kit_root(b);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* Whether the tree is the one that is built from scratch from what the store holds. */
static inline bool root_is_right_under(kms_store *store, uint8_t key)
{
	kms_tree_root kept = kit_root(store);
	kit_set_key(store, (uint8_t)(key + 1));
	kit_set_key(store, key);
	kms_tree_root built = kit_root(store);
	return memcmp(&kept, &built, sizeof(kept)) == 0;
}

static inline bool root_is_right(kms_store *store)
{
	return root_is_right_under(store, 7);
}

/* Merges a record of APP by wallet 9. */
static inline kms_status kit_merge_record(kms_store *store, kms_record record, uint64_t counter,
					  uint64_t now_ms)
{
	kms_merge outcome;
	kms_clock_entry entry = { { 9 }, counter };
	record.clock = (kms_clock){ &entry, 1 };
	return kms_store_merge(&outcome, store, APP, &record, now_ms);
}

static inline kms_record kit_live(const char *key, const uint8_t *value, size_t len, uint64_t ttl_ms)
{
	return (kms_record){ .key = kms_text_from(key),
			     .value = kms_span_of(value, len),
			     .updated_at_ms = NOW,
			     .ttl_ms = ttl_ms };
}

#endif
