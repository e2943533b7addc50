/* One record: a block of memory with its key and clock, and a second one with the value while it is live. */
#ifndef KMS_STORE_STORE_RECORD_H
#define KMS_STORE_STORE_RECORD_H

#include "base/ensure.h"
#include "kms/value_seal.h"
#include "store/store_clock.h"

#define KMS_FINGERPRINT KMS_VALUE_SEAL_OVERHEAD /* IV and tag of a ciphertext */

/* Members that a look-up reads are at the end, next to the key: fewer cache lines. */
typedef struct store_record {
	uint64_t hash;
	uint64_t sequence;
	struct store_record *next_change;
	struct store_record *previous_change;
	uint32_t due_position; /* in the namespace's heaps */
	uint32_t dead_position;
	uint8_t fingerprint[KMS_FINGERPRINT]; /* of a stub: what is left of its ciphertext */
	uint32_t key_len;
	uint32_t origin;
	struct store_record *newer; /* LRU, live records only */
	struct store_record *older;
	uint64_t updated_at_ms;
	uint64_t ttl_ms;
	uint8_t *value; /* live records only */
	uint32_t value_len;
	uint16_t clock_len;
	uint8_t state; /* kms_record_state */
	char key[];    /* the clock follows, aligned */
} store_record;

/* Checks a key: 1 to `max` bytes of UTF-8 without NUL. */
kms_status kms_record_key_check(kms_text key, size_t max);

/* A record outside any namespace: everything but clock and sequence is copied from `source`. */
kms_status kms_record_new(store_record **record, const kms_record *source, uint64_t hash, kms_clock clock);
void kms_record_free(store_record *record);
DEFINE_DEFER(kms_record_release, store_record, kms_record_free)

static inline kms_text kms_record_key(const store_record *record)
{
	return kms_text_of(record->key, record->key_len);
}

/* Its clock, sorted by wallet. */
kms_clock kms_record_clock(const store_record *record);
void kms_record_view(kms_record *view, const store_record *record);
/* The fingerprint of a ciphertext of at least KMS_VALUE_SEAL_OVERHEAD bytes. */
void kms_record_fingerprint(uint8_t fingerprint[KMS_FINGERPRINT], kms_span ciphertext);

/* Bytes that a record counts against the store's limit, and the part of them that is its value. */
uint64_t kms_record_charge(const store_record *record);
uint64_t kms_record_value_charge(const store_record *record);
/* Bytes that it counts against its namespace's quota. */
uint64_t kms_record_live_bytes(const store_record *record);
/* Whether its time to live is over: now > updated_at_ms + ttl_ms. */
bool kms_record_expired(const store_record *record, uint64_t now_ms);

#endif
