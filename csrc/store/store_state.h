/*
 * What happens to a record in its namespace. Each step takes the record out of all the lists and heaps of its
 * old state, enters it into those of the new one, and keeps the counts.
 */
#ifndef KMS_STORE_STORE_STATE_H
#define KMS_STORE_STORE_STATE_H

#include "store/store_namespace.h"

/*
 * Puts `record` in the place of `existing` (NULL: none), which is freed, as the newest change. The
 * caller has reserved index entries (kms_namespace_reserve) and bytes (kms_capacity_reserve).
 */
void kms_record_commit(store_namespace *ns, store_record *existing, store_record *record, uint64_t now_ms);

/*
 * Turn a record into a stub, turn it into a tombstone, drop it. Each returns the bytes that it
 * freed, which the caller subtracts from the total (kms_store_charge).
 */
uint64_t kms_record_evict(store_namespace *ns, store_record *record, uint64_t now_ms);
uint64_t kms_record_expire(store_namespace *ns, store_record *record, uint64_t now_ms);
uint64_t kms_record_drop(store_namespace *ns, store_record *record);
/* As kms_record_drop, for a live record: an eviction that leaves no stub. */
uint64_t kms_record_evict_whole(store_namespace *ns, store_record *record);

/* The record of a key at this time, a tombstone once it has expired; NULL: none. */
store_record *kms_record_current(store_namespace *ns, uint64_t hash, kms_text key, uint64_t now_ms);
/* The same if it is live, else NULL. */
store_record *kms_record_live(store_namespace *ns, kms_text key, uint64_t now_ms);

#endif
