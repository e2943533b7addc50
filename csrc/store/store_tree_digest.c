#include "store/store_tree_digest.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "kms/crypto.h"
#include "store/store_tree_follow.h"

#define STEP_LEAVES 256      /* computed under one lock: a fraction of a millisecond */
#define LEAF_BYTES 256       /* of a key, that cost as much as a leaf */
#define FOLLOW_LEAVES 32     /* that cost as much as a step in which the tree catches up */
#define SETTLED_SECTIONS 256 /* whose digests are put together in some microseconds */

static kms_status digest_make(tree_digest made, const kms_secret *key, const kms_span *spans, size_t count)
{
	uint8_t mac32[32];
	kms_status status = kms_hmac_sha256_spans(mac32, key, spans, count);
	memcpy(made, mac32, KMS_TREE_DIGEST);
	return status;
}

static kms_status leaf_make(tree_digest leaf, const store_tree *tree, const store_record *record)
{
	const kms_fingerprint *fingerprint = &record->fingerprint;
	uint8_t head[1 + 3 * 8 + 4 + sizeof(fingerprint->iv12) + sizeof(fingerprint->tag16)] = { OF_LEAF };
	uint8_t *at = head + 1;
	kms_store64_be(at, record->app_id);
	kms_store64_be(at + 8, record->updated_at_ms);
	kms_store64_be(at + 16, record->ttl_ms);
	kms_store32_le(at + 24, fingerprint->len); /* 0: a deletion */
	memcpy(at + 28, fingerprint->iv12, sizeof(fingerprint->iv12));
	memcpy(at + 28 + sizeof(fingerprint->iv12), fingerprint->tag16, sizeof(fingerprint->tag16));
	const kms_span spans[] = { KMS_SPAN(head), kms_text_span(kms_record_key(record)) };
	return digest_make(leaf, tree->key, spans, KMS_ARRAY_LEN(spans));
}

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, KMS_TREE_DIGEST);
}

/* ---- the leaves of a range ---- */

bool kms_tree_is_within(uint64_t place, const kms_tree_range *range)
{
	return range->depth == 0 || (place ^ range->place) >> (KMS_TREE_DEPTH - range->depth) == 0;
}

void kms_tree_leaves_free(leaf_list *list)
{
	if (list->leaves != list->some) kms_heap_free(list->leaves);
}

kms_status kms_tree_leaves(leaf_list *list, const tree_node *node, const kms_tree_range *range)
{
	list->count = 0;
	list->leaves = list->some;
	if (node->count > KMS_TREE_BUCKET) list->leaves = kms_heap_alloc(node->count, sizeof(tree_digest));
	ENSURE(list->leaves, KMS_ERR_MEMORY);
	for (size_t i = 0; i < node->count; i++) {
		const tree_entry *entry = &node->in.entries[i];
		if (range && !kms_tree_is_within(entry->place, range)) continue;
		memcpy(list->leaves[list->count++], entry->leaf, KMS_TREE_DIGEST);
	}
	if (list->count > 1) qsort(list->leaves, list->count, sizeof(tree_digest), compare_digests);
	return KMS_OK;
}

static kms_status digest_of_leaves(tree_digest made, const store_tree *tree, const leaf_list *list)
{
	static const uint8_t kind[] = { OF_BUCKET };
	memset(made, 0, KMS_TREE_DIGEST);
	if (list->count == 0) return KMS_OK;
	const kms_span spans[] = { KMS_SPAN(kind),
				   kms_span_of(list->leaves[0], list->count * KMS_TREE_DIGEST) };
	return digest_make(made, tree->key, spans, KMS_ARRAY_LEN(spans));
}

/* The digest of the part of a node without children that lies in a range; NULL: all of it. */
kms_status kms_tree_digest_of_part(tree_digest made, const store_tree *tree, const tree_node *node,
				   const kms_tree_range *range)
{
	DEFER(kms_tree_leaves_free) leaf_list list = { 0 };
	GUARD(kms_tree_leaves(&list, node, range));
	return digest_of_leaves(made, tree, &list);
}

kms_status kms_tree_digest_of_hours(tree_digest made, const kms_secret *key, const kms_tree_hour *hours,
				    size_t count)
{
	memset(made, 0, KMS_TREE_DIGEST);
	if (count == 0) return KMS_OK;
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	GUARD(kms_buf_reserve(&text, 1 + count * (4 + KMS_TREE_DIGEST)));
	const uint8_t kind[] = { OF_HOURS };
	GUARD(kms_buf_append(&text, KMS_SPAN(kind)));
	for (size_t i = 0; i < count; i++) {
		uint8_t hour[4];
		kms_store32_le(hour, hours[i].hour);
		GUARD(kms_buf_append(&text, KMS_SPAN(hour)));
		GUARD(kms_buf_append(&text, KMS_SPAN(hours[i].digest)));
	}
	const kms_span span = kms_buf_span(&text);
	return digest_make(made, key, &span, 1);
}

/* ---- nodes ---- */

static kms_status digest_of_children(tree_digest made, const store_tree *tree, const tree_node *node)
{
	uint8_t text[1 + KMS_TREE_FAN * KMS_TREE_DIGEST] = { OF_CHILDREN };
	for (size_t i = 0; i < KMS_TREE_FAN; i++)
		memcpy(text + 1 + i * KMS_TREE_DIGEST, node->in.children[i].digest, KMS_TREE_DIGEST);
	const kms_span span = KMS_SPAN(text);
	return digest_make(made, tree->key, &span, 1);
}

static void spend(size_t *left, size_t leaves)
{
	*left -= leaves < *left ? leaves : *left;
}

/* Computes the leaves of a node without children that are missing, while some are left to be computed. */
static kms_status leaves_make(size_t *left, const store_tree *tree, tree_node *node)
{
	static const tree_digest missing;
	for (size_t i = 0; *left > 0 && i < node->count; i++) {
		tree_entry *entry = &node->in.entries[i];
		if (memcmp(entry->leaf, missing, sizeof(missing)) != 0) continue;
		GUARD(leaf_make(entry->leaf, tree, entry->record));
		spend(left, 1 + entry->record->key_len / LEAF_BYTES);
	}
	return KMS_OK;
}

/* Computes a node's digest, unless `left`, the leaves that may be computed, is used up before: then it is 0.
 */
static kms_status clean(size_t *left, const store_tree *tree, tree_node *node)
{
	if (node->clean) return KMS_OK;
	if (node->inner) {
		for (size_t i = 0; *left > 0 && i < KMS_TREE_FAN; i++)
			GUARD(clean(left, tree, &node->in.children[i]));
		if (*left == 0) return KMS_OK;
		GUARD(digest_of_children(node->digest, tree, node));
	} else {
		GUARD(leaves_make(left, tree, node));
		if (*left == 0) return KMS_OK;
		GUARD(kms_tree_digest_of_part(node->digest, tree, node, NULL));
		spend(left, 1 + node->count * KMS_TREE_DIGEST / LEAF_BYTES);
	}
	node->clean = true;
	return KMS_OK;
}

/* Cleans sections from `*from` on; `*from` is then the one to go on with. */
static kms_status clean_some(uint32_t *from, size_t *left, const store_tree *tree)
{
	for (size_t at = kms_tree_section_index(tree, *from); at < tree->section_count; at++) {
		GUARD(clean(left, tree, &tree->sections[at]->top));
		if (*left > 0) continue;
		*from = tree->sections[at]->hour;
		return KMS_OK;
	}
	return KMS_OK;
}

kms_status kms_tree_tidy(bool *more, kms_store *store, size_t leaves)
{
	ENSURE_REF(more);
	*more = false;
	ENSURE_REF(store);
	store_tree *tree = &store->tree;
	uint32_t from = 0;
	size_t most = leaves / FOLLOW_LEAVES + 1, steps = most;
	*more = !kms_tree_follow(&steps, store);
	if (*more) return KMS_OK;
	for (size_t done = (most - steps) * FOLLOW_LEAVES; done < leaves; done += STEP_LEAVES) {
		size_t left = STEP_LEAVES;
		kms_tree_lock_in_turn(tree);
		kms_status status = tree->built ? clean_some(&from, &left, tree) : KMS_ERR_STATE;
		kms_tree_unlock(tree);
		GUARD(status);
		if (left > 0) return KMS_OK;
	}
	*more = true;
	return KMS_OK;
}

bool kms_tree_is_settled(kms_store *store)
{
	ENSURE(store && atomic_load(&store->tree.behind) == 0, false);
	store_tree *tree = &store->tree;
	ENSURE(pthread_mutex_trylock(&tree->lock) == 0, false);
	bool settled = tree->built && tree->section_count <= SETTLED_SECTIONS;
	for (size_t i = 0; settled && i < tree->section_count; i++)
		settled = tree->sections[i]->top.clean;
	kms_tree_unlock(tree);
	return settled;
}

kms_status kms_tree_lock_clean(kms_store *store, uint32_t first)
{
	store_tree *tree = &store->tree;
	uint32_t from = first;
	ENSURE(kms_tree_follow(&(size_t){ KMS_TREE_ROUNDS }, store), KMS_ERR_STATE);
	for (size_t round = 0; round < KMS_TREE_ROUNDS; round++) {
		size_t left = STEP_LEAVES;
		bool from_first = from == first;
		kms_tree_lock_in_turn(tree);
		kms_status status = tree->built ? clean_some(&from, &left, tree) : KMS_ERR_STATE;
		if (status == KMS_OK && left > 0 && from_first) return KMS_OK;
		kms_tree_unlock(tree);
		GUARD(status);
		if (left > 0) from = first; /* they may have changed meanwhile */
	}
	return KMS_ERR_STATE;
}

/* ---- ranges ---- */

/* The node whose records include those of a range, and no fewer than the range's own: as deep as there is
 * one. */
static tree_node *node_at(const store_tree *tree, const kms_tree_range *range)
{
	tree_section *section = kms_tree_section(tree, range->hour);
	tree_node *node = section ? &section->top : NULL;
	for (unsigned depth = 0; node && node->inner && depth < range->depth; depth += KMS_TREE_BITS)
		node = &node->in.children[kms_tree_child(range->place, depth)];
	return node;
}

/* The same, clean. Locks the tree as lock_clean does. */
kms_status kms_tree_lock_node(tree_node **node, kms_store *store, const kms_tree_range *range)
{
	store_tree *tree = &store->tree;
	ENSURE(kms_tree_follow(&(size_t){ KMS_TREE_ROUNDS }, store), KMS_ERR_STATE);
	for (size_t round = 0; round < KMS_TREE_ROUNDS; round++) {
		size_t left = STEP_LEAVES;
		kms_tree_lock_in_turn(tree);
		*node = tree->built ? node_at(tree, range) : NULL;
		kms_status status = tree->built ? KMS_OK : KMS_ERR_STATE;
		if (*node) status = clean(&left, tree, *node);
		if (status == KMS_OK && left > 0) return KMS_OK;
		kms_tree_unlock(tree);
		GUARD(status);
	}
	return KMS_ERR_STATE;
}
