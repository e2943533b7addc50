/*
 * Namespaces: an application's part of the store. A namespace holds its records in
 *   - a hash table (store_map.c), to find them by key;
 *   - a list of live records by last use (store_lru.h), whose end is evicted first;
 *   - a heap by the time at which a record is due: expiry, or the end of retention;
 *   - a heap of dead records (tombstones and stubs), whose first may be dropped early;
 *   - a list of all records by change number (store_changes.c), which sync and the hash tree read.
 * No change of a record's state allocates: entries in both heaps are reserved when it is
 * inserted, so that eviction and expiry cannot fail.
 *
 * A namespace that holds nothing gives its place back as soon as it is unlocked: it does not count any more,
 * and its object waits for another application. Objects are never freed, since other threads may hold a
 * pointer.
 *
 * In this room's headers, functions that take a namespace need its lock unless they say otherwise.
 */
#ifndef KMS_STORE_STORE_NAMESPACE_H
#define KMS_STORE_STORE_NAMESPACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/min_heap.h"
#include "store/store_map.h"
#include "store/store_totals.h"

typedef struct store_namespace {
	kms_store *store; /* that it is part of */
	atomic_uint_fast64_t app_id;
	bool is_vacant;               /* has no application, and waits in the table for one */
	struct store_namespace *next; /* of those that wait */
	size_t index;                 /* in the order of creation */
	pthread_mutex_t turn;         /* held while waiting for `lock`, never while holding it */
	pthread_mutex_t lock;
	store_map map;
	kms_min_heap due;
	kms_min_heap dead;
	store_record *newest; /* LRU */
	store_record *oldest;
	store_record *first_change;
	store_record *last_change;
	store_record *change_hints[KMS_CHANGES_READERS]; /* ends of last walks; may be NULL */
	store_record *gone;  /* by next_change: those that have left, and the hash tree may have */
	size_t gone_bytes;   /* of these */
	uint64_t tree_turn;  /* the tree's, to which the following two belong */
	uint64_t tree_since; /* number of the last change that the tree has */
	uint64_t tree_doubt; /* up to this change, `in_tree` may speak of an earlier turn */
	/* Largest own counter dropped; the next write's exceeds it (docs/protocol.md section 8). */
	uint64_t floor;
	kms_store_stats stats;
} store_namespace;

/* The part of a namespace that is read without its lock. */
typedef struct namespace_summary {
	atomic_uint_fast64_t due_ms;      /* when its next record is due; UINT64_MAX: none */
	atomic_uint_fast64_t last_change; /* number of its newest change */
	atomic_uint_fast64_t held;        /* its bytes of the store's total */
	atomic_bool tree_behind;          /* the hash tree lacks changes of it; set with the lock */
} namespace_summary;

/*
 * All namespaces of a store. Readers need no lock: what they find they check once they have locked it, and
 * where they find nothing while another thread takes a namespace out, they look again with the lock.
 */
typedef struct namespace_table {
	pthread_mutex_t lock;                /* never taken while a namespace is locked */
	_Atomic(store_namespace *) *buckets; /* open addressing by app id; vacant ones are not in them */
	size_t bucket_mask;
	atomic_uint moves;                /* odd while entries move between buckets */
	_Atomic(store_namespace *) *list; /* in the order of creation, vacant ones too */
	namespace_summary *summaries;     /* in the same order; zero for vacant ones */
	atomic_size_t made;               /* length of both */
	atomic_size_t count;              /* of those in use */
	store_namespace *vacant;
	uint64_t floor; /* the largest one of namespaces that have gone: counters of new ones exceed it */
} namespace_table;

/* A table for at most `max` namespaces. Release with kms_namespaces_free, also after a failure. */
kms_status kms_namespaces_init(namespace_table *table, size_t max);
void kms_namespaces_free(namespace_table *table);

/* The number of namespaces in use. No lock needed. */
size_t kms_namespace_count(kms_store *store);
/* The number of indexes, and what is there: it may be vacant. No lock needed. */
size_t kms_namespace_made(kms_store *store);
store_namespace *kms_namespace_at(kms_store *store, size_t index);
/* The namespace of an application, or NULL; once it is locked, it may be another one's. No lock needed. */
store_namespace *kms_namespace_find(kms_store *store, uint64_t app_id);

/* The namespace of an application, locked; NULL: it has none. */
store_namespace *kms_namespace_enter(kms_store *store, uint64_t app_id);
/* The same for a walk that locks again and again: those who wait already come first. */
store_namespace *kms_namespace_enter_in_turn(kms_store *store, uint64_t app_id);
/* The same, created if there is none: ERR_NAMESPACES, ERR_STORE_FULL, ERR_MEMORY, and NULL. */
kms_status kms_namespace_open(store_namespace **ns, kms_store *store, uint64_t app_id,
			      const store_allowance *allowance);
/* Locks what is at some index, whosever it is. */
void kms_namespace_lock(store_namespace *ns);
void kms_namespace_lock_in_turn(store_namespace *ns);
/* Also publishes when the namespace is due next, and what it holds; one that holds nothing gives its place
 * back. */
void kms_namespace_unlock(store_namespace *ns);

namespace_summary *kms_namespace_summary(const store_namespace *ns);

/* Reserves entries in the hash table and both heaps for one more record: ERR_MEMORY. */
kms_status kms_namespace_reserve(store_namespace *ns);
/* Gives back heap entries that are not needed any more. */
void kms_namespace_trim(store_namespace *ns);

#endif
