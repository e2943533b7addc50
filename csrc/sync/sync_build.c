/* Delta pages and snapshots. Records are written a few at a time, each time with the lock anew. */
#include <stdlib.h>

#include "base/ensure.h"
#include "store/store_internal.h"
#include "sync/sync_page.h"
#include "sync/sync_write.h"

#define PIECE_RECORDS 64
#define PIECE_BYTES 65536 /* written under a lock, unless one record is longer */

static void ids_release(uint64_t **ids)
{
	kms_store_ids_free(*ids);
}

/* What a namespace's changes are written with. */
typedef struct piece {
	sync_writer *writer;
	uint64_t app_id;
	bool stubs;
	const page_change *next; /* delta: what is to be written */
	const page_change *end;
	size_t start; /* of the output, when the lock was taken */
	kms_status status;
} piece;

static bool write_one(piece *p, const kms_record *record)
{
	p->status = kms_sync_write_record(p->writer, p->app_id, record);
	return p->status == KMS_OK && p->writer->out->len - p->start < PIECE_BYTES;
}

/* Takes back what was written. */
static void undo(kms_buf *buf, size_t len)
{
	if (buf->data) kms_wipe(buf->data + len, buf->len - len);
	buf->len = len;
}

/* ---- delta ---- */

/* Writes a change if it was chosen and is still what it was: others come later or not at all. */
static bool write_change(void *context, const kms_record *record)
{
	piece *p = context;
	while (p->next < p->end && p->next->sequence < record->sequence)
		p->next++;
	if (p->next == p->end) return false;
	if (p->next->sequence != record->sequence || record->state == KMS_RECORD_STUB) return true;
	p->next++;
	return write_one(p, record) && p->next < p->end;
}

/* The chosen changes from `*next` on that are of one application. */
static kms_status write_app(sync_writer *writer, const page_change **next, kms_store *store,
			    const sync_page *page)
{
	const page_change *first = *next, *end = first, *last = page->changes + page->count;
	while (end < last && end->app == first->app)
		end++;
	*next = end;
	piece p = { .writer = writer, .app_id = page->app_ids[first->app], .next = first, .end = end };
	uint64_t at = first->sequence - 1, until = end[-1].sequence;
	bool more = true;
	while (more && p.status == KMS_OK && p.next < p.end) {
		p.start = writer->out->len;
		more = kms_changes_step(store, p.app_id, &at, until, PIECE_RECORDS, KMS_READER_FOLLOW,
					write_change, &p);
	}
	return p.status;
}

static kms_status write_page(sync_writer *writer, kms_buf *data, kms_store *store, const sync_page *page)
{
	const page_change *next = page->changes;
	GUARD(kms_sync_write_start(writer, data));
	while (next < page->changes + page->count)
		GUARD(write_app(writer, &next, store, page));
	return kms_sync_write_end(writer);
}

kms_status kms_sync_page_write(kms_buf *data, uint64_t *records, kms_store *store, const sync_page *page)
{
	sync_writer writer = { 0 };
	size_t start = data->len;
	kms_status status = page->count > 0 ? write_page(&writer, data, store, page) : KMS_OK;
	*records = status == KMS_OK ? writer.records : 0;
	if (*records == 0) undo(data, start);
	return status;
}

static kms_status build_delta(kms_buf *data, kms_delta *delta, kms_store *store,
			      const kms_delta_options *options)
{
	uint64_t records;
	DEFER(kms_sync_page_free) sync_page page = { 0 };
	GUARD(kms_sync_page_choose(&page, store, options));
	GUARD(kms_sync_page_write(data, &records, store, &page));
	*delta = (kms_delta){ page.until, records, page.skipped };
	return KMS_OK;
}

kms_status kms_sync_delta(kms_buf *data, kms_delta *delta, kms_store *store, const kms_delta_options *options)
{
	ENSURE_REF(delta);
	*delta = (kms_delta){ 0 };
	ENSURE_REF(data);
	ENSURE_REF(store);
	ENSURE_REF(options);
	ENSURE(options->max_records >= 1 && options->max_records <= KMS_DELTA_MAX_RECORDS, KMS_ERR_RANGE);
	return build_delta(data, delta, store, options);
}

/* ---- snapshot ---- */

static bool write_held(void *context, const kms_record *record)
{
	piece *p = context;
	if (record->state == KMS_RECORD_STUB && !p->stubs) return true;
	return write_one(p, record);
}

static kms_status write_space(sync_writer *writer, kms_store *store, uint64_t app_id, bool stubs)
{
	piece p = { .writer = writer, .app_id = app_id, .stubs = stubs };
	uint64_t at = 0;
	for (bool more = true; more && p.status == KMS_OK;) {
		p.start = writer->out->len;
		/* To the very end: what changes meanwhile is there, not where it was. */
		more = kms_changes_step(store, app_id, &at, UINT64_MAX, PIECE_RECORDS, KMS_READER_FOLLOW,
					write_held, &p);
	}
	return p.status;
}

static kms_status build_snapshot(sync_writer *writer, kms_buf *data, kms_store *store, bool stubs)
{
	DEFER(ids_release) uint64_t *ids = NULL;
	size_t count;
	GUARD(kms_sync_write_start(writer, data));
	GUARD(kms_store_changed_apps(&ids, &count, store, 0));
	if (count > 1) qsort(ids, count, sizeof(*ids), kms_sync_compare_ids);
	for (size_t i = 0; i < count; i++)
		GUARD(write_space(writer, store, ids[i], stubs));
	return kms_sync_write_end(writer);
}

kms_status kms_sync_snapshot(kms_buf *data, uint64_t *records, kms_store *store, bool stubs)
{
	ENSURE_REF(records);
	*records = 0;
	ENSURE_REF(data);
	ENSURE_REF(store);
	sync_writer writer = { 0 };
	size_t start = data->len;
	kms_status status = build_snapshot(&writer, data, store, stubs);
	if (status == KMS_OK)
		*records = writer.records;
	else
		undo(data, start);
	return status;
}
