/*
 * The hash tree over a store's versions (docs/protocol.md section 9): two members that hold the same versions
 * have the same root, and those that differ find the versions by descending.
 *
 * A version's place is a keyed hash of its application and key; its leaf covers application, key, stamp, TTL
 * and the fingerprint of its value, never whether the value is still present. Versions without a known end,
 * and those that end by time, are digested apart: the latter by the hour of their death (deletion or expiry),
 * so that members compare only hours that neither has begun to forget. All keys come from the master secret.
 *
 * Threads: any number at a time.
 */
#ifndef KMS_TREE_H
#define KMS_TREE_H

#include "kms/secret.h"
#include "kms/store.h"

#define KMS_TREE_DIGEST 16 /* bytes: HMAC-SHA256, truncated */
#define KMS_TREE_KEY_ID 8  /* bytes */
#define KMS_TREE_BUCKET 32 /* leaves of a range without children */
#define KMS_TREE_CHILDREN 16
#define KMS_TREE_STEP 4   /* bits of a place between a range and its children */
#define KMS_TREE_DEPTH 64 /* bits of a place */

/* Versions of one section whose places begin with the same bits. */
typedef struct kms_tree_range {
	uint32_t hour;  /* section: hours since 1970 of the versions' death; 0: those without a known end */
	uint8_t depth;  /* bits, a multiple of KMS_TREE_STEP */
	uint64_t place; /* the bits, at the top; the others are 0 */
} kms_tree_range;

typedef struct kms_tree_root {
	uint8_t key_id[KMS_TREE_KEY_ID];
	uint8_t lasting[KMS_TREE_DIGEST]; /* of the versions without a known end; zeros: none */
	uint8_t ending[KMS_TREE_DIGEST];  /* of the versions of all hours from a given one on; zeros: none */
} kms_tree_root;

/* A range: up to KMS_TREE_BUCKET leaves in order, or else the digests of its children (zeros: empty). */
typedef struct kms_tree_view {
	uint64_t versions; /* in the range */
	bool has_children;
	size_t count; /* of digests */
	uint8_t digests[KMS_TREE_BUCKET][KMS_TREE_DIGEST];
} kms_tree_view;

/* The digest of one hour's versions. */
typedef struct kms_tree_hour {
	uint32_t hour;
	uint8_t digest[KMS_TREE_DIGEST];
} kms_tree_hour;

/*
 * Gives the tree its keys and, if they are others than before or building it failed, begins to build it;
 * goes on with that where a call before has begun. Otherwise it does nothing. Until it is built, the
 * functions below fail. Returns: KMS_OK; ERR_RANGE for a secret that is not KMS_MASTER_BYTES long; ERR_STATE
 * while another thread builds it; ERR_MEMORY; as kms_hkdf_sha256. Out: more - whether there is more to add;
 * false on failure. In: records - that this call adds, about: milliseconds for thousands.
 */
kms_status kms_tree_set_key(bool *more, kms_store *store, const kms_secret *master32, size_t records);

/*
 * The first hour that this store names: it still holds every dead version of that hour and later ones, and
 * will for the next ten minutes. Dead versions that were dropped before their time move it.
 */
uint32_t kms_tree_first_hour(kms_store *store, uint64_t now_ms);

/*
 * Has the tree catch up with changes of the store, which do not touch it themselves, and computes about
 * `leaves` of the leaves that changed, long keys counting as several, so that the calls below have less to
 * do: a caller that has one thread for much work tidies step by step. Returns: as kms_tree_get_root. Out:
 * more - whether there are others; false on failure.
 */
kms_status kms_tree_tidy(bool *more, kms_store *store, size_t leaves);

/*
 * Whether the roots can be told in some microseconds: the tree is built, has caught up with the changes made
 * so far, has its digests, and no other thread works on it. Other threads may change that at once: it says
 * only where to do what asks for the roots.
 */
bool kms_tree_is_settled(kms_store *store);

/*
 * The roots. Computes what changed since the last call: milliseconds for thousands of changes.
 * Returns: KMS_OK; ERR_STATE without a key, while the tree is being built, or when there is far more to
 * compute, or others change more than this call computes: tidy first; ERR_MEMORY, ERR_LOCKED_MEMORY,
 * ERR_CRYPTO.
 * Out: root - zero on failure.
 */
kms_status kms_tree_get_root(kms_tree_root *root, kms_store *store, uint32_t first_hour);

/*
 * What outsiders may see: a MAC, under the tree's key, of the roots and what the caller drew. Stores that
 * hold the same give the same, and nobody else can tell what they hold. Returns: as kms_tree_get_root. Out:
 * mac32 - zeros on failure. In: nonce - 16 to 64 bytes (ERR_RANGE).
 */
kms_status kms_tree_show(uint8_t mac32[32], kms_store *store, uint32_t first_hour, kms_span nonce);

/*
 * Looks at a range. Returns: as kms_tree_get_root; ERR_RANGE for a range that cannot be. Out: view - zero on
 * failure.
 */
kms_status kms_tree_look(kms_tree_view *view, kms_store *store, const kms_tree_range *range);

/*
 * The hours from `first` on that have versions, in order. Returns: as kms_tree_get_root. Out: hours - up to
 * `max`, `count` of them; `more` - whether others follow.
 */
kms_status kms_tree_hours(kms_tree_hour *hours, size_t *count, bool *more, kms_store *store, uint32_t first,
			  size_t max);

/* Called for a version with the tree locked: it must not call the store. False ends the visit. */
typedef bool (*kms_tree_visitor)(void *context, uint64_t app_id, kms_text key,
				 const uint8_t leaf[KMS_TREE_DIGEST]);

/*
 * Visits the versions of a range of up to KMS_TREE_BUCKET of them, in no order. Returns: as kms_tree_look;
 * ERR_TOO_LARGE for a range of more, unless it is as deep as ranges are.
 */
kms_status kms_tree_visit(kms_store *store, const kms_tree_range *range, kms_tree_visitor visit,
			  void *context);

/*
 * Finds the version that a stub stands for. Returns: as kms_tree_visit; ERR_NOT_FOUND. Out: range - as deep
 * as ranges are; leaf16 - its leaf; zero on failure. In: stub - its key, stamp and TTL.
 */
kms_status kms_tree_find(kms_tree_range *range, uint8_t leaf16[KMS_TREE_DIGEST], kms_store *store,
			 uint64_t app_id, const kms_record *stub);

#endif
