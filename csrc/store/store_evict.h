/* LRU eviction, and everything else that frees bytes for a write. */
#ifndef KMS_STORE_STORE_EVICT_H
#define KMS_STORE_STORE_EVICT_H

#include "store/store_share.h"

/*
 * Charges the bytes of `made`, which is to replace `existing` (NULL: none), evicting records if necessary.
 * Nothing is evicted when that would not be enough: ERR_STORAGE_SIZE, ERR_STORE_FULL.
 */
kms_status kms_capacity_reserve(store_namespace *ns, store_record *existing, const store_record *made,
				const store_allowance *allowance, uint64_t now_ms);

/*
 * Gives up one record of a namespace that holds more than its share, in the order in which they are missed
 * least; adds the bytes freed to `freed`, which the caller subtracts from the total. False when there is none
 * left.
 */
bool kms_capacity_give_up(uint64_t *freed, store_namespace *ns, uint64_t now_ms);

#endif
