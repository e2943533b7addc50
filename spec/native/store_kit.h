/* What the tests of the store share: a small configuration, short calls, copies of records. */
#ifndef KMS_SPEC_STORE_KIT_H
#define KMS_SPEC_STORE_KIT_H

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/value_seal.h"
#include "store/testing.h"
#include "store_config.h"
#include "test.h"

#define APP 49
#define NOW 1700000000000ull
#define MIN_VALUE KMS_VALUE_SEAL_OVERHEAD
#define SELF 1
#define BIG 1000 /* bytes of a ciphertext in tests of quotas */

#define COPY_KEY 64
#define COPY_VALUE 4096

/* A copy of a record, which stays valid after the visit. */
typedef struct record_copy {
	kms_record record;
	char key[COPY_KEY];
	uint8_t value[COPY_VALUE];
	kms_clock_entry clock[2 * KMS_STORE_MAX_CLOCK];
} record_copy;

static inline kms_store *kit_store(uint8_t self)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(self);
	if (kms_store_new(&store, &config) != KMS_OK) abort();
	return store;
}

/* Puts a ciphertext of `len` bytes, at least MIN_VALUE, that starts with `first`. */
static inline kms_status kit_put_at(uint64_t *at_ms, kms_store *store, const char *key, uint8_t first,
				    size_t len, uint64_t ttl_ms, uint64_t now_ms)
{
	uint8_t *value = malloc(len);
	if (!value) abort();
	memset(value, 0x11, len);
	value[0] = first;
	kms_status status =
	    kms_store_put(at_ms, store, APP, kms_text_from(key), kms_span_of(value, len), ttl_ms, now_ms);
	free(value);
	return status;
}

static inline kms_status kit_put(kms_store *store, const char *key, uint8_t first, uint64_t now_ms)
{
	uint64_t at_ms;
	return kit_put_at(&at_ms, store, key, first, MIN_VALUE, 0, now_ms);
}

static inline kms_status kit_delete(kms_store *store, const char *key, uint64_t now_ms)
{
	uint64_t at_ms;
	return kms_store_delete(&at_ms, store, APP, kms_text_from(key), now_ms);
}

/* The first byte of the value; -1 when it is not found, -2 after another failure. */
static inline int kit_get(kms_store *store, const char *key, uint64_t now_ms)
{
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	uint64_t at_ms;
	kms_status status = kms_store_get(&at_ms, &buf, store, APP, kms_text_from(key), now_ms);
	int first = status == KMS_OK ? buf.data[0] : status == KMS_ERR_NOT_FOUND ? -1 : -2;
	kms_buf_free(&buf);
	return first;
}

static inline kms_status kit_copy(void *context, const kms_record *record)
{
	record_copy *copy = context;
	ENSURE(record->key.len <= COPY_KEY && record->value.len <= COPY_VALUE, KMS_ERR_RANGE);
	copy->record = *record;
	memcpy(copy->key, record->key.text, record->key.len);
	if (record->value.bytes) memcpy(copy->value, record->value.bytes, record->value.len);
	memcpy(copy->clock, record->clock.entries, record->clock.len * sizeof(copy->clock[0]));
	copy->record.key.text = copy->key;
	copy->record.value.bytes = record->value.bytes ? copy->value : NULL;
	copy->record.clock.entries = copy->clock;
	return KMS_OK;
}

static inline kms_status kit_peek(record_copy *copy, kms_store *store, const char *key, uint64_t now_ms)
{
	return kms_store_peek(store, APP, kms_text_from(key), now_ms, kit_copy, copy);
}

/* Visits all keys. */
static inline kms_status kit_list(kms_store *store, uint64_t now_ms, kms_store_key_visitor visit,
				  void *context)
{
	bool more;
	kms_store_listing all = { .max_bytes = SIZE_MAX };
	return kms_store_list(&more, store, APP, &all, now_ms, visit, context);
}

/* The counter of the wallet whose first byte is `node` and whose others are zero. */
static inline uint64_t kit_counter(const record_copy *copy, uint8_t node)
{
	const uint8_t wallet[20] = { node };
	for (size_t i = 0; i < copy->record.clock.len; i++) {
		if (memcmp(copy->clock[i].wallet20, wallet, 20) == 0) return copy->clock[i].counter;
	}
	return 0;
}

static inline kms_store_stats kit_stats(kms_store *store)
{
	kms_store_stats stats;
	kms_store_get_app_stats(&stats, store, APP);
	return stats;
}

/* A store of node SELF with small limits. */
static inline kms_store *quota_store(size_t app_bytes, size_t total_bytes, size_t tombstones)
{
	kms_store *s = NULL;
	kms_store_config config = kit_config(SELF);
	config.max_app_bytes = app_bytes;
	config.max_total_bytes = total_bytes;
	config.max_tombstones = tombstones;
	if (kms_store_new(&s, &config) != KMS_OK) abort();
	return s;
}

static inline kms_status put_big(kms_store *s, const char *key, uint8_t first, uint64_t now_ms)
{
	uint64_t at_ms;
	return kit_put_at(&at_ms, s, key, first, BIG, 0, now_ms);
}

/* A store with the usual limits except for tombstones. */
static inline kms_store *capped_store(size_t max_tombstones)
{
	return quota_store(10u << 20, 512u << 20, max_tombstones);
}

/* A key of six digits, valid until the next call. */
static inline const char *numbered(size_t i)
{
	static char text[24];
	snprintf(text, sizeof(text), "%06zu", i);
	return text;
}

#define NO_RECORD ((kms_record_state)99)

/* The state of a key's record; NO_RECORD when there is none. */
static inline kms_record_state state_of(kms_store *s, const char *key, uint64_t now_ms)
{
	record_copy r;
	return kit_peek(&r, s, key, now_ms) == KMS_OK ? r.record.state : NO_RECORD;
}

/* xorshift64: the same schedule for the same seed everywhere. */
static inline uint64_t kit_random(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % below;
}

#endif
