/* One record: a block of memory with its key and clock, and a second one with the value while it is live. */
#ifndef KMS_STORE_STORE_RECORD_H
#define KMS_STORE_STORE_RECORD_H

#include "base/ensure.h"
#include "kms/value_seal.h"
#include "store/store_clock.h"

/* Members that a look-up reads are at the end, next to the key: fewer cache lines. */
typedef struct store_record {
	uint64_t hash;
	uint64_t sequence;
	struct store_record *next_change;
	struct store_record *previous_change;
	uint32_t due_position; /* in the namespace's heaps */
	uint32_t dead_position;
	kms_fingerprint fingerprint; /* of the value that it has, or had before it expired or was evicted */
	uint32_t key_len;
	uint32_t origin;
	uint64_t app_id;
	struct store_record *newer; /* LRU, live records only */
	struct store_record *older;
	uint64_t updated_at_ms;
	uint64_t ttl_ms;
	uint8_t *value; /* live records only */
	uint32_t value_len;
	uint16_t clock_len;
	uint8_t state;    /* kms_record_state */
	bool given : 1;   /* stub: a peer's, which never had its value here */
	bool refused : 1; /* given stub: of a version that came with its value, which had to stay out */
	bool in_tree : 1; /* the hash tree may have it (store_tree_follow.c) */
	char key[];       /* the clock follows, aligned */
} store_record;

/* Checks a key: 1 to `max` bytes of UTF-8 without NUL. */
kms_status kms_record_key_check(kms_text key, size_t max);

/* A record outside any namespace: everything but clock and sequence is copied from `source`. */
kms_status kms_record_new(store_record **record, const kms_record *source, uint64_t hash, kms_clock clock);
void kms_record_free(store_record *record);
KMS_DEFINE_RELEASE(kms_record_release, store_record, kms_record_free)

static inline kms_text kms_record_key(const store_record *record)
{
	return kms_text_of(record->key, record->key_len);
}

/* Bytes from a record to its clock. */
static inline size_t kms_record_clock_offset(size_t key_len)
{
	size_t align = _Alignof(kms_clock_entry), end = offsetof(store_record, key) + key_len;
	return (end + align - 1) / align * align;
}

/* Its clock, sorted by wallet. */
static inline kms_clock kms_record_clock(const store_record *record)
{
	const void *at = (const uint8_t *)record + kms_record_clock_offset(record->key_len);
	return (kms_clock){ at, record->clock_len };
}

void kms_record_view(kms_record *view, const store_record *record);
/* The fingerprint of a ciphertext of at least KMS_VALUE_SEAL_OVERHEAD bytes. */
kms_fingerprint kms_fingerprint_of(kms_span ciphertext);

/* Whether its time to live is over. */
static inline bool kms_record_expired(const store_record *record, uint64_t now_ms)
{
	return record->ttl_ms > 0 && now_ms > record->updated_at_ms + record->ttl_ms;
}

/* ---- bytes ---- */

/* What an allocation costs beyond its bytes, and a record's share of hash table, heaps and hash tree. */
#define KMS_BLOCK_OVERHEAD 16
#define KMS_INDEX_SHARE 168 /* table slots at their sparsest (85), heap entries, its entry in the tree */

/* Bytes that a record counts against its namespace's quota. */
static inline uint64_t kms_record_live_bytes(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? record->value_len : 0;
}

/* The part of its charge that an eviction frees. */
static inline uint64_t kms_record_value_charge(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? (uint64_t)record->value_len + KMS_BLOCK_OVERHEAD : 0;
}

/* Bytes that it counts against the store's limit. */
static inline uint64_t kms_record_charge(const store_record *record)
{
	return kms_record_clock_offset(record->key_len) + record->clock_len * sizeof(kms_clock_entry) +
	       KMS_BLOCK_OVERHEAD + KMS_INDEX_SHARE + kms_record_value_charge(record);
}

#endif
