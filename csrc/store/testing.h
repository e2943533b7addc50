/* Functions of the store that only tests call. */
#ifndef KMS_STORE_TESTING_H
#define KMS_STORE_TESTING_H

#include "kms/store.h"

/*
 * Visits the changes of a namespace numbered above `since`, oldest first, at most `max` of them (0: all),
 * in one step; a failing visitor ends it.
 */
kms_status kms_store_changes(kms_store *store, uint64_t app_id, uint64_t since, size_t max,
			     kms_store_record_visitor visit, void *context);

#endif
