/* Functions of the store that only tests call. */
#ifndef KMS_STORE_TESTING_H
#define KMS_STORE_TESTING_H

#include "kms/store.h"

/* Called with the namespace locked and the record borrowed: it must not call the store. */
typedef kms_status (*kms_store_record_visitor)(void *context, const kms_record *record);

/* Visits one record in any state; ERR_NOT_FOUND. */
kms_status kms_store_peek(kms_store *store, uint64_t app_id, kms_text key, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context);

/*
 * Visits the changes of a namespace numbered above `since`, oldest first, at most `max` of them (0: all),
 * in one step; a failing visitor ends it.
 */
kms_status kms_store_changes(kms_store *store, uint64_t app_id, uint64_t since, size_t max,
			     kms_store_record_visitor visit, void *context);

#endif
