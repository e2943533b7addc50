/* Local writes: put, delete. Records from peers: store_merge.c. */
#include "base/ensure.h"
#include "store/store_collect.h"
#include "store/store_evict.h"
#include "store/store_expire.h"
#include "store/store_internal.h"
#include "store/store_state.h"

/* Writes `source` over `existing` (NULL: none) with the clock and stamp of a new version. */
static kms_status write_version(uint64_t *updated_at_ms, store_namespace *ns, store_record *existing,
				uint64_t hash, kms_record *source, uint64_t now_ms)
{
	clock_draft clock;
	kms_clock before = { NULL, 0 };
	if (existing) before = kms_record_clock(existing);
	source->updated_at_ms = now_ms;
	if (existing && existing->updated_at_ms >= now_ms)
		source->updated_at_ms = existing->updated_at_ms + 1;
	kms_clock_advance(&clock, &ns->store->members, before, ns->floor,
			  kms_store_least_counter(ns->store, now_ms));
	DEFER(kms_record_release) store_record *made = NULL;
	GUARD(kms_record_new(&made, source, hash, kms_clock_of(&clock)));
	GUARD(kms_namespace_reserve(ns));
	store_allowance allowance = kms_share_allowance(ns->store, 0);
	GUARD(kms_capacity_reserve(ns, existing, made, &allowance, now_ms));
	kms_record_commit(ns, existing, made, now_ms);
	made = NULL;
	kms_dead_trim(ns, now_ms);
	*updated_at_ms = source->updated_at_ms;
	return KMS_OK;
}

static kms_status put_locked(uint64_t *updated_at_ms, store_namespace *ns, kms_record *source,
			     uint64_t now_ms)
{
	uint64_t hash = kms_store_hash(ns->store, source->key);
	store_record *existing = kms_record_current(ns, hash, source->key, now_ms);
	return write_version(updated_at_ms, ns, existing, hash, source, now_ms);
}

static kms_status put_once(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_record source,
			   uint64_t now_ms)
{
	store_namespace *ns;
	store_allowance allowance = kms_share_allowance(store, 0);
	GUARD(kms_namespace_open(&ns, store, app_id, &allowance));
	kms_status status = put_locked(updated_at_ms, ns, &source, now_ms);
	kms_namespace_unlock(ns);
	return status;
}

kms_status kms_store_put(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_text key,
			 kms_span ciphertext, uint64_t ttl_ms, uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(store);
	ENSURE_REF(ciphertext.bytes);
	ENSURE(kms_store_has_self(store), KMS_ERR_STATE);
	GUARD(kms_record_key_check(key, store->config.max_key));
	ENSURE(ciphertext.len >= KMS_VALUE_SEAL_OVERHEAD &&
		   ciphertext.len - KMS_VALUE_SEAL_OVERHEAD <= store->config.max_value,
	       KMS_ERR_VALUE_SIZE);
	ENSURE(ttl_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_TTL);
	ENSURE(ciphertext.len <= store->config.max_app_bytes, KMS_ERR_STORAGE_SIZE);
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	kms_record source = { .key = key, .value = ciphertext, .ttl_ms = ttl_ms, .state = KMS_RECORD_LIVE };
	store_allowance allowance = kms_share_allowance(store, 0);
	kms_status status;
	unsigned collections = 0;
	do
		status = put_once(updated_at_ms, store, app_id, source, now_ms);
	while (status == KMS_ERR_STORE_FULL && collections++ < KMS_SHARE_COLLECTIONS &&
	       kms_share_collect(store, app_id, key.len + ciphertext.len, &allowance, now_ms));
	return status;
}

static kms_status delete_locked(uint64_t *updated_at_ms, store_namespace *ns, kms_text key, uint64_t now_ms)
{
	store_record *existing = kms_record_live(ns, key, now_ms);
	ENSURE(existing, KMS_ERR_NOT_FOUND);
	GUARD(kms_dead_reserve(ns, now_ms));
	kms_record source = { .key = key, .state = KMS_RECORD_TOMBSTONE };
	return write_version(updated_at_ms, ns, existing, existing->hash, &source, now_ms);
}

static kms_status delete_once(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_text key,
			      uint64_t now_ms)
{
	store_namespace *ns = kms_namespace_enter(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_status status = delete_locked(updated_at_ms, ns, key, now_ms);
	kms_namespace_unlock(ns);
	return status;
}

kms_status kms_store_delete(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_text key,
			    uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	store_allowance allowance = kms_share_allowance(store, 0);
	kms_status status;
	unsigned collections = 0;
	do
		status = delete_once(updated_at_ms, store, app_id, key, now_ms);
	while (status == KMS_ERR_STORE_FULL && collections++ < KMS_SHARE_COLLECTIONS &&
	       kms_share_collect(store, app_id, key.len, &allowance, now_ms));
	return status;
}
