#include "store/store_tree_follow.h"

#include "base/mem.h"
#include "store/store_changes.h"

#define KEY_BYTES 512 /* of a key, that cost as much to hash as the rest of a step's record */

/*
 * What records that wait for the tree may take beside a namespace's bytes: 4096 and an eighth of those.
 * Beyond that a write has the tree let go of some, at the cost that each write had if it changed the tree at
 * once.
 */
#define GONE_LEAST 4096
#define GONE_PART 8

static atomic_bool *behind_flag(const store_namespace *ns)
{
	return &kms_namespace_summary(ns)->tree_behind;
}

void kms_tree_mark(store_namespace *ns)
{
	atomic_bool *behind = behind_flag(ns);
	if (atomic_load_explicit(behind, memory_order_relaxed)) return;
	atomic_store(behind, true);
	atomic_fetch_add(&ns->store->tree.behind, 1);
}

static void unmark(store_namespace *ns)
{
	if (!atomic_load_explicit(behind_flag(ns), memory_order_relaxed)) return;
	atomic_store(behind_flag(ns), false);
	atomic_fetch_sub(&ns->store->tree.behind, 1);
}

/* ---- records that have left ---- */

static size_t bytes_of(const store_record *record)
{
	return kms_record_clock_offset(record->key_len) + record->clock_len * sizeof(kms_clock_entry) +
	       KMS_BLOCK_OVERHEAD;
}

/* The next one of those that have left, out of their list. */
static store_record *take_gone(store_namespace *ns)
{
	store_record *record = ns->gone;
	ns->gone = record->next_change;
	ns->gone_bytes -= bytes_of(record);
	return record;
}

static void spend(size_t *left, const store_record *record)
{
	size_t cost = 1 + record->key_len / KEY_BYTES;
	*left -= cost < *left ? cost : *left;
}

/* The record that has come in the place of one that has left, unless the tree has it; NULL: none. */
static store_record *successor(store_namespace *ns, const store_record *gone)
{
	ENSURE(gone->app_id == atomic_load(&ns->app_id) && !ns->is_vacant, NULL);
	store_record *record = kms_map_find(&ns->map, gone->hash, kms_record_key(gone));
	return record && !record->in_tree ? record : NULL;
}

/* Removes one that has left; what came in its place takes its place there too, so that no reader misses both.
 */
static bool replace_gone(store_namespace *ns, const store_record *gone)
{
	store_tree *tree = &ns->store->tree;
	store_record *next = successor(ns, gone);
	if (!next) return kms_tree_remove(tree, gone);
	next->in_tree = true;
	return kms_tree_replace(tree, gone, next);
}

/* Makes room for others that leave: what is in their place comes into the tree when it catches up. */
static void shed(store_namespace *ns)
{
	store_tree *tree = &ns->store->tree;
	kms_tree_lock(tree);
	for (size_t left = KMS_TREE_FOLLOW_STEP; left > 0 && ns->gone;) {
		store_record *gone = take_gone(ns);
		if (tree->keyed && !kms_tree_remove(tree, gone)) kms_tree_clear(tree);
		spend(&left, gone);
		kms_record_free(gone);
	}
	kms_tree_unlock(tree);
}

void kms_tree_let_go(store_namespace *ns, store_record *record)
{
	if (!record->in_tree) {
		kms_record_free(record);
		return;
	}
	kms_heap_free(record->value);
	record->value = NULL;
	record->next_change = ns->gone;
	ns->gone = record;
	ns->gone_bytes += bytes_of(record);
	kms_tree_mark(ns);
	if (ns->gone_bytes > GONE_LEAST + ns->stats.total_bytes / GONE_PART) shed(ns);
}

void kms_tree_forget_hour(store_tree *tree, const store_record *record)
{
	if (record->state != KMS_RECORD_TOMBSTONE) return;
	uint64_t next =
	    kms_tree_hour_of(record->updated_at_ms, record->ttl_ms, record->fingerprint.len == 0) + 1ull;
	uint_fast64_t forgotten = atomic_load(&tree->forgotten);
	while (next > forgotten && !atomic_compare_exchange_weak(&tree->forgotten, &forgotten, next))
		;
}

/* ---- catching up ---- */

/* A tree that was emptied has nothing of what the namespace holds, though its records say so. */
static void begin_anew(store_namespace *ns)
{
	const store_tree *tree = &ns->store->tree;
	if (ns->tree_turn == tree->emptied) return;
	ns->tree_turn = tree->emptied;
	ns->tree_since = 0;
	ns->tree_doubt = ns->last_change ? ns->last_change->sequence : 0;
}

static bool replace_some(size_t *left, store_namespace *ns)
{
	bool ok = true;
	while (ok && *left > 0 && ns->gone) {
		store_record *gone = take_gone(ns);
		ok = replace_gone(ns, gone);
		spend(left, gone);
		kms_record_free(gone);
	}
	return ok;
}

static bool add_some(size_t *left, store_namespace *ns)
{
	bool ok = true;
	store_record *record = kms_change_first_above(ns, ns->tree_since);
	for (; ok && *left > 0 && record; record = record->next_change) {
		if (!record->in_tree || record->sequence <= ns->tree_doubt) {
			ok = kms_tree_add(&ns->store->tree, record);
			record->in_tree = true;
		}
		ns->tree_since = record->sequence;
		ns->change_hints[KMS_CHANGES_TREE] = record;
		spend(left, record);
	}
	return ok;
}

static bool has_all(const store_namespace *ns)
{
	return !ns->gone && (!ns->last_change || ns->last_change->sequence <= ns->tree_since);
}

bool kms_tree_follow_some(store_namespace *ns)
{
	store_tree *tree = &ns->store->tree;
	size_t left = KMS_TREE_FOLLOW_STEP;
	kms_tree_lock_in_turn(tree);
	begin_anew(ns);
	if (tree->keyed && !(replace_some(&left, ns) && add_some(&left, ns))) kms_tree_clear(tree);
	bool more = tree->keyed && !has_all(ns);
	kms_tree_unlock(tree);
	if (!more) unmark(ns);
	return more;
}

static bool is_built(store_tree *tree)
{
	kms_tree_lock(tree);
	bool built = tree->built;
	kms_tree_unlock(tree);
	return built;
}

bool kms_tree_follow(size_t *steps, kms_store *store)
{
	if (atomic_load(&store->tree.behind) == 0 || !is_built(&store->tree)) return true;
	size_t namespaces = kms_namespace_made(store);
	for (size_t i = 0; i < namespaces; i++) {
		store_namespace *ns = kms_namespace_at(store, i);
		bool more = atomic_load(behind_flag(ns));
		for (; more && *steps > 0; --*steps) {
			kms_namespace_lock_in_turn(ns);
			more = kms_tree_follow_some(ns);
			kms_namespace_unlock(ns);
		}
		if (more) return false;
	}
	return true;
}
