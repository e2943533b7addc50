/*
 * Digests of the hash tree, computed when they are asked for. All of them are HMAC-SHA256 under the digest
 * key, cut to 16 bytes: members know the key, so a keyed hash that is not collision resistant would let one
 * member make two others believe that they hold the same.
 */
#ifndef KMS_STORE_STORE_TREE_DIGEST_H
#define KMS_STORE_STORE_TREE_DIGEST_H

#include "store/store_tree.h"

/* What a hash under the digest key is of: its first byte. */
enum { OF_LEAF = 1, OF_BUCKET, OF_CHILDREN, OF_HOURS, OF_SHOW };

typedef uint8_t tree_digest[KMS_TREE_DIGEST];

/* Leaves in order. Those of a range as deep as ranges are may be many. */
typedef struct leaf_list {
	size_t count;
	tree_digest *leaves;
	tree_digest some[KMS_TREE_BUCKET];
} leaf_list;

/* ---- the tree is locked ---- */

bool kms_tree_is_within(uint64_t place, const kms_tree_range *range);
/* The leaves of a clean node without children that lie in a range; NULL: all of them. Free also after a
 * failure. */
kms_status kms_tree_leaves(leaf_list *list, const tree_node *node, const kms_tree_range *range);
void kms_tree_leaves_free(leaf_list *list);
/* The digest of those leaves. */
kms_status kms_tree_digest_of_part(tree_digest made, const store_tree *tree, const tree_node *node,
				   const kms_tree_range *range);
/* ---- locking ---- */

/*
 * Lock the tree when it has caught up, and all its sections from an hour on, or the node of a range (the
 * deepest that has all its records; NULL: there is none), are clean. Until then it is locked for a fraction
 * of a millisecond at a time, KMS_TREE_ROUNDS times at most. Return KMS_OK with the tree locked; ERR_STATE
 * while it is not built, or when more changes than that allows for, ERR_LOCKED_MEMORY, ERR_CRYPTO, ERR_MEMORY
 * with the tree not locked.
 */
#define KMS_TREE_ROUNDS 256
kms_status kms_tree_lock_clean(kms_store *store, uint32_t first);
kms_status kms_tree_lock_node(tree_node **node, kms_store *store, const kms_tree_range *range);

/* ---- no lock ---- */

kms_status kms_tree_digest_of_hours(tree_digest made, const kms_secret *key, const kms_tree_hour *hours,
				    size_t count);

#endif
