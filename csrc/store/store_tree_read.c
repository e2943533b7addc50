/* Reading the hash tree: roots, hours, ranges, versions (kms/tree.h). */
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "kms/crypto.h"
#include "store/store_internal.h"
#include "store/store_tree_digest.h"

/* ---- roots ---- */

static size_t hours_copy(kms_tree_hour *hours, const store_tree *tree, size_t at, size_t max)
{
	size_t count = 0;
	for (; at < tree->section_count && count < max; at++, count++) {
		hours[count].hour = tree->sections[at]->hour;
		memcpy(hours[count].digest, tree->sections[at]->top.digest, KMS_TREE_DIGEST);
	}
	return count;
}

/* What the digest of all hours is made from, without the tree's lock: there may be many. */
typedef struct hour_list {
	kms_secret *key;
	kms_tree_hour *hours;
	size_t count;
} hour_list;

static void hours_free(hour_list *list)
{
	kms_secret_unref(list->key);
	kms_heap_free(list->hours);
}

static kms_status hours_take(hour_list *list, const store_tree *tree, uint32_t first)
{
	size_t at = kms_tree_section_index(tree, first), count = tree->section_count - at;
	list->key = kms_secret_ref(tree->key);
	if (count == 0) return KMS_OK;
	list->hours = kms_heap_alloc(count, sizeof(*list->hours));
	ENSURE(list->hours, KMS_ERR_MEMORY);
	list->count = hours_copy(list->hours, tree, at, count);
	return KMS_OK;
}

/* Takes what the roots are made from; the tree is locked. */
static kms_status root_take(kms_tree_root *root, hour_list *list, const store_tree *tree, uint32_t first_hour)
{
	const tree_section *lasting = kms_tree_section(tree, 0);
	memcpy(root->key_id, tree->key_id, sizeof(root->key_id));
	if (lasting) memcpy(root->lasting, lasting->top.digest, KMS_TREE_DIGEST);
	return hours_take(list, tree, first_hour);
}

static kms_status root_get(kms_tree_root *root, kms_store *store, uint32_t first_hour)
{
	DEFER(hours_free) hour_list list = { 0 };
	store_tree *tree = &store->tree;
	GUARD(kms_tree_lock_clean(store, 0));
	kms_status status = root_take(root, &list, tree, first_hour < 1 ? 1 : first_hour);
	kms_tree_unlock(tree);
	GUARD(status);
	return kms_tree_digest_of_hours(root->ending, list.key, list.hours, list.count);
}

kms_status kms_tree_get_root(kms_tree_root *root, kms_store *store, uint32_t first_hour)
{
	ENSURE_REF(root);
	*root = (kms_tree_root){ { 0 }, { 0 }, { 0 } };
	ENSURE_REF(store);
	kms_status status = root_get(root, store, first_hour);
	if (status != KMS_OK) *root = (kms_tree_root){ { 0 }, { 0 }, { 0 } };
	return status;
}

static kms_status show(uint8_t mac32[32], store_tree *tree, const kms_tree_root *root, uint32_t first_hour,
		       kms_span nonce)
{
	uint8_t head[1 + 4] = { OF_SHOW };
	kms_store32_be(head + 1, first_hour);
	kms_tree_lock(tree);
	DEFER(kms_secret_release) kms_secret *key = kms_secret_ref(tree->key);
	kms_tree_unlock(tree);
	const kms_span spans[] = { KMS_SPAN(head), KMS_SPAN(root->lasting), KMS_SPAN(root->ending), nonce };
	return kms_hmac_sha256_spans(mac32, key, spans, KMS_ARRAY_LEN(spans));
}

kms_status kms_tree_show(uint8_t mac32[32], kms_store *store, uint32_t first_hour, kms_span nonce)
{
	kms_tree_root root;
	ENSURE_REF(mac32);
	memset(mac32, 0, 32);
	ENSURE_REF(nonce.bytes);
	ENSURE(nonce.len >= 16 && nonce.len <= 64, KMS_ERR_RANGE);
	GUARD(kms_tree_get_root(&root, store, first_hour));
	return show(mac32, &store->tree, &root, first_hour, nonce);
}

kms_status kms_tree_hours(kms_tree_hour *hours, size_t *count, bool *more, kms_store *store, uint32_t first,
			  size_t max)
{
	ENSURE_REF(count);
	*count = 0;
	ENSURE_REF(more);
	*more = false;
	ENSURE_REF(hours);
	ENSURE_REF(store);
	if (first < 1) first = 1;
	GUARD(kms_tree_lock_clean(store, first));
	size_t at = kms_tree_section_index(&store->tree, first);
	*count = hours_copy(hours, &store->tree, at, max);
	*more = at + *count < store->tree.section_count;
	kms_tree_unlock(&store->tree);
	return KMS_OK;
}

/* ---- ranges ---- */

static kms_status view_leaves(kms_tree_view *view, const tree_node *node, const kms_tree_range *range)
{
	DEFER(kms_tree_leaves_free) leaf_list list = { 0 };
	GUARD(kms_tree_leaves(&list, node, range));
	view->versions = list.count;
	view->count = list.count < KMS_TREE_BUCKET ? list.count : KMS_TREE_BUCKET;
	if (view->count) memcpy(view->digests, list.leaves, view->count * KMS_TREE_DIGEST);
	return KMS_OK;
}

/* The child of a range by index. */
static kms_tree_range child_of(const kms_tree_range *range, uint64_t index)
{
	unsigned depth = range->depth + KMS_TREE_STEP;
	unsigned shift = depth < KMS_TREE_DEPTH ? KMS_TREE_DEPTH - depth : 0;
	return (kms_tree_range){ range->hour, (uint8_t)depth, range->place | index << shift };
}

/* A range's children are its node's grandchildren. A child without children holds the leaves of four. */
static kms_status view_children(kms_tree_view *view, const store_tree *tree, const tree_node *node,
				const kms_tree_range *range)
{
	view->has_children = true;
	view->versions = node->count;
	view->count = KMS_TREE_CHILDREN;
	for (size_t i = 0; i < KMS_TREE_CHILDREN; i++) {
		const tree_node *child = &node->in.children[i / KMS_TREE_FAN];
		kms_tree_range part = child_of(range, i);
		if (child->inner)
			memcpy(view->digests[i], child->in.children[i % KMS_TREE_FAN].digest,
			       KMS_TREE_DIGEST);
		else
			GUARD(kms_tree_digest_of_part(view->digests[i], tree, child, &part));
	}
	return KMS_OK;
}

static bool is_range(const kms_tree_range *range)
{
	ENSURE(range->depth <= KMS_TREE_DEPTH && range->depth % KMS_TREE_STEP == 0, false);
	return range->depth == KMS_TREE_DEPTH || range->place << range->depth == 0;
}

kms_status kms_tree_look(kms_tree_view *view, kms_store *store, const kms_tree_range *range)
{
	tree_node *node;
	ENSURE_REF(view);
	memset(view, 0, sizeof(*view));
	ENSURE_REF(store);
	ENSURE_REF(range);
	ENSURE(is_range(range), KMS_ERR_RANGE);
	store_tree *tree = &store->tree;
	GUARD(kms_tree_lock_node(&node, store, range));
	kms_status status = KMS_OK;
	if (node)
		status =
		    node->inner ? view_children(view, tree, node, range) : view_leaves(view, node, range);
	kms_tree_unlock(tree);
	if (status != KMS_OK) memset(view, 0, sizeof(*view));
	return status;
}

static kms_status visit_node(const tree_node *node, const kms_tree_range *range, kms_tree_visitor visit,
			     void *context)
{
	ENSURE(!node->inner, KMS_ERR_TOO_LARGE);
	for (size_t i = 0; i < node->count; i++) {
		const tree_entry *entry = &node->in.entries[i];
		if (!kms_tree_is_within(entry->place, range)) continue;
		const store_record *record = entry->record;
		if (!visit(context, record->app_id, kms_record_key(record), entry->leaf)) return KMS_OK;
	}
	return KMS_OK;
}

kms_status kms_tree_visit(kms_store *store, const kms_tree_range *range, kms_tree_visitor visit,
			  void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(range);
	ENSURE_REF(visit);
	ENSURE(is_range(range), KMS_ERR_RANGE);
	tree_node *node;
	GUARD(kms_tree_lock_node(&node, store, range));
	kms_status status = node ? visit_node(node, range, visit, context) : KMS_OK;
	kms_tree_unlock(&store->tree);
	return status;
}

typedef struct search {
	uint64_t app_id;
	kms_text key;
	uint8_t *leaf;
	bool found;
} search;

static bool match(void *context, uint64_t app_id, kms_text key, const uint8_t leaf[KMS_TREE_DIGEST])
{
	search *s = context;
	if (app_id != s->app_id || key.len != s->key.len || memcmp(key.text, s->key.text, key.len) != 0)
		return true;
	memcpy(s->leaf, leaf, KMS_TREE_DIGEST);
	s->found = true;
	return false;
}

kms_status kms_tree_find(kms_tree_range *range, uint8_t leaf16[KMS_TREE_DIGEST], kms_store *store,
			 uint64_t app_id, const kms_record *stub)
{
	ENSURE_REF(range);
	*range = (kms_tree_range){ 0 };
	ENSURE_REF(leaf16);
	memset(leaf16, 0, KMS_TREE_DIGEST);
	ENSURE_REF(store);
	ENSURE_REF(stub);
	ENSURE_REF(stub->key.text);
	kms_tree_range whole = { .hour = kms_tree_hour_of(stub->updated_at_ms, stub->ttl_ms, false),
				 .depth = KMS_TREE_DEPTH };
	search s = { app_id, stub->key, leaf16, false };
	kms_tree_lock(&store->tree);
	whole.place = kms_tree_place(&store->tree, app_id, stub->key);
	kms_tree_unlock(&store->tree);
	GUARD(kms_tree_visit(store, &whole, match, &s));
	ENSURE(s.found, KMS_ERR_NOT_FOUND);
	*range = whole;
	return KMS_OK;
}
