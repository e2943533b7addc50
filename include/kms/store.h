/*
 * The key-value store: ciphertext records by application, with vector clocks, last writer
 * wins, TTL, tombstones and LRU eviction (docs/protocol.md section 8). It never sees a key or a
 * plaintext: what comes in and goes out is ciphertext.
 *
 * Safe to share between threads. Each namespace has its own lock, held for no longer than a
 * copy of one record (a listing copies its names); nothing done to one namespace makes
 * another wait for longer than that.
 */
#ifndef KMS_STORE_H
#define KMS_STORE_H

#include "kms/buf.h"

#define KMS_STORE_MAX_CLOCK 256      /* entries of a clock from a peer */
#define KMS_STORE_TRIM_CLOCK 64      /* entries above which a local write drops strangers' */
#define KMS_STORE_MAX_PEER_KEY 65536 /* key bytes from a peer */
#define KMS_STORE_MAX_TTL_MS (10ull * 365 * 24 * 3600 * 1000)

typedef struct kms_store kms_store;

typedef struct kms_store_config {
	uint8_t self20[20];     /* this node's wallet: the own entry of clocks */
	size_t max_key;         /* bytes of a local key, 1 to KMS_STORE_MAX_PEER_KEY */
	size_t max_value;       /* plain bytes; records hold KMS_VALUE_SEAL_OVERHEAD more */
	size_t max_app_bytes;   /* live ciphertext of one namespace */
	size_t max_total_bytes; /* everything: keys, clocks, stubs, tombstones, overhead */
	size_t max_namespaces;
	size_t max_tombstones; /* per namespace; ten times of it refuses deletes */
	uint64_t tombstone_retention_ms;
	uint64_t max_clock_skew_ms;
} kms_store_config;

/* One entry of a vector clock. */
typedef struct kms_clock_entry {
	uint8_t wallet20[20];
	uint64_t counter;
} kms_clock_entry;

typedef enum kms_record_state {
	KMS_RECORD_LIVE = 0,
	KMS_RECORD_TOMBSTONE = 1,
	KMS_RECORD_STUB = 2, /* evicted: key, clock and stamp without the value */
} kms_record_state;

/* A record, borrowed from whoever passes it. */
typedef struct kms_record {
	const char *key;
	size_t key_len;
	const uint8_t *value; /* ciphertext; NULL unless LIVE */
	size_t value_len;
	const kms_clock_entry *clock; /* any order; no wallet twice */
	size_t clock_len;
	uint64_t updated_at_ms;
	uint64_t ttl_ms;
	kms_record_state state;
	uint64_t sequence; /* number of its last change; out only */
	uint32_t origin;   /* who brought it: 0 - written here, else the number that the merger gave */
} kms_record;

/* Outcomes of a merge, in the order of the table in section 8. */
typedef enum kms_merge {
	KMS_MERGE_REJECTED = 0, /* only together with a failure status */
	KMS_MERGE_INSERTED,
	KMS_MERGE_REPLACED_BY_VERSION,
	KMS_MERGE_IGNORED_EQUAL_VERSION,
	KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION,
	KMS_MERGE_REPLACED_BY_CONCURRENT_LWW,
	KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK,
	KMS_MERGE_OUTCOMES, /* how many there are */
} kms_merge;

/* Name as reported in skip_reasons ("ignored_equal_version"). */
const char *kms_merge_name(kms_merge outcome);

/* Every bound is checked (ERR_RANGE). The configuration is copied. */
kms_status kms_store_new(kms_store **store, const kms_store_config *config);
/* No other thread may be inside. */
void kms_store_free(kms_store *store);

/*
 * A local write. `ciphertext` is copied (a sealed record: IV, ciphertext, tag).
 * Out: updated_at_ms - max(now, existing + 1).
 * Returns: KMS_OK, ERR_KEY_SIZE, ERR_UTF8 (NUL included), ERR_VALUE_SIZE, ERR_TTL,
 * ERR_STORAGE_SIZE when it fits the namespace not even alone, ERR_STORE_FULL, ERR_NAMESPACES,
 * ERR_RANGE (now_ms above 2^62), ERR_MEMORY. After a failure the old record is untouched, and
 * nothing was evicted in vain.
 */
kms_status kms_store_put(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, const char *key,
			 size_t key_len, const uint8_t *ciphertext, size_t ciphertext_len, uint64_t ttl_ms,
			 uint64_t now_ms);

/*
 * A live record's ciphertext, appended to `ciphertext`; counts as a use for LRU.
 * Returns: KMS_OK, ERR_NOT_FOUND (never written, deleted, expired, evicted), ERR_MEMORY.
 */
kms_status kms_store_get(kms_buf *ciphertext, uint64_t *updated_at_ms, kms_store *store, uint64_t app_id,
			 const char *key, size_t key_len, uint64_t now_ms);

/*
 * Writes a tombstone over a live record. Returns: KMS_OK, ERR_NOT_FOUND without one,
 * ERR_TOMBSTONES when ten times max_tombstones (stubs count too) wait for peers, ERR_RANGE as
 * for put, ERR_MEMORY.
 */
kms_status kms_store_delete(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, const char *key,
			    size_t key_len, uint64_t now_ms);

/* Called for each live key with the namespace locked: it must not call the store. */
typedef kms_status (*kms_store_key_visitor)(void *context, const char *key, size_t key_len);

/* Visits the live keys of a namespace in bytewise order; a failing visitor ends it. */
kms_status kms_store_list(kms_store *store, uint64_t app_id, uint64_t now_ms, kms_store_key_visitor visit,
			  void *context);

/*
 * Merges a record from a peer: section 8, with every check that needs no key (the caller has
 * shown that the ciphertext opens under the application's data key).
 * Out: outcome. In: record - LIVE or TOMBSTONE; origin is kept with it, sequence is ignored.
 * Returns: KMS_OK with the outcome, or why it is rejected: ERR_KEY_SIZE, ERR_UTF8, ERR_RECORD
 * (shorter than 28 bytes, empty clock, a wallet twice, a stub), ERR_VALUE_SIZE, ERR_TTL,
 * ERR_FUTURE (only when nothing else is wrong with it), ERR_CLOCK_ENTRIES, ERR_STORE_FULL,
 * ERR_NAMESPACES, ERR_RANGE as for put, ERR_MEMORY.
 */
kms_status kms_store_merge(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			   uint64_t now_ms);

/*
 * A stub of a peer, key, clock and stamp of a record that it evicted: nothing is stored, but this
 * node's next writes are counted above its own entry in the clock. In: stub - state STUB; checked
 * as kms_store_merge checks a tombstone. Returns: as kms_store_merge.
 */
kms_status kms_store_note_stub(kms_store *store, uint64_t app_id, const kms_record *stub, uint64_t now_ms);

/* Called with the namespace locked and the record borrowed: it must not call the store. */
typedef kms_status (*kms_store_record_visitor)(void *context, const kms_record *record);

/* One record as it stands, stubs and tombstones included; ERR_NOT_FOUND. */
kms_status kms_store_peek(kms_store *store, uint64_t app_id, const char *key, size_t key_len, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context);

/*
 * Changes of one namespace numbered above `since`, oldest first, at most `max` of them (0: no
 * bound). Numbers grow over the whole store; an eviction or expiry is no change.
 */
kms_status kms_store_changes(kms_store *store, uint64_t app_id, uint64_t since, size_t max,
			     kms_store_record_visitor visit, void *context);

/* Ids of namespaces with changes above `since`; *ids is freed with kms_store_ids_free. */
kms_status kms_store_changed_apps(uint64_t **ids, size_t *count, kms_store *store, uint64_t since);
void kms_store_ids_free(uint64_t *ids);

/*
 * Number of the newest change (0: none yet). Whoever reads it first and the changes after
 * finds all changes up to it.
 */
uint64_t kms_store_sequence(kms_store *store);

/*
 * The wallets that are members now (copied), and the newest change that all of them have
 * acknowledged: tombstones and stubs up to it may leave early, once this node's clock has
 * passed their stamps. Only those of origin 0: others are not pushed from here, so that nobody's
 * acknowledgement speaks of them. A node alone passes UINT64_MAX: then all of them may. Until the
 * first call nothing leaves early.
 */
kms_status kms_store_set_members(kms_store *store, const uint8_t (*wallets)[20], size_t count);
void kms_store_set_acknowledged(kms_store *store, uint64_t sequence);

/*
 * Turns expired records into tombstones and drops what is past its retention, at most `max`
 * records (so that a caller can bound its time); returns how many were handled. Reads never
 * depend on it: an expired record is not found from its millisecond on.
 */
size_t kms_store_expire(kms_store *store, uint64_t now_ms, size_t max);

typedef struct kms_store_stats {
	uint64_t namespaces;
	uint64_t live_keys;
	uint64_t live_bytes; /* ciphertext of live records */
	uint64_t tombstones;
	uint64_t stubs;
	uint64_t total_bytes; /* what counts against max_total_bytes */
	uint64_t evictions;   /* since start */
} kms_store_stats;

void kms_store_get_stats(kms_store_stats *stats, kms_store *store);
/* The same of one namespace (namespaces is 0 or 1). */
void kms_store_get_app_stats(kms_store_stats *stats, kms_store *store, uint64_t app_id);

#endif
