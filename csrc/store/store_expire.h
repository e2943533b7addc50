/*
 * Records that end by time, and dead records that are dropped early. A dead record (tombstone or stub) is
 * normally kept for the retention time, since peers may still send older versions of it.
 */
#ifndef KMS_STORE_STORE_EXPIRE_H
#define KMS_STORE_STORE_EXPIRE_H

#include "store/store_namespace.h"

/*
 * Handles the first record if it is due: an expired one becomes a tombstone, one past its retention is
 * dropped. Adds the bytes freed to `freed`; false when none is due.
 */
bool kms_due_handle(uint64_t *freed, store_namespace *ns, uint64_t now_ms);

/* Whether a record, once it is dead, may be dropped before its retention ends. */
bool kms_dead_droppable(const store_namespace *ns, const store_record *record, uint64_t now_ms);
/* Drops the first dead record if it may be dropped; adds the bytes freed to `freed`, else false. */
bool kms_dead_drop(uint64_t *freed, store_namespace *ns, uint64_t now_ms);
/* Drops a few dead records beyond max_tombstones that may be dropped. */
void kms_dead_trim(store_namespace *ns, uint64_t now_ms);
/* How many dead records a namespace may hold at most. */
size_t kms_dead_limit(const kms_store *store);
/* Ensures that one more dead record is within the limit: ERR_TOMBSTONES. */
kms_status kms_dead_reserve(store_namespace *ns, uint64_t now_ms);

#endif
