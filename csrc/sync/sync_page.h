/*
 * What goes into a delta page: chosen over all namespaces in the order of change numbers
 * (sync_page.c), then written by namespace (sync_build.c).
 */
#ifndef KMS_SYNC_SYNC_PAGE_H
#define KMS_SYNC_SYNC_PAGE_H

#include "kms/sync.h"

/* A change that was chosen. */
typedef struct page_change {
	size_t app; /* index of its application */
	uint64_t sequence;
} page_change;

typedef struct sync_page {
	uint64_t *app_ids; /* as text, ascending */
	size_t app_count;
	page_change *changes; /* by application, then by number */
	size_t count;
	size_t cap;
	uint64_t until;
	uint64_t skipped;
} sync_page;

/* Release with kms_sync_page_free, also after a failure. */
kms_status kms_sync_page_choose(sync_page *page, kms_store *store, const kms_delta_options *options);
void kms_sync_page_free(sync_page *page);

/*
 * Appends the data object with what was chosen, but for changes that are no more what they were:
 * those come later, or were evicted. Nothing is appended where none is left, and after a failure.
 */
kms_status kms_sync_page_write(kms_buf *data, uint64_t *records, kms_store *store, const sync_page *page);

#endif
