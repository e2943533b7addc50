/* The inside of an exchange, as the asking member sees it. */
#ifndef KMS_SYNC_SYNC_DIGEST_ASKING_H
#define KMS_SYNC_SYNC_DIGEST_ASKING_H

#include "sync/sync_digest.h"

#define DIGEST_RANGES_MAX 65536u /* remembered; beyond it they are left to later exchanges */

typedef struct range_list {
	kms_tree_range *items;
	size_t count;
	size_t capacity;
} range_list;

typedef struct version_list {
	digest_version *items;
	size_t count;
	size_t capacity;
} version_list;

/* An item of the last question. */
typedef struct asked_item {
	digest_form form;
	kms_tree_range range;
	size_t count;
	digest_short shorts[KMS_TREE_BUCKET];
} asked_item;

struct kms_digest {
	kms_store *store;
	kms_digest_state state;
	kms_digest_counts counts;
	uint8_t salt_bytes[DIGEST_SALT];
	kms_siphash_key salt;
	uint32_t first_hour;
	kms_tree_root root;
	digest_kind last;   /* question; 0: none yet */
	range_list ranges;  /* to ask about */
	range_list lists;   /* to ask about by lists of leaves: sums have not told what differs */
	range_list whole;   /* of which the peer has nothing */
	uint32_t next_hour; /* from which on to ask about hours; 0: none */
	asked_item *asked;
	size_t asked_count;
	version_list given;
	version_list wanted;
	size_t wanting;            /* versions that the last question wants */
	size_t sought;             /* of those that are wanted, the first ones: here as stubs */
	bool equal;                /* the roots were equal */
	bool brief;                /* the peer knows the forms SUM and BRIEF */
	bool base64;               /* values are given in base64 */
	uint64_t draws;            /* numbers drawn under the salt */
	uint64_t forget_before_ms; /* 0: give all that the peer lacks */
};

/* Lists of ranges forget what is beyond their maximum. */
kms_status kms_digest_add_range(range_list *list, const kms_tree_range *range);
/* A child of a range; nothing when ranges are no deeper. */
kms_status kms_digest_add_child(range_list *list, const kms_tree_range *range, uint64_t index);
/*
 * Puts the ranges from an index on into an order that this exchange draws: one that ends early has not gone
 * where the one before it went. What a peer always refuses must not keep other differences waiting.
 */
void kms_digest_shuffle(range_list *list, size_t from, kms_digest *digest);
kms_status kms_digest_add_version(version_list *list, const kms_tree_range *range, const digest_short name);
/* The peer has looked up that many of the versions that were wanted. */
void kms_digest_moved(kms_digest *digest, size_t looked_up);

#endif
