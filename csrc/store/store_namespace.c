#include "store/store_namespace.h"

#include "base/mem.h"
#include "base/bits.h"
#include "base/ensure.h"
#include "store/store_internal.h"
#include "store/store_share.h"

#define NAMESPACE_CHARGE 4096 /* bytes: the namespace, its first table and heap chunks */

kms_status kms_namespaces_init(namespace_table *table, size_t max)
{
	size_t buckets = 2;
	while (buckets < 2 * max)
		buckets *= 2;
	pthread_mutex_init(&table->lock, NULL);
	table->bucket_mask = buckets - 1;
	table->buckets = kms_heap_alloc(buckets, sizeof(*table->buckets));
	table->list = kms_heap_alloc(max, sizeof(*table->list));
	table->summaries = kms_heap_alloc(max, sizeof(*table->summaries));
	ENSURE(table->buckets && table->list && table->summaries, KMS_ERR_MEMORY);
	return KMS_OK;
}

static void free_list(store_record *record)
{
	while (record) {
		store_record *next = record->next_change;
		kms_record_free(record);
		record = next;
	}
}

static void namespace_free(store_namespace *ns)
{
	free_list(ns->first_change);
	free_list(ns->gone);
	kms_map_free(&ns->map);
	kms_min_heap_free(&ns->due);
	kms_min_heap_free(&ns->dead);
	pthread_mutex_destroy(&ns->lock);
	pthread_mutex_destroy(&ns->turn);
	kms_heap_free(ns);
}

void kms_namespaces_free(namespace_table *table)
{
	size_t made = atomic_load(&table->made);
	for (size_t i = 0; i < made; i++)
		namespace_free(atomic_load(&table->list[i]));
	kms_heap_free((void *)table->buckets);
	kms_heap_free((void *)table->list);
	kms_heap_free(table->summaries);
	pthread_mutex_destroy(&table->lock);
}

/* ---- finding ---- */

size_t kms_namespace_count(kms_store *store)
{
	return atomic_load_explicit(&store->namespaces.count, memory_order_acquire);
}

size_t kms_namespace_made(kms_store *store)
{
	return atomic_load_explicit(&store->namespaces.made, memory_order_acquire);
}

store_namespace *kms_namespace_at(kms_store *store, size_t index)
{
	return atomic_load_explicit(&store->namespaces.list[index], memory_order_acquire);
}

static store_namespace *in_bucket(const namespace_table *table, size_t i)
{
	return atomic_load_explicit(&table->buckets[i], memory_order_acquire);
}

static uint64_t app_of(const store_namespace *ns)
{
	return atomic_load_explicit(&ns->app_id, memory_order_acquire);
}

/* The bucket where the search for an application begins. */
static size_t home_of(const kms_store *store, uint64_t app_id)
{
	uint8_t id[8];
	kms_store64_le(id, app_id);
	return kms_siphash(&store->hash_key, KMS_SPAN(id)) & store->namespaces.bucket_mask;
}

/* The namespace of an application, or NULL. Out: at - its bucket, or the empty one where its search ends. */
static inline store_namespace *search(size_t *at, const kms_store *store, uint64_t app_id)
{
	const namespace_table *table = &store->namespaces;
	for (size_t i = home_of(store, app_id);; i = (i + 1) & table->bucket_mask) {
		store_namespace *ns = in_bucket(table, i);
		*at = i;
		if (!ns || app_of(ns) == app_id) return ns;
	}
}

store_namespace *kms_namespace_find(kms_store *store, uint64_t app_id)
{
	namespace_table *table = &store->namespaces;
	size_t at;
	unsigned moves = atomic_load_explicit(&table->moves, memory_order_acquire);
	store_namespace *ns = search(&at, store, app_id);
	if (ns || (moves % 2 == 0 && moves == atomic_load(&table->moves))) return ns;
	pthread_mutex_lock(&table->lock);
	ns = search(&at, store, app_id);
	pthread_mutex_unlock(&table->lock);
	return ns;
}

/* ---- making, with the table locked ---- */

static store_namespace *object_new(kms_store *store)
{
	namespace_table *table = &store->namespaces;
	size_t index = atomic_load(&table->made); /* below max_namespaces: all of them are in use */
	store_namespace *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, NULL);
	made->store = store;
	made->index = index;
	made->is_vacant = true;
	made->due.position_offset = offsetof(store_record, due_position);
	made->dead.position_offset = offsetof(store_record, dead_position);
	pthread_mutex_init(&made->turn, NULL);
	pthread_mutex_init(&made->lock, NULL);
	atomic_store(&table->summaries[index].due_ms, UINT64_MAX);
	atomic_store_explicit(&table->list[index], made, memory_order_release);
	atomic_store_explicit(&table->made, index + 1, memory_order_release);
	return made;
}

/* A vacant object, in no list any more; NULL without memory. */
static store_namespace *object_take(kms_store *store)
{
	namespace_table *table = &store->namespaces;
	store_namespace *ns = table->vacant;
	ENSURE(ns, object_new(store));
	table->vacant = ns->next;
	return ns;
}

static void object_leave(store_namespace *ns)
{
	namespace_table *table = &ns->store->namespaces;
	ns->next = table->vacant;
	table->vacant = ns;
}

static void occupy(store_namespace *ns, uint64_t app_id, size_t bucket)
{
	namespace_table *table = &ns->store->namespaces;
	ns->is_vacant = false;
	ns->floor = table->floor;
	ns->stats = (kms_store_stats){ .namespaces = 1, .total_bytes = NAMESPACE_CHARGE };
	atomic_store(&kms_namespace_summary(ns)->held, NAMESPACE_CHARGE);
	atomic_store_explicit(&ns->app_id, app_id, memory_order_release);
	atomic_store_explicit(&table->buckets[bucket], ns, memory_order_release);
	atomic_fetch_add(&table->count, 1);
}

/* Makes the namespace of an application, for this empty bucket, and locks it. */
static kms_status make(store_namespace **ns, kms_store *store, uint64_t app_id, size_t bucket,
		       const store_allowance *allowance)
{
	ENSURE(kms_namespace_count(store) < allowance->namespaces, KMS_ERR_NAMESPACES);
	store_namespace *made = object_take(store);
	ENSURE(made, KMS_ERR_MEMORY);
	if (!kms_store_charge_within(&store->totals, NAMESPACE_CHARGE, 0, allowance->bytes)) {
		object_leave(made);
		return KMS_ERR_STORE_FULL;
	}
	pthread_mutex_lock(
	    &made->lock); /* a thread that found it in its last use holds it for a moment only */
	occupy(made, app_id, bucket);
	*ns = made;
	return KMS_OK;
}

/* ---- giving back, with the table and the namespace locked ---- */

/* Empties a bucket and closes the gap, so that no search ends too early. */
static void clear_bucket(const kms_store *store, size_t gap)
{
	const namespace_table *table = &store->namespaces;
	size_t mask = table->bucket_mask;
	store_namespace *ns;
	for (size_t i = (gap + 1) & mask; (ns = in_bucket(table, i)) != NULL; i = (i + 1) & mask) {
		size_t home = home_of(store, app_of(ns));
		if (((i - home) & mask) < ((i - gap) & mask)) continue;
		atomic_store_explicit(&table->buckets[gap], ns, memory_order_release);
		gap = i;
	}
	atomic_store_explicit(&table->buckets[gap], NULL, memory_order_release);
}

static bool holds_nothing(const store_namespace *ns)
{
	return !ns->first_change && !ns->is_vacant;
}

static void vacate(store_namespace *ns)
{
	kms_store *store = ns->store;
	namespace_table *table = &store->namespaces;
	namespace_summary *summary = kms_namespace_summary(ns);
	size_t bucket;
	atomic_fetch_add(&table->moves, 1);
	(void)search(&bucket, store, app_of(ns));
	clear_bucket(store, bucket);
	atomic_fetch_add(&table->moves, 1);
	if (ns->floor > table->floor) table->floor = ns->floor;
	kms_map_free(&ns->map);
	kms_min_heap_free(&ns->due);
	kms_min_heap_free(&ns->dead);
	ns->stats = (kms_store_stats){ 0 };
	atomic_store(&summary->due_ms, UINT64_MAX);
	atomic_store(&summary->held, 0);
	atomic_store(&summary->last_change, 0);
	(void)kms_store_charge(&store->totals, 0, NAMESPACE_CHARGE);
	ns->is_vacant = true;
	object_leave(ns);
	atomic_fetch_sub(&table->count, 1);
}

/*
 * Gives a namespace's place back if it still holds nothing. Whoever has it locked meanwhile looks himself
 * when he unlocks it.
 */
static void give_back(store_namespace *ns)
{
	namespace_table *table = &ns->store->namespaces;
	pthread_mutex_lock(&table->lock);
	if (pthread_mutex_trylock(&ns->lock) == 0) {
		if (holds_nothing(ns)) vacate(ns);
		pthread_mutex_unlock(&ns->lock);
	}
	pthread_mutex_unlock(&table->lock);
}

/* ---- locking ---- */

static inline store_namespace *enter(kms_store *store, uint64_t app_id, bool in_turn)
{
	for (;;) {
		store_namespace *ns = kms_namespace_find(store, app_id);
		ENSURE(ns, NULL);
		if (in_turn)
			kms_namespace_lock_in_turn(ns);
		else
			kms_namespace_lock(ns);
		if (!ns->is_vacant && app_of(ns) == app_id) return ns;
		kms_namespace_unlock(ns); /* it was given back meanwhile, and perhaps taken by another */
	}
}

store_namespace *kms_namespace_enter(kms_store *store, uint64_t app_id)
{
	return enter(store, app_id, false);
}

store_namespace *kms_namespace_enter_in_turn(kms_store *store, uint64_t app_id)
{
	return enter(store, app_id, true);
}

kms_status kms_namespace_open(store_namespace **ns, kms_store *store, uint64_t app_id,
			      const store_allowance *allowance)
{
	namespace_table *table = &store->namespaces;
	for (;;) {
		size_t bucket;
		kms_status status = KMS_OK;
		*ns = kms_namespace_enter(store, app_id);
		if (*ns) return KMS_OK;
		pthread_mutex_lock(&table->lock);
		if (!search(&bucket, store, app_id)) status = make(ns, store, app_id, bucket, allowance);
		pthread_mutex_unlock(&table->lock);
		if (*ns || status != KMS_OK) return status;
	}
}

void kms_namespace_lock_in_turn(store_namespace *ns)
{
	pthread_mutex_lock(&ns->turn);
	pthread_mutex_lock(&ns->lock);
	pthread_mutex_unlock(&ns->turn);
}

/* A free lock is taken at once: handing it from one waiting thread to the next would cost a wake-up each
 * time. */
void kms_namespace_lock(store_namespace *ns)
{
	if (pthread_mutex_trylock(&ns->lock) != 0) kms_namespace_lock_in_turn(ns);
}

void kms_namespace_unlock(store_namespace *ns)
{
	uint64_t due_ms;
	if (!kms_min_heap_first(&due_ms, &ns->due)) due_ms = UINT64_MAX;
	namespace_summary *summary = kms_namespace_summary(ns);
	atomic_store_explicit(&summary->due_ms, due_ms, memory_order_relaxed);
	atomic_store_explicit(&summary->held, ns->stats.total_bytes, memory_order_relaxed);
	bool has_nothing = holds_nothing(ns);
	pthread_mutex_unlock(&ns->lock);
	if (has_nothing) give_back(ns);
}

namespace_summary *kms_namespace_summary(const store_namespace *ns)
{
	return &ns->store->namespaces.summaries[ns->index];
}

kms_status kms_namespace_reserve(store_namespace *ns)
{
	size_t count = kms_map_count(&ns->map) + 1;
	GUARD(kms_map_reserve(&ns->map));
	GUARD(kms_min_heap_reserve(&ns->due, count));
	return kms_min_heap_reserve(&ns->dead, count);
}

void kms_namespace_trim(store_namespace *ns)
{
	kms_min_heap_trim(&ns->due, kms_map_count(&ns->map));
	kms_min_heap_trim(&ns->dead, kms_map_count(&ns->map));
}
