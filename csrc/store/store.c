/* The store as a whole: its making, its members, its counts. Writes: store_write.c. */
#include "kms/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"

#define MAX_VALUE (1u << 30)
#define MAX_NAMESPACES 1000000u
#define MAX_TOMBSTONES 100000000u
#define MAX_MEMBERS 65536u
#define MAX_BYTES (SIZE_MAX / 4) /* sums of two never wrap */

DEFINE_DEFER(store_release, kms_store, kms_store_free)

static bool in_range(uint64_t number, uint64_t min, uint64_t max)
{
	return number >= min && number <= max;
}

static kms_status config_check(const kms_store_config *c)
{
	ENSURE(in_range(c->max_key, 1, KMS_STORE_MAX_PEER_KEY), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_value, 1, MAX_VALUE), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_app_bytes, KMS_VALUE_SEAL_OVERHEAD, MAX_BYTES), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_total_bytes, 1, MAX_BYTES), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_namespaces, 1, MAX_NAMESPACES), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_tombstones, 1, MAX_TOMBSTONES), KMS_ERR_RANGE);
	ENSURE(c->tombstone_retention_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_RANGE);
	ENSURE(c->max_clock_skew_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_RANGE);
	return KMS_OK;
}

static kms_status tables_new(kms_store *store)
{
	size_t buckets = 2, spaces = store->config.max_namespaces;
	while (buckets < 2 * spaces)
		buckets *= 2;
	store->bucket_mask = buckets - 1;
	store->buckets = kms_heap_alloc(buckets, sizeof(*store->buckets));
	store->spaces = kms_heap_alloc(spaces, sizeof(*store->spaces));
	store->notices = kms_heap_alloc(spaces, sizeof(*store->notices));
	ENSURE(store->buckets && store->spaces && store->notices, KMS_ERR_MEMORY);
	return KMS_OK;
}

kms_status kms_store_new(kms_store **store, const kms_store_config *config)
{
	ENSURE_REF(store);
	*store = NULL;
	ENSURE_REF(config);
	GUARD(config_check(config));
	kms_heap_merge_eagerly(); /* records come and go by the thousand */
	DEFER(store_release) kms_store *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->config = *config;
	pthread_mutex_init(&made->sequence_lock, NULL);
	pthread_mutex_init(&made->members_lock, NULL);
	pthread_mutex_init(&made->spaces_lock, NULL);
	GUARD(kms_siphash_key_new(&made->hash_key));
	GUARD(tables_new(made));
	*store = made;
	made = NULL;
	return KMS_OK;
}

void kms_store_free(kms_store *store)
{
	if (!store) return;
	size_t count = atomic_load(&store->space_count);
	for (size_t i = 0; i < count; i++)
		kms_space_free(atomic_load(&store->spaces[i]));
	kms_heap_free((void *)store->buckets);
	kms_heap_free((void *)store->spaces);
	kms_heap_free(store->notices);
	kms_heap_free(store->members);
	pthread_mutex_destroy(&store->sequence_lock);
	pthread_mutex_destroy(&store->members_lock);
	pthread_mutex_destroy(&store->spaces_lock);
	kms_heap_free(store);
}

static int compare_wallets(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

kms_status kms_store_set_members(kms_store *store, const uint8_t (*wallets)[20], size_t count)
{
	ENSURE_REF(store);
	ENSURE(wallets || count == 0, KMS_ERR_ARGUMENT);
	ENSURE(count <= MAX_MEMBERS, KMS_ERR_RANGE);
	uint8_t(*sorted)[20] = count ? kms_heap_alloc(count, sizeof(*sorted)) : NULL;
	ENSURE(sorted || count == 0, KMS_ERR_MEMORY);
	if (sorted) {
		memcpy(sorted, wallets, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare_wallets);
	}
	pthread_mutex_lock(&store->members_lock);
	void *old = store->members;
	store->members = sorted;
	store->member_count = count;
	pthread_mutex_unlock(&store->members_lock);
	kms_heap_free(old);
	return KMS_OK;
}

void kms_store_set_acknowledged(kms_store *store, uint64_t sequence)
{
	if (store) atomic_store(&store->acknowledged, sequence);
}

uint64_t kms_store_sequence(kms_store *store)
{
	return store ? atomic_load(&store->sequence) : 0;
}

void kms_store_get_stats(kms_store_stats *stats, kms_store *store)
{
	if (!stats) return;
	*stats = (kms_store_stats){ 0 };
	if (!store) return;
	stats->namespaces = atomic_load(&store->space_count);
	stats->live_keys = atomic_load(&store->totals.live_keys);
	stats->live_bytes = atomic_load(&store->totals.live_bytes);
	stats->tombstones = atomic_load(&store->totals.tombstones);
	stats->stubs = atomic_load(&store->totals.stubs);
	stats->total_bytes = atomic_load(&store->totals.bytes);
	stats->evictions = atomic_load(&store->totals.evictions);
}

void kms_store_get_app_stats(kms_store_stats *stats, kms_store *store, uint64_t app_id)
{
	if (!stats) return;
	*stats = (kms_store_stats){ 0 };
	store_space *space = store ? kms_space_find(store, app_id) : NULL;
	if (!space) return;
	kms_space_lock(space);
	*stats = space->stats;
	kms_space_unlock(store, space);
}
