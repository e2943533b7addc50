/* Moving versions: from the names that both sides use to records. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "sync/sync_digest.h"
#include "sync/sync_write.h"

/* A record to write. Its key lies in the list's texts. */
typedef struct chosen {
	uint64_t app_id;
	size_t key_at;
	size_t key_len;
} chosen;

typedef struct chosen_list {
	chosen *items;
	size_t count;
	size_t capacity;
	kms_buf keys;
	size_t bytes; /* of the records */
} chosen_list;

static void chosen_free(chosen_list *list)
{
	kms_heap_free(list->items);
	kms_buf_free(&list->keys);
}

/* ---- looking a version up ---- */

typedef struct search {
	const kms_siphash_key *salt;
	const digest_version *version;
	chosen_list *list;
	bool found;
	kms_status status;
} search;

static bool match(void *context, uint64_t app_id, kms_text key, const uint8_t leaf[KMS_TREE_DIGEST])
{
	search *s = context;
	digest_short name;
	kms_digest_shorten(name, s->salt, leaf);
	if (memcmp(name, s->version->name, DIGEST_SHORT) != 0) return true;
	s->list->items[s->list->count] = (chosen){ app_id, s->list->keys.len, key.len };
	s->status = kms_buf_append(&s->list->keys, kms_text_span(key));
	s->found = true;
	return false;
}

typedef struct measured {
	unsigned extras;
	size_t size;
} measured;

static kms_status measure(void *context, const kms_record *record)
{
	measured *m = context;
	m->size = kms_sync_record_size(record, m->extras);
	return KMS_OK;
}

static unsigned extras_of(const digest_page *page)
{
	return KMS_SYNC_FINGERPRINTS | (page->base64 ? KMS_SYNC_BASE64 : 0);
}

static kms_text key_of(const chosen_list *list, const chosen *item)
{
	return kms_text_of((const char *)list->keys.data + item->key_at, item->key_len);
}

kms_status kms_digest_forget_versions(size_t *forgotten, kms_store *store, const kms_siphash_key *salt,
				      const digest_version *versions, size_t count, uint64_t before_ms)
{
	chosen item;
	*forgotten = 0;
	DEFER(chosen_free) chosen_list list = { .keys = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX) };
	list.items = kms_heap_alloc(1, sizeof(item));
	ENSURE(list.items, KMS_ERR_MEMORY);
	for (size_t i = 0; i < count; i++) {
		search s = { salt, &versions[i], &list, false, KMS_OK };
		kms_buf_clear(&list.keys);
		kms_status status = kms_tree_visit(store, &versions[i].range, match, &s);
		if (status == KMS_ERR_TOO_LARGE) continue;
		GUARD(status);
		GUARD(s.status);
		if (!s.found) continue;
		item = list.items[0];
		if (kms_store_forget(store, item.app_id, key_of(&list, &item), before_ms) == KMS_OK)
			++*forgotten;
	}
	return KMS_OK;
}

/*
 * Adds the record of a version to the list, if it is there. Out: full - it does not fit, and was not added.
 * A range that has too many versions by now is asked about again in the next exchange.
 */
static kms_status choose(bool *full, chosen_list *list, kms_store *store, const kms_siphash_key *salt,
			 const digest_version *version, const digest_page *page)
{
	measured found = { .extras = extras_of(page) };
	search s = { salt, version, list, false, KMS_OK };
	*full = false;
	kms_status status = kms_tree_visit(store, &version->range, match, &s);
	if (status == KMS_ERR_TOO_LARGE) return KMS_OK;
	GUARD(status);
	GUARD(s.status);
	if (!s.found) return KMS_OK;
	const chosen *item = &list->items[list->count];
	status = kms_store_peek(store, item->app_id, key_of(list, item), page->now_ms, measure, &found);
	if (status == KMS_ERR_NOT_FOUND) return KMS_OK;
	GUARD(status);
	size_t size = found.size + 1 + kms_sync_app_size(item->app_id);
	*full = list->count > 0 && (size > page->max_bytes || list->bytes > page->max_bytes - size);
	if (*full) return KMS_OK;
	list->bytes += size;
	list->count++;
	return KMS_OK;
}

/* ---- writing ---- */

static int compare_chosen(const void *a, const void *b)
{
	const chosen *x = a, *y = b;
	return kms_sync_compare_ids(&x->app_id, &y->app_id);
}

typedef struct record_writer {
	sync_writer *writer;
	uint64_t app_id;
} record_writer;

static kms_status write_found(void *context, const kms_record *record)
{
	record_writer *w = context;
	return kms_sync_write_record(w->writer, w->app_id, record);
}

static kms_status write_chosen(sync_writer *writer, kms_store *store, const chosen_list *list,
			       uint64_t now_ms)
{
	for (size_t i = 0; i < list->count; i++) {
		record_writer w = { writer, list->items[i].app_id };
		kms_status status =
		    kms_store_peek(store, w.app_id, key_of(list, &list->items[i]), now_ms, write_found, &w);
		if (status != KMS_ERR_NOT_FOUND) GUARD(status);
	}
	return KMS_OK;
}

static kms_status write_list(uint64_t *records, kms_buf *data, kms_store *store, const chosen_list *list,
			     const digest_page *page)
{
	sync_writer writer;
	size_t start = data->len;
	if (list->count == 0) return KMS_OK;
	qsort(list->items, list->count, sizeof(list->items[0]), compare_chosen);
	GUARD(kms_sync_write_start(&writer, data, extras_of(page)));
	GUARD(write_chosen(&writer, store, list, page->now_ms));
	GUARD(kms_sync_write_end(&writer));
	*records = writer.records;
	if (writer.records == 0) data->len = start; /* "{}" */
	return KMS_OK;
}

kms_status kms_digest_write_versions(kms_buf *data, size_t *looked_up, uint64_t *records, kms_store *store,
				     const kms_siphash_key *salt, const digest_version *versions,
				     size_t count, const digest_page *page)
{
	*looked_up = 0;
	*records = 0;
	if (count == 0) return KMS_OK;
	DEFER(chosen_free) chosen_list list = { .keys = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX) };
	list.items = kms_heap_alloc(count, sizeof(*list.items));
	ENSURE(list.items, KMS_ERR_MEMORY);
	for (bool full = false; *looked_up < count; ++*looked_up) {
		GUARD(choose(&full, &list, store, salt, &versions[*looked_up], page));
		if (full) break;
	}
	return write_list(records, data, store, &list, page);
}
