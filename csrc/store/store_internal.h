/*
 * Inside of the store. A namespace ("space") holds its records in
 *   - a hash table (store_map.c), which finds them;
 *   - a list of live records by last use (LRU), which says what is evicted next;
 *   - a heap by the time at which something is due: expiry, end of retention;
 *   - a heap of dead records (tombstones and stubs), whose first may leave early;
 *   - a list of all records by change number, which sync reads.
 * Whatever a record can become needs no allocation: places in both heaps are reserved when it
 * is inserted, so that eviction and expiry cannot fail.
 *
 * Functions that take a space need its lock unless they say otherwise.
 */
#ifndef KMS_STORE_STORE_INTERNAL_H
#define KMS_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/siphash.h"
#include "kms/store.h"
#include "kms/value_seal.h"

#define KMS_STORE_HARD_FACTOR 10          /* times max_tombstones: no more dead records */
#define KMS_STORE_MAX_NUMBER (1ull << 62) /* of stamps and counters: one more never wraps */

#define KMS_FINGERPRINT KMS_VALUE_SEAL_OVERHEAD /* IV and tag */

/* What a look-up reads stands together at the end, next to the key: fewer cache lines. */
typedef struct store_record {
	uint64_t hash;
	uint64_t sequence;
	struct store_record *next_change;
	struct store_record *previous_change;
	uint32_t places[2];                   /* in the heaps, by kind; KMS_ORDER_NONE: not there */
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

/* ---- store_map.c: hash table, open addressing, resized a few slots at a time ---- */

typedef struct map_slot {
	uint64_t hash;
	store_record *record; /* NULL: empty */
} map_slot;

typedef struct map_table {
	map_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t count;
} map_table;

typedef struct store_map {
	map_table current;
	map_table old;    /* being moved into `current` */
	size_t to_move;   /* first slot of `old` that may hold a record */
	map_slot *recent; /* what was found last in a large table; may be NULL */
	size_t recent_size;
} store_map;

store_record *kms_map_find(store_map *map, uint64_t hash, const char *key, size_t key_len);
/* Room for one more record: nothing else here fails. */
kms_status kms_map_reserve(store_map *map);
void kms_map_insert(store_map *map, store_record *record);
/* `record` takes the place of `old`, which has the same key. */
void kms_map_replace(store_map *map, const store_record *old, store_record *record);
void kms_map_remove(store_map *map, const store_record *record);
size_t kms_map_count(const store_map *map);
void kms_map_free(store_map *map);

/* ---- store_order.c: heaps ---- */

#define KMS_ORDER_NONE UINT32_MAX

typedef enum order_kind {
	KMS_ORDER_DUE = 0,
	KMS_ORDER_DEAD = 1,
} order_kind;

typedef struct order_entry {
	uint64_t key;
	store_record *record;
} order_entry;

/* In chunks, so that growing never copies entries. */
typedef struct store_order {
	order_entry **chunks;
	size_t chunk_count;
	size_t directory; /* chunk pointers that fit */
	size_t count;
	order_kind kind;
} store_order;

/* Room for `count` records in all: nothing else here fails. */
kms_status kms_order_reserve(store_order *order, size_t count);
/* Gives back room beyond `count` records, except a little. */
void kms_order_trim(store_order *order, size_t count);
/* Adds a record or moves it. */
void kms_order_set(store_order *order, store_record *record, uint64_t key);
/* Nothing when it is not there. */
void kms_order_remove(store_order *order, store_record *record);
/* The key of a record that is there; 0 otherwise. */
uint64_t kms_order_key(const store_order *order, const store_record *record);
/* The record with the smallest key, or NULL. `key` may be NULL. */
store_record *kms_order_first(uint64_t *key, const store_order *order);
void kms_order_free(store_order *order);

/* ---- store_space.c: namespaces ---- */

/* One that looks ahead and one that follows it, without losing their places to each other. */
#define KMS_CHANGE_HINTS 2

typedef struct store_space {
	uint64_t app_id;
	size_t index;
	pthread_mutex_t lock;
	store_map map;
	store_order due;
	store_order dead;
	store_record *newest; /* LRU */
	store_record *oldest;
	store_record *first_change;
	store_record *last_change;
	store_record *change_hints[KMS_CHANGE_HINTS]; /* where the last walks ended; may be NULL */
	uint64_t floor;                               /* of the own entry of the next write (section 8) */
	kms_store_stats stats;
} store_space;

typedef struct store_totals {
	atomic_uint_fast64_t live_keys;
	atomic_uint_fast64_t live_bytes;
	atomic_uint_fast64_t tombstones;
	atomic_uint_fast64_t stubs;
	atomic_uint_fast64_t bytes; /* against max_total_bytes */
	atomic_uint_fast64_t evictions;
} store_totals;

/* What is looked at without the lock of a space. */
typedef struct space_notice {
	atomic_uint_fast64_t due_ms;  /* when its next record is due; UINT64_MAX: none */
	atomic_uint_fast64_t changed; /* its newest change */
} space_notice;

struct kms_store {
	kms_store_config config;
	kms_siphash_key hash_key;
	store_totals totals;
	atomic_uint_fast64_t acknowledged;

	pthread_mutex_t sequence_lock;
	atomic_uint_fast64_t sequence;

	pthread_mutex_t members_lock;
	uint8_t (*members)[20]; /* sorted */
	size_t member_count;

	/* Spaces are only ever added: readers need no lock. */
	pthread_mutex_t spaces_lock;
	_Atomic(store_space *) *buckets; /* open addressing by app id */
	size_t bucket_mask;
	_Atomic(store_space *) *spaces; /* in order of creation */
	space_notice *notices;
	atomic_size_t space_count;
	atomic_size_t expire_from; /* space that the next expiry begins with */
};

/* The space of an application, or NULL; no lock needed. */
store_space *kms_space_find(kms_store *store, uint64_t app_id);
/* The same, made if there is none: ERR_NAMESPACES, ERR_STORE_FULL, ERR_MEMORY. */
kms_status kms_space_get(store_space **space, kms_store *store, uint64_t app_id);
void kms_space_free(store_space *space);
void kms_space_lock(store_space *space);
/* Publishes when the space is due next. */
void kms_space_unlock(kms_store *store, store_space *space);
uint64_t kms_key_hash(const kms_store *store, const char *key, size_t key_len);

/* Takes `more` bytes of the total and gives back `less`; false when that exceeds it. */
bool kms_total_exchange(kms_store *store, uint64_t more, uint64_t less);

/* ---- store_clock.c: vector clocks, sorted by wallet ---- */

#define KMS_DRAFT_CLOCK (2 * KMS_STORE_MAX_CLOCK + 1)

typedef struct clock_draft {
	size_t len;
	kms_clock_entry entries[KMS_DRAFT_CLOCK];
} clock_draft;

typedef enum clock_relation {
	KMS_CLOCK_EQUAL,
	KMS_CLOCK_BEFORE,
	KMS_CLOCK_AFTER,
	KMS_CLOCK_CONCURRENT,
} clock_relation;

/* A sorted copy of up to KMS_STORE_MAX_CLOCK entries; false when a wallet is there twice. */
bool kms_clock_sort(clock_draft *sorted, const kms_clock_entry *clock, size_t len);
/* How a stands to b; a wallet that is missing counts as 0. */
clock_relation kms_clock_compare(const kms_clock_entry *a, size_t a_len, const kms_clock_entry *b,
				 size_t b_len);
/* Entrywise maximum of two clocks of up to KMS_STORE_MAX_CLOCK entries. */
void kms_clock_join(clock_draft *joined, const kms_clock_entry *a, size_t a_len, const kms_clock_entry *b,
		    size_t b_len);
/* Counter of a wallet, 0 when it is missing. */
uint64_t kms_clock_counter(const kms_clock_entry *clock, size_t len, const uint8_t wallet20[20]);
/* The clock of a local write over `clock` (may be empty). */
void kms_clock_advance(clock_draft *next, kms_store *store, const kms_clock_entry *clock, size_t len,
		       uint64_t floor);
/*
 * Drops the smallest entries beyond `limit`, of wallets that are no members; beyond
 * KMS_STORE_MAX_CLOCK of any wallet. Never the own one.
 */
void kms_clock_trim(clock_draft *clock, kms_store *store, size_t limit);

/* ---- store_record.c: records and their place in a space ---- */

/* A record outside any space. `source` gives all but the clock and the sequence. */
kms_status kms_record_new(store_record **record, const kms_record *source, uint64_t hash,
			  const clock_draft *clock);
void kms_record_free(store_record *record);
/* IV and tag of a ciphertext of at least KMS_VALUE_SEAL_OVERHEAD bytes. */
void kms_fingerprint(uint8_t fingerprint[KMS_FINGERPRINT], const uint8_t *ciphertext, size_t len);
/* Its clock, sorted by wallet. */
const kms_clock_entry *kms_record_clock(const store_record *record);
void kms_record_view(kms_record *view, const store_record *record);

/* Bytes of the total that a record takes, and the part of it that is its value. */
uint64_t kms_record_charge(const store_record *record);
uint64_t kms_record_value_charge(const store_record *record);
uint64_t kms_record_live_bytes(const store_record *record);
/* Gone at this time: now > updated_at_ms + ttl_ms. */
bool kms_record_expired(const store_record *record, uint64_t now_ms);
/*
 * Dead, it may leave before its time: it was written here and every member has acknowledged its
 * change, or there is no other member; and it is stamped before this time. Otherwise a write after it, by a
 * clock that is behind, could carry the older stamp of the two and be ignored by a peer that still holds it.
 */
bool kms_record_may_leave(kms_store *store, const store_record *record, uint64_t now_ms);
/*
 * Its key in the heap of the dead: by change number, those written here before all others, which
 * may have to stay and would keep them from leaving.
 */
uint64_t kms_record_dead_key(const store_record *record);

/* Marks a record as used just now. */
void kms_record_use(store_space *space, store_record *record);

/*
 * Puts a record in the place of `existing` (NULL: none), which is freed, as the newest change.
 * The caller has reserved its places (kms_space_reserve) and its bytes (kms_room_make).
 */
void kms_record_commit(kms_store *store, store_space *space, store_record *existing, store_record *record,
		       uint64_t now_ms);
kms_status kms_space_reserve(store_space *space);

/* Each returns the bytes that it freed, which the caller gives back to the total. */
uint64_t kms_record_evict(kms_store *store, store_space *space, store_record *record, uint64_t now_ms);
uint64_t kms_record_expire(kms_store *store, store_space *space, store_record *record, uint64_t now_ms);
uint64_t kms_record_drop(kms_store *store, store_space *space, store_record *record);

/* The record of a key as it is at this time: what has expired became a tombstone. NULL: none. */
store_record *kms_record_current(kms_store *store, store_space *space, uint64_t hash, const char *key,
				 size_t key_len, uint64_t now_ms);

/* ---- store_evict.c ---- */

/*
 * Reserves the bytes of `made`, which is to replace `existing` (NULL: none): what is due goes
 * first, then, for the total, what may leave early, then the least recently used. When all
 * that is not enough, nothing is evicted. ERR_STORAGE_SIZE, ERR_STORE_FULL.
 */
kms_status kms_room_make(kms_store *store, store_space *space, store_record *existing,
			 const store_record *made, uint64_t now_ms);
/* Lets acknowledged dead records beyond max_tombstones go, a few at a time. */
void kms_dead_trim(kms_store *store, store_space *space, uint64_t now_ms);
/* Room for one more dead record: ERR_TOMBSTONES. */
kms_status kms_dead_reserve(kms_store *store, store_space *space, uint64_t now_ms);

/* ---- store_expire.c ---- */

/* Handles the first record if it is due: adds what it freed to `freed`; false when none is due. */
bool kms_due_handle(uint64_t *freed, kms_store *store, store_space *space, uint64_t now_ms);

/* ---- store_changes.c ---- */

/* Whether to go on. */
typedef bool (*kms_change_visitor)(void *context, const kms_record *record);

typedef enum change_reader {
	KMS_READER_FOLLOW = 0, /* what goes out */
	KMS_READER_LOOK = 1,   /* what might */
} change_reader;

/*
 * Visits changes numbered above *since up to `until`, oldest first, at most `max` of them, until
 * one is not to be followed by more; *since becomes the number of the last. Takes the lock of the
 * space itself: whoever has much to read comes again, from where it was. Returns whether there
 * are more.
 */
bool kms_changes_step(kms_store *store, uint64_t app_id, uint64_t *since, uint64_t until, size_t max,
		      change_reader reader, kms_change_visitor visit, void *context);

/* ---- store_check.c: what may come in ---- */

/* 1 to `max` bytes of UTF-8 without NUL. */
kms_status kms_key_check(const char *key, size_t key_len, size_t max);
/* A record from a peer (see kms_store_merge); `clock` receives its sorted clock. */
kms_status kms_peer_record_check(clock_draft *clock, const kms_store *store, const kms_record *record,
				 uint64_t now_ms);

#endif
