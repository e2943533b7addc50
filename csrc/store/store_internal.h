/* The whole store, for the files of this room. Each topic has a header of its own. */
#ifndef KMS_STORE_STORE_INTERNAL_H
#define KMS_STORE_STORE_INTERNAL_H

#include "base/siphash.h"
#include "store/store_members.h"
#include "store/store_namespace.h"
#include "store/store_totals.h"
#include "store/store_tree.h"

#define KMS_STORE_MAX_NUMBER (1ull << 62) /* of stamps and counters: adding one never wraps */

struct kms_store {
	kms_store_config config;
	kms_siphash_key hash_key;
	store_totals totals;
	store_members members;
	namespace_table namespaces;
	store_tree tree;
	pthread_mutex_t sequence_lock;
	atomic_uint_fast64_t sequence;     /* number of the newest change */
	atomic_uint_fast64_t acknowledged; /* see kms_store_set_acknowledged */
	atomic_bool counts_from_one;       /* see kms_store_count_from_one */
	atomic_bool earlier_run_seen; /* a peer has shown a counter of this node's that is not known here */
	atomic_size_t expire_from;    /* index of the namespace that the next expiry starts with */
};

/* Whether the store has a wallet (kms_store_set_self). */
bool kms_store_has_self(const kms_store *store);

/* The least counter of a write by this node. */
static inline uint64_t kms_store_least_counter(kms_store *store, uint64_t now_ms)
{
	return atomic_load(&store->counts_from_one) && !atomic_load(&store->earlier_run_seen) ? 1 : now_ms;
}

static inline uint64_t kms_store_hash(const kms_store *store, kms_text key)
{
	return kms_siphash(&store->hash_key, kms_text_span(key));
}

#endif
