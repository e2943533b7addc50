/* Makes room in a full store: namespaces above their share (store_share.h) give records up for a write of
 * another one. */
#ifndef KMS_STORE_STORE_COLLECT_H
#define KMS_STORE_STORE_COLLECT_H

#include "store/store_share.h"

#define KMS_SHARE_COLLECTIONS 8 /* that one write may ask for, from different namespaces */

/*
 * After a write of about `wanted` bytes failed with ERR_STORE_FULL: makes others that are further above their
 * share give up that much. Returns: whether to try the write again. In: app_id - who writes. No namespace may
 * be locked.
 */
bool kms_share_collect(kms_store *store, uint64_t app_id, uint64_t wanted, const store_allowance *allowance,
		       uint64_t now_ms);

#endif
