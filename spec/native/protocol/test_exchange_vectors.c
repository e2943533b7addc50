/*
 * Known answers: whole exchanges from the nonce to the verified reply, of applications and of nodes. Each
 * case of exchange.json is recomputed from its keys, nonces and plaintexts.
 */
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "kms/pop.h"
#include "kms/request.h"
#include "store_config.h"
#include "vectors_kit.h"

/* One side of an exchange. */
typedef struct party {
	kms_wallet *wallet;
	kms_p384 *p384;
	uint8_t wallet20[20];
} party;

/* A case's two sides and what they share. The store lives on: a GET reads what the PUT before it wrote. */
static struct {
	party caller, node;
	kms_secret *master, *channel;
	kms_store *store;
} world;

static party party_of(int *failed_, const vectors *v, const char *role)
{
	char name[32];
	party p = { 0 };
	uint8_t der[KMS_P384_DER];
	snprintf(name, sizeof(name), "%s_wallet_priv", role);
	p.wallet = wallet(text(v, name));
	snprintf(name, sizeof(name), "%s_tee_priv", role);
	p.p384 = p384(text(v, name));
	kms_wallet_address(p.wallet20, p.wallet);
	kms_p384_der(der, kms_p384_public(p.p384));
	snprintf(name, sizeof(name), "%s_tee_pubkey", role);
	if (!bytes_are(der, sizeof(der), text(v, name))) *failed_ = 1;
	return p;
}

static void party_free(party *p)
{
	kms_wallet_free(p->wallet);
	kms_p384_free(p->p384);
}

/* The signature over the case's text is the one of the protocol's function. */
static void check_signed(int *failed_, const vectors *v, const char *message, const char *signature,
			 const party *signer, const char got132[KMS_SIGNATURE_TEXT])
{
	uint8_t sig65[65];
	char text132[KMS_SIGNATURE_TEXT];
	CHECK(text_is(got132, KMS_SIGNATURE_TEXT, text(v, signature)));
	CHECK_OK(
	    kms_wallet_sign_message(sig65, signer->wallet, kms_text_span(kms_json_text(text(v, message)))));
	kms_signature_format(text132, sig65);
	CHECK_MEM(text132, got132, KMS_SIGNATURE_TEXT);
}

static void check_signatures(int *failed_, const vectors *v)
{
	char signature132[KMS_SIGNATURE_TEXT];
	kms_pop_domain domain = text_is("peer", 4, text(v, "caller")) ? KMS_POP_PEER : KMS_POP_APP;
	CHECK_OK(kms_pop_sign(signature132, world.caller.wallet, domain, kms_json_text(text(v, "nonce")),
			      world.node.wallet20, number(v, "timestamp")));
	CALL(check_signed, v, "message", "signature", &world.caller, signature132);

	kms_text own = kms_json_text(text(v, "signature"));
	CHECK_OK(kms_response_sign(signature132, world.node.wallet, own));
	CALL(check_signed, v, "response_message", "response_signature", &world.node, signature132);
	CHECK_OK(kms_response_check(kms_json_text(text(v, "response_signature")), own, world.node.wallet20));
}

static void check_channel(int *failed_, const vectors *v)
{
	kms_secret *x;
	kms_channels *channels;
	CHECK_OK(kms_p384_ecdh(&x, world.caller.p384, kms_p384_public(world.node.p384)));
	CHECK(bytes_are(kms_secret_bytes(x), 48, text(v, "shared_secret")));
	kms_secret_unref(x);
	CHECK_OK(kms_channels_new(&channels, 1));
	CHECK_OK(
	    kms_channels_get(&world.channel, channels, world.node.p384, kms_p384_public(world.caller.p384)));
	CHECK(bytes_are(kms_secret_bytes(world.channel), 32, text(v, "channel_key")));
	kms_channels_free(channels);
}

/* The body opens to the plaintext, and with the body's nonce the plaintext is sealed to the same bytes. */
static void check_body(int *failed_, const vectors *v, const char *plain_name, const char *body_name,
		       const party *sender)
{
	uint8_t nonce32[32];
	kms_envelope envelope;
	kms_text plain = kms_json_text(text(v, plain_name)), want = kms_json_text(text(v, body_name));
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), sealed = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 16);
	CHECK_OK(kms_buf_append(&body, kms_text_span(want)));
	CHECK_OK(kms_envelope_parse(&envelope, (char *)body.data, body.len));
	CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(sender->p384)));
	CHECK_OK(kms_envelope_open(&opened, &envelope, world.channel));
	CHECK(opened.len == plain.len);
	CHECK_MEM(opened.data, plain.text, plain.len);
	CHECK_OK(kms_hex_decode(KMS_OUT(nonce32), envelope.nonce));
	CHECK_OK(kms_envelope_seal_with(&sealed, world.channel, kms_p384_public(sender->p384), nonce32,
					kms_text_span(plain)));
	CHECK(sealed.len == want.len);
	CHECK_MEM(sealed.data, want.text, want.len);
	kms_buf_free(&body);
	kms_buf_free(&sealed);
	kms_buf_free(&opened);
}

/* The inner JSON is canonical, and its `pop` is the exchange's signature where it has one. */
static void check_inner(int *failed_, const vectors *v, const char *name, bool has_pop)
{
	kms_json json;
	kms_text want = kms_json_text(text(v, name));
	kms_buf inner = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), again = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	CHECK_OK(kms_buf_append(&inner, kms_text_span(want)));
	CHECK_OK(kms_json_parse(&json, (char *)inner.data, inner.len, 1000));
	CHECK_OK(kms_json_canonical(&again, &json, json.values));
	CHECK(again.len == want.len);
	CHECK_MEM(again.data, want.text, want.len);
	const kms_json_value *pop = kms_json_get(&json, json.values, "pop");
	CHECK((pop != NULL) == has_pop);
	if (pop) CHECK(text_is(pop->text, pop->len, text(v, "signature")));
	kms_json_free(&json);
	kms_buf_free(&inner);
	kms_buf_free(&again);
}

static void check_sync_signature(int *failed_, const vectors *v)
{
	uint8_t mac32[32];
	kms_secret *key;
	kms_envelope envelope;
	bool authentic;
	kms_text want = kms_json_text(text(v, "request_body"));
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	CHECK_OK(kms_sync_key(&key, world.master));
	CHECK_OK(kms_hmac_sha256(mac32, key, kms_text_span(want)));
	CHECK(bytes_are(mac32, 32, text(v, "sync_signature")));
	CHECK_OK(kms_buf_append(&body, kms_text_span(want)));
	CHECK_OK(kms_envelope_parse_mac(&envelope, &authentic, (char *)body.data, body.len, key, mac32));
	CHECK(authentic);
	kms_buf_free(&body);
	kms_secret_unref(key);
}

static kms_request_kind kind_of(const vectors *v)
{
	const kms_json_value *name = text(v, "name");
	for (int kind = KMS_REQUEST_DERIVE; kind <= KMS_REQUEST_LIST; kind++) {
		const char *operation = kms_request_operation((kms_request_kind)kind);
		if (text_is(operation, strlen(operation), name)) return (kms_request_kind)kind;
	}
	fprintf(stderr, "%.*s is no operation\n", (int)name->len, name->text);
	exit(2);
}

/* The node's own functions turn the inner request into the inner reply, derived key included. */
static void check_executed(int *failed_, const vectors *v)
{
	static const kms_request_limits limits = { .max_value = 1 << 16, .max_key = 4096 };
	kms_request request = { .kind = kind_of(v) };
	const char *field;
	const kms_json_value *inner = kms_json_get(&v->json, v->item, "request");
	kms_text want = kms_json_text(text(v, "reply")), pop = { NULL, 0 };
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 16), result = plain;
	if (inner) {
		pop = kms_json_text(text(v, "signature"));
		CHECK_OK(kms_buf_append(&plain, kms_text_span(kms_json_text(inner))));
		CHECK_OK(kms_request_parse(&request, &field, &plain, request.kind, &limits));
		CHECK_OK(kms_request_check_pop(&request, pop, true));
	} else if (request.kind == KMS_REQUEST_GET) {
		CHECK_OK(kms_request_for_key(&request, KMS_TEXT("config/db")));
	}
	kms_execution execution = { .app_id = number(v, "app_id"),
				    .master = world.master,
				    .store = world.store,
				    .now_ms = 1700000000123,
				    .max_list_bytes = 1 << 16,
				    .pop = pop };
	CHECK_OK(kms_request_execute(&result, &request, &execution));
	CHECK(result.len == want.len);
	CHECK_MEM(result.data, want.text, want.len);
	kms_request_clear(&request);
	kms_buf_free(&result);
}

static void check_exchange(int *failed_, const vectors *v)
{
	bool sync = text_is("/sync", 5, text(v, "target"));
	bool has_body = kms_json_get(&v->json, v->item, "request") != NULL;
	world.caller = party_of(failed_, v, "caller");
	world.node = party_of(failed_, v, "node");
	world.master = secret(text(v, "master_secret"));
	CHECK(!*failed_);
	CALL(check_signatures, v);
	CALL(check_channel, v);
	if (has_body) CALL(check_inner, v, "request", true);
	if (has_body) CALL(check_body, v, "request", "request_body", &world.caller);
	CALL(check_inner, v, "reply", has_body);
	CALL(check_body, v, "reply", "reply_body", &world.node);
	if (kms_json_get(&v->json, v->item, "sync_signature")) CALL(check_sync_signature, v);
	if (!sync) CALL(check_executed, v);
	kms_secret_unref(world.channel);
	kms_secret_unref(world.master);
	party_free(&world.caller);
	party_free(&world.node);
}

TEST(every_exchange_is_recomputed)
{
	kms_store_config config = kit_config(1);
	config.max_value = 1 << 16;
	CHECK_OK(kms_store_new(&world.store, &config));
	each(failed_, "exchange", check_exchange);
	kms_store_free(world.store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(every_exchange_is_recomputed))
