/*
 * The key-value store: ciphertext records by application, with vector clocks, last writer wins, TTL,
 * tombstones and LRU eviction (docs/protocol.md section 8). Each application has a namespace of its
 * own, named by its id. The store never sees a key or a plaintext: values come in and go out as ciphertext.
 *
 * `now_ms` is the caller's wall clock in milliseconds; the store reads no clock.
 *
 * Threads: any number at a time may use one store. Each namespace has a lock of its own, held for no
 * longer than it takes to copy one record, or to walk past a few hundred of them, so that work in one
 * namespace never makes another wait for longer than that.
 */
#ifndef KMS_STORE_H
#define KMS_STORE_H

#include "kms/buf.h"

#define KMS_STORE_MAX_CLOCK 256      /* entries of a clock from a peer */
#define KMS_STORE_TRIM_CLOCK 64      /* entries above which a local write drops those of strangers */
#define KMS_STORE_MAX_PEER_KEY 65536 /* key bytes from a peer */
#define KMS_STORE_MAX_TTL_MS (10ull * 365 * 24 * 3600 * 1000)

typedef struct kms_store kms_store;

typedef struct kms_store_config {
	uint8_t self20[20];   /* this node's wallet: its own entry in clocks; zeros: see kms_store_set_self */
	size_t max_key;       /* bytes of a local key, 1 to KMS_STORE_MAX_PEER_KEY */
	size_t max_value;     /* bytes of plaintext; records hold KMS_VALUE_SEAL_OVERHEAD more */
	size_t max_app_bytes; /* live ciphertext of one namespace */
	size_t max_app_total; /* everything of one namespace, counted as max_total_bytes does; 0: no limit */
	size_t max_total_bytes; /* everything: keys, clocks, values, stubs, tombstones, overhead */
	size_t max_namespaces; /* of this and of max_total_bytes, records from peers may take seven eighths */
	size_t max_tombstones; /* per namespace; at ten times as many dead records deletes are refused */
	uint64_t tombstone_retention_ms;
	uint64_t max_clock_skew_ms;
} kms_store_config;

/* ---- records --------------------------------------------------------------------------------- */

typedef struct kms_clock_entry {
	uint8_t wallet20[20];
	uint64_t counter;
} kms_clock_entry;

/* A borrowed vector clock. No wallet is there twice; clocks from the store are sorted by wallet. */
typedef struct kms_clock {
	const kms_clock_entry *entries;
	size_t len;
} kms_clock;

typedef enum kms_record_state {
	KMS_RECORD_LIVE = 0,
	KMS_RECORD_TOMBSTONE = 1, /* deleted or expired */
	KMS_RECORD_STUB = 2,      /* evicted: key, clock and stamp without the value */
} kms_record_state;

/* What is kept of a value that expired or was evicted: it stands for the ciphertext in comparisons. */
typedef struct kms_fingerprint {
	uint8_t iv12[12];
	uint8_t tag16[16];
	uint32_t len; /* of the ciphertext, IV and tag included; 0: there was no value, or it is not known */
} kms_fingerprint;

/* A borrowed record. */
typedef struct kms_record {
	kms_text key;
	kms_span value; /* ciphertext; NULL and 0 unless LIVE */
	kms_clock clock;
	uint64_t updated_at_ms;
	uint64_t ttl_ms; /* 0: never expires */
	kms_record_state state;
	kms_fingerprint fingerprint; /* of a stub and of an expired record; else zero */
	uint64_t sequence;           /* number of its last change; out only */
	uint32_t origin;             /* 0: written here; else the number that the caller of the merge gave */
	bool sought; /* a stub that came as one: another member may have its value; out only */
} kms_record;

/* ---- the store ------------------------------------------------------------------------------- */

/*
 * Creates a store.
 * Returns: KMS_OK; ERR_RANGE when a setting is out of its bounds; ERR_MEMORY; ERR_SYSTEM.
 * Out: store - free with kms_store_free; NULL on failure.
 * In: config - copied.
 */
kms_status kms_store_new(kms_store **store, const kms_store_config *config);

/*
 * Frees a store and all its records. NULL is fine.
 * Threads: no other thread may be using the store.
 */
void kms_store_free(kms_store *store);

/*
 * Names this node's wallet to a store that was made without it, since the wallet's keys are in a service that
 * had not answered yet. Until then the store takes no record: counters under another wallet would be another
 * node's. Returns: KMS_OK; ERR_ARGUMENT for zeros; ERR_STATE when the store has a wallet. Threads: no other
 * thread may be using the store.
 */
kms_status kms_store_set_self(kms_store *store, const uint8_t self20[20]);

/*
 * Sets the wallets of all members of the cluster: a local write keeps their entries in long clocks.
 * Returns: KMS_OK; ERR_RANGE for more than 65536 wallets; ERR_MEMORY, and the old list stays.
 * In: wallets - `count` of them, copied; may be NULL when count is 0.
 */
kms_status kms_store_set_members(kms_store *store, const uint8_t (*wallets)[20], size_t count);

/*
 * Sets the newest change that every other member has acknowledged. Tombstones and stubs of local writes up to
 * it may be dropped before their retention ends, once now_ms is past their stamps. Merged records are not
 * pushed from here, so no acknowledgement covers them. Until the first call nothing is dropped early.
 * In: sequence - UINT64_MAX when there is no other member: then any dead record may be dropped early.
 */
void kms_store_set_acknowledged(kms_store *store, uint64_t sequence);

/*
 * Lets this node's counters start at 1, as on existing nodes, instead of at its clock in milliseconds. For a
 * node that has seen the stores of all members: nobody holds a version that it wrote before. It ends for good
 * when a merge shows a counter of this node's that the store does not know.
 */
void kms_store_count_from_one(kms_store *store, bool allowed);

/* ---- applications ---------------------------------------------------------------------------- */

/*
 * Writes a record, evicting others of the namespace if necessary. On failure the old record is
 * unchanged, and nothing was evicted.
 * Returns: KMS_OK; ERR_KEY_SIZE; ERR_UTF8 (NUL included); ERR_VALUE_SIZE; ERR_TTL; ERR_STORAGE_SIZE
 * when even an empty namespace could not hold it; ERR_STORE_FULL; ERR_NAMESPACES; ERR_RANGE when
 * now_ms is above 2^62; ERR_STATE before the store has a wallet; ERR_MEMORY.
 * Out: updated_at_ms - the write's stamp: now_ms, or one more than that of the record it replaces.
 * In: ciphertext - a sealed value (IV, ciphertext, tag), copied. ttl_ms - 0: never expires.
 */
kms_status kms_store_put(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_text key,
			 kms_span ciphertext, uint64_t ttl_ms, uint64_t now_ms);

/*
 * Reads a live record and makes it the one used last.
 * Returns: KMS_OK; ERR_NOT_FOUND when it was never written, or is deleted, expired or evicted;
 * ERR_TOO_LARGE; ERR_MEMORY.
 * Out: updated_at_ms - the record's stamp; 0 on failure.
 * In-out: ciphertext - the value is appended.
 */
kms_status kms_store_get(uint64_t *updated_at_ms, kms_buf *ciphertext, kms_store *store, uint64_t app_id,
			 kms_text key, uint64_t now_ms);

/*
 * Deletes a live record: writes a tombstone over it.
 * Returns: KMS_OK; ERR_NOT_FOUND without a live record; ERR_TOMBSTONES when the namespace holds ten
 * times max_tombstones tombstones and stubs that peers still need; ERR_STORE_FULL; ERR_RANGE when now_ms
 * is above 2^62; ERR_MEMORY.
 * Out: updated_at_ms - the tombstone's stamp, as for kms_store_put; 0 on failure.
 */
kms_status kms_store_delete(uint64_t *updated_at_ms, kms_store *store, uint64_t app_id, kms_text key,
			    uint64_t now_ms);

/* Which keys of a namespace to list. */
typedef struct kms_store_listing {
	kms_text prefix;  /* that the keys start with; may be absent */
	kms_text after;   /* that the keys lie beyond; may be absent */
	size_t limit;     /* number of keys; 0: all of them */
	size_t max_bytes; /* of the keys as JSON strings, with a comma for each */
} kms_store_listing;

/* Called for each key, without any lock. */
typedef kms_status (*kms_store_key_visitor)(void *context, kms_text key);

/*
 * Visits the keys of a namespace's live records in bytewise order. The namespace is locked for a few hundred
 * records at a time: a key that is written or deleted meanwhile may or may not be visited.
 * Returns: KMS_OK, also when there is no such namespace; the failure of `visit`, which ends the
 * listing; ERR_TOO_LARGE without a limit, when the keys take more than max_bytes, and none is visited;
 * ERR_MEMORY. Out: more - whether keys follow the last one visited; a listing with a limit visits one key at
 * least.
 */
kms_status kms_store_list(bool *more, kms_store *store, uint64_t app_id, const kms_store_listing *listing,
			  uint64_t now_ms, kms_store_key_visitor visit, void *context);

/* ---- merging --------------------------------------------------------------------------------- */

/* Outcomes of a merge, in the order of the table in docs/protocol.md section 8. */
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

/* The name of an outcome in skip_reasons ("ignored_equal_version"), static; "unknown" for other numbers. */
const char *kms_merge_name(kms_merge outcome);

/*
 * Merges a record from a peer (docs/protocol.md section 8). Every check is made here except that the
 * ciphertext opens under the application's data key, which the caller has verified.
 * Returns: KMS_OK with the outcome, or why the record is rejected. For good: ERR_KEY_SIZE; ERR_UTF8;
 * ERR_RECORD (a value shorter than 28 bytes or one of a dead record, a stub without a fingerprint, an empty
 * clock, a wallet twice); ERR_VALUE_SIZE; ERR_TTL; ERR_CLOCK_ENTRIES; ERR_STORAGE_SIZE. For now, see
 * kms_merge_is_later: ERR_FUTURE; ERR_STORE_FULL; ERR_NAMESPACES. Or ERR_RANGE when now_ms is above 2^62;
 * ERR_STATE before the store has a wallet; ERR_MEMORY.
 * Out: outcome - KMS_MERGE_REJECTED on failure.
 * In: record - copied; origin is kept with it: with one that is not 0 it may not use the reserve for local
 * writes; sequence is ignored. A STUB has the fingerprint of its value, a TOMBSTONE only if it expired.
 */
kms_status kms_store_merge(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			   uint64_t now_ms);

/*
 * The same for a record of a node that settles, too: of two versions with equal clocks and different content
 * the larger (updated_at_ms, ciphertext) wins. A store that takes it makes a version of its own of it: the
 * clock with its own entry incremented, and origin 0.
 */
kms_status kms_store_settle(kms_merge *outcome, kms_store *store, uint64_t app_id, const kms_record *record,
			    uint64_t now_ms);

#define KMS_STORE_RECENT_MS 600000 /* for an older version, repair evicts nothing */

/*
 * The same for a record that comes by repair. A version that this store's limits, or the operator
 * (`refused`), forbid is kept without its value, as a stub: it is no difference then. Nothing is evicted for
 * a version older than KMS_STORE_RECENT_MS: members evict different records, and would pass them round for
 * ever. A stub of a version past its retention is ignored where nothing is held. Out: without_value - whether
 * a stub was kept for a record with a value.
 */
kms_status kms_store_repair(kms_merge *outcome, bool *without_value, kms_store *store, uint64_t app_id,
			    const kms_record *record, bool refused, uint64_t now_ms);

/*
 * Whether time or room cures the rejection of a record: its stamp or an entry of its clock is ahead of
 * now_ms, or a limit is reached. The peer should send it again.
 */
static inline bool kms_merge_is_later(kms_status status)
{
	return status == KMS_ERR_FUTURE || status == KMS_ERR_STORE_FULL || status == KMS_ERR_NAMESPACES;
}

/* ---- changes, for sync ----------------------------------------------------------------------- */

/*
 * The number of the newest change in the whole store; 0: none yet. Puts, deletes and merges are
 * changes; evictions and expiries are not. A caller that reads this number first and the changes
 * afterwards finds all changes up to it.
 */
uint64_t kms_store_sequence(kms_store *store);

/*
 * Lists the namespaces with changes numbered above `since`.
 * Returns: KMS_OK; ERR_MEMORY.
 * Out: ids - application ids in no order, free with kms_store_ids_free; NULL when there are none.
 * count - their number.
 */
kms_status kms_store_changed_apps(uint64_t **ids, size_t *count, kms_store *store, uint64_t since);

/* Frees such a list. NULL is fine. */
void kms_store_ids_free(uint64_t *ids);

/* Who walks the changes. The store remembers where each one's last walk ended, so that it goes on at once. */
typedef enum kms_changes_reader {
	KMS_CHANGES_WRITE,   /* writes records */
	KMS_CHANGES_CHOOSE,  /* looks ahead, to choose the records to write */
	KMS_CHANGES_LIST,    /* lists keys */
	KMS_CHANGES_SEEK,    /* looks for stubs whose values other members may have */
	KMS_CHANGES_SAVE,    /* writes a snapshot file */
	KMS_CHANGES_TREE,    /* brings the hash tree up to date */
	KMS_CHANGES_READERS, /* how many there are */
} kms_changes_reader;

/* A walk through the changes of one namespace, in steps. */
typedef struct kms_changes_walk {
	uint64_t app_id;
	uint64_t since; /* number of the last change visited; the walk goes on after it */
	uint64_t until; /* number of the last change to visit */
	size_t max;     /* changes in one step */
	kms_changes_reader reader;
} kms_changes_walk;

/* Called with the namespace locked and the record borrowed: it must not call the store. False ends the step.
 */
typedef bool (*kms_changes_visitor)(void *context, const kms_record *record);

/*
 * Visits the next changes of a walk, oldest first. A record that changes meanwhile gets a larger number
 * and is visited there.
 * Returns: whether there are more changes up to `until`; false also when there is no such namespace.
 * In-out: walk - `since` moves on to the last change visited.
 */
bool kms_store_changes_step(kms_changes_walk *walk, kms_store *store, kms_changes_visitor visit,
			    void *context);

/* Called with the namespace locked and the record borrowed: it must not call the store. */
typedef kms_status (*kms_store_record_visitor)(void *context, const kms_record *record);

/*
 * Visits one record in any state; it is not used by that. Returns: the visitor's status; ERR_NOT_FOUND.
 */
kms_status kms_store_peek(kms_store *store, uint64_t app_id, kms_text key, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context);

/* ---- upkeep ---------------------------------------------------------------------------------- */

/*
 * Turns expired records into tombstones and drops dead records after their retention. Reads do not
 * depend on it: an expired record is not found from its millisecond on.
 * Returns: the number of records handled; less than `max` when nothing is due any more.
 * In: max - bounds the time that a call takes.
 */
size_t kms_store_expire(kms_store *store, uint64_t now_ms, size_t max);

/*
 * Drops a record in any state, and leaves no tombstone: the other members have let go of it already.
 * Returns: KMS_OK; ERR_NOT_FOUND; ERR_STATE for one that is stamped before_ms or later. In: key.
 */
kms_status kms_store_forget(kms_store *store, uint64_t app_id, kms_text key, uint64_t before_ms);

typedef struct kms_store_stats {
	uint64_t namespaces;
	uint64_t live_keys;
	uint64_t live_bytes; /* ciphertext of live records */
	uint64_t tombstones;
	uint64_t stubs;
	uint64_t total_bytes; /* counted against max_total_bytes */
	uint64_t evictions;   /* since the start */
} kms_store_stats;

/* Whether an application has a namespace: only then does the store hold anything of it. */
bool kms_store_has_app(kms_store *store, uint64_t app_id);

/* The counts of the whole store. Out: stats - zero when store is NULL. */
void kms_store_get_stats(kms_store_stats *stats, kms_store *store);
/* The counts of one namespace. Out: stats - zero when there is none; `namespaces` is 0 or 1. */
void kms_store_get_app_stats(kms_store_stats *stats, kms_store *store, uint64_t app_id);

/*
 * The sizes of the largest namespaces, without their names. Looks at all namespaces and takes no lock.
 * Returns: how many there are, at most `count`; those of size 0 are left out.
 * Out: sizes - bytes that count against max_total_bytes, largest first.
 */
size_t kms_store_largest(uint64_t *sizes, size_t count, kms_store *store);

#endif
