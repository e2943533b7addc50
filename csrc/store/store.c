/* The store as a whole: creating it, its members, its counts. */
#include "kms/store.h"

#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"

#define MAX_VALUE (1u << 30)
#define MAX_NAMESPACES 1000000u
#define MAX_TOMBSTONES 100000000u
#define MAX_BYTES (SIZE_MAX / 4) /* sums of two never wrap */

KMS_DEFINE_RELEASE(store_release, kms_store, kms_store_free)

static bool in_range(uint64_t number, uint64_t min, uint64_t max)
{
	return number >= min && number <= max;
}

static kms_status config_check(const kms_store_config *c)
{
	ENSURE(in_range(c->max_key, 1, KMS_STORE_MAX_PEER_KEY), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_value, 1, MAX_VALUE), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_app_bytes, KMS_VALUE_SEAL_OVERHEAD, MAX_BYTES), KMS_ERR_RANGE);
	ENSURE(c->max_app_total <= MAX_BYTES, KMS_ERR_RANGE);
	ENSURE(in_range(c->max_total_bytes, 1, MAX_BYTES), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_namespaces, 1, MAX_NAMESPACES), KMS_ERR_RANGE);
	ENSURE(in_range(c->max_tombstones, 1, MAX_TOMBSTONES), KMS_ERR_RANGE);
	ENSURE(c->tombstone_retention_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_RANGE);
	ENSURE(c->max_clock_skew_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_RANGE);
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
	made->totals.max_bytes = config->max_total_bytes;
	pthread_mutex_init(&made->sequence_lock, NULL);
	kms_members_init(&made->members, config->self20);
	kms_tree_init(&made->tree);
	GUARD(kms_namespaces_init(&made->namespaces, config->max_namespaces));
	GUARD(kms_siphash_key_new(&made->hash_key));
	*store = made;
	made = NULL;
	return KMS_OK;
}

void kms_store_free(kms_store *store)
{
	if (!store) return;
	kms_tree_free(&store->tree);
	kms_namespaces_free(&store->namespaces);
	kms_members_free(&store->members);
	pthread_mutex_destroy(&store->sequence_lock);
	kms_heap_free(store);
}

bool kms_store_has_self(const kms_store *store)
{
	static const uint8_t none20[20];
	return memcmp(store->config.self20, none20, sizeof(none20)) != 0;
}

kms_status kms_store_set_self(kms_store *store, const uint8_t self20[20])
{
	static const uint8_t none20[20];
	ENSURE_REF(store);
	ENSURE_REF(self20);
	ENSURE(memcmp(self20, none20, sizeof(none20)) != 0, KMS_ERR_ARGUMENT);
	ENSURE(!kms_store_has_self(store), KMS_ERR_STATE);
	memcpy(store->config.self20, self20, sizeof(store->config.self20));
	memcpy(store->members.self20, self20, sizeof(store->members.self20));
	return KMS_OK;
}

kms_status kms_store_set_members(kms_store *store, const uint8_t (*wallets)[20], size_t count)
{
	ENSURE_REF(store);
	ENSURE(wallets || count == 0, KMS_ERR_ARGUMENT);
	return kms_members_set(&store->members, wallets, count);
}

void kms_store_set_acknowledged(kms_store *store, uint64_t sequence)
{
	if (store) atomic_store(&store->acknowledged, sequence);
}

void kms_store_count_from_one(kms_store *store, bool allowed)
{
	if (store) atomic_store(&store->counts_from_one, allowed);
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
	stats->namespaces = kms_namespace_count(store);
	stats->live_keys = atomic_load(&store->totals.live_keys);
	stats->live_bytes = atomic_load(&store->totals.live_bytes);
	stats->tombstones = atomic_load(&store->totals.tombstones);
	stats->stubs = atomic_load(&store->totals.stubs);
	stats->total_bytes = atomic_load(&store->totals.bytes);
	stats->evictions = atomic_load(&store->totals.evictions);
}

/* Puts a size where it belongs among the `found` largest ones, of at most `count`; returns how many there are
 * then. */
static size_t insert_size(uint64_t *sizes, size_t found, size_t count, uint64_t size)
{
	if (found == count && size <= sizes[found - 1]) return found;
	size_t at = found < count ? found : count - 1;
	for (; at > 0 && sizes[at - 1] < size; at--)
		sizes[at] = sizes[at - 1];
	sizes[at] = size;
	return found < count ? found + 1 : count;
}

size_t kms_store_largest(uint64_t *sizes, size_t count, kms_store *store)
{
	if (!sizes || !store || count == 0) return 0;
	size_t namespaces = kms_namespace_made(store), found = 0;
	for (size_t i = 0; i < namespaces; i++) {
		uint64_t size = atomic_load(&store->namespaces.summaries[i].held);
		if (size > 0) found = insert_size(sizes, found, count, size);
	}
	return found;
}

bool kms_store_has_app(kms_store *store, uint64_t app_id)
{
	return store && kms_namespace_find(store, app_id);
}

void kms_store_get_app_stats(kms_store_stats *stats, kms_store *store, uint64_t app_id)
{
	if (!stats) return;
	*stats = (kms_store_stats){ 0 };
	store_namespace *ns = store ? kms_namespace_enter(store, app_id) : NULL;
	if (!ns) return;
	*stats = ns->stats;
	kms_namespace_unlock(ns);
}
