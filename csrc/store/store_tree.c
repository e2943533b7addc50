/* Which records are where in the hash tree. Its digests: store_tree_digest.c. Building it:
 * store_tree_build.c. Changes: store_tree_follow.c. */
#include "store/store_tree.h"

#include <string.h>

#include "base/mem.h"

#define SLOTS 4 /* by which a node's array grows */
#define HOUR_MS 3600000u

/* ---- places ---- */

uint64_t kms_tree_place(const store_tree *tree, uint64_t app_id, kms_text key)
{
	return kms_siphash_tagged(&tree->place_key, app_id, kms_text_span(key));
}

static uint64_t place_of(const store_tree *tree, const store_record *record)
{
	return kms_tree_place(tree, record->app_id, kms_record_key(record));
}

/*
 * The hour of a version's death: of its deletion or, with a TTL, its expiry. A pure function of the version:
 * the same on all members, whatever their clocks say and whether the value has expired there.
 */
uint32_t kms_tree_hour_of(uint64_t updated_at_ms, uint64_t ttl_ms, bool deleted)
{
	ENSURE(deleted || ttl_ms > 0, 0);
	uint64_t death_ms = updated_at_ms + (deleted ? 0 : ttl_ms);
	uint64_t hour = death_ms / HOUR_MS;
	return hour < 1 ? 1 : hour > UINT32_MAX ? UINT32_MAX : (uint32_t)hour;
}

static uint32_t section_hour(const store_record *record)
{
	return kms_tree_hour_of(record->updated_at_ms, record->ttl_ms, record->fingerprint.len == 0);
}

/* ---- nodes ---- */

static size_t capacity_of(size_t count)
{
	return (count + SLOTS - 1) / SLOTS * SLOTS;
}

static void node_free(tree_node *node)
{
	if (node->inner) {
		for (size_t i = 0; i < KMS_TREE_FAN; i++)
			node_free(&node->in.children[i]);
		kms_heap_free(node->in.children);
	} else {
		kms_heap_free(node->in.entries);
	}
	*node = (tree_node){ .count = 0 };
}

static bool bucket_resize(tree_node *node, size_t capacity)
{
	if (capacity == 0) {
		kms_heap_free(node->in.entries);
		node->in.entries = NULL;
		return true;
	}
	tree_entry *entries = kms_heap_resize(node->in.entries, capacity * sizeof(*entries));
	if (entries) node->in.entries = entries;
	return entries != NULL;
}

static bool bucket_add(tree_node *node, const tree_entry *entry)
{
	if (node->count == capacity_of(node->count) && !bucket_resize(node, node->count + SLOTS))
		return false;
	node->in.entries[node->count++] = *entry;
	node->clean = false;
	return true;
}

/* The position of a record in a node without children; its count: it is not there. */
static size_t bucket_find(const tree_node *node, const store_record *record)
{
	size_t i = 0;
	while (i < node->count && node->in.entries[i].record != record)
		i++;
	return i;
}

/* Gives a full node children. */
static bool node_split(tree_node *node, unsigned depth)
{
	tree_node *children = kms_heap_alloc(KMS_TREE_FAN, sizeof(*children));
	bool ok = children != NULL;
	for (size_t i = 0; ok && i < node->count; i++) {
		const tree_entry *entry = &node->in.entries[i];
		ok = bucket_add(&children[kms_tree_child(entry->place, depth)], entry);
	}
	if (!ok) {
		for (size_t i = 0; children && i < KMS_TREE_FAN; i++)
			node_free(&children[i]);
		kms_heap_free(children);
		return false;
	}
	kms_heap_free(node->in.entries);
	node->in.children = children;
	node->inner = true;
	return true;
}

static bool gather(tree_node *into, const tree_node *from)
{
	for (size_t i = 0; from->inner && i < KMS_TREE_FAN; i++) {
		if (!gather(into, &from->in.children[i])) return false;
	}
	for (size_t i = 0; !from->inner && i < from->count; i++) {
		if (!bucket_add(into, &from->in.entries[i])) return false;
	}
	return true;
}

/* Joins the children of a node that has few records left. */
static bool node_join(tree_node *node)
{
	tree_node joined = { .count = 0 };
	if (!gather(&joined, node)) {
		node_free(&joined);
		return false;
	}
	node_free(node);
	*node = joined;
	return true;
}

static bool node_add(tree_node *node, uint64_t place, store_record *record)
{
	const tree_entry entry = { .record = record, .place = place };
	for (unsigned depth = 0;; depth += KMS_TREE_BITS) {
		bool full = node->count >= KMS_TREE_BUCKET && depth < KMS_TREE_DEPTH;
		if (!node->inner && !full) return bucket_add(node, &entry);
		if (!node->inner && !node_split(node, depth)) return false;
		node->count++;
		node->clean = false;
		node = &node->in.children[kms_tree_child(place, depth)];
	}
}

/* The node that would have a record, and its position there. */
static tree_node *node_of(size_t *at, tree_node *node, uint64_t place, const store_record *record)
{
	for (unsigned depth = 0; node->inner; depth += KMS_TREE_BITS)
		node = &node->in.children[kms_tree_child(place, depth)];
	*at = bucket_find(node, record);
	return node;
}

/* Marks the nodes from `node` down to the place's last one, and adds `change` to the counts of those above
 * it. */
static void path_mark(tree_node *node, uint64_t place, int change)
{
	for (unsigned depth = 0;; depth += KMS_TREE_BITS) {
		node->clean = false;
		if (!node->inner) return;
		node->count += (uint32_t)change;
		node = &node->in.children[kms_tree_child(place, depth)];
	}
}

/* Removes a record that is there. */
static bool node_remove(tree_node *node, uint64_t place, const store_record *record)
{
	size_t at;
	tree_node *bucket = node_of(&at, node, place, record);
	path_mark(node, place, -1);
	bucket->in.entries[at] = bucket->in.entries[--bucket->count];
	if (bucket->count == capacity_of(bucket->count)) (void)bucket_resize(bucket, bucket->count);
	for (unsigned depth = 0; node->inner; depth += KMS_TREE_BITS) {
		if (node->count <= KMS_TREE_BUCKET) return node_join(node);
		node = &node->in.children[kms_tree_child(place, depth)];
	}
	return true;
}

/* ---- sections ---- */

size_t kms_tree_section_index(const store_tree *tree, uint32_t hour)
{
	size_t low = 0, high = tree->section_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (tree->sections[middle]->hour < hour)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

tree_section *kms_tree_section(const store_tree *tree, uint32_t hour)
{
	size_t at = kms_tree_section_index(tree, hour);
	return at < tree->section_count && tree->sections[at]->hour == hour ? tree->sections[at] : NULL;
}

#define POINTER sizeof(void *) /* an element of `sections` */

static bool sections_grow(store_tree *tree)
{
	if (tree->section_count < tree->section_capacity) return true;
	size_t capacity = tree->section_capacity ? 2 * tree->section_capacity : 16;
	tree_section **sections = kms_heap_resize((void *)tree->sections, capacity * POINTER);
	ENSURE(sections, false);
	tree->sections = sections;
	tree->section_capacity = capacity;
	return true;
}

static tree_section *section_get(store_tree *tree, uint32_t hour)
{
	size_t at = kms_tree_section_index(tree, hour);
	if (at < tree->section_count && tree->sections[at]->hour == hour) return tree->sections[at];
	ENSURE(sections_grow(tree), NULL);
	tree_section *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, NULL);
	made->hour = hour;
	memmove((void *)(tree->sections + at + 1), (void *)(tree->sections + at),
		(tree->section_count - at) * POINTER);
	tree->sections[at] = made;
	tree->section_count++;
	return made;
}

static void section_drop_if_empty(store_tree *tree, tree_section *section)
{
	if (section->top.count > 0) return;
	size_t at = kms_tree_section_index(tree, section->hour);
	node_free(&section->top);
	kms_heap_free(section);
	tree->section_count--;
	memmove((void *)(tree->sections + at), (void *)(tree->sections + at + 1),
		(tree->section_count - at) * POINTER);
}

/* ---- the tree ---- */

void kms_tree_init(store_tree *tree)
{
	pthread_mutex_init(&tree->lock, NULL);
	pthread_mutex_init(&tree->turn, NULL);
	pthread_mutex_init(&tree->build_lock, NULL);
}

void kms_tree_clear(store_tree *tree)
{
	for (size_t i = 0; i < tree->section_count; i++) {
		node_free(&tree->sections[i]->top);
		kms_heap_free(tree->sections[i]);
	}
	kms_heap_free((void *)tree->sections);
	tree->sections = NULL;
	tree->section_count = tree->section_capacity = 0;
	tree->keyed = tree->built = false;
	tree->emptied++;
}

void kms_tree_free(store_tree *tree)
{
	kms_tree_clear(tree);
	kms_secret_unref(tree->key);
	pthread_mutex_destroy(&tree->lock);
	pthread_mutex_destroy(&tree->turn);
	pthread_mutex_destroy(&tree->build_lock);
}

void kms_tree_lock_in_turn(store_tree *tree)
{
	pthread_mutex_lock(&tree->turn);
	pthread_mutex_lock(&tree->lock);
	pthread_mutex_unlock(&tree->turn);
}

void kms_tree_lock(store_tree *tree)
{
	if (pthread_mutex_trylock(&tree->lock) != 0) kms_tree_lock_in_turn(tree);
}

void kms_tree_unlock(store_tree *tree)
{
	pthread_mutex_unlock(&tree->lock);
}

static bool add(store_tree *tree, uint64_t place, store_record *record)
{
	size_t at;
	tree_section *section = section_get(tree, section_hour(record));
	ENSURE(section, false);
	const tree_node *node = node_of(&at, &section->top, place, record);
	return at < node->count || node_add(&section->top, place, record);
}

bool kms_tree_add(store_tree *tree, store_record *record)
{
	return add(tree, place_of(tree, record), record);
}

/* Removes a record if it is there. */
static bool drop(store_tree *tree, uint64_t place, const store_record *record)
{
	size_t at;
	tree_section *section = kms_tree_section(tree, section_hour(record));
	ENSURE(section, true);
	const tree_node *node = node_of(&at, &section->top, place, record);
	if (at == node->count) return true;
	bool ok = node_remove(&section->top, place, record);
	section_drop_if_empty(tree, section);
	return ok;
}

/* Puts a record in the place of another one of the same section; false when that one is not there. */
static bool exchange(store_tree *tree, uint64_t place, const store_record *existing, store_record *record)
{
	size_t at;
	uint32_t hour = section_hour(record);
	ENSURE(section_hour(existing) == hour, false);
	tree_section *section = kms_tree_section(tree, hour);
	ENSURE(section, false);
	const tree_node *node = node_of(&at, &section->top, place, existing);
	ENSURE(at < node->count, false);
	node->in.entries[at] = (tree_entry){ .record = record, .place = place };
	path_mark(&section->top, place, 0);
	return true;
}

bool kms_tree_remove(store_tree *tree, const store_record *record)
{
	return drop(tree, place_of(tree, record), record);
}

bool kms_tree_replace(store_tree *tree, const store_record *existing, store_record *record)
{
	uint64_t place = place_of(tree, record);
	return exchange(tree, place, existing, record) ||
	       (drop(tree, place, existing) && add(tree, place, record));
}
