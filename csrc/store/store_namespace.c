#include "store/store_namespace.h"

#include "base/mem.h"
#include "base/bits.h"
#include "base/ensure.h"
#include "store/store_internal.h"

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

static void namespace_free(store_namespace *ns)
{
	for (store_record *record = ns->first_change; record;) {
		store_record *next = record->next_change;
		kms_record_free(record);
		record = next;
	}
	kms_map_free(&ns->map);
	kms_min_heap_free(&ns->due);
	kms_min_heap_free(&ns->dead);
	pthread_mutex_destroy(&ns->lock);
	pthread_mutex_destroy(&ns->turn);
	kms_heap_free(ns);
}

void kms_namespaces_free(namespace_table *table)
{
	size_t count = atomic_load(&table->count);
	for (size_t i = 0; i < count; i++)
		namespace_free(atomic_load(&table->list[i]));
	kms_heap_free((void *)table->buckets);
	kms_heap_free((void *)table->list);
	kms_heap_free(table->summaries);
	pthread_mutex_destroy(&table->lock);
}

size_t kms_namespace_count(kms_store *store)
{
	return atomic_load_explicit(&store->namespaces.count, memory_order_acquire);
}

store_namespace *kms_namespace_at(kms_store *store, size_t index)
{
	return atomic_load_explicit(&store->namespaces.list[index], memory_order_acquire);
}

/* The bucket of an application, or the empty one where its search ends. */
static _Atomic(store_namespace *) *bucket_of(kms_store *store, uint64_t app_id)
{
	const namespace_table *table = &store->namespaces;
	uint8_t id[8];
	kms_store64_le(id, app_id);
	size_t i = kms_siphash(&store->hash_key, KMS_SPAN(id)) & table->bucket_mask;
	for (;; i = (i + 1) & table->bucket_mask) {
		const store_namespace *ns = atomic_load_explicit(&table->buckets[i], memory_order_acquire);
		if (!ns || ns->app_id == app_id) return &table->buckets[i];
	}
}

store_namespace *kms_namespace_find(kms_store *store, uint64_t app_id)
{
	return atomic_load_explicit(bucket_of(store, app_id), memory_order_acquire);
}

static kms_status namespace_new(store_namespace **ns, kms_store *store, uint64_t app_id)
{
	namespace_table *table = &store->namespaces;
	size_t index = atomic_load(&table->count);
	ENSURE(index < store->config.max_namespaces, KMS_ERR_NAMESPACES);
	store_namespace *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	if (!kms_store_charge(&store->totals, NAMESPACE_CHARGE, 0)) {
		kms_heap_free(made);
		return KMS_ERR_STORE_FULL;
	}
	made->store = store;
	made->app_id = app_id;
	made->index = index;
	made->due.position_offset = offsetof(store_record, due_position);
	made->dead.position_offset = offsetof(store_record, dead_position);
	made->stats = (kms_store_stats){ .namespaces = 1, .total_bytes = NAMESPACE_CHARGE };
	pthread_mutex_init(&made->turn, NULL);
	pthread_mutex_init(&made->lock, NULL);
	atomic_store(&table->summaries[index].due_ms, UINT64_MAX);
	atomic_store(&table->summaries[index].held, NAMESPACE_CHARGE);
	atomic_store_explicit(bucket_of(store, app_id), made, memory_order_release);
	atomic_store_explicit(&table->list[index], made, memory_order_release);
	atomic_store_explicit(&table->count, index + 1, memory_order_release);
	*ns = made;
	return KMS_OK;
}

kms_status kms_namespace_get(store_namespace **ns, kms_store *store, uint64_t app_id)
{
	*ns = kms_namespace_find(store, app_id);
	if (*ns) return KMS_OK;
	pthread_mutex_lock(&store->namespaces.lock);
	*ns = kms_namespace_find(store, app_id);
	kms_status status = *ns ? KMS_OK : namespace_new(ns, store, app_id);
	pthread_mutex_unlock(&store->namespaces.lock);
	return status;
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
	pthread_mutex_unlock(&ns->lock);
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
