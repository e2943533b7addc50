/* What is refused before the store looks at it. */
#include <string.h>

#include "base/ensure.h"
#include "store/store_internal.h"
#include "kms/codec.h"

#define PEER_SLACK 128 /* bytes by which a peer's ciphertext may exceed max_value */

kms_status kms_key_check(const char *key, size_t key_len, size_t max)
{
	ENSURE_REF(key);
	ENSURE(key_len >= 1 && key_len <= max, KMS_ERR_KEY_SIZE);
	ENSURE(!memchr(key, 0, key_len) && kms_utf8_valid(key, key_len), KMS_ERR_UTF8);
	return KMS_OK;
}

static kms_status value_check(const kms_store *store, const kms_record *record)
{
	if (record->state == KMS_RECORD_TOMBSTONE) {
		ENSURE(!record->value && record->value_len == 0, KMS_ERR_RECORD);
		return KMS_OK;
	}
	ENSURE(record->state == KMS_RECORD_LIVE && record->value, KMS_ERR_RECORD);
	ENSURE(record->value_len >= KMS_VALUE_SEAL_OVERHEAD, KMS_ERR_RECORD);
	ENSURE(record->value_len <= store->config.max_value + PEER_SLACK, KMS_ERR_VALUE_SIZE);
	return KMS_OK;
}

static kms_status clock_check(clock_draft *clock, const kms_record *record, uint64_t latest)
{
	ENSURE(record->clock && record->clock_len > 0, KMS_ERR_RECORD);
	ENSURE(record->clock_len <= KMS_STORE_MAX_CLOCK, KMS_ERR_CLOCK_ENTRIES);
	ENSURE(kms_clock_sort(clock, record->clock, record->clock_len), KMS_ERR_RECORD);
	for (size_t i = 0; i < clock->len; i++)
		ENSURE(clock->entries[i].counter <= latest, KMS_ERR_CLOCK_ENTRIES);
	return KMS_OK;
}

kms_status kms_peer_record_check(clock_draft *clock, const kms_store *store, const kms_record *record,
				 uint64_t now_ms)
{
	ENSURE(now_ms <= KMS_STORE_MAX_NUMBER, KMS_ERR_RANGE);
	uint64_t latest = now_ms + store->config.max_clock_skew_ms;
	if (latest > KMS_STORE_MAX_NUMBER) latest = KMS_STORE_MAX_NUMBER;
	GUARD(kms_key_check(record->key, record->key_len, KMS_STORE_MAX_PEER_KEY));
	GUARD(value_check(store, record));
	ENSURE(record->ttl_ms <= KMS_STORE_MAX_TTL_MS, KMS_ERR_TTL);
	GUARD(clock_check(clock, record, latest));
	/* Last: a sender may try again later with what is wrong only in its stamp. */
	ENSURE(record->updated_at_ms <= latest, KMS_ERR_FUTURE);
	return KMS_OK;
}
