/*
 * One exchange, as the asking member sees it: the roots; then, where they differ, ranges from the top down,
 * several in each question; then the versions that differ, both ways. What it remembers is bounded: when
 * enough differences are known, they are moved before it looks for more.
 */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "kms/secret.h"
#include "sync/sync_digest_asking.h"

KMS_DEFINE_RELEASE(digest_release, kms_digest, kms_digest_free)

kms_status kms_digest_new(kms_digest **digest, kms_store *store, uint64_t now_ms)
{
	ENSURE_REF(digest);
	*digest = NULL;
	ENSURE_REF(store);
	DEFER(digest_release) kms_digest *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->store = store;
	GUARD(kms_random(KMS_OUT(made->salt_bytes)));
	made->salt =
	    (kms_siphash_key){ kms_load64_le(made->salt_bytes), kms_load64_le(made->salt_bytes + 8) };
	made->first_hour = kms_tree_first_hour(store, now_ms);
	GUARD(kms_tree_get_root(&made->root, store, made->first_hour));
	*digest = made;
	made = NULL;
	return KMS_OK;
}

void kms_digest_free(kms_digest *digest)
{
	if (!digest) return;
	kms_heap_free(digest->ranges.items);
	kms_heap_free(digest->lists.items);
	kms_heap_free(digest->whole.items);
	kms_heap_free(digest->asked);
	kms_heap_free(digest->given.items);
	kms_heap_free(digest->wanted.items);
	kms_heap_free(digest);
}

kms_digest_state kms_digest_get_state(const kms_digest *digest)
{
	return digest->state;
}

kms_digest_counts kms_digest_get_counts(const kms_digest *digest)
{
	return digest->counts;
}

void kms_digest_forget_before(kms_digest *digest, uint64_t before_ms)
{
	digest->forget_before_ms = before_ms;
}

void kms_digest_be_brief(kms_digest *digest)
{
	digest->brief = true;
}

void kms_digest_set_base64(kms_digest *digest, bool base64)
{
	digest->base64 = base64;
}

/* ---- lists ---- */

static void *grow(void *items, size_t *capacity, size_t count, size_t size)
{
	if (count < *capacity) return items;
	size_t wanted = *capacity ? 2 * *capacity : 64;
	void *grown = kms_heap_resize(items, wanted * size);
	if (grown) *capacity = wanted;
	return grown;
}

kms_status kms_digest_add_range(range_list *list, const kms_tree_range *range)
{
	ENSURE(list->count < DIGEST_RANGES_MAX, KMS_OK); /* found again by a later exchange */
	kms_tree_range *items = grow(list->items, &list->capacity, list->count, sizeof(*items));
	ENSURE(items, KMS_ERR_MEMORY);
	list->items = items;
	items[list->count++] = *range;
	return KMS_OK;
}

kms_status kms_digest_add_child(range_list *list, const kms_tree_range *range, uint64_t index)
{
	unsigned depth = range->depth + KMS_TREE_STEP;
	ENSURE(depth <= KMS_TREE_DEPTH, KMS_OK);
	const kms_tree_range child = { range->hour, (uint8_t)depth,
				       range->place | index << (KMS_TREE_DEPTH - depth) };
	return kms_digest_add_range(list, &child);
}

void kms_digest_shuffle(range_list *list, size_t from, kms_digest *digest)
{
	if (list->count <= from) return;
	kms_tree_range *items = list->items + from;
	for (size_t left = list->count - from; left > 1; left--) {
		uint64_t drawn = kms_siphash_tagged(&digest->salt, digest->draws++, KMS_BYTES("order"));
		kms_tree_range *other = &items[drawn % left];
		kms_tree_range range = *other;
		*other = items[left - 1];
		items[left - 1] = range;
	}
}

kms_status kms_digest_add_version(version_list *list, const kms_tree_range *range, const digest_short name)
{
	digest_version *items = grow(list->items, &list->capacity, list->count, sizeof(*items));
	ENSURE(items, KMS_ERR_MEMORY);
	list->items = items;
	digest_version *version = &items[list->count++];
	version->range = *range;
	memcpy(version->name, name, DIGEST_SHORT);
	return KMS_OK;
}

static void versions_remove(version_list *list, size_t count)
{
	list->count -= count;
	if (list->count) memmove(list->items, list->items + count, list->count * sizeof(list->items[0]));
}

/* ---- asking ---- */

static kms_status ask_root(kms_buf *out, kms_digest *d)
{
	GUARD(kms_digest_write_head(out, DIGEST_ROOT, d->root.key_id));
	return kms_digest_write_root(out, d->first_hour, &d->root);
}

/* The hours from `next_hour` on, as many as an item has. */
static kms_status ask_hours(kms_buf *out, kms_digest *d)
{
	bool more;
	size_t count;
	kms_tree_hour hours[DIGEST_HOURS];
	digest_short name;
	GUARD(kms_tree_hours(hours, &count, &more, d->store, d->next_hour, DIGEST_HOURS));
	uint32_t to = more ? hours[count - 1].hour : UINT32_MAX;
	GUARD(kms_digest_write_number(out, DIGEST_HOURS_FORM, 1));
	GUARD(kms_digest_write_number(out, d->next_hour, 4));
	GUARD(kms_digest_write_number(out, to, 4));
	GUARD(kms_digest_write_number(out, (uint32_t)count, 2));
	for (size_t i = 0; i < count; i++) {
		kms_digest_shorten(name, &d->salt, hours[i].digest);
		GUARD(kms_digest_write_number(out, hours[i].hour, 4));
		GUARD(kms_buf_append(out, KMS_SPAN(name)));
	}
	d->next_hour = more ? to + 1 : 0;
	return KMS_OK;
}

/* Which answers are possible. Those to a question about children in brief are the same as to another. */
static digest_form form_of(const kms_tree_view *view, bool sums)
{
	if (view->has_children) return DIGEST_CHILDREN;
	return sums && view->count >= DIGEST_SUM_LEAVES ? DIGEST_SUM : DIGEST_LEAVES;
}

static kms_status ask_range(kms_buf *out, kms_digest *d, asked_item *asked, const kms_tree_range *range,
			    bool sums)
{
	kms_tree_view view;
	GUARD(kms_tree_look(&view, d->store, range));
	asked->form = form_of(&view, sums);
	asked->range = *range;
	asked->count = view.count;
	for (size_t i = 0; i < view.count; i++)
		kms_digest_shorten(asked->shorts[i], &d->salt, view.digests[i]);
	bool in_brief = view.has_children && d->brief;
	GUARD(kms_digest_write_range(out, in_brief ? DIGEST_BRIEF : asked->form, range));
	const digest_short *shorts = (const digest_short *)asked->shorts;
	if (in_brief) return kms_digest_write_brief(out, shorts, view.count);
	if (asked->form == DIGEST_SUM) return kms_digest_write_sum(out, shorts, view.count);
	if (asked->form == DIGEST_LEAVES) return kms_digest_write_shorts(out, shorts, view.count);
	return kms_buf_append(out, kms_span_of(shorts, view.count * DIGEST_SHORT));
}

static kms_status ask_compare(kms_buf *out, kms_digest *d)
{
	if (!d->asked) d->asked = kms_heap_alloc(DIGEST_ITEMS, sizeof(*d->asked));
	ENSURE(d->asked, KMS_ERR_MEMORY);
	size_t start = out->len;
	GUARD(kms_digest_write_head(out, DIGEST_COMPARE, d->root.key_id));
	GUARD(kms_buf_append(out, KMS_SPAN(d->salt_bytes)));
	for (d->asked_count = 0; d->asked_count < DIGEST_ITEMS; d->asked_count++) {
		if (out->len - start > KMS_DIGEST_MAX / 2) break; /* answers may be longer than items */
		asked_item *asked = &d->asked[d->asked_count];
		if (d->next_hour) {
			if (out->len - start > KMS_DIGEST_MAX / 4) break;
			asked->form = DIGEST_HOURS_FORM;
			GUARD(ask_hours(out, d));
		} else if (d->lists.count > 0) {
			GUARD(ask_range(out, d, asked, &d->lists.items[--d->lists.count], false));
		} else if (d->ranges.count > 0) {
			GUARD(ask_range(out, d, asked, &d->ranges.items[--d->ranges.count], d->brief));
		} else {
			break;
		}
	}
	return KMS_OK;
}

static bool same_range(const kms_tree_range *a, const kms_tree_range *b)
{
	return a->hour == b->hour && a->depth == b->depth && a->place == b->place;
}

/* Versions of one range stand together, as many as an item has. */
static kms_status write_wanted(kms_buf *out, const version_list *list, size_t count)
{
	for (size_t i = 0, same; i < count; i += same) {
		digest_short names[KMS_TREE_BUCKET];
		const kms_tree_range *range = &list->items[i].range;
		for (same = 0; i + same < count && same < KMS_TREE_BUCKET; same++) {
			if (!same_range(&list->items[i + same].range, range)) break;
			memcpy(names[same], list->items[i + same].name, DIGEST_SHORT);
		}
		GUARD(kms_digest_write_range(out, DIGEST_LEAVES, range));
		GUARD(kms_digest_write_shorts(out, (const digest_short *)names, same));
	}
	return KMS_OK;
}

static kms_status ask_move(kms_buf *out, kms_buf *data, uint64_t *records, kms_digest *d,
			   const digest_page *page)
{
	size_t looked_up, forgotten = 0;
	d->wanting = d->wanted.count < KMS_DIGEST_MOVE_MAX ? d->wanted.count : KMS_DIGEST_MOVE_MAX;
	GUARD(kms_digest_write_head(out, DIGEST_MOVE, d->root.key_id));
	GUARD(kms_buf_append(out, KMS_SPAN(d->salt_bytes)));
	GUARD(write_wanted(out, &d->wanted, d->wanting));
	size_t count = d->given.count < KMS_DIGEST_MOVE_MAX ? d->given.count : KMS_DIGEST_MOVE_MAX;
	if (d->forget_before_ms)
		GUARD(kms_digest_forget_versions(&forgotten, d->store, &d->salt, d->given.items, count,
						 d->forget_before_ms));
	d->counts.forgotten += forgotten;
	GUARD(kms_digest_write_versions(data, &looked_up, records, d->store, &d->salt, d->given.items, count,
					page));
	versions_remove(&d->given, looked_up);
	d->counts.given += *records;
	return KMS_OK;
}

/* Names more of the versions in ranges of which the peer has none. */
static kms_status expand_whole(kms_digest *d)
{
	kms_tree_view view;
	digest_short name;
	while (d->whole.count > 0 && d->given.count < KMS_DIGEST_MOVE_MAX) {
		kms_tree_range range = d->whole.items[--d->whole.count];
		size_t kept = d->whole.count;
		GUARD(kms_tree_look(&view, d->store, &range));
		for (size_t i = 0; i < view.count; i++) {
			kms_digest_shorten(name, &d->salt, view.digests[i]);
			if (view.has_children)
				GUARD(kms_digest_add_child(&d->whole, &range, i));
			else
				GUARD(kms_digest_add_version(&d->given, &range, name));
		}
		kms_digest_shuffle(&d->whole, kept, d);
	}
	return KMS_OK;
}

kms_status kms_digest_ask(kms_buf *question, kms_buf *data, uint64_t *records, kms_digest *digest,
			  size_t max_bytes, uint64_t now_ms)
{
	ENSURE_REF(records);
	*records = 0;
	ENSURE_REF(question);
	ENSURE_REF(data);
	ENSURE_REF(digest);
	kms_digest *d = digest;
	ENSURE(d->state == KMS_DIGEST_ASKING, KMS_ERR_STATE);
	d->counts.questions++;
	if (!d->last) {
		d->last = DIGEST_ROOT;
		return ask_root(question, d);
	}
	GUARD(expand_whole(d));
	bool full = d->given.count >= KMS_DIGEST_MOVE_MAX || d->wanted.count >= KMS_DIGEST_MOVE_MAX;
	bool asks = d->ranges.count > 0 || d->lists.count > 0 || d->next_hour;
	d->last = !full && asks ? DIGEST_COMPARE : DIGEST_MOVE;
	const digest_page page = { max_bytes, d->base64, now_ms };
	return d->last == DIGEST_COMPARE ? ask_compare(question, d)
					 : ask_move(question, data, records, d, &page);
}

void kms_digest_moved(kms_digest *digest, size_t looked_up)
{
	/* A peer that looks nothing up would be asked again and again. */
	size_t count = looked_up > 0 ? looked_up : digest->wanting;
	size_t sought = count < digest->sought ? count : digest->sought;
	versions_remove(&digest->wanted, count);
	digest->sought -= sought;
	digest->counts.sought += sought;
	if (looked_up > sought) digest->counts.wanted += looked_up - sought;
}
