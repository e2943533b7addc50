/*
 * The table of sessions and its entries. What is named kms_session_index_ wants the table's lock held, and
 * works in a time that does not depend on how many sessions there are.
 */
#ifndef KMS_PROTOCOL_SESSION_TABLE_INTERNAL_H
#define KMS_PROTOCOL_SESSION_TABLE_INTERNAL_H

#include <stdatomic.h>

#include "protocol/session_internal.h"
#include "protocol/session_shares_internal.h"

/* In guarded memory. Keys and owner never change; the table's lock guards the rest. */
struct kms_session {
	session_keys keys;
	kms_session_owner owner;
	atomic_size_t references;
	kms_sessions *table;  /* whose memory a session keeps */
	session_share *share; /* NULL once the session has ended */
	kms_session *next;    /* in the bucket */
	session_link in_share;
	session_link by_use;
	session_link by_opening;
	uint64_t opened_s;
	uint64_t used_s;
	session_window window;
};

/*
 * A hash table by sid, and rings by wallet, by last use and by opening. All sessions live equally long, so
 * the oldest of the last two are the next to expire.
 */
struct kms_sessions {
	atomic_size_t references; /* the owner's, and one of each session */
	pthread_mutex_t lock;     /* guards what follows, and what changes of each session */
	kms_siphash_key hash_key; /* constant, as the next four */
	size_t mask;
	size_t max;
	uint64_t ttl_s;
	uint64_t idle_s;
	uint64_t now_s;
	kms_session **buckets;
	session_shares shares;
	session_link by_use;
	session_link by_opening;
	size_t count[2];
};

/* ---- references: session.c ---- */

/* A session of the table with one reference, for the keys to be put into; NULL: no memory. */
kms_session *kms_session_make(kms_sessions *sessions, const kms_session_owner *owner);
void kms_sessions_unref(kms_sessions *sessions);

/* ---- under the lock: session_index.c ---- */

/* Moves the table's clock on, never back. */
void kms_session_index_advance(kms_sessions *t, uint64_t now_s);
/* NULL: there is none, or it is expired and ends now. */
kms_session *kms_session_index_find(kms_sessions *t, const uint8_t sid16[16]);
/*
 * Makes room and takes the session over. KMS_OK; ERR_BUSY; ERR_STATE.
 * In-out: spare - a share for a wallet that has none; NULL where it is used.
 */
kms_status kms_session_index_add(kms_sessions *t, kms_session *s, session_share **spare);
/* Takes a session out of the table and drops its reference. */
void kms_session_index_end(kms_sessions *t, kms_session *s);
/* The same with the least recently used session of a share. */
void kms_session_index_end_idlest(kms_sessions *t, session_share *share);
/* Ends at most `most` expired sessions, and says how many. */
size_t kms_session_index_expire(kms_sessions *t, size_t most);
/* Makes a session the one used last. */
void kms_session_index_use(kms_sessions *t, kms_session *s);

/* ---- any thread: session_table.c ---- */

/*
 * Adds a session whose keys are there, and takes the reference over, also on failure: kms_sessions_open
 * without the key agreement.
 */
kms_status kms_sessions_add(kms_sessions *sessions, kms_session *session, uint64_t now_s);

/* Whether a session is open and has not seen this number: KMS_OK; ERR_NOT_FOUND; ERR_POP_NONCE_USED. */
kms_status kms_session_test(kms_session *session, uint64_t seq);
/* The same, marks the number and counts as a use. */
kms_status kms_session_mark(kms_session *session, uint64_t seq, uint64_t now_s);

#endif
