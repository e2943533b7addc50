/*
 * A walk through the changes of a store, namespace by namespace, a few records at a time. It has no upper
 * end: a record that changes meanwhile moves to the end of its namespace and is found there, so none is
 * passed over.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "sync/sync_write.h"

#define PIECE_RECORDS 64
#define PIECE_BYTES 65536 /* written under a lock, unless one record is longer */
#define PAGE_START "{\"data\":"
#define PAGE_END "}"
#define CLOSING 3 /* bytes that close the array, the data object and the message */

struct kms_sync_walk {
	kms_store *store;
	uint64_t *ids; /* namespaces, in the order of their text */
	size_t count;
	size_t index;   /* of the namespace that the walk is in */
	uint64_t since; /* where the walk begins in each */
	uint64_t at;    /* number of the last change found in this one */
};

typedef struct page_writer {
	sync_writer writer;
	uint64_t app_id;
	size_t max;   /* length of the buffer at which the page ends */
	size_t piece; /* length of the buffer when the lock was taken */
	uint64_t at;
	bool full;
	kms_status status;
} page_writer;

KMS_DEFINE_RELEASE(walk_release, kms_sync_walk, kms_sync_walk_free)

/* Whether the page has room for another record, and for what closes it. */
static bool fits(const page_writer *w, const kms_record *record)
{
	size_t len = w->writer.out->len;
	ENSURE(w->writer.records > 0, true);
	bool new_app = !w->writer.app_open || w->writer.app_id != w->app_id;
	size_t around = CLOSING + 1 + (new_app ? kms_sync_app_size(w->app_id) : 0);
	return KMS_ADD(&len, len, kms_sync_record_size(record, KMS_SYNC_FINGERPRINTS)) &&
	       KMS_ADD(&len, len, around) && len <= w->max;
}

static bool write_found(void *context, const kms_record *record)
{
	page_writer *w = context;
	w->full = !fits(w, record);
	if (w->full) return false;
	w->status = kms_sync_write_record(&w->writer, w->app_id, record);
	if (w->status != KMS_OK) return false;
	w->at = record->sequence;
	return w->writer.out->len - w->piece < PIECE_BYTES;
}

/* Writes some records of the namespace that the walk is in, and goes on to the next one at its end. */
static kms_status write_piece(page_writer *w, kms_sync_walk *walk)
{
	w->app_id = walk->ids[walk->index];
	w->at = walk->at;
	w->piece = w->writer.out->len;
	kms_changes_walk changes = { w->app_id, walk->at, UINT64_MAX, PIECE_RECORDS, KMS_CHANGES_SAVE };
	bool more = kms_store_changes_step(&changes, walk->store, write_found, w);
	GUARD(w->status);
	/* Of a full page the last record that was visited is not in it. */
	walk->at = w->at;
	if (more || w->full) return KMS_OK;
	walk->index++;
	walk->at = walk->since;
	return KMS_OK;
}

static kms_status write_page(page_writer *w, kms_buf *page, kms_sync_walk *walk)
{
	GUARD(kms_buf_append_text(page, PAGE_START));
	GUARD(kms_sync_write_start(&w->writer, page, KMS_SYNC_FINGERPRINTS));
	while (walk->index < walk->count && !w->full)
		GUARD(write_piece(w, walk));
	GUARD(kms_sync_write_end(&w->writer));
	return kms_buf_append_text(page, PAGE_END);
}

kms_status kms_sync_walk_page(uint64_t *records, kms_buf *page, kms_sync_walk *walk, size_t max_bytes)
{
	ENSURE_REF(records);
	*records = 0;
	ENSURE_REF(page);
	ENSURE_REF(walk);
	size_t start = page->len;
	page_writer w = { .status = KMS_OK };
	if (!KMS_ADD(&w.max, start, max_bytes)) w.max = SIZE_MAX;
	kms_status status = write_page(&w, page, walk);
	if (status == KMS_OK && w.writer.records > 0) {
		*records = w.writer.records;
		return KMS_OK;
	}
	if (page->data) kms_wipe(page->data + start, page->len - start);
	page->len = start;
	return status;
}

kms_status kms_sync_walk_new(kms_sync_walk **walk, uint64_t *sequence, kms_store *store, uint64_t since)
{
	ENSURE_REF(walk);
	*walk = NULL;
	ENSURE_REF(sequence);
	*sequence = 0;
	ENSURE_REF(store);
	DEFER(walk_release) kms_sync_walk *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	*made = (kms_sync_walk){ .store = store, .since = since, .at = since };
	/* Read before the list of namespaces, which then has every change up to it. */
	uint64_t newest = kms_store_sequence(store);
	GUARD(kms_store_changed_apps(&made->ids, &made->count, store, since));
	if (made->count > 1) qsort(made->ids, made->count, sizeof(made->ids[0]), kms_sync_compare_ids);
	*sequence = newest;
	*walk = made;
	made = NULL;
	return KMS_OK;
}

void kms_sync_walk_free(kms_sync_walk *walk)
{
	if (!walk) return;
	kms_store_ids_free(walk->ids);
	kms_heap_free(walk);
}
