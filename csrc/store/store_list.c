/*
 * Listing keys. The walk through a namespace copies keys that belong to the page, a few hundred records at a
 * time; in between, without the lock, the copies are sorted and only the smallest that fit the page stay.
 * Memory is bounded by twice a page, whatever the namespace holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "store/store_internal.h"

#define STEP_RECORDS 256
#define STEP_BYTES (256u * 1024) /* of keys copied in one step */
#define MIN_ENTRIES 1024         /* copies before the first sort */

/* A key's first bytes behind the prefix decide most comparisons. */
typedef struct entry {
	uint64_t head;
	size_t at; /* in the page's texts */
	uint32_t len;
	uint32_t cost; /* bytes of its JSON and a comma */
} entry;

typedef struct page {
	const kms_store_listing *listing;
	uint64_t now_ms;
	kms_buf texts;   /* of the keys, one behind the other; those dropped too */
	kms_buf entries; /* array of entry */
	kms_buf bound;   /* key that was dropped: neither it nor a larger one fits the page; empty: none */
	size_t cost;     /* of all entries */
	kms_status status;
} page;

static void page_free(page *p)
{
	kms_buf_free(&p->texts);
	kms_buf_free(&p->entries);
	kms_buf_free(&p->bound);
}

static size_t entry_count(const page *p)
{
	return p->entries.len / sizeof(entry);
}

static entry *entry_at(const page *p, size_t index)
{
	return (entry *)(void *)p->entries.data + index;
}

static kms_text text_of(const page *p, const entry *e)
{
	return kms_text_of((const char *)p->texts.data + e->at, e->len);
}

/* ---- in the walk, with the namespace locked ---- */

static bool has_prefix(kms_text key, kms_text prefix)
{
	return prefix.len == 0 || (key.len >= prefix.len && memcmp(key.text, prefix.text, prefix.len) == 0);
}

static bool belongs(const page *p, const kms_record *record)
{
	const kms_store_listing *listing = p->listing;
	ENSURE(record->state == KMS_RECORD_LIVE, false);
	ENSURE(record->ttl_ms == 0 || p->now_ms <= record->updated_at_ms + record->ttl_ms, false);
	ENSURE(has_prefix(record->key, listing->prefix), false);
	ENSURE(listing->after.len == 0 || kms_text_compare(record->key, listing->after) > 0, false);
	return p->bound.len == 0 || kms_text_compare(record->key, kms_buf_text(&p->bound)) < 0;
}

static kms_status copy_key(page *p, kms_text key)
{
	uint8_t head[8] = { 0 };
	size_t from = p->listing->prefix.len, left = key.len - from;
	if (left) memcpy(head, key.text + from, left < sizeof(head) ? left : sizeof(head));
	entry e = { kms_load64_be(head), p->texts.len, (uint32_t)key.len,
		    (uint32_t)kms_json_text_size(key) + 1 };
	GUARD(kms_buf_append(&p->texts, kms_text_span(key)));
	GUARD(kms_buf_append(&p->entries, kms_span_of((const uint8_t *)&e, sizeof(e))));
	p->cost += e.cost;
	return KMS_OK;
}

/* The next key needs no allocation, which would take long with the lock held. */
static bool has_room(const page *p)
{
	return p->texts.cap - p->texts.len >= KMS_STORE_MAX_PEER_KEY;
}

static bool visit_record(void *opaque, const kms_record *record)
{
	page *p = opaque;
	if (!belongs(p, record)) return true;
	p->status = copy_key(p, record->key);
	return p->status == KMS_OK && has_room(p);
}

/* ---- between the steps ---- */

static int compare_entries(const void *a, const void *b, void *opaque)
{
	const entry *x = a, *y = b;
	if (x->head != y->head) return x->head < y->head ? -1 : 1;
	return kms_text_compare(text_of(opaque, x), text_of(opaque, y));
}

/* Sorts the entries and drops those that are there twice, since their records changed during the walk. */
static size_t sort_entries(page *p)
{
	size_t count = entry_count(p), kept = 0;
	if (count == 0) return 0;
	qsort_r(p->entries.data, count, sizeof(entry), compare_entries, p);
	for (size_t i = 0; i < count; i++) {
		const entry *e = entry_at(p, i);
		if (kept > 0 && kms_text_compare(text_of(p, e), text_of(p, entry_at(p, kept - 1))) == 0)
			continue;
		*entry_at(p, kept++) = *e;
	}
	p->entries.len = kept * sizeof(entry);
	return kept;
}

/* How many of the sorted entries fit the page. */
static size_t fitting(const page *p, size_t count)
{
	size_t cost = 0;
	if (p->listing->limit > 0 && count > p->listing->limit) count = p->listing->limit;
	for (size_t i = 0; i < count; i++) {
		cost += entry_at(p, i)->cost;
		if (cost > p->listing->max_bytes) return i > 0 ? i : 1;
	}
	return count;
}

/* Moves the texts of the entries that are left together. */
static kms_status compact(page *p)
{
	kms_buf texts = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	size_t total = 0;
	for (size_t i = 0; i < entry_count(p); i++)
		total += entry_at(p, i)->len;
	GUARD(kms_buf_reserve(&texts, total + STEP_BYTES));
	p->cost = 0;
	for (size_t i = 0; i < entry_count(p); i++) {
		entry *e = entry_at(p, i);
		kms_text text = text_of(p, e);
		e->at = texts.len;
		p->cost += e->cost;
		(void)kms_buf_append(&texts, kms_text_span(text)); /* reserved */
	}
	kms_buf_free(&p->texts);
	p->texts = texts;
	return KMS_OK;
}

/* Sorts the entries, and drops those beyond the page. */
static kms_status cut(page *p)
{
	size_t count = sort_entries(p), fit = fitting(p, count);
	if (fit < count) {
		ENSURE(p->listing->limit > 0, KMS_ERR_TOO_LARGE);
		kms_buf_clear(&p->bound);
		GUARD(kms_buf_append(&p->bound, kms_text_span(text_of(p, entry_at(p, fit)))));
		p->entries.len = fit * sizeof(entry);
	}
	return KMS_OK;
}

static bool is_overfull(const page *p)
{
	size_t count = entry_count(p), limit = p->listing->limit;
	if (p->cost / 2 > p->listing->max_bytes) return true;
	return limit > 0 && count >= MIN_ENTRIES && count / 2 >= limit;
}

static kms_status walk_all(page *p, kms_store *store, uint64_t app_id)
{
	kms_changes_walk walk = {
		.app_id = app_id, .until = UINT64_MAX, .max = STEP_RECORDS, .reader = KMS_CHANGES_LIST
	};
	for (bool more = true; more;) {
		GUARD(kms_buf_reserve(&p->texts, STEP_BYTES));
		GUARD(kms_buf_reserve(&p->entries, STEP_RECORDS * sizeof(entry)));
		more = kms_store_changes_step(&walk, store, visit_record, p);
		GUARD(p->status);
		if (!is_overfull(p)) continue;
		GUARD(cut(p));
		GUARD(compact(p));
	}
	return cut(p);
}

kms_status kms_store_list(bool *more, kms_store *store, uint64_t app_id, const kms_store_listing *listing,
			  uint64_t now_ms, kms_store_key_visitor visit, void *context)
{
	ENSURE_REF(more);
	*more = false;
	ENSURE_REF(store);
	ENSURE_REF(listing);
	ENSURE_REF(visit);
	if (!kms_store_has_app(store, app_id)) return KMS_OK;
	DEFER(page_free)
	page p = {
		.listing = listing,
		.now_ms = now_ms,
		.texts = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX),
		.entries = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX),
		.bound = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX),
	};
	GUARD(walk_all(&p, store, app_id));
	*more = p.bound.len > 0;
	for (size_t i = 0; i < entry_count(&p); i++)
		GUARD(visit(context, text_of(&p, entry_at(&p, i))));
	return KMS_OK;
}
