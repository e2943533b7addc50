/* Delta pages and snapshots. Records are written a few at a time, so that no lock is held for long. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "sync/sync_page.h"
#include "sync/sync_write.h"
#include "sync/testing.h"

#define PIECE_RECORDS 64
#define PIECE_BYTES 65536 /* written under a lock, unless one record is longer */

static void ids_release(uint64_t **ids)
{
	kms_store_ids_free(*ids);
}

/* Writing the records of one namespace. */
typedef struct namespace_writer {
	sync_writer *writer;
	kms_changes_walk walk;
	bool stubs;              /* whether they are written */
	const page_change *next; /* delta: changes to write */
	const page_change *end;
	size_t start; /* length of the output when the lock was taken */
	kms_status status;
} namespace_writer;

static namespace_writer writer_make(sync_writer *writer, uint64_t app_id, uint64_t since, uint64_t until)
{
	return (namespace_writer){
		.writer = writer,
		.walk = { app_id, since, until, PIECE_RECORDS, KMS_CHANGES_WRITE },
	};
}

/* Writes the next piece; false when the walk is at its end, or has failed. */
static bool write_piece(namespace_writer *w, kms_store *store, kms_changes_visitor visit)
{
	w->start = w->writer->out->len;
	return kms_store_changes_step(&w->walk, store, visit, w) && w->status == KMS_OK;
}

/* Writes one record; false when the piece ends with it. */
static bool write_one(namespace_writer *w, const kms_record *record)
{
	w->status = kms_sync_write_record(w->writer, w->walk.app_id, record);
	return w->status == KMS_OK && w->writer->out->len - w->start < PIECE_BYTES;
}

/* Removes and wipes everything from `len` on. */
static void buf_cut(kms_buf *buf, size_t len)
{
	if (buf->data) kms_wipe(buf->data + len, buf->len - len);
	buf->len = len;
}

/* ---- delta ---- */

/* Writes a change if it was chosen and is current: others come later or not at all. */
static bool write_change(void *context, const kms_record *record)
{
	namespace_writer *w = context;
	while (w->next < w->end && w->next->sequence < record->sequence)
		w->next++;
	if (w->next == w->end) return false;
	if (w->next->sequence != record->sequence) return true;
	if (record->state == KMS_RECORD_STUB && !w->stubs) return true;
	w->next++;
	return write_one(w, record) && w->next < w->end;
}

/* Writes the chosen changes of one namespace, from `*next` on. */
static kms_status write_namespace_changes(const page_change **next, sync_writer *writer, kms_store *store,
					  const sync_page *page)
{
	const page_change *first = *next, *end = first, *last = page->changes + page->count;
	while (end < last && end->app == first->app)
		end++;
	*next = end;
	namespace_writer w =
	    writer_make(writer, page->app_ids[first->app], first->sequence - 1, end[-1].sequence);
	w.next = first;
	w.stubs = page->stubs;
	w.end = end;
	while (write_piece(&w, store, write_change) && w.next < w.end)
		continue;
	return w.status;
}

static kms_status write_page(sync_writer *writer, kms_buf *data, kms_store *store, const sync_page *page)
{
	const page_change *next = page->changes;
	GUARD(kms_sync_write_start(writer, data, page->extras));
	while (next < page->changes + page->count)
		GUARD(write_namespace_changes(&next, writer, store, page));
	return kms_sync_write_end(writer);
}

kms_status kms_sync_page_write(uint64_t *records, kms_buf *data, kms_store *store, const sync_page *page)
{
	sync_writer writer = { 0 };
	size_t start = data->len;
	kms_status status = page->count > 0 ? write_page(&writer, data, store, page) : KMS_OK;
	*records = status == KMS_OK ? writer.records : 0;
	if (*records == 0) buf_cut(data, start);
	return status;
}

static kms_status build_delta(kms_delta *delta, kms_buf *data, kms_store *store,
			      const kms_delta_options *options)
{
	uint64_t records;
	DEFER(kms_sync_page_free) sync_page page = { 0 };
	GUARD(kms_sync_page_choose(&page, store, options));
	GUARD(kms_sync_page_write(&records, data, store, &page));
	*delta = (kms_delta){ page.until, records, page.skipped };
	return KMS_OK;
}

kms_status kms_sync_delta(kms_delta *delta, kms_buf *data, kms_store *store, const kms_delta_options *options)
{
	ENSURE_REF(delta);
	*delta = (kms_delta){ 0 };
	ENSURE_REF(data);
	ENSURE_REF(store);
	ENSURE_REF(options);
	ENSURE(options->max_records >= 1 && options->max_records <= KMS_DELTA_MAX_RECORDS, KMS_ERR_RANGE);
	return build_delta(delta, data, store, options);
}

/* ---- page ---- */

static kms_status append_number(kms_buf *data, const char *name, uint64_t number)
{
	char text[64];
	int len = snprintf(text, sizeof(text), ",\"%s\":%llu", name, (unsigned long long)number);
	return kms_buf_append(data, kms_span_of(text, (size_t)len));
}

static kms_status build_page(kms_delta *delta, kms_buf *data, kms_store *store,
			     const kms_delta_options *options)
{
	GUARD(build_delta(delta, data, store, options));
	if (delta->records == 0) GUARD(kms_buf_append(data, kms_span_of("{}", 2)));
	GUARD(append_number(data, kms_sync_number_member(KMS_SYNC_UNTIL), delta->until));
	/* Read after the page was chosen, so it is not before the last change in it. */
	return append_number(data, kms_sync_number_member(KMS_SYNC_SEQUENCE), kms_store_sequence(store));
}

kms_status kms_sync_page(kms_delta *delta, kms_buf *data, kms_store *store, const kms_delta_options *options)
{
	ENSURE_REF(delta);
	*delta = (kms_delta){ 0 };
	ENSURE_REF(data);
	ENSURE_REF(store);
	ENSURE_REF(options);
	ENSURE(options->max_records >= 1 && options->max_records <= KMS_DELTA_MAX_RECORDS, KMS_ERR_RANGE);
	size_t start = data->len;
	kms_status status = build_page(delta, data, store, options);
	if (status == KMS_OK) return KMS_OK;
	buf_cut(data, start);
	*delta = (kms_delta){ 0 };
	return status;
}

/* ---- snapshot ---- */

static bool write_held(void *context, const kms_record *record)
{
	namespace_writer *w = context;
	if (record->state == KMS_RECORD_STUB && !w->stubs) return true;
	return write_one(w, record);
}

/* Without an upper bound: a record that changes meanwhile is not where it was, but is found at the end. */
static kms_status write_namespace(sync_writer *writer, kms_store *store, uint64_t app_id, bool stubs)
{
	namespace_writer w = writer_make(writer, app_id, 0, UINT64_MAX);
	w.stubs = stubs;
	while (write_piece(&w, store, write_held))
		continue;
	return w.status;
}

static kms_status build_snapshot(sync_writer *writer, kms_buf *data, kms_store *store, unsigned extras)
{
	DEFER(ids_release) uint64_t *ids = NULL;
	size_t count;
	GUARD(kms_sync_write_start(writer, data, extras));
	GUARD(kms_store_changed_apps(&ids, &count, store, 0));
	if (count > 1) qsort(ids, count, sizeof(*ids), kms_sync_compare_ids);
	for (size_t i = 0; i < count; i++)
		GUARD(write_namespace(writer, store, ids[i], (extras & KMS_SYNC_STUBS) != 0));
	return kms_sync_write_end(writer);
}

kms_status kms_sync_snapshot(uint64_t *records, kms_buf *data, kms_store *store, unsigned extras)
{
	ENSURE_REF(records);
	*records = 0;
	ENSURE_REF(data);
	ENSURE_REF(store);
	sync_writer writer = { 0 };
	size_t start = data->len;
	kms_status status = build_snapshot(&writer, data, store, extras);
	if (status == KMS_OK)
		*records = writer.records;
	else
		buf_cut(data, start);
	return status;
}
