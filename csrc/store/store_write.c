/* What an application does with one record: put, get, delete. */
#include "base/ensure.h"
#include "store/store_internal.h"

DEFINE_DEFER(record_release, store_record, kms_record_free)

/* Writes a new version over `existing` (NULL: none), made of all but clock and stamp. */
static kms_status local_write(uint64_t *updated_at_ms, kms_store *store, store_space *space,
			      store_record *existing, uint64_t hash, kms_record *source, uint64_t now_ms)
{
	clock_draft clock;
	source->updated_at_ms = now_ms;
	if (existing && existing->updated_at_ms >= now_ms)
		source->updated_at_ms = existing->updated_at_ms + 1;
	kms_clock_advance(&clock, store, existing ? kms_record_clock(existing) : NULL,
			  existing ? existing->clock_len : 0, space->floor);
	DEFER(record_release) store_record *made = NULL;
	GUARD(kms_record_new(&made, source, hash, &clock));
	GUARD(kms_space_reserve(space));
	GUARD(kms_room_make(store, space, existing, made, now_ms));
	kms_record_commit(store, space, existing, made, now_ms);
	made = NULL;
	*updated_at_ms = source->updated_at_ms;
	return KMS_OK;
}

static kms_status put_locked(uint64_t *updated_at_ms, kms_store *store, store_space *space,
			     kms_record *source, uint64_t now_ms)
{
	uint64_t hash = kms_key_hash(store, source->key, source->key_len);
	store_record *existing = kms_record_current(store, space, hash, source->key, source->key_len, now_ms);
	GUARD(local_write(updated_at_ms, store, space, existing, hash, source, now_ms));
	kms_dead_trim(store, space, now_ms);
	return KMS_OK;
}

kms_status kms_store_put(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, const char *key,
			 size_t key_len, const uint8_t *ciphertext, size_t ciphertext_len, uint64_t ttl_ms,
			 uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(store);
	ENSURE_REF(ciphertext);
	GUARD(kms_key_check(key, key_len, store->config.max_key));
	ENSURE(ciphertext_len >= KMS_VALUE_SEAL_OVERHEAD &&
		   ciphertext_len - KMS_VALUE_SEAL_OVERHEAD <= store->config.max_value,
	       KMS_ERR_VALUE_SIZE);
	ENSURE(ttl_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_TTL);
	ENSURE(ciphertext_len <= store->config.max_app_bytes, KMS_ERR_STORAGE_SIZE);
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	kms_record source = { .key = key,
			      .key_len = key_len,
			      .value = ciphertext,
			      .value_len = ciphertext_len,
			      .ttl_ms = ttl_ms,
			      .state = KMS_RECORD_LIVE };
	store_space *space;
	GUARD(kms_space_get(&space, store, app_id));
	kms_space_lock(space);
	kms_status status = put_locked(updated_at_ms, store, space, &source, now_ms);
	kms_space_unlock(store, space);
	return status;
}

/* The live record of a key, or NULL. */
static store_record *live_record(kms_store *store, store_space *space, const char *key, size_t key_len,
				 uint64_t now_ms)
{
	uint64_t hash = kms_key_hash(store, key, key_len);
	store_record *record = kms_record_current(store, space, hash, key, key_len, now_ms);
	return record && record->state == KMS_RECORD_LIVE ? record : NULL;
}

static kms_status get_locked(kms_buf *ciphertext, uint64_t *updated_at_ms, kms_store *store,
			     store_space *space, const char *key, size_t key_len, uint64_t now_ms)
{
	store_record *record = live_record(store, space, key, key_len, now_ms);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	GUARD(kms_buf_append(ciphertext, record->value, record->value_len));
	kms_record_use(space, record);
	*updated_at_ms = record->updated_at_ms;
	return KMS_OK;
}

kms_status kms_store_get(kms_buf *ciphertext, uint64_t *updated_at_ms, kms_store *store, uint64_t app_id,
			 const char *key, size_t key_len, uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(ciphertext);
	ENSURE_REF(store);
	ENSURE_REF(key);
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, KMS_ERR_NOT_FOUND);
	kms_space_lock(space);
	kms_status status = get_locked(ciphertext, updated_at_ms, store, space, key, key_len, now_ms);
	kms_space_unlock(store, space);
	return status;
}

static kms_status delete_locked(uint64_t *updated_at_ms, kms_store *store, store_space *space,
				const char *key, size_t key_len, uint64_t now_ms)
{
	store_record *existing = live_record(store, space, key, key_len, now_ms);
	ENSURE(existing, KMS_ERR_NOT_FOUND);
	GUARD(kms_dead_reserve(store, space, now_ms));
	kms_record source = { .key = key, .key_len = key_len, .state = KMS_RECORD_TOMBSTONE };
	GUARD(local_write(updated_at_ms, store, space, existing, existing->hash, &source, now_ms));
	kms_dead_trim(store, space, now_ms);
	return KMS_OK;
}

kms_status kms_store_delete(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, const char *key,
			    size_t key_len, uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(store);
	ENSURE_REF(key);
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	store_space *space = kms_space_find(store, app_id);
	ENSURE(space, KMS_ERR_NOT_FOUND);
	kms_space_lock(space);
	kms_status status = delete_locked(updated_at_ms, store, space, key, key_len, now_ms);
	kms_space_unlock(store, space);
	return status;
}
