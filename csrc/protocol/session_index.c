/* Which sessions there are, and which of them end: all under the table's lock. */
#include "base/ensure.h"
#include "protocol/session_table_internal.h"

#define EXPIRE_OPENING 2  /* expired sessions that an opening ends at most */
#define BLOCK_OVERHEAD 16 /* of the arena and of malloc */

_Static_assert(sizeof(kms_session) + sizeof(session_share) + 4 * sizeof(void *) + 2 * BLOCK_OVERHEAD <=
		   KMS_SESSION_BYTES,
	       "a session and its part of both hash tables fit");

static kms_session **bucket_of(kms_sessions *t, const uint8_t sid16[16])
{
	return &t->buckets[kms_siphash(&t->hash_key, kms_span_of(sid16, KMS_SESSION_SID)) & t->mask];
}

static kms_session *look_up(kms_sessions *t, const uint8_t sid16[16])
{
	for (kms_session *s = *bucket_of(t, sid16); s; s = s->next)
		if (kms_equal_ct(s->keys.sid16, sid16, KMS_SESSION_SID)) return s;
	return NULL;
}

void kms_session_index_end(kms_sessions *t, kms_session *s)
{
	kms_session **link = bucket_of(t, s->keys.sid16);
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	kms_session_share_remove(&t->shares, s->share, &s->in_share);
	session_ring_remove(&s->by_use);
	session_ring_remove(&s->by_opening);
	s->share = NULL;
	t->count[s->owner.kind]--;
	kms_session_unref(s);
}

void kms_session_index_advance(kms_sessions *t, uint64_t now_s)
{
	if (now_s > t->now_s) t->now_s = now_s;
}

static bool is_expired(const kms_sessions *t, const kms_session *s)
{
	return t->now_s - s->opened_s >= t->ttl_s || t->now_s - s->used_s >= t->idle_s;
}

static bool end_if_expired(kms_sessions *t, kms_session *s)
{
	if (!is_expired(t, s)) return false;
	kms_session_index_end(t, s);
	return true;
}

kms_session *kms_session_index_find(kms_sessions *t, const uint8_t sid16[16])
{
	kms_session *found = look_up(t, sid16);
	return found && !end_if_expired(t, found) ? found : NULL;
}

size_t kms_session_index_expire(kms_sessions *t, size_t most)
{
	for (size_t ended = 0; ended < most; ended++) {
		session_link *idle = session_ring_oldest(&t->by_use),
			     *old = session_ring_oldest(&t->by_opening);
		if (!idle) return ended;
		if (!end_if_expired(t, SESSION_OF(kms_session, by_use, idle)) &&
		    !end_if_expired(t, SESSION_OF(kms_session, by_opening, old)))
			return ended;
	}
	return most;
}

void kms_session_index_end_idlest(kms_sessions *t, session_share *share)
{
	kms_session_index_end(t, SESSION_OF(kms_session, in_share, session_ring_oldest(&share->sessions)));
}

/* Room for one more session of this owner, within its share and within the table. */
static kms_status make_room(kms_sessions *t, const kms_session_owner *owner)
{
	session_share *share = kms_session_shares_find(&t->shares, owner->kind, owner->wallet20);
	if (share && share->count == t->shares.most) kms_session_index_end_idlest(t, share);
	if (t->count[KMS_SESSION_APP] + t->count[KMS_SESSION_PEER] < t->max) return KMS_OK;
	share = kms_session_shares_largest(&t->shares, owner->kind);
	ENSURE(share, KMS_ERR_BUSY);
	kms_session_index_end_idlest(t, share);
	return KMS_OK;
}

static void link_session(kms_sessions *t, kms_session *s, session_share *share)
{
	kms_session **bucket = bucket_of(t, s->keys.sid16);
	s->opened_s = s->used_s = t->now_s;
	s->next = *bucket;
	*bucket = s;
	s->share = share;
	kms_session_share_add(&t->shares, share, &s->in_share);
	session_ring_add(&t->by_use, &s->by_use);
	session_ring_add(&t->by_opening, &s->by_opening);
	t->count[s->owner.kind]++;
}

kms_status kms_session_index_add(kms_sessions *t, kms_session *s, session_share **spare)
{
	kms_session_index_expire(t, EXPIRE_OPENING);
	ENSURE(!look_up(t, s->keys.sid16), KMS_ERR_STATE);
	GUARD(make_room(t, &s->owner));
	session_share *share = kms_session_shares_find(&t->shares, s->owner.kind, s->owner.wallet20);
	if (!share) {
		share = *spare;
		*spare = NULL;
		kms_session_shares_add(&t->shares, share);
	}
	link_session(t, s, share);
	return KMS_OK;
}

void kms_session_index_use(kms_sessions *t, kms_session *s)
{
	s->used_s = t->now_s;
	kms_session_share_use(&t->shares, s->share, &s->in_share);
	session_ring_remove(&s->by_use);
	session_ring_add(&t->by_use, &s->by_use);
}
