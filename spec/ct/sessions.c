/* Sessions: from hidden ephemeral keys to hidden messages both ways. */
#include "check.h"
#include "kms/session_table.h"
#include "protocol/session_internal.h"
#include "taint.h"

#define KEY 32
#define NOW_S 1000

static kms_x25519 *hidden_x25519(uint8_t seed)
{
	kms_x25519 *key;
	kms_secret *scalar = hidden_secret(KEY, seed);
	MUST(kms_x25519_new(&key, scalar));
	kms_secret_unref(scalar);
	return key;
}

static void agreement(void)
{
	static const uint8_t small[KEY] = { 1 };
	kms_x25519 *own = hidden_x25519(1), *peer = hidden_x25519(2);
	kms_secret *shared;
	/* Public keys are declassified where they are made: a branch on one is no report. */
	if (kms_x25519_public(own)[0] == kms_x25519_public(peer)[0] &&
	    memcmp(kms_x25519_public(own), kms_x25519_public(peer), KEY) == 0)
		exit(2);
	MUST(kms_x25519_agree(&shared, own, kms_x25519_public(peer)));
	kms_secret_unref(shared);
	if (kms_x25519_agree(&shared, own, small) != KMS_ERR_PEER_KEY) exit(2);
	kms_x25519_free(own);
	kms_x25519_free(peer);
	ct_hide_random(true);
	MUST(kms_x25519_generate(&own));
	kms_x25519_free(own);
}

/* A message with hidden JSON, ready to be sealed. */
static kms_buf hidden_message(session_form form)
{
	kms_buf message = kms_buf_make(KMS_BUF_GUARDED, 4096);
	kms_secret *json = hidden_secret(64, 3);
	MUST(kms_session_form_begin(&message, form, 64));
	MUST(kms_buf_append(&message, kms_secret_span(json)));
	kms_secret_unref(json);
	return message;
}

/* Refuses a message that was changed, and opens it as it was. Returns: the call. */
static kms_session_call *receive(kms_buf *message, kms_session *session)
{
	kms_session_call *call;
	kms_buf changed = kms_buf_make(KMS_BUF_GUARDED, 4096);
	show(message->data, message->len); /* it goes over the network */
	MUST(kms_buf_append(&changed, kms_buf_span(message)));
	changed.data[changed.len - 1] ^= 1;
	if (kms_session_request_open(&call, &changed, session, NOW_S) != KMS_ERR_DECRYPT) exit(2);
	MUST(kms_session_request_open(&call, message, session, NOW_S));
	kms_buf_free(&changed);
	return call;
}

static void answer(kms_session_call *call, const kms_session_caller *caller)
{
	kms_session_content content;
	kms_buf message = hidden_message(SESSION_ANSWER), changed = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_session_answer_seal(&message, call, 1));
	show(message.data, message.len);
	MUST(kms_buf_append(&changed, kms_buf_span(&message)));
	changed.data[20] ^= 1;
	if (kms_session_answer_open(&content, &changed, caller, 1) != KMS_ERR_DECRYPT) exit(2);
	MUST(kms_session_answer_open(&content, &message, caller, 1));
	if (content.json.len != 64 || content.time_ms != 1) exit(2);
	kms_buf_free(&message);
	kms_buf_free(&changed);
}

static void session(void)
{
	uint64_t seq;
	kms_sessions *sessions;
	kms_session *opened;
	kms_session_caller *caller;
	kms_session_content content;
	kms_x25519 *mine = hidden_x25519(4), *theirs = hidden_x25519(5);
	const kms_sessions_config config = { .max = 4, .per_wallet = 2, .ttl_s = 3600 };
	const kms_session_owner owner = { .app_id = 49 };
	kms_session_terms node = { .sid16 = { 1 }, .salt32 = { 2 } }, other = node;
	memcpy(node.peer_e32, kms_x25519_public(mine), KEY);
	memcpy(other.peer_e32, kms_x25519_public(theirs), KEY);
	MUST(kms_sessions_new(&sessions, &config));
	MUST(kms_sessions_open(sessions, &theirs, &owner, &node, NOW_S));
	MUST(kms_session_caller_new(&caller, &mine, &other));
	MUST(kms_sessions_find(&opened, sessions, node.sid16, NOW_S));
	MUST(kms_session_caller_take(&seq, caller));
	kms_buf message = hidden_message(SESSION_REQUEST);
	MUST(kms_session_request_seal(&message, caller, seq, 1));
	kms_session_call *call = receive(&message, opened);
	MUST(kms_session_call_content(&content, call));
	if (content.json.len != 64) exit(2);
	answer(call, caller);
	kms_session_call_free(call);
	kms_session_unref(opened);
	kms_session_caller_free(caller);
	kms_sessions_free(sessions);
	kms_buf_free(&message);
}

/* Padding that is part of a secret instead. */
static void malformed(void)
{
	uint8_t plain[256] = { 0 };
	kms_session_content content;
	memset(plain + 100, 1, 100);
	plain[11] = 1;
	hide(plain, sizeof(plain));
	if (kms_session_content_read(&content, KMS_SPAN(plain)) != KMS_ERR_TRAILING) exit(2);
	memset(plain + 8, 0xff, 4);
	hide(plain + 8, 4);
	if (kms_session_content_read(&content, KMS_SPAN(plain)) != KMS_ERR_TRUNCATED) exit(2);
}

static void mac(void)
{
	static const uint8_t salt[32] = { 1 };
	uint8_t made[32];
	kms_secret *key = hidden_secret(KEY, 6);
	char digits[2 * sizeof(made) + 1];
	MUST(kms_session_mac(made, key, salt, 1));
	memset(digits, '0', sizeof(digits) - 1);
	if (kms_session_mac_check(kms_text_of(digits, sizeof(digits) - 1), key, salt, 1) != KMS_ERR_MAC)
		exit(2);
	kms_secret_unref(key);
}

const ct_case ct_sessions[] = {
	{ "X25519", agreement },
	{ "a session's keys and messages", session },
	{ "malformed content of a session", malformed },
	{ "the MAC of members in a session", mac },
	{ NULL, NULL },
};
