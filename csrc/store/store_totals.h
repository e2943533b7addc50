/* Counts over the whole store, which namespaces update without a common lock. */
#ifndef KMS_STORE_STORE_TOTALS_H
#define KMS_STORE_STORE_TOTALS_H

#include <stdatomic.h>

#include "store/store_record.h"

typedef struct store_totals {
	uint64_t max_bytes;
	atomic_uint_fast64_t bytes; /* at most max_bytes */
	atomic_uint_fast64_t live_keys;
	atomic_uint_fast64_t live_bytes;
	atomic_uint_fast64_t tombstones;
	atomic_uint_fast64_t stubs;
	atomic_uint_fast64_t evictions;
} store_totals;

/* Adds `more` bytes and subtracts `less`; false, and nothing changes, when that exceeds the maximum. */
bool kms_store_charge(store_totals *totals, uint64_t more, uint64_t less);

/*
 * Counts a record in a namespace's numbers and in all totals but `bytes`, which callers charge;
 * kms_totals_remove takes it out again.
 */
void kms_totals_add(store_totals *totals, kms_store_stats *own, const store_record *record);
void kms_totals_remove(store_totals *totals, kms_store_stats *own, const store_record *record);
void kms_totals_add_eviction(store_totals *totals, kms_store_stats *own);

#endif
