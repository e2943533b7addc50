/* The keys of the hash tree, and building it from what the store holds. */
#include <string.h>

#include "base/bits.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "store/store_tree_follow.h"

#define HOUR_MS 3600000ull
#define EXCHANGE_MS 600000ull /* for which a named hour is complete: an exchange takes less */

typedef struct tree_keys {
	kms_secret *key;
	kms_siphash_key place_key;
	uint8_t key_id[KMS_TREE_KEY_ID];
} tree_keys;

static void keys_free(tree_keys *keys)
{
	kms_secret_unref(keys->key);
	kms_wipe(keys, sizeof(*keys));
}

static kms_status keys_derive(tree_keys *keys, const kms_secret *master32)
{
	uint8_t mac32[32];
	GUARD(kms_digest_key(&keys->key, master32));
	GUARD(kms_hmac_sha256(mac32, keys->key, KMS_BYTES("place")));
	keys->place_key = (kms_siphash_key){ kms_load64_le(mac32), kms_load64_le(mac32 + 8) };
	kms_status status = kms_hmac_sha256(mac32, keys->key, KMS_BYTES("id"));
	memcpy(keys->key_id, mac32, sizeof(keys->key_id));
	kms_wipe(mac32, sizeof(mac32));
	return status;
}

static bool is_under(const store_tree *tree, const tree_keys *keys)
{
	return tree->keyed && memcmp(tree->key_id, keys->key_id, sizeof(keys->key_id)) == 0;
}

static bool is_ready(store_tree *tree, const tree_keys *keys)
{
	kms_tree_lock(tree);
	bool ready = tree->built && is_under(tree, keys);
	kms_tree_unlock(tree);
	return ready;
}

/* Whether the tree is built under these keys already. If it is not even begun, starts it, empty. */
static bool keys_use(store_tree *tree, tree_keys *keys)
{
	kms_tree_lock(tree);
	bool built = tree->built && is_under(tree, keys);
	if (!is_under(tree, keys)) {
		kms_secret *old = tree->key;
		kms_tree_clear(tree);
		tree->key = keys->key;
		keys->key = old;
		tree->place_key = keys->place_key;
		memcpy(tree->key_id, keys->key_id, sizeof(tree->key_id));
		tree->build_at = 0;
		tree->keyed = true;
	}
	kms_tree_unlock(tree);
	return built;
}

/*
 * Goes on to add what the store holds, about `records` of it; false at the end. With what changes meanwhile
 * the tree catches up later.
 */
static bool build_some(kms_store *store, size_t records)
{
	store_tree *tree = &store->tree;
	size_t namespaces = kms_namespace_made(store);
	for (size_t steps = records / KMS_TREE_FOLLOW_STEP + 1; tree->build_at < namespaces; steps--) {
		if (steps == 0) return true;
		store_namespace *ns = kms_namespace_at(store, tree->build_at);
		kms_namespace_lock_in_turn(ns);
		bool more = kms_tree_follow_some(ns);
		kms_namespace_unlock(ns);
		if (!more) tree->build_at++;
	}
	return false;
}

static kms_status build(bool *more, kms_store *store, size_t records)
{
	store_tree *tree = &store->tree;
	*more = build_some(store, records);
	kms_tree_lock(tree);
	bool failed = !tree->keyed; /* without memory it is cleared */
	if (!*more) tree->built = tree->keyed;
	kms_tree_unlock(tree);
	if (failed) *more = false;
	return failed ? KMS_ERR_MEMORY : KMS_OK;
}

kms_status kms_tree_set_key(bool *more, kms_store *store, const kms_secret *master32, size_t records)
{
	ENSURE_REF(more);
	*more = false;
	ENSURE_REF(store);
	ENSURE_REF(master32);
	DEFER(keys_free) tree_keys keys = { 0 };
	GUARD(keys_derive(&keys, master32));
	if (is_ready(&store->tree, &keys)) return KMS_OK;
	if (pthread_mutex_trylock(&store->tree.build_lock) != 0) return KMS_ERR_STATE;
	kms_status status = keys_use(&store->tree, &keys) ? KMS_OK : build(more, store, records);
	pthread_mutex_unlock(&store->tree.build_lock);
	return status;
}

uint32_t kms_tree_first_hour(kms_store *store, uint64_t now_ms)
{
	ENSURE(store, UINT32_MAX);
	uint64_t retention = store->config.tombstone_retention_ms, ahead = now_ms + EXCHANGE_MS;
	uint64_t hour = ahead > retention ? (ahead - retention) / HOUR_MS + 1 : 1;
	uint64_t forgotten = atomic_load(&store->tree.forgotten);
	if (hour < forgotten) hour = forgotten;
	return hour > UINT32_MAX ? UINT32_MAX : (uint32_t)hour;
}
