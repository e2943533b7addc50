#include "store/store_record.h"

#include <string.h>

#include "base/mem.h"
#include "base/min_heap.h"
#include "kms/codec.h"
#include "kms/crypto.h"

/* What an allocation costs beyond its bytes, and a record's share of hash table and heaps. */
#define BLOCK_OVERHEAD 16
#define INDEX_SHARE 128 /* table slots at their sparsest (85), two heap entries */

kms_status kms_record_key_check(kms_text key, size_t max)
{
	ENSURE_REF(key.text);
	ENSURE(key.len >= 1 && key.len <= max, KMS_ERR_KEY_SIZE);
	ENSURE(!memchr(key.text, 0, key.len) && kms_utf8_valid(key.text, key.len), KMS_ERR_UTF8);
	return KMS_OK;
}

/* Bytes from the record to its clock. */
static size_t clock_offset(size_t key_len)
{
	size_t align = _Alignof(kms_clock_entry), end = sizeof(store_record) + key_len;
	return (end + align - 1) / align * align;
}

static kms_clock_entry *clock_entries(store_record *record)
{
	return (kms_clock_entry *)(void *)((uint8_t *)record + clock_offset(record->key_len));
}

kms_clock kms_record_clock(const store_record *record)
{
	const uint8_t *at = (const uint8_t *)record + clock_offset(record->key_len);
	return (kms_clock){ (const kms_clock_entry *)(const void *)at, record->clock_len };
}

static kms_status value_copy(store_record *record, const kms_record *source)
{
	if (source->state != KMS_RECORD_LIVE) return KMS_OK;
	record->value = kms_heap_alloc(1, source->value.len);
	ENSURE(record->value, KMS_ERR_MEMORY);
	memcpy(record->value, source->value.bytes, source->value.len);
	record->value_len = (uint32_t)source->value.len;
	return KMS_OK;
}

kms_status kms_record_new(store_record **record, const kms_record *source, uint64_t hash, kms_clock clock)
{
	*record = NULL;
	size_t clock_bytes = clock.len * sizeof(kms_clock_entry);
	DEFER(kms_record_release)
	store_record *made = kms_heap_alloc(1, clock_offset(source->key.len) + clock_bytes);
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(value_copy(made, source));
	made->hash = hash;
	made->key_len = (uint32_t)source->key.len;
	made->origin = source->origin;
	made->clock_len = (uint16_t)clock.len;
	made->state = (uint8_t)source->state;
	made->updated_at_ms = source->updated_at_ms;
	made->ttl_ms = source->ttl_ms;
	made->due_position = made->dead_position = KMS_MIN_HEAP_ABSENT;
	memcpy(made->key, source->key.text, source->key.len);
	memcpy(clock_entries(made), clock.entries, clock_bytes);
	*record = made;
	made = NULL;
	return KMS_OK;
}

void kms_record_free(store_record *record)
{
	if (!record) return;
	kms_heap_free(record->value);
	kms_heap_free(record);
}

void kms_record_fingerprint(uint8_t fingerprint[KMS_FINGERPRINT], kms_span ciphertext)
{
	memcpy(fingerprint, ciphertext.bytes, KMS_GCM_IV);
	memcpy(fingerprint + KMS_GCM_IV, ciphertext.bytes + ciphertext.len - KMS_GCM_TAG, KMS_GCM_TAG);
}

void kms_record_view(kms_record *view, const store_record *record)
{
	*view = (kms_record){
		.key = kms_record_key(record),
		.value = kms_span_of(record->value, record->value_len),
		.clock = kms_record_clock(record),
		.updated_at_ms = record->updated_at_ms,
		.ttl_ms = record->ttl_ms,
		.state = (kms_record_state)record->state,
		.sequence = record->sequence,
		.origin = record->origin,
	};
}

uint64_t kms_record_live_bytes(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? record->value_len : 0;
}

uint64_t kms_record_value_charge(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? (uint64_t)record->value_len + BLOCK_OVERHEAD : 0;
}

uint64_t kms_record_charge(const store_record *record)
{
	return clock_offset(record->key_len) + record->clock_len * sizeof(kms_clock_entry) + BLOCK_OVERHEAD +
	       INDEX_SHARE + kms_record_value_charge(record);
}

bool kms_record_expired(const store_record *record, uint64_t now_ms)
{
	return record->ttl_ms > 0 && now_ms > record->updated_at_ms + record->ttl_ms;
}
