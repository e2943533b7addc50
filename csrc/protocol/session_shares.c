#include "protocol/session_shares_internal.h"

#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"

kms_status kms_session_shares_make(session_shares *shares, size_t buckets, unsigned most)
{
	*shares = (session_shares){ .mask = buckets - 1, .most = most };
	for (unsigned count = 0; count <= KMS_SESSIONS_PER_WALLET; count++) {
		session_ring_make(&shares->by_count[KMS_SESSION_APP][count]);
		session_ring_make(&shares->by_count[KMS_SESSION_PEER][count]);
	}
	GUARD(kms_siphash_key_new(&shares->hash_key));
	shares->buckets = kms_heap_alloc(buckets, sizeof(session_share *));
	return shares->buckets ? KMS_OK : KMS_ERR_MEMORY;
}

void kms_session_shares_free(session_shares *shares)
{
	kms_heap_free(shares->buckets);
	shares->buckets = NULL;
}

static session_share **bucket_of(session_shares *shares, kms_session_kind kind, const uint8_t wallet20[20])
{
	uint64_t hash = kms_siphash_tagged(&shares->hash_key, (uint64_t)kind, kms_span_of(wallet20, 20));
	return &shares->buckets[hash & shares->mask];
}

session_share *kms_session_shares_find(session_shares *shares, kms_session_kind kind,
				       const uint8_t wallet20[20])
{
	for (session_share *s = *bucket_of(shares, kind, wallet20); s; s = s->next)
		if (s->kind == kind && kms_equal_ct(s->wallet20, wallet20, sizeof(s->wallet20))) return s;
	return NULL;
}

session_share *kms_session_share_new(kms_session_kind kind, const uint8_t wallet20[20])
{
	session_share *share = kms_heap_alloc(1, sizeof(*share));
	ENSURE(share, NULL);
	share->kind = kind;
	memcpy(share->wallet20, wallet20, sizeof(share->wallet20));
	session_ring_make(&share->sessions);
	return share;
}

void kms_session_share_free(session_share *share)
{
	kms_heap_free(share);
}

void kms_session_shares_add(session_shares *shares, session_share *share)
{
	session_share **bucket = bucket_of(shares, share->kind, share->wallet20);
	share->next = *bucket;
	*bucket = share;
	session_ring_add(&shares->by_count[share->kind][0], &share->place);
}

/* Puts a share behind all others with as many sessions: it is the one used last. */
static void place(session_shares *shares, session_share *share, unsigned count)
{
	session_ring_remove(&share->place);
	share->count = count;
	session_ring_add(&shares->by_count[share->kind][count], &share->place);
}

void kms_session_share_add(session_shares *shares, session_share *share, session_link *session)
{
	session_ring_add(&share->sessions, session);
	place(shares, share, share->count + 1);
}

void kms_session_share_use(session_shares *shares, session_share *share, session_link *session)
{
	session_ring_remove(session);
	session_ring_add(&share->sessions, session);
	place(shares, share, share->count);
}

static void forget(session_shares *shares, session_share *share)
{
	session_share **link = bucket_of(shares, share->kind, share->wallet20);
	while (*link != share)
		link = &(*link)->next;
	*link = share->next;
	session_ring_remove(&share->place);
	kms_session_share_free(share);
}

void kms_session_share_remove(session_shares *shares, session_share *share, session_link *session)
{
	session_ring_remove(session);
	if (share->count == 1) {
		forget(shares, share);
		return;
	}
	place(shares, share, share->count - 1);
}

static session_share *idlest_with(session_shares *shares, kms_session_kind kind, unsigned count)
{
	session_link *oldest = session_ring_oldest(&shares->by_count[kind][count]);
	return oldest ? SESSION_OF(session_share, place, oldest) : NULL;
}

session_share *kms_session_shares_largest(session_shares *shares, kms_session_kind kind)
{
	for (unsigned count = shares->most; count > 0; count--) {
		session_share *share = idlest_with(shares, KMS_SESSION_APP, count);
		if (!share && kind == KMS_SESSION_PEER) share = idlest_with(shares, KMS_SESSION_PEER, count);
		if (share) return share;
	}
	return NULL;
}
