#include "store/store_record.h"

#include <string.h>

#include "base/mem.h"
#include "base/min_heap.h"
#include "kms/codec.h"

kms_status kms_record_key_check(kms_text key, size_t max)
{
	ENSURE_REF(key.text);
	ENSURE(key.len >= 1 && key.len <= max, KMS_ERR_KEY_SIZE);
	ENSURE(!memchr(key.text, 0, key.len) && kms_utf8_valid(key), KMS_ERR_UTF8);
	return KMS_OK;
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
	store_record *made = kms_heap_alloc(1, kms_record_clock_offset(source->key.len) + clock_bytes);
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(value_copy(made, source));
	made->hash = hash;
	made->key_len = (uint32_t)source->key.len;
	made->origin = source->origin;
	made->clock_len = (uint16_t)clock.len;
	made->state = (uint8_t)source->state;
	made->given = source->state == KMS_RECORD_STUB;
	made->updated_at_ms = source->updated_at_ms;
	made->ttl_ms = source->ttl_ms;
	made->fingerprint =
	    source->state == KMS_RECORD_LIVE ? kms_fingerprint_of(source->value) : source->fingerprint;
	made->due_position = made->dead_position = KMS_MIN_HEAP_ABSENT;
	memcpy(made->key, source->key.text, source->key.len);
	memcpy((uint8_t *)made + kms_record_clock_offset(made->key_len), clock.entries, clock_bytes);
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

kms_fingerprint kms_fingerprint_of(kms_span ciphertext)
{
	kms_fingerprint made = { .len = (uint32_t)ciphertext.len };
	memcpy(made.iv12, ciphertext.bytes, sizeof(made.iv12));
	memcpy(made.tag16, ciphertext.bytes + ciphertext.len - sizeof(made.tag16), sizeof(made.tag16));
	return made;
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
		.fingerprint = record->fingerprint,
		.sequence = record->sequence,
		.origin = record->origin,
		.sought = record->state == KMS_RECORD_STUB && record->given && !record->refused,
	};
}
