/* Functions of sync that only tests call. */
#ifndef KMS_SYNC_TESTING_H
#define KMS_SYNC_TESTING_H

#include "sync/sync_page.h"

/*
 * The second half of kms_sync_delta, after kms_sync_page_choose: appends the data object with the chosen
 * changes, except those that are not current any more (changed again, or evicted). Appends nothing when
 * none is left, and after a failure.
 */
kms_status kms_sync_page_write(uint64_t *records, kms_buf *data, kms_store *store, const sync_page *page);

#endif
