/* Namespaces: found without a lock, made once, kept for the life of the store with their floor. */
#include "base/mem.h"
#include "base/bits.h"
#include "base/ensure.h"
#include "store/store_internal.h"

#define SPACE_CHARGE 4096 /* the space, its first table and heap chunks */

uint64_t kms_key_hash(const kms_store *store, const char *key, size_t key_len)
{
	return kms_siphash(&store->hash_key, key, key_len);
}

void kms_space_lock(store_space *space)
{
	pthread_mutex_lock(&space->lock);
}

void kms_space_unlock(kms_store *store, store_space *space)
{
	uint64_t due;
	if (!kms_order_first(&due, &space->due)) due = UINT64_MAX;
	atomic_store_explicit(&store->notices[space->index].due_ms, due, memory_order_relaxed);
	pthread_mutex_unlock(&space->lock);
}

bool kms_total_exchange(kms_store *store, uint64_t more, uint64_t less)
{
	uint64_t held = atomic_load(&store->totals.bytes), next;
	do {
		next = held - less + more; /* what is given back is held: no wrap */
		if (more > less && next > store->config.max_total_bytes) return false;
	} while (!atomic_compare_exchange_weak(&store->totals.bytes, &held, next));
	return true;
}

/* The bucket of an application, or the empty one where its search ends. */
static _Atomic(store_space *) *bucket_of(kms_store *store, uint64_t app_id)
{
	uint8_t id[8];
	kms_store64_le(id, app_id);
	size_t i = kms_siphash(&store->hash_key, id, sizeof(id)) & store->bucket_mask;
	for (;; i = (i + 1) & store->bucket_mask) {
		const store_space *space = atomic_load_explicit(&store->buckets[i], memory_order_acquire);
		if (!space || space->app_id == app_id) return &store->buckets[i];
	}
}

store_space *kms_space_find(kms_store *store, uint64_t app_id)
{
	return atomic_load_explicit(bucket_of(store, app_id), memory_order_acquire);
}

static kms_status space_new(store_space **space, kms_store *store, uint64_t app_id)
{
	size_t index = atomic_load(&store->space_count);
	ENSURE(index < store->config.max_namespaces, KMS_ERR_NAMESPACES);
	store_space *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	if (!kms_total_exchange(store, SPACE_CHARGE, 0)) {
		kms_heap_free(made);
		return KMS_ERR_STORE_FULL;
	}
	made->app_id = app_id;
	made->index = index;
	made->due.kind = KMS_ORDER_DUE;
	made->dead.kind = KMS_ORDER_DEAD;
	made->stats = (kms_store_stats){ .namespaces = 1, .total_bytes = SPACE_CHARGE };
	pthread_mutex_init(&made->lock, NULL);
	atomic_store(&store->notices[index].due_ms, UINT64_MAX);
	atomic_store_explicit(bucket_of(store, app_id), made, memory_order_release);
	atomic_store_explicit(&store->spaces[index], made, memory_order_release);
	atomic_store_explicit(&store->space_count, index + 1, memory_order_release);
	*space = made;
	return KMS_OK;
}

kms_status kms_space_get(store_space **space, kms_store *store, uint64_t app_id)
{
	*space = kms_space_find(store, app_id);
	if (*space) return KMS_OK;
	pthread_mutex_lock(&store->spaces_lock);
	*space = kms_space_find(store, app_id);
	kms_status status = *space ? KMS_OK : space_new(space, store, app_id);
	pthread_mutex_unlock(&store->spaces_lock);
	return status;
}

void kms_space_free(store_space *space)
{
	for (store_record *record = space->first_change; record;) {
		store_record *next = record->next_change;
		kms_record_free(record);
		record = next;
	}
	kms_map_free(&space->map);
	kms_order_free(&space->due);
	kms_order_free(&space->dead);
	pthread_mutex_destroy(&space->lock);
	kms_heap_free(space);
}
