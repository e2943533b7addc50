/* Short names for tests of the table of sessions. */
#ifndef KMS_SPEC_SESSION_TABLE_KIT_H
#define KMS_SPEC_SESSION_TABLE_KIT_H

#include "session_kit.h"

#define TTL 3600u

static inline kms_session_owner app(unsigned wallet)
{
	return kit_owner(KMS_SESSION_APP, wallet);
}

static inline kms_session_owner peer(unsigned wallet)
{
	return kit_owner(KMS_SESSION_PEER, wallet);
}

static inline bool is_open(kms_sessions *sessions, unsigned sid)
{
	return kit_is_open(sessions, sid, KIT_NOW);
}

static inline size_t count(kms_sessions *sessions)
{
	return kms_sessions_count(sessions, KMS_SESSION_APP) + kms_sessions_count(sessions, KMS_SESSION_PEER);
}

/* A use of a session, as an authentic message is one; each has a number of its own. */
static inline void use(kms_sessions *sessions, unsigned sid, uint64_t now_s)
{
	static uint64_t seq;
	uint8_t sid16[16];
	kms_session *session;
	kit_sid(sid16, sid);
	MUST(kms_sessions_find(&session, sessions, sid16, now_s));
	MUST(kms_session_mark(session, ++seq, now_s));
	kms_session_unref(session);
}

#endif
