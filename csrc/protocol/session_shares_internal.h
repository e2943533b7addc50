/*
 * What each wallet has of a table's sessions: found by its address, and ordered by how many it has. Every
 * step takes the same time at any size; the table's lock guards all of it.
 */
#ifndef KMS_PROTOCOL_SESSION_SHARES_INTERNAL_H
#define KMS_PROTOCOL_SESSION_SHARES_INTERNAL_H

#include "base/siphash.h"
#include "kms/session_table.h"

/* A ring of links by last use: the ring's own link stands between the newest and the oldest. */
typedef struct session_link {
	struct session_link *newer;
	struct session_link *older;
} session_link;

static inline void session_ring_make(session_link *ring)
{
	ring->newer = ring->older = ring;
}

static inline void session_ring_add(session_link *ring, session_link *link)
{
	link->newer = ring;
	link->older = ring->older;
	link->older->newer = link;
	ring->older = link;
}

static inline void session_ring_remove(session_link *link)
{
	link->newer->older = link->older;
	link->older->newer = link->newer;
}

static inline session_link *session_ring_oldest(const session_link *ring)
{
	return ring->newer == ring ? NULL : ring->newer;
}

/* The object that a link is a member of. */
#define SESSION_OF(type, member, link) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* The sessions of one wallet. */
typedef struct session_share session_share;
struct session_share {
	session_link place;    /* among the shares of this kind that have as many */
	session_link sessions; /* ring */
	session_share *next;   /* in the bucket */
	unsigned count;
	kms_session_kind kind;
	uint8_t wallet20[20];
};

typedef struct session_shares {
	kms_siphash_key hash_key;
	session_share **buckets;
	size_t mask;
	unsigned most;                                         /* sessions of a wallet */
	session_link by_count[2][KMS_SESSIONS_PER_WALLET + 1]; /* rings of shares, by kind */
} session_shares;

/* Release with kms_session_shares_free, also after a failure. In: buckets - a power of two. */
kms_status kms_session_shares_make(session_shares *shares, size_t buckets, unsigned most);
void kms_session_shares_free(session_shares *shares);

/* NULL: the wallet has no session. */
session_share *kms_session_shares_find(session_shares *shares, kms_session_kind kind,
				       const uint8_t wallet20[20]);
/* A wallet's share without sessions, which the caller fills or forgets; NULL: no memory. Needs no lock. */
session_share *kms_session_share_new(kms_session_kind kind, const uint8_t wallet20[20]);
void kms_session_share_free(session_share *share);
/* Adds a share that kms_session_shares_find did not find, still without sessions. */
void kms_session_shares_add(session_shares *shares, session_share *share);

/* Adds a session as the wallet's newest, makes it that, or removes it; a share that becomes empty is freed.
 */
void kms_session_share_add(session_shares *shares, session_share *share, session_link *session);
void kms_session_share_use(session_shares *shares, session_share *share, session_link *session);
void kms_session_share_remove(session_shares *shares, session_share *share, session_link *session);

/* The share that makes room for a session of a kind (kms_sessions_open says which); NULL: none may. */
session_share *kms_session_shares_largest(session_shares *shares, kms_session_kind kind);

#endif
