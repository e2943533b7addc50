/* References to sessions, which keep the keys and the table's memory. */
#include "base/ensure.h"
#include "base/mem.h"
#include "protocol/session_table_internal.h"

void kms_sessions_unref(kms_sessions *sessions)
{
	if (atomic_fetch_sub_explicit(&sessions->references, 1, memory_order_acq_rel) != 1) return;
	kms_session_shares_free(&sessions->shares);
	kms_heap_free(sessions->buckets);
	(void)pthread_mutex_destroy(&sessions->lock);
	kms_heap_free(sessions);
}

kms_session *kms_session_make(kms_sessions *sessions, const kms_session_owner *owner)
{
	kms_session *made = kms_guarded_alloc(sizeof(*made));
	ENSURE(made, NULL);
	atomic_init(&made->references, 1);
	made->owner = *owner;
	made->table = sessions;
	atomic_fetch_add_explicit(&sessions->references, 1, memory_order_relaxed);
	return made;
}

kms_session *kms_session_ref(kms_session *session)
{
	if (session) atomic_fetch_add_explicit(&session->references, 1, memory_order_relaxed);
	return session;
}

void kms_session_unref(kms_session *session)
{
	if (!session) return;
	if (atomic_fetch_sub_explicit(&session->references, 1, memory_order_acq_rel) != 1) return;
	kms_sessions *table = session->table;
	kms_guarded_free(session);
	kms_sessions_unref(table);
}

const kms_session_owner *kms_session_owner_of(const kms_session *session)
{
	return &session->owner;
}

const uint8_t *kms_session_salt_of(const kms_session *session)
{
	return session->keys.salt32;
}
