/* The changes that go into a delta page, chosen over all namespaces in the order of their numbers. */
#ifndef KMS_SYNC_SYNC_PAGE_H
#define KMS_SYNC_SYNC_PAGE_H

#include "kms/sync.h"

/* A chosen change. */
typedef struct page_change {
	size_t app; /* index in app_ids */
	uint64_t sequence;
} page_change;

typedef struct sync_page {
	uint64_t *app_ids; /* in the order of their text */
	size_t app_count;
	page_change *changes; /* by application, then by number */
	size_t count;
	size_t cap;
	uint64_t until;   /* all changes up to it were decided */
	uint64_t skipped; /* too long */
	bool stubs;       /* they are chosen and written too */
	unsigned extras;  /* KMS_SYNC_FINGERPRINTS, KMS_SYNC_BASE64: how records are written */
} sync_page;

/* Chooses a page. Release it with kms_sync_page_free, also after a failure. */
kms_status kms_sync_page_choose(sync_page *page, kms_store *store, const kms_delta_options *options);
void kms_sync_page_free(sync_page *page);

#endif
