/* Counts over the whole store, which namespaces update without a common lock. */
#ifndef KMS_STORE_STORE_TOTALS_H
#define KMS_STORE_STORE_TOTALS_H

#include <stdatomic.h>

#include "kms/store.h"

typedef struct store_totals {
	uint64_t max_bytes;
	atomic_uint_fast64_t bytes; /* at most max_bytes */
	atomic_uint_fast64_t live_keys;
	atomic_uint_fast64_t live_bytes;
	atomic_uint_fast64_t tombstones;
	atomic_uint_fast64_t stubs;
	atomic_uint_fast64_t evictions;
} store_totals;

/*
 * What one write may use of the store's limits. A record from a peer may not use the last eighth, which is
 * kept for local writes; where they have taken it, the store does not grow.
 */
typedef struct store_allowance {
	uint64_t bytes;
	size_t namespaces;
	bool spares_live; /* nothing live is evicted for it */
} store_allowance;

/* Adds `more` bytes and subtracts `less`; false, and nothing changes, when that exceeds the maximum. */
bool kms_store_charge(store_totals *totals, uint64_t more, uint64_t less);
/* The same with another maximum, which the bytes may exceed already: they do not grow then. */
bool kms_store_charge_within(store_totals *totals, uint64_t more, uint64_t less, uint64_t max);

#endif
