/*
 * Known answers: whole sessions from the signed opening to the last message. Each case of session.json is
 * recomputed from its keys, nonces and plaintexts.
 */
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "kms/pop.h"
#include "session_kit.h"
#include "vectors_kit.h"

/* One side of a session. */
typedef struct party {
	kms_wallet *wallet;
	kms_p384 *p384;
	kms_x25519 *e;
	uint8_t wallet20[20];
	uint8_t e32[32];
} party;

static struct {
	party caller, node;
	kms_secret *channel;
	kms_sessions *sessions;
	kms_session *session;
	kms_session_caller *mine;
} world;

static void party_open(int *failed_, party *p, const vectors *v, const char *role)
{
	char name[32];
	*p = (party){ 0 };
	snprintf(name, sizeof(name), "%s_wallet_priv", role);
	p->wallet = wallet(text(v, name));
	snprintf(name, sizeof(name), "%s_tee_priv", role);
	p->p384 = p384(text(v, name));
	kms_wallet_address(p->wallet20, p->wallet);
	snprintf(name, sizeof(name), "%s_e_priv", role);
	kms_secret *scalar = secret(text(v, name));
	CHECK_OK(kms_x25519_new(&p->e, scalar));
	kms_secret_unref(scalar);
	memcpy(p->e32, kms_x25519_public(p->e), sizeof(p->e32));
	snprintf(name, sizeof(name), "%s_e", role);
	CHECK(bytes_are(p->e32, sizeof(p->e32), text(v, name)));
}

static void party_close(party *p)
{
	kms_wallet_free(p->wallet);
	kms_p384_free(p->p384);
	kms_x25519_free(p->e);
}

static kms_text chars(const vectors *v, const char *name)
{
	return kms_json_text(text(v, name));
}

static void hash_of(uint8_t digest32[32], const vectors *v, const char *name)
{
	MUST(kms_sha256(digest32, kms_text_span(chars(v, name))));
}

/* ---- the opening ---- */

static void check_signatures(int *failed_, const vectors *v, kms_session_kind kind)
{
	char signature[KMS_SIGNATURE_TEXT];
	uint8_t body32[32], answer32[32];
	kms_buf text_buf = kms_buf_make(KMS_BUF_PLAIN, 1000);
	kms_pop_domain domain = kind == KMS_SESSION_APP ? KMS_POP_APP_SESSION : KMS_POP_PEER_SESSION;
	hash_of(body32, v, "request_body");
	hash_of(answer32, v, "answer_body");
	const kms_pop pop = { .domain = domain,
			      .nonce = chars(v, "nonce"),
			      .timestamp = chars(v, "timestamp"),
			      .body32 = body32 };
	CHECK_OK(kms_pop_text(&text_buf, &pop, world.node.wallet20));
	CHECK(text_is((const char *)text_buf.data, text_buf.len, text(v, "message")));
	CHECK_OK(kms_pop_sign_session(signature, world.caller.wallet, domain, pop.nonce, world.node.wallet20,
				      number(v, "timestamp"), body32));
	CHECK(text_is(signature, sizeof(signature), text(v, "signature")));
	CHECK_OK(kms_session_answer_sign(signature, world.node.wallet, chars(v, "signature"), answer32));
	CHECK(text_is(signature, sizeof(signature), text(v, "answer_signature")));
	CHECK_OK(kms_session_answer_check(chars(v, "answer_signature"), chars(v, "signature"),
					  world.node.wallet20, answer32));
	kms_buf_free(&text_buf);
}

/* An envelope holds the JSON, which is what the given writer makes of what its parser reads. */
static void check_body(int *failed_, const vectors *v, const char *json_name, const char *body_name,
		       const party *sender)
{
	const char *field;
	kms_envelope envelope;
	kms_session_offer offer;
	kms_session_grant grant;
	kms_text want = chars(v, json_name);
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, KIT_LIMIT), plain = kit_buffer(), again = kit_buffer();
	CHECK_OK(kms_buf_append(&body, kms_text_span(chars(v, body_name))));
	CHECK_OK(kms_envelope_parse(&envelope, (char *)body.data, body.len));
	CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(sender->p384)));
	CHECK_OK(kms_envelope_open(&plain, &envelope, world.channel));
	CHECK(plain.len == want.len);
	CHECK_MEM(plain.data, want.text, want.len);
	if (sender == &world.caller) {
		CHECK_OK(kms_session_offer_parse(&offer, &field, &plain));
		CHECK_MEM(offer.e32, world.caller.e32, 32);
		CHECK_OK(kms_session_offer_write(&again, &offer));
	} else {
		CHECK_OK(kms_session_grant_parse(&grant, &field, &plain));
		CHECK_MEM(grant.e32, world.node.e32, 32);
		CHECK(bytes_are(grant.sid16, 16, text(v, "sid")) && grant.max_operations == 256);
		CHECK_OK(kms_session_grant_write(&again, &grant));
	}
	CHECK(again.len == want.len);
	CHECK_MEM(again.data, want.text, want.len);
	kms_buf_free(&body);
	kms_buf_free(&plain);
	kms_buf_free(&again);
}

/* The channel of both P-384 keys, under which the opening's envelopes are. */
static void open_channel(int *failed_)
{
	kms_channels *channels;
	CHECK_OK(kms_channels_new(&channels, 1));
	CHECK_OK(
	    kms_channels_get(&world.channel, channels, world.node.p384, kms_p384_public(world.caller.p384)));
	kms_channels_free(channels);
}

static void check_keys(int *failed_, const vectors *v, kms_session_kind kind)
{
	kms_secret *shared;
	kms_session_terms of_node = { 0 }, of_caller;
	kms_session_owner owner = kit_owner(kind, 1);
	CHECK_OK(kms_x25519_agree(&shared, world.caller.e, world.node.e32));
	CHECK(bytes_are(kms_secret_bytes(shared), 32, text(v, "shared_secret")));
	kms_secret_unref(shared);
	CHECK_OK(kms_session_salt(of_node.salt32, kms_text_span(chars(v, "message")),
				  kms_text_span(chars(v, "request_body")),
				  kms_text_span(chars(v, "answer_body"))));
	CHECK(bytes_are(of_node.salt32, 32, text(v, "salt")));
	fixed(of_node.sid16, 16, text(v, "sid"));
	of_caller = of_node;
	memcpy(of_node.peer_e32, world.caller.e32, 32);
	memcpy(of_caller.peer_e32, world.node.e32, 32);
	CHECK_OK(kms_sessions_open(world.sessions, &world.node.e, &owner, &of_node, KIT_NOW));
	CHECK_OK(kms_session_caller_new(&world.mine, &world.caller.e, &of_caller));
	CHECK_OK(kms_sessions_find(&world.session, world.sessions, of_node.sid16, KIT_NOW));
	CHECK(bytes_are(world.session->keys.c2s32, 32, text(v, "c2s")));
	CHECK(bytes_are(world.session->keys.s2c32, 32, text(v, "s2c")));
	CHECK_MEM(&world.mine->keys, &world.session->keys, sizeof(session_keys));
}

/* ---- messages ---- */

static kms_text part(const vectors *v, const kms_json_value *message, const char *name)
{
	return kms_json_text(member(v, message, name));
}

static void check_message(int *failed_, const vectors *v, const kms_json_value *message)
{
	uint64_t seq, time_ms;
	kms_session_call *call;
	kms_session_content content;
	kms_text asked = part(v, message, "request_json"), answered = part(v, message, "answer_json");
	kms_buf request = kit_buffer(), answer = kit_buffer();
	CHECK_OK(kms_decimal_parse(&seq, part(v, message, "seq")));
	CHECK_OK(kms_decimal_parse(&time_ms, part(v, message, "time_ms")));

	world.mine->taken = seq; /* a session that has come so far */
	CHECK_OK(kms_session_request_begin(&request, asked.len));
	CHECK_OK(kms_buf_append(&request, kms_text_span(asked)));
	CHECK_OK(kms_session_request_seal(&request, world.mine, seq, time_ms));
	CHECK(bytes_are(request.data, request.len, member(v, message, "request")));
	CHECK_OK(kms_session_request_open(&call, &request, world.session, KIT_NOW));
	CHECK_OK(kms_session_call_content(&content, call));
	CHECK(content.time_ms == time_ms && content.json.len == asked.len);
	CHECK_MEM(content.json.text, asked.text, asked.len);

	CHECK_OK(kms_session_answer_begin(&answer, answered.len));
	CHECK_OK(kms_buf_append(&answer, kms_text_span(answered)));
	CHECK_OK(kms_session_answer_seal(&answer, call, time_ms));
	CHECK(bytes_are(answer.data, answer.len, member(v, message, "answer")));
	CHECK_OK(kms_session_answer_open(&content, &answer, world.mine, seq));
	CHECK(content.time_ms == time_ms && content.json.len == answered.len);
	CHECK_MEM(content.json.text, answered.text, answered.len);

	kms_session_call_free(call);
	kms_buf_free(&request);
	kms_buf_free(&answer);
}

static void check_mac(int *failed_, const vectors *v, const kms_json_value *message)
{
	uint64_t seq;
	uint8_t mac32[32];
	kms_secret *master = secret(text(v, "master_secret")), *key;
	CHECK_OK(kms_sync_key(&key, master));
	CHECK_OK(kms_decimal_parse(&seq, part(v, message, "seq")));
	CHECK_OK(kms_session_mac(mac32, key, kms_session_salt_of(world.session), seq));
	CHECK(bytes_are(mac32, 32, member(v, message, "mac")));
	kms_secret_unref(master);
	kms_secret_unref(key);
}

static void check_session(int *failed_, const vectors *v)
{
	kms_session_kind kind = text_is("peer", 4, text(v, "kind")) ? KMS_SESSION_PEER : KMS_SESSION_APP;
	const kms_json_value *messages = text(v, "messages");
	world.sessions = kit_table(4, 4, 3600);
	CALL(party_open, &world.caller, v, "caller");
	CALL(party_open, &world.node, v, "node");
	open_channel(failed_);
	CHECK(!*failed_);
	CALL(check_signatures, v, kind);
	CALL(check_body, v, "offer", "request_body", &world.caller);
	CALL(check_body, v, "grant", "answer_body", &world.node);
	CALL(check_keys, v, kind);
	CHECK(messages->count >= 4);
	const kms_json_value *message = kms_json_first(&v->json, messages);
	for (uint32_t i = 0; i < messages->count; i++, message = kms_json_next(&v->json, message)) {
		CALL(check_message, v, message);
		CALL(check_mac, v, message);
	}
	kms_session_caller_free(world.mine);
	kms_session_unref(world.session);
	kms_sessions_free(world.sessions);
	kms_secret_unref(world.channel);
	party_close(&world.caller);
	party_close(&world.node);
}

TEST(every_session_is_recomputed)
{
	each(failed_, "session", check_session);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(every_session_is_recomputed))
