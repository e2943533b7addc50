/*
 * The hash tree (kms/tree.h) as the store's other files see it, and its inside. A section is a trie by place:
 * a node has up to KMS_TREE_BUCKET records, or four children. Changes do not touch it: it catches up with
 * them (store_tree_follow.h) when digests are asked for. Then records are put in their nodes, the nodes above
 * are marked, and digests are computed, each leaf once.
 *
 * A record's namespace is locked before the tree.
 */
#ifndef KMS_STORE_STORE_TREE_H
#define KMS_STORE_STORE_TREE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/siphash.h"
#include "kms/tree.h"
#include "store/store_record.h"

#define KMS_TREE_FAN 4  /* children of a node */
#define KMS_TREE_BITS 2 /* of a place between a node and its children */

/* A record in its node. A key may be 64 KiB long: what is made from it is made once. */
typedef struct tree_entry {
	store_record *record;
	uint64_t place;
	uint8_t leaf[KMS_TREE_DIGEST]; /* zeros: not computed yet */
} tree_entry;

typedef struct tree_node {
	uint8_t digest[KMS_TREE_DIGEST]; /* if clean; zeros: empty */
	uint32_t count;                  /* records below */
	bool clean;
	bool inner;
	union {
		tree_entry *entries; /* capacity: `count`, rounded up */
		struct tree_node *children;
	} in;
} tree_node;

typedef struct tree_section {
	uint32_t hour;
	tree_node top;
} tree_section;

typedef struct store_tree {
	pthread_mutex_t lock;
	pthread_mutex_t turn; /* held while waiting for `lock`, never while holding it */
	pthread_mutex_t build_lock;
	size_t build_at;      /* while it is built, under build_lock: index of the namespace */
	bool keyed;           /* it takes records */
	bool built;           /* it has all records but for changes that it has to catch up with */
	uint64_t emptied;     /* how often it was */
	atomic_size_t behind; /* namespaces with such changes */
	kms_secret *key;
	kms_siphash_key place_key;
	uint8_t key_id[KMS_TREE_KEY_ID];
	tree_section **sections; /* by hour */
	size_t section_count;
	size_t section_capacity;
	atomic_uint_fast64_t forgotten; /* first hour of which no dead version was dropped before its time */
} store_tree;

void kms_tree_init(store_tree *tree);
void kms_tree_free(store_tree *tree);

/* ---- inside ---- */

/* The index of the child on the way to a place, of a node whose places have `depth` bits in common. */
static inline size_t kms_tree_child(uint64_t place, unsigned depth)
{
	return place >> (KMS_TREE_DEPTH - KMS_TREE_BITS - depth) & (KMS_TREE_FAN - 1);
}

void kms_tree_lock(store_tree *tree);
/* The same for work that locks again and again: those who wait already come first. */
void kms_tree_lock_in_turn(store_tree *tree);
void kms_tree_unlock(store_tree *tree);

/* The hour of a version's section. */
uint32_t kms_tree_hour_of(uint64_t updated_at_ms, uint64_t ttl_ms, bool deleted);

/* What follows needs the lock. */

/* The place of a key. */
uint64_t kms_tree_place(const store_tree *tree, uint64_t app_id, kms_text key);

/* Empties the tree, which then takes no records. */
void kms_tree_clear(store_tree *tree);
/* Adds a record unless it is there; false without memory. */
bool kms_tree_add(store_tree *tree, store_record *record);
/* Removes a record if it is there; false without memory. */
bool kms_tree_remove(store_tree *tree, const store_record *record);
/* Puts a record in the place of another one of the same key, which may be there; false without memory. */
bool kms_tree_replace(store_tree *tree, const store_record *existing, store_record *record);
/* The section of an hour; NULL: it has no records. */
tree_section *kms_tree_section(const store_tree *tree, uint32_t hour);
/* The index of the first section from an hour on. */
size_t kms_tree_section_index(const store_tree *tree, uint32_t hour);

#endif
