/* Sessions for tests: both ends of one, owners, messages. */
#ifndef KMS_SPEC_SESSION_KIT_H
#define KMS_SPEC_SESSION_KIT_H

#include "kms/session_table.h"
#include "material.h"
#include "protocol/session_table_internal.h"

#define KIT_NOW 1000u               /* monotonic seconds */
#define KIT_TIME_MS 1700000000123u  /* wall clock */
#define KIT_LIMIT ((size_t)1 << 20) /* bytes of a buffer */

/* Both ends of one session. */
typedef struct kit_pair {
	kms_sessions *sessions;
	kms_session *session;
	kms_session_caller *caller;
} kit_pair;

static inline kms_sessions *kit_table(size_t max, unsigned per_wallet, unsigned ttl_s)
{
	kms_sessions *sessions;
	const kms_sessions_config config = { .max = max, .per_wallet = per_wallet, .ttl_s = ttl_s };
	MUST(kms_sessions_new(&sessions, &config));
	return sessions;
}

static inline kms_session_owner kit_owner(kms_session_kind kind, unsigned wallet)
{
	kms_session_owner owner = { .kind = kind, .app_id = kind == KMS_SESSION_APP ? 49 : 0 };
	memcpy(owner.wallet20, &wallet, sizeof(wallet));
	return owner;
}

static inline kms_x25519 *kit_ephemeral(uint8_t fill)
{
	uint8_t scalar[32];
	kms_x25519 *key;
	kms_secret *secret;
	memset(scalar, fill, sizeof(scalar));
	MUST(kms_secret_new(&secret, KMS_SPAN(scalar)));
	MUST(kms_x25519_new(&key, secret));
	kms_secret_unref(secret);
	return key;
}

/* A sid that shows its number. */
static inline void kit_sid(uint8_t sid16[16], unsigned number)
{
	memset(sid16, 0x5a, KMS_SESSION_SID);
	memcpy(sid16, &number, sizeof(number));
}

/* Both ends of a session of the table, which is `sid`'s by number, under keys that depend on it. */
static inline kit_pair kit_open_in(kms_sessions *sessions, unsigned sid, kms_session_owner owner,
				   uint64_t now_s)
{
	kit_pair pair = { .sessions = sessions };
	kms_session_terms caller_terms = { { 0 }, { 0 }, { 7 } }, node_terms;
	kms_x25519 *mine = kit_ephemeral(1), *theirs = kit_ephemeral(2);
	kit_sid(caller_terms.sid16, sid);
	memcpy(caller_terms.salt32, &sid, sizeof(sid));
	node_terms = caller_terms;
	memcpy(node_terms.peer_e32, kms_x25519_public(mine), 32);
	memcpy(caller_terms.peer_e32, kms_x25519_public(theirs), 32);
	MUST(kms_sessions_open(sessions, &theirs, &owner, &node_terms, now_s));
	MUST(kms_session_caller_new(&pair.caller, &mine, &caller_terms));
	MUST(kms_sessions_find(&pair.session, sessions, node_terms.sid16, now_s));
	return pair;
}

/* A session in a table of its own. */
static inline kit_pair kit_open(unsigned sid)
{
	return kit_open_in(kit_table(4, 4, 3600), sid, kit_owner(KMS_SESSION_APP, 1), KIT_NOW);
}

static inline void kit_end(kit_pair *pair)
{
	kms_session_caller_free(pair->caller);
	kms_session_unref(pair->session);
}

static inline void kit_close(kit_pair *pair)
{
	kit_end(pair);
	kms_sessions_free(pair->sessions);
}

static inline kms_buf kit_buffer(void)
{
	return kms_buf_make(KMS_BUF_GUARDED, KIT_LIMIT);
}

static inline kms_buf kit_copy(const kms_buf *of)
{
	kms_buf copy = kms_buf_make(KMS_BUF_WIPED, KIT_LIMIT);
	MUST(kms_buf_append(&copy, kms_buf_span(of)));
	return copy;
}

/* A request with this number, under the session's keys, past what a caller refuses to seal. */
static inline kms_buf kit_request(const kit_pair *pair, uint64_t seq, const char *json)
{
	kms_buf message = kit_buffer();
	MUST(kms_session_request_begin(&message, strlen(json)));
	MUST(kms_buf_append_text(&message, json));
	MUST(kms_session_form_seal(&message, SESSION_REQUEST, &pair->session->keys, seq, KIT_TIME_MS));
	return message;
}

static inline kms_status kit_answer(kms_buf *answer, kms_session_call *call, const char *json)
{
	*answer = kit_buffer();
	MUST(kms_session_answer_begin(answer, strlen(json)));
	MUST(kms_buf_append_text(answer, json));
	return kms_session_answer_seal(answer, call, KIT_TIME_MS + 1);
}

/* What the node makes of a copy of a request; one that opens is answered. */
static inline kms_status kit_receive(const kit_pair *pair, const kms_buf *request)
{
	kms_session_call *call = NULL;
	kms_buf copy = kit_copy(request), answer = kit_buffer();
	kms_status status = kms_session_request_open(&call, &copy, pair->session, KIT_NOW);
	if (call) MUST(kit_answer(&answer, call, "{}"));
	kms_session_call_free(call);
	kms_buf_free(&answer);
	kms_buf_free(&copy);
	return status;
}

/* Sends a new request with this number. */
static inline kms_status kit_send(const kit_pair *pair, uint64_t seq)
{
	kms_buf request = kit_request(pair, seq, "{}");
	kms_status status = kit_receive(pair, &request);
	kms_buf_free(&request);
	return status;
}

/* The call of a request with this number; its buffer is gone. */
static inline kms_session_call *kit_call(const kit_pair *pair, uint64_t seq)
{
	kms_session_call *call;
	kms_buf request = kit_request(pair, seq, "{}");
	MUST(kms_session_request_open(&call, &request, pair->session, KIT_NOW));
	kms_buf_free(&request);
	return call;
}

static inline bool kit_is_open(kms_sessions *sessions, unsigned sid, uint64_t now_s)
{
	uint8_t sid16[16];
	kms_session *session;
	kit_sid(sid16, sid);
	kms_status status = kms_sessions_find(&session, sessions, sid16, now_s);
	kms_session_unref(session);
	return status == KMS_OK;
}

/* Adds a session without a key agreement, which is what most of an opening costs. */
static inline kms_status kit_add(kms_sessions *sessions, unsigned sid, kms_session_owner owner,
				 uint64_t now_s)
{
	kms_session *made = kms_session_make(sessions, &owner);
	if (!made) return KMS_ERR_LOCKED_MEMORY;
	kit_sid(made->keys.sid16, sid);
	return kms_sessions_add(sessions, made, now_s);
}

#endif
