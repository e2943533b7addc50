/*
 * Chooses the changes of a delta page. Each namespace has its changes in order; a page takes them in the
 * order of the whole store. So the namespaces are merged: some changes of each are looked at ahead, its first
 * one that could be sent is its candidate, and the candidate with the smallest number is next. Only changes
 * that all namespaces have been looked at up to are decided. Looking ahead is what costs: after LOOK_MAX
 * changes the page ends where it is.
 */
#include "sync/sync_page.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "base/min_heap.h"
#include "sync/sync_write.h"

#define LOOK_MAX 200000   /* changes looked at for one page, beyond one look into each namespace */
#define AHEAD_TOTAL 65536 /* waiting candidates of all namespaces */
#define AHEAD_EACH 256

/* A change that could be sent. */
typedef struct candidate {
	uint64_t sequence;
	size_t size;
} candidate;

/* A namespace and its waiting candidates. */
typedef struct source {
	uint64_t at;       /* number of the last change looked at */
	uint32_t first;    /* candidate */
	uint32_t count;    /* of candidates */
	uint32_t position; /* in the heap */
	bool more;         /* there are changes after `at` */
	bool in_page;
} source;

typedef struct chooser {
	sync_page *page;
	kms_store *store;
	const kms_delta_options *options;
	uint64_t newest;
	source *sources;   /* by index of the namespace */
	kms_min_heap heap; /* of sources that are not at their end, by head_of */
	candidate *ahead;
	uint32_t ahead_each;
	size_t looked;
	size_t bytes;
} chooser;

static void chooser_free(chooser *c)
{
	kms_heap_free(c->sources);
	kms_min_heap_free(&c->heap);
	kms_heap_free(c->ahead);
}

static candidate *first_candidate(const chooser *c, size_t index)
{
	return &c->ahead[index * c->ahead_each + c->sources[index].first];
}

/* The number of a source's first candidate, or of the change after which it must look further. */
static uint64_t head_of(const chooser *c, size_t index)
{
	const source *s = &c->sources[index];
	return s->count ? first_candidate(c, index)->sequence : s->at;
}

/* A source has moved on: updates its key in the heap, or removes it at its end. */
static void heap_update(chooser *c, size_t index)
{
	source *s = &c->sources[index];
	if (s->count || s->more)
		kms_min_heap_set(&c->heap, s, head_of(c, index));
	else
		kms_min_heap_remove(&c->heap, s);
}

/* ---- looking ahead ---- */

typedef struct look {
	const chooser *chooser;
	source *source;
	candidate *into;
	size_t looked;
} look;

static bool is_wanted(const kms_delta_options *options, const kms_record *record)
{
	if (options->sought) return record->sought;
	if (record->state == KMS_RECORD_STUB && !options->stubs && !options->fingerprints) return false;
	if (options->local_only && record->origin != 0) return false;
	return options->except == 0 || record->origin != options->except;
}

static bool look_at(void *context, const kms_record *record)
{
	look *l = context;
	l->looked++;
	const kms_delta_options *options = l->chooser->options;
	if (is_wanted(options, record)) {
		size_t size = kms_sync_record_size(record, l->chooser->page->extras);
		l->into[l->source->count++] = (candidate){ record->sequence, size };
	}
	return true;
}

/* Looks at the next few changes of a source that has no candidate left. */
static void look_ahead(chooser *c, size_t index)
{
	source *s = &c->sources[index];
	look l = { c, s, &c->ahead[index * c->ahead_each], 0 };
	kms_changes_walk walk = { .app_id = c->page->app_ids[index],
				  .since = s->at,
				  .until = c->newest,
				  .max = c->ahead_each,
				  .reader = KMS_CHANGES_CHOOSE };
	s->first = s->count = 0;
	s->more = kms_store_changes_step(&walk, c->store, look_at, &l);
	s->at = walk.since;
	c->looked += l.looked;
}

/* ---- choosing ---- */

static kms_status add_change(sync_page *page, size_t app, uint64_t sequence)
{
	if (page->count == page->cap) {
		size_t cap = page->cap ? 2 * page->cap : 64;
		page_change *grown = kms_heap_resize(page->changes, cap * sizeof(*grown));
		ENSURE(grown, KMS_ERR_MEMORY);
		page->changes = grown;
		page->cap = cap;
	}
	page->changes[page->count++] = (page_change){ app, sequence };
	return KMS_OK;
}

/* Takes the first candidate of a source. Out: taken - false when the page is full without it. */
static kms_status take(bool *taken, chooser *c, size_t index)
{
	sync_page *page = c->page;
	source *s = &c->sources[index];
	const candidate *next = first_candidate(c, index);
	*taken = true;
	if (next->size > c->options->max_record_bytes) {
		page->skipped++;
	} else {
		size_t bytes = next->size + 1 + (s->in_page ? 0 : kms_sync_app_size(page->app_ids[index]));
		bool fits = KMS_ADD(&bytes, bytes, c->bytes) && bytes <= c->options->max_bytes;
		*taken = page->count < c->options->max_records && (fits || page->count == 0);
		if (!*taken) return KMS_OK;
		GUARD(add_change(page, index, next->sequence));
		c->bytes = bytes;
		s->in_page = true;
	}
	s->first++;
	s->count--;
	return KMS_OK;
}

static kms_status choose(chooser *c)
{
	size_t look_max = c->looked + LOOK_MAX;
	for (const source *s; (s = kms_min_heap_first(NULL, &c->heap));) {
		size_t index = (size_t)(s - c->sources);
		if (s->count > 0) {
			bool taken;
			c->page->until = first_candidate(c, index)->sequence - 1;
			GUARD(take(&taken, c, index));
			if (!taken) return KMS_OK;
		} else {
			c->page->until = s->at;
			if (c->looked >= look_max) return KMS_OK;
			look_ahead(c, index);
		}
		heap_update(c, index);
	}
	c->page->until = c->newest;
	return KMS_OK;
}

static kms_status chooser_open(chooser *c)
{
	size_t count = c->page->app_count, each = AHEAD_TOTAL / count;
	c->ahead_each = (uint32_t)(each < 1 ? 1 : each > AHEAD_EACH ? AHEAD_EACH : each);
	c->sources = kms_heap_alloc(count, sizeof(*c->sources));
	c->ahead = kms_heap_alloc(count * c->ahead_each, sizeof(*c->ahead));
	ENSURE(c->sources && c->ahead, KMS_ERR_MEMORY);
	c->heap.position_offset = offsetof(source, position);
	GUARD(kms_min_heap_reserve(&c->heap, count));
	for (size_t i = 0; i < count; i++) {
		c->sources[i] = (source){ .at = c->options->since, .position = KMS_MIN_HEAP_ABSENT };
		look_ahead(c, i);
		heap_update(c, i);
	}
	return KMS_OK;
}

static int compare_changes(const void *a, const void *b)
{
	const page_change *x = a, *y = b;
	if (x->app != y->app) return x->app < y->app ? -1 : 1;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

kms_status kms_sync_page_choose(sync_page *page, kms_store *store, const kms_delta_options *options)
{
	*page = (sync_page){ .until = options->since,
			     .stubs = options->stubs || options->fingerprints,
			     .extras = (options->fingerprints ? KMS_SYNC_FINGERPRINTS : 0) |
				       (options->base64 ? KMS_SYNC_BASE64 : 0) };
	/* The number is read before the list of namespaces, which then has every change up to it. */
	uint64_t newest = kms_store_sequence(store);
	if (options->through > 0 && options->through < newest) newest = options->through;
	if (newest <= options->since) return KMS_OK;
	GUARD(kms_store_changed_apps(&page->app_ids, &page->app_count, store, options->since));
	page->until = newest;
	if (page->app_count == 0) return KMS_OK;
	qsort(page->app_ids, page->app_count, sizeof(page->app_ids[0]), kms_sync_compare_ids);
	DEFER(chooser_free)
	chooser c = { .page = page, .store = store, .options = options, .newest = newest, .bytes = 2 };
	GUARD(chooser_open(&c));
	GUARD(choose(&c));
	if (page->count > 1) qsort(page->changes, page->count, sizeof(page->changes[0]), compare_changes);
	return KMS_OK;
}

void kms_sync_page_free(sync_page *page)
{
	kms_store_ids_free(page->app_ids);
	kms_heap_free(page->changes);
	*page = (sync_page){ 0 };
}
