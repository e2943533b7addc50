/* The table of sessions: locks around session_index.c. */
#include "base/ensure.h"
#include "base/mem.h"
#include "protocol/session_table_internal.h"

#define MIN_TTL_S 4
#define IDLE_SHARE 4 /* a session ends after a quarter of its life without use */
#define CACHE_LINE 64
#define EXPIRE_CALL 256 /* sessions that kms_sessions_expire ends at most */

static kms_status table_fill(kms_sessions *made, const kms_sessions_config *config)
{
	size_t buckets = 1;
	while (buckets < config->max)
		buckets *= 2;
	made->mask = buckets - 1;
	made->max = config->max;
	made->ttl_s = config->ttl_s;
	made->idle_s = config->ttl_s / IDLE_SHARE;
	session_ring_make(&made->by_use);
	session_ring_make(&made->by_opening);
	GUARD(kms_siphash_key_new(&made->hash_key));
	made->buckets = kms_heap_alloc(buckets, sizeof(kms_session *));
	ENSURE(made->buckets, KMS_ERR_MEMORY);
	return kms_session_shares_make(&made->shares, buckets, config->per_wallet);
}

kms_status kms_sessions_new(kms_sessions **sessions, const kms_sessions_config *config)
{
	ENSURE_REF(sessions);
	*sessions = NULL;
	ENSURE_REF(config);
	ENSURE(config->max >= 1 && config->max <= KMS_SESSIONS_MAX, KMS_ERR_RANGE);
	ENSURE(config->per_wallet >= 1 && config->per_wallet <= KMS_SESSIONS_PER_WALLET, KMS_ERR_RANGE);
	ENSURE(config->ttl_s >= MIN_TTL_S && config->ttl_s <= KMS_SESSIONS_TTL_MAX, KMS_ERR_RANGE);
	kms_sessions *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	atomic_init(&made->references, 1);
	(void)pthread_mutex_init(&made->lock, NULL);
	kms_status status = table_fill(made, config);
	if (status != KMS_OK) {
		kms_sessions_unref(made);
		return status;
	}
	*sessions = made;
	return KMS_OK;
}

void kms_sessions_free(kms_sessions *sessions)
{
	session_link *oldest;
	if (!sessions) return;
	pthread_mutex_lock(&sessions->lock);
	while ((oldest = session_ring_oldest(&sessions->by_opening)))
		kms_session_index_end(sessions, SESSION_OF(kms_session, by_opening, oldest));
	pthread_mutex_unlock(&sessions->lock);
	kms_sessions_unref(sessions);
}

kms_status kms_sessions_add(kms_sessions *sessions, kms_session *session, uint64_t now_s)
{
	DEFER(kms_session_release) kms_session *unused = session;
	session_share *spare = kms_session_share_new(session->owner.kind, session->owner.wallet20);
	ENSURE(spare, KMS_ERR_MEMORY);
	pthread_mutex_lock(&sessions->lock);
	kms_session_index_advance(sessions, now_s);
	kms_status status = kms_session_index_add(sessions, session, &spare);
	if (status == KMS_OK) unused = NULL;
	pthread_mutex_unlock(&sessions->lock);
	kms_session_share_free(spare);
	return status;
}

kms_status kms_sessions_open(kms_sessions *sessions, kms_x25519 **own, const kms_session_owner *owner,
			     const kms_session_terms *terms, uint64_t now_s)
{
	ENSURE_REF(own);
	DEFER(kms_x25519_release) kms_x25519 *key = *own;
	*own = NULL;
	ENSURE_REF(key);
	ENSURE_REF(sessions);
	ENSURE_REF(owner);
	ENSURE_REF(terms);
	ENSURE(owner->kind == KMS_SESSION_APP || owner->kind == KMS_SESSION_PEER, KMS_ERR_ARGUMENT);
	DEFER(kms_session_release) kms_session *made = kms_session_make(sessions, owner);
	ENSURE(made, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_session_keys_derive(&made->keys, &key, terms));
	return kms_sessions_add(sessions, kms_session_ref(made), now_s);
}

/*
 * Has the processor fetch what the message of a session is going to touch, while its first steps go on: with
 * thousands of sessions none of it is in a cache, and each miss would be waited for. 1 % of a message.
 */
static void prefetch(const kms_session *s)
{
	for (size_t offset = 0; offset < sizeof(*s); offset += CACHE_LINE)
		__builtin_prefetch((const uint8_t *)s + offset, 1);
	const void *const beside[] = { s->share, s->in_share.newer, s->in_share.older, s->by_use.newer,
				       s->by_use.older };
	for (size_t i = 0; i < KMS_ARRAY_LEN(beside); i++)
		__builtin_prefetch(beside[i], 1);
}

kms_status kms_sessions_find(kms_session **session, kms_sessions *sessions, const uint8_t sid16[16],
			     uint64_t now_s)
{
	ENSURE_REF(session);
	*session = NULL;
	ENSURE_REF(sessions);
	ENSURE_REF(sid16);
	pthread_mutex_lock(&sessions->lock);
	kms_session_index_advance(sessions, now_s);
	*session = kms_session_ref(kms_session_index_find(sessions, sid16));
	if (*session) prefetch(*session);
	pthread_mutex_unlock(&sessions->lock);
	return *session ? KMS_OK : KMS_ERR_NOT_FOUND;
}

void kms_session_end(kms_session *session)
{
	if (!session) return;
	kms_sessions *table = session->table;
	pthread_mutex_lock(&table->lock);
	if (session->share) kms_session_index_end(table, session);
	pthread_mutex_unlock(&table->lock);
}

size_t kms_sessions_end_one(kms_sessions *sessions, kms_session_kind kind, const uint8_t wallet20[20],
			    const uint8_t sid16[16])
{
	ENSURE(sessions && wallet20 && sid16, 0);
	pthread_mutex_lock(&sessions->lock);
	kms_session *found = kms_session_index_find(sessions, sid16);
	bool own = found && found->owner.kind == kind && kms_equal_ct(found->owner.wallet20, wallet20, 20);
	if (own) kms_session_index_end(sessions, found);
	pthread_mutex_unlock(&sessions->lock);
	return own;
}

size_t kms_sessions_end_wallet(kms_sessions *sessions, kms_session_kind kind, const uint8_t wallet20[20])
{
	ENSURE(sessions && wallet20, 0);
	pthread_mutex_lock(&sessions->lock);
	session_share *share = kms_session_shares_find(&sessions->shares, kind, wallet20);
	size_t count = share ? share->count : 0;
	for (size_t i = 0; i < count; i++)
		kms_session_index_end_idlest(sessions, share); /* the last one frees the share */
	pthread_mutex_unlock(&sessions->lock);
	return count;
}

size_t kms_sessions_expire(kms_sessions *sessions, uint64_t now_s)
{
	if (!sessions) return 0;
	pthread_mutex_lock(&sessions->lock);
	kms_session_index_advance(sessions, now_s);
	size_t ended = kms_session_index_expire(sessions, EXPIRE_CALL);
	pthread_mutex_unlock(&sessions->lock);
	return ended;
}

size_t kms_sessions_count(kms_sessions *sessions, kms_session_kind kind)
{
	if (!sessions) return 0;
	pthread_mutex_lock(&sessions->lock);
	size_t count = sessions->count[kind == KMS_SESSION_PEER];
	pthread_mutex_unlock(&sessions->lock);
	return count;
}

static kms_status test(const kms_session *session, uint64_t seq)
{
	ENSURE(session->share, KMS_ERR_NOT_FOUND);
	return kms_session_window_is_new(&session->window, seq) ? KMS_OK : KMS_ERR_POP_NONCE_USED;
}

kms_status kms_session_test(kms_session *session, uint64_t seq)
{
	pthread_mutex_lock(&session->table->lock);
	kms_status status = test(session, seq);
	pthread_mutex_unlock(&session->table->lock);
	return status;
}

static kms_status mark(kms_sessions *t, kms_session *session, uint64_t seq, uint64_t now_s)
{
	GUARD(test(session, seq));
	(void)kms_session_window_mark(&session->window, seq);
	kms_session_index_advance(t, now_s);
	kms_session_index_use(t, session);
	return KMS_OK;
}

kms_status kms_session_mark(kms_session *session, uint64_t seq, uint64_t now_s)
{
	pthread_mutex_lock(&session->table->lock);
	kms_status status = mark(session->table, session, seq, now_s);
	pthread_mutex_unlock(&session->table->lock);
	return status;
}
