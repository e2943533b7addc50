/* Answering questions about this store's hash tree. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "sync/sync_digest.h"

typedef struct answerer {
	kms_buf *out;
	kms_store *store;
	kms_siphash_key salt;
} answerer;

/* ---- ranges ---- */

static size_t shorten_all(digest_short *shorts, const kms_siphash_key *salt, const kms_tree_view *view)
{
	for (size_t i = 0; i < view->count; i++)
		kms_digest_shorten(shorts[i], salt, view->digests[i]);
	return view->count;
}

static kms_status write_mask(const answerer *a, uint32_t mask)
{
	GUARD(kms_digest_write_number(a->out, DIGEST_CHILDREN, 1));
	return kms_digest_write_number(a->out, mask, 2);
}

/* Of a range that has children here: those that differ, as far as can be told. */
static kms_status answer_children(const answerer *a, const digest_item *item, const digest_short *own)
{
	static const digest_short none;
	uint32_t mask = 0;
	size_t known = item->form == DIGEST_BRIEF ? DIGEST_BRIEF_SHORT : DIGEST_SHORT;
	for (size_t i = 0; i < KMS_TREE_CHILDREN; i++) {
		bool differs = true; /* the asker has few leaves, in unknown children */
		if (item->form == DIGEST_CHILDREN || item->form == DIGEST_BRIEF)
			differs = memcmp(own[i], item->shorts[i], known) != 0;
		else if (item->count == 0)
			differs = memcmp(own[i], none, DIGEST_SHORT) != 0;
		mask |= (uint32_t)differs << i;
	}
	return write_mask(a, mask);
}

static kms_status write_lacks(const answerer *a, uint32_t lacking, const digest_short *missing, size_t count)
{
	GUARD(kms_digest_write_number(a->out, DIGEST_LACKS, 1));
	GUARD(kms_digest_write_number(a->out, lacking, 4));
	return kms_digest_write_shorts(a->out, missing, count);
}

static kms_status write_leaves(const answerer *a, const digest_short *own, size_t count)
{
	GUARD(kms_digest_write_number(a->out, DIGEST_LEAVES, 1));
	return kms_digest_write_shorts(a->out, own, count);
}

/* Two lists of leaves. */
static kms_status answer_lacks(const answerer *a, const digest_item *item, const digest_short *own,
			       size_t count)
{
	uint32_t lacking;
	digest_short missing[KMS_TREE_BUCKET];
	size_t missed;
	kms_digest_compare(&lacking, missing, &missed, (const digest_short *)item->shorts, item->count, own,
			   count);
	return write_lacks(a, lacking, (const digest_short *)missing, missed);
}

/* Of the asker's leaves only the sum is known: where there is one leaf more on one side, the sums tell which.
 */
static kms_status answer_sum(const answerer *a, const digest_item *item, const digest_short *own,
			     size_t count)
{
	static const digest_short none;
	digest_short lone;
	memcpy(lone, item->shorts[0], DIGEST_SHORT);
	kms_digest_sum(lone, own, count);
	if (count == item->count && memcmp(lone, none, DIGEST_SHORT) == 0) return write_lacks(a, 0, NULL, 0);
	if (count == item->count + 1 && kms_digest_has_short(own, count, lone))
		return write_lacks(a, 0, (const digest_short *)&lone, 1);
	if (count + 1 != item->count) return write_leaves(a, own, count);
	GUARD(kms_digest_write_number(a->out, DIGEST_SUM, 1));
	return kms_digest_write_sum(a->out, own, count);
}

static kms_status answer_range(const answerer *a, const digest_item *item)
{
	kms_tree_view view;
	digest_short own[KMS_TREE_BUCKET];
	GUARD(kms_tree_look(&view, a->store, &item->range));
	size_t count = shorten_all(own, &a->salt, &view);
	if (view.has_children) return answer_children(a, item, (const digest_short *)own);
	if (item->form == DIGEST_LEAVES) return answer_lacks(a, item, (const digest_short *)own, count);
	if (item->form == DIGEST_SUM) return answer_sum(a, item, (const digest_short *)own, count);
	return write_leaves(a, (const digest_short *)own, count);
}

/* ---- hours ---- */

/* Merges two lists in order: the hours of one of them, and those of both with other digests. */
static size_t differing_hours(uint32_t *hours, const digest_item *item, const kms_tree_hour *own,
			      size_t count, const kms_siphash_key *salt)
{
	size_t found = 0, theirs = 0, ours = 0;
	while (found < DIGEST_HOURS && (theirs < item->count || ours < count)) {
		const uint8_t *at = item->hours + theirs * (4 + DIGEST_SHORT);
		uint32_t a = theirs < item->count ? kms_load32_be(at) : UINT32_MAX;
		uint32_t b = ours < count ? own[ours].hour : UINT32_MAX;
		bool both = theirs < item->count && ours < count && a == b;
		digest_short name;
		if (both) kms_digest_shorten(name, salt, own[ours].digest);
		if (!both || memcmp(name, at + 4, DIGEST_SHORT) != 0) hours[found++] = a < b ? a : b;
		bool from_theirs = theirs < item->count && (both || ours == count || a < b);
		theirs += from_theirs;
		ours += both || !from_theirs;
	}
	return found;
}

static kms_status answer_hours(const answerer *a, const digest_item *item)
{
	bool more;
	size_t count;
	uint32_t hours[DIGEST_HOURS];
	kms_tree_hour own[DIGEST_HOURS];
	GUARD(kms_tree_hours(own, &count, &more, a->store, item->from, DIGEST_HOURS));
	while (count > 0 && own[count - 1].hour > item->to)
		count--;
	size_t found = differing_hours(hours, item, own, count, &a->salt);
	GUARD(kms_digest_write_number(a->out, DIGEST_HOURS_FORM, 1));
	GUARD(kms_digest_write_number(a->out, (uint32_t)found, 2));
	for (size_t i = 0; i < found; i++)
		GUARD(kms_digest_write_number(a->out, hours[i], 4));
	return KMS_OK;
}

/* ---- questions ---- */

static kms_status answer_compare(answerer *a, kms_reader *reader)
{
	digest_item item;
	size_t hours = 0;
	GUARD(kms_digest_read_salt(&a->salt, reader));
	for (size_t i = 0; kms_reader_left(reader) > 0; i++) {
		ENSURE(i < DIGEST_ITEMS, KMS_ERR_RECORD);
		GUARD(kms_digest_read_item(&item, reader));
		hours += item.form == DIGEST_HOURS_FORM;
		ENSURE(hours <= DIGEST_HOUR_ITEMS, KMS_ERR_RECORD);
		GUARD(item.form == DIGEST_HOURS_FORM ? answer_hours(a, &item) : answer_range(a, &item));
	}
	return KMS_OK;
}

static kms_status answer_root(const answerer *a, kms_reader *reader, uint64_t now_ms)
{
	uint32_t theirs, first = kms_tree_first_hour(a->store, now_ms);
	kms_tree_root root;
	GUARD(kms_digest_read_root(&theirs, &root, reader));
	ENSURE(kms_reader_left(reader) == 0, KMS_ERR_RECORD);
	if (first < theirs) first = theirs;
	GUARD(kms_tree_get_root(&root, a->store, first));
	return kms_digest_write_root(a->out, first, &root);
}

typedef struct wanted_list {
	digest_version *versions;
	size_t count;
} wanted_list;

static void wanted_free(wanted_list *list)
{
	kms_heap_free(list->versions);
}

static kms_status read_wanted(wanted_list *list, kms_reader *reader)
{
	digest_item item;
	list->versions = kms_heap_alloc(KMS_DIGEST_MOVE_MAX, sizeof(*list->versions));
	ENSURE(list->versions, KMS_ERR_MEMORY);
	while (kms_reader_left(reader) > 0) {
		GUARD(kms_digest_read_item(&item, reader));
		ENSURE(item.form == DIGEST_LEAVES && item.count > 0, KMS_ERR_RECORD);
		ENSURE(item.count <= KMS_DIGEST_MOVE_MAX - list->count, KMS_ERR_RECORD);
		for (size_t i = 0; i < item.count; i++) {
			digest_version *version = &list->versions[list->count++];
			version->range = item.range;
			memcpy(version->name, item.shorts[i], DIGEST_SHORT);
		}
	}
	return KMS_OK;
}

static kms_status answer_move(answerer *a, kms_buf *data, uint64_t *records, kms_reader *reader,
			      const digest_page *page)
{
	size_t looked_up;
	DEFER(wanted_free) wanted_list list = { 0 };
	GUARD(kms_digest_read_salt(&a->salt, reader));
	GUARD(read_wanted(&list, reader));
	GUARD(kms_digest_write_versions(data, &looked_up, records, a->store, &a->salt, list.versions,
					list.count, page));
	return kms_digest_write_number(a->out, (uint32_t)looked_up, 2);
}

kms_status kms_digest_answer(kms_buf *answer, kms_buf *data, uint64_t *records, kms_store *store,
			     kms_span question, size_t max_bytes, bool base64, uint64_t now_ms)
{
	ENSURE_REF(records);
	*records = 0;
	ENSURE_REF(answer);
	ENSURE_REF(data);
	ENSURE_REF(store);
	ENSURE(question.bytes && question.len <= KMS_DIGEST_MAX, KMS_ERR_RECORD);
	digest_kind kind;
	kms_tree_root own;
	uint8_t key_id[KMS_TREE_KEY_ID];
	answerer a = { .out = answer, .store = store };
	kms_reader reader = kms_reader_make(question);
	GUARD(kms_digest_read_head(&kind, key_id, &reader));
	ENSURE(kind != DIGEST_OTHER_KEY, KMS_ERR_RECORD);
	GUARD(kms_tree_get_root(&own, store, UINT32_MAX));
	bool same_key = memcmp(own.key_id, key_id, sizeof(key_id)) == 0;
	GUARD(kms_digest_write_head(answer, same_key ? kind : DIGEST_OTHER_KEY, own.key_id));
	if (!same_key) return KMS_OK;
	if (kind == DIGEST_ROOT) return answer_root(&a, &reader, now_ms);
	if (kind == DIGEST_COMPARE) return answer_compare(&a, &reader);
	const digest_page page = { max_bytes, base64, now_ms };
	return answer_move(&a, data, records, &reader, &page);
}
