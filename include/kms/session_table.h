/*
 * The sessions that a node has open (session.h).
 *
 * A message is opened in these steps: kms_session_head_parse on its first bytes, kms_sessions_find,
 * kms_session_request_open, then the work, then kms_session_answer_seal. Keys live in guarded memory, counted
 * by references: a session that ends while a job works on one of its messages keeps its keys until that job
 * has dropped its reference, and takes no new message.
 *
 * Times are monotonic seconds; a time before that of an earlier call counts as the earlier call's.
 *
 * Threads: any; objects may be shared. The lock of a table is held for look-ups and marks only, never during
 * cryptography.
 */
#ifndef KMS_SESSION_TABLE_H
#define KMS_SESSION_TABLE_H

#include "kms/p384.h"
#include "kms/session.h"

#define KMS_SESSIONS_MAX 16384      /* sessions of a table */
#define KMS_SESSIONS_PER_WALLET 64  /* the most that a configuration may allow */
#define KMS_SESSIONS_TTL_MAX 604800 /* seconds */
#define KMS_SESSION_BYTES 1024      /* what an open session holds at most, the table's share included */

typedef struct kms_sessions kms_sessions;
typedef struct kms_session kms_session;

typedef enum kms_session_kind {
	KMS_SESSION_APP = 0,
	KMS_SESSION_PEER = 1,
} kms_session_kind;

/* Whose session it is. Sessions of the two kinds are never counted or replaced for each other. */
typedef struct kms_session_owner {
	kms_session_kind kind;
	uint64_t app_id; /* 0 for a member */
	uint8_t wallet20[20];
	uint8_t point97[KMS_P384_POINT]; /* the registered key that the opening was sealed to */
} kms_session_owner;

typedef struct kms_sessions_config {
	size_t max;          /* MAX_SESSIONS, 1 to KMS_SESSIONS_MAX */
	unsigned per_wallet; /* SESSIONS_PER_WALLET, 1 to KMS_SESSIONS_PER_WALLET */
	unsigned
	    ttl_s; /* SESSION_TTL_SECONDS, 4 to KMS_SESSIONS_TTL_MAX; a quarter of it without use ends too */
} kms_sessions_config;

/* ---- the table ------------------------------------------------------------------------------------ */

/*
 * Makes a table. Openings allocate; nothing else does.
 * Returns: KMS_OK; ERR_RANGE; ERR_MEMORY; ERR_SYSTEM; ERR_ARGUMENT.
 * Out: sessions - free with kms_sessions_free.
 */
kms_status kms_sessions_new(kms_sessions **sessions, const kms_sessions_config *config);
/* Ends all sessions. References that are still held stay valid. NULL is fine. */
void kms_sessions_free(kms_sessions *sessions);
KMS_DEFINE_RELEASE(kms_sessions_release, kms_sessions, kms_sessions_free)

/*
 * Opens a session: derives its keys and adds it. One more than a wallet may have replaces that wallet's least
 * recently used. In a full table the least recently used of the wallet with the most makes room, never a
 * member's for an application; among wallets with as many, an application before a member, then the one that
 * was idle longest. Returns: KMS_OK; ERR_PEER_KEY; ERR_BUSY when a full table has no session to replace;
 * ERR_STATE for a sid that is there; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. In-out: own -
 * this node's ephemeral key; erased and NULL afterwards, also on failure.
 */
kms_status kms_sessions_open(kms_sessions *sessions, kms_x25519 **own, const kms_session_owner *owner,
			     const kms_session_terms *terms, uint64_t now_s);

/*
 * Finds a session. This is no use of it: only an authentic message is.
 * Returns: KMS_OK; ERR_NOT_FOUND for one that never was, has ended or is expired; ERR_ARGUMENT.
 * Out: session - a reference, released with kms_session_unref; NULL on failure.
 */
kms_status kms_sessions_find(kms_session **session, kms_sessions *sessions, const uint8_t sid16[16],
			     uint64_t now_s);

/* Ends a session. Messages that were opened may still be answered. NULL, or one that has ended, is fine. */
void kms_session_end(kms_session *session);

/*
 * Ends the session with this sid if it belongs to that wallet, as a caller asks when it opens another one; or
 * all sessions of a wallet. Returns: how many ended.
 */
size_t kms_sessions_end_one(kms_sessions *sessions, kms_session_kind kind, const uint8_t wallet20[20],
			    const uint8_t sid16[16]);
size_t kms_sessions_end_wallet(kms_sessions *sessions, kms_session_kind kind, const uint8_t wallet20[20]);

/*
 * Ends expired sessions, at most 256 a call; to be called every few seconds, and again while it returns 256.
 * Expired ones are not found any more, but keep their keys until then.
 * Returns: how many ended.
 */
size_t kms_sessions_expire(kms_sessions *sessions, uint64_t now_s);

/* Returns: open sessions of a kind; 0 for NULL. */
size_t kms_sessions_count(kms_sessions *sessions, kms_session_kind kind);

/* ---- one session ---------------------------------------------------------------------------------- */

/* Another reference to the same session; returns its argument. NULL is fine. */
kms_session *kms_session_ref(kms_session *session);
/* Drops a reference; the last one erases the keys. NULL is fine. */
void kms_session_unref(kms_session *session);
KMS_DEFINE_RELEASE(kms_session_release, kms_session, kms_session_unref)

/* Its owner and salt: borrowed, valid while the reference is held. */
const kms_session_owner *kms_session_owner_of(const kms_session *session);
const uint8_t *kms_session_salt_of(const kms_session *session);

/* ---- messages ------------------------------------------------------------------------------------- */

/*
 * What stands in front of a request.
 * Returns: KMS_OK; ERR_TRUNCATED for fewer than KMS_SESSION_HEAD bytes; ERR_FIELD_VALUE for a seq of 0 or
 * beyond KMS_SESSION_MAX_SEQ; ERR_ARGUMENT.
 */
kms_status kms_session_head_parse(uint8_t sid16[16], uint64_t *seq, kms_span message);

/* A request that was authentic and new: its one answer is still to be sealed. */
typedef struct kms_session_call kms_session_call;

/*
 * Opens a request where it stands. Only once it is authentic its seq is tested and marked, in one step: of
 * two copies one is opened, and nothing forged moves the window. Returns: KMS_OK; as kms_session_head_parse;
 * ERR_NOT_FOUND when it is another session's, or the session has ended; ERR_POP_NONCE_USED when seq was there
 * or is more than KMS_SESSION_WINDOW behind; ERR_DECRYPT; ERR_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. Out: call -
 * free with kms_session_call_free; holds a reference to the session; NULL on failure. In-out: message - in a
 * guarded or wiped buffer; changed; emptied by a failed decryption.
 */
kms_status kms_session_request_open(kms_session_call **call, kms_buf *message, kms_session *session,
				    uint64_t now_s);
/* Of a call that was not answered, and never will be, the session ends. NULL is fine. */
void kms_session_call_free(kms_session_call *call);
KMS_DEFINE_RELEASE(kms_session_call_release, kms_session_call, kms_session_call_free)

/*
 * What an authentic request says. Malformed content is the caller's fault, and its answer is sealed like any
 * other. Returns: KMS_OK; ERR_TRUNCATED and ERR_TRAILING as kms_session_answer_open; ERR_ARGUMENT. Out:
 * content - zero on failure; its text points into the request's buffer.
 */
kms_status kms_session_call_content(kms_session_content *content, const kms_session_call *call);

/* Its session, borrowed, and its number. */
kms_session *kms_session_call_session(const kms_session_call *call);
uint64_t kms_session_call_seq(const kms_session_call *call);

/*
 * Seals the answer where it stands, once for each call, also when the session has ended since. A failure ends
 * the session: that seq will have no answer. Returns: KMS_OK; ERR_STATE for a second answer, or without
 * kms_session_answer_begin; ERR_TOO_LARGE; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. In-out:
 * message - what kms_session_answer_begin made before the work, and the JSON; then the answer; empty on
 * failure. In: time_ms - wall clock, Unix milliseconds.
 */
kms_status kms_session_answer_seal(kms_buf *message, kms_session_call *call, uint64_t time_ms);

#endif
