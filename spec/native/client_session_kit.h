/* An application and a node with a session between them: kms/client_session.h, and the node's own functions.
 */
#ifndef KMS_SPEC_CLIENT_SESSION_KIT_H
#define KMS_SPEC_CLIENT_SESSION_KIT_H

#include "client_kit.h"
#include "kms/client_session.h"
#include "kms/codec.h"
#include "kms/session_table.h"

#define MONO_S 1000u
#define ZEROS "00000000000000000000000000000000000000000000000000000000000000"
#define E_GOOD "09" ZEROS
#define E_ZERO "00" ZEROS
#define E_ONE "01" ZEROS
#define GRANT(e, suite)                                                       \
	"{\"e\":\"" e "\",\"expires_s\":3600,\"max_operations\":256,\"sid\":" \
	"\"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\",\"suite\":\"" suite "\"}"

/* Both ends of a session. */
typedef struct pair {
	kms_client_opening opening;
	kms_client_message *message; /* empty at first */
	kms_session_caller *session;
	kms_sessions *sessions;
} pair;

/* What is wrong with the answer to an opening. */
typedef struct forgery {
	const identity *sealed_by, *signed_by; /* NULL: the node */
	bool other_body, other_signature, no_signature, cut;
	const char *grant; /* instead of an honest one */
	kms_status want;
} forgery;

static inline void pair_free(pair *p)
{
	kms_client_opening_clear(&p->opening);
	kms_client_message_free(p->message);
	kms_session_caller_free(p->session);
	kms_sessions_free(p->sessions);
	memset(p, 0, sizeof(*p));
}

static inline kms_status channel_of(kms_secret **channel, const identity *from)
{
	return kms_channels_get(channel, world.channels, from->p384, kms_p384_public(world.app.p384));
}

/* Reads what an opening asks for, as the node does; the body stays. */
static inline kms_status open_offer(kms_session_offer *offer, const kms_buf *body)
{
	const char *field;
	kms_envelope envelope;
	DEFER(kms_secret_release) kms_secret *channel = NULL;
	DEFER(kms_buf_free) kms_buf copy = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	GUARD(kms_buf_append(&copy, kms_buf_span(body)));
	GUARD(kms_envelope_parse(&envelope, (char *)copy.data, copy.len));
	GUARD(kms_envelope_check_sender(&envelope, kms_p384_public(world.app.p384)));
	GUARD(channel_of(&channel, &world.node));
	GUARD(kms_envelope_open(&plain, &envelope, channel));
	return kms_session_offer_parse(offer, &field, &plain);
}

/* The node's part of an opening: checks who asks, and seals the grant. */
static inline kms_status make_grant(kms_buf *body, kms_x25519 **own, kms_session_terms *terms,
				    const forgery *f)
{
	DEFER(kms_secret_release) kms_secret *channel = NULL;
	DEFER(kms_buf_free) kms_buf json = kms_buf_make(KMS_BUF_GUARDED, 4096);
	kms_session_grant grant = { .expires_s = 3600, .max_operations = 256 };
	const identity *from = f->sealed_by ? f->sealed_by : &world.node;
	GUARD(kms_x25519_generate(own));
	GUARD(kms_random(KMS_OUT(terms->sid16)));
	memcpy(grant.e32, kms_x25519_public(*own), 32);
	memcpy(grant.sid16, terms->sid16, 16);
	GUARD(f->grant ? kms_buf_append_text(&json, f->grant) : kms_session_grant_write(&json, &grant));
	GUARD(channel_of(&channel, from));
	return kms_envelope_seal(body, channel, kms_p384_public(from->p384), kms_buf_span(&json));
}

static inline kms_status sign_grant(char signature132[KMS_SIGNATURE_TEXT], const pair *p, const kms_buf *body,
				    const forgery *f)
{
	uint8_t body32[32];
	kms_text caller = { p->opening.signature132, KMS_SIGNATURE_TEXT };
	static const char other[KMS_SIGNATURE_TEXT] = "0x";
	if (f->other_signature) caller.text = other;
	GUARD(kms_sha256(body32, kms_buf_span(body)));
	if (f->other_body) body32[0] ^= 1;
	const identity *signer = f->signed_by ? f->signed_by : &world.node;
	return kms_session_answer_sign(signature132, signer->wallet, caller, body32);
}

static inline kms_status node_opens(pair *p, kms_x25519 **own, kms_session_terms *terms, const kms_buf *body)
{
	kms_session_owner owner = { .kind = KMS_SESSION_APP, .app_id = 7 };
	memcpy(owner.wallet20, world.app.address20, 20);
	memcpy(owner.point97, kms_p384_public(world.app.p384), 97);
	GUARD(kms_session_salt(terms->salt32, kms_buf_span(&p->opening.text), kms_buf_span(&p->opening.body),
			       kms_buf_span(body)));
	return kms_sessions_open(p->sessions, own, &owner, terms, MONO_S);
}

static inline kms_status pair_answer(pair *p, kms_session_grant *grant, const forgery *f)
{
	char signature[KMS_SIGNATURE_TEXT];
	kms_session_offer offer;
	kms_session_terms terms = { 0 };
	DEFER(kms_x25519_release) kms_x25519 *own = NULL;
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	GUARD(open_offer(&offer, &p->opening.body));
	memcpy(terms.peer_e32, offer.e32, 32);
	GUARD(make_grant(&body, &own, &terms, f));
	GUARD(sign_grant(signature, p, &body, f));
	if (!f->grant) GUARD(node_opens(p, &own, &terms, &body));
	if (f->cut) body.len--;
	kms_text text = f->no_signature ? KMS_NO_TEXT : kms_text_of(signature, sizeof(signature));
	return kms_client_opening_finish(&p->session, grant, &p->opening, &body, world.client, text);
}

/* Opens a session. In: f - what is wrong with the node's answer; NULL: nothing. */
static inline kms_status pair_open(pair *p, kms_session_grant *grant, const forgery *f)
{
	static const kms_sessions_config config = { .max = 4, .per_wallet = 4, .ttl_s = 3600 };
	static const forgery honest;
	memset(p, 0, sizeof(*p));
	GUARD(kms_client_message_new(&p->message));
	GUARD(kms_sessions_new(&p->sessions, &config));
	GUARD(kms_client_opening_begin(&p->opening, world.client, NULL, kms_text_from("nonce"), NOW_S));
	return pair_answer(p, grant, f ? f : &honest);
}

/* Makes the pair's message anew: of these requests. */
static inline kms_status pair_ask(pair *p, const kms_request *requests, size_t count)
{
	kms_client_message_free(p->message);
	GUARD(kms_client_message_new(&p->message));
	for (size_t i = 0; i < count; i++)
		GUARD(kms_client_message_add(p->message, &requests[i]));
	return KMS_OK;
}

/*
 * Sends the pair's message to the node, which finds `json` in it (NULL: whatever) and answers `result`.
 * Out: answer - guarded: as sent.
 */
static inline kms_status pair_exchange(pair *p, uint64_t *seq, kms_buf *answer, const char *json,
				       kms_text result)
{
	uint8_t sid16[16];
	kms_session_content content;
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_GUARDED, 1 << 22);
	DEFER(kms_session_release) kms_session *session = NULL;
	DEFER(kms_session_call_release) kms_session_call *call = NULL;
	GUARD(kms_client_message_seal(&sealed, seq, p->message, p->session, NOW_MS));
	uint64_t head_seq;
	GUARD(kms_session_head_parse(sid16, &head_seq, kms_buf_span(&sealed)));
	ENSURE(head_seq == *seq, KMS_ERR_RANGE);
	GUARD(kms_sessions_find(&session, p->sessions, sid16, MONO_S));
	GUARD(kms_session_request_open(&call, &sealed, session, MONO_S));
	GUARD(kms_session_call_content(&content, call));
	ENSURE(content.time_ms == NOW_MS, KMS_ERR_RANGE);
	if (json) ENSURE(kms_text_compare(content.json, kms_text_from(json)) == 0, KMS_ERR_FIELD_VALUE);
	GUARD(kms_session_answer_begin(answer, result.len));
	if (result.len) GUARD(kms_buf_append(answer, kms_text_span(result)));
	return kms_session_answer_seal(answer, call, NOW_MS);
}

/* One operation, which the node must find as this JSON. */
static inline void ask(int *failed_, pair *p, const char *json, const kms_request *request)
{
	uint64_t seq;
	kms_buf answer = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	CHECK_OK(pair_ask(p, request, 1));
	CHECK_OK(pair_exchange(p, &seq, &answer, json, KMS_TEXT("{}")));
	kms_buf_free(&answer);
}

#endif
