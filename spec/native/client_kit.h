/* An application and a node, side by side: requests of kms/client.h served by the node's own functions. */
#ifndef KMS_SPEC_CLIENT_KIT_H
#define KMS_SPEC_CLIENT_KIT_H

#include <unistd.h>

#include "base/ensure.h"
#include "kms/client.h"
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "store_config.h"
#include "test.h"

#define NOW_S 1700000000u
#define NOW_MS (NOW_S * 1000ull)

typedef struct identity {
	kms_wallet *wallet;
	kms_p384 *p384;
	uint8_t address20[20];
} identity;

static struct {
	identity node, app, other;
	kms_channels *channels;
	kms_nonces *nonces;
	kms_secret *master;
	kms_store *store;
	kms_client *client;
} world;

static inline kms_status make_identity(identity *id, uint8_t fill)
{
	uint8_t bytes[48];
	kms_secret *wallet_key = NULL, *scalar = NULL;
	memset(bytes, fill, sizeof(bytes));
	GUARD(kms_secret_new(&wallet_key, kms_span_of(bytes, 32)));
	GUARD(kms_secret_new(&scalar, kms_span_of(bytes, 48)));
	GUARD(kms_wallet_new(&id->wallet, wallet_key));
	GUARD(kms_p384_new(&id->p384, scalar));
	kms_wallet_address(id->address20, id->wallet);
	kms_secret_unref(wallet_key);
	kms_secret_unref(scalar);
	return KMS_OK;
}

static inline void free_identity(identity *id)
{
	kms_wallet_free(id->wallet);
	kms_p384_free(id->p384);
}

static inline kms_status make_world(void)
{
	kms_store_config config = kit_config(0);
	GUARD(make_identity(&world.node, 1));
	GUARD(make_identity(&world.app, 2));
	GUARD(make_identity(&world.other, 3));
	memcpy(config.self20, world.node.address20, 20);
	GUARD(kms_channels_new(&world.channels, 4));
	GUARD(kms_nonces_new(&world.nonces, 120));
	GUARD(kms_secret_random(&world.master, 32));
	GUARD(kms_store_new(&world.store, &config));
	return kms_client_new(&world.client, world.app.wallet, world.app.p384, world.node.address20,
			      kms_p384_public(world.node.p384));
}

static inline void free_world(void)
{
	kms_client_free(world.client);
	kms_store_free(world.store);
	kms_secret_unref(world.master);
	kms_nonces_free(world.nonces);
	kms_channels_free(world.channels);
	free_identity(&world.node);
	free_identity(&world.app);
	free_identity(&world.other);
	memset(&world, 0, sizeof(world));
}

/* A reply on the wire. */
typedef struct wire {
	kms_buf body;
	char signature132[KMS_SIGNATURE_TEXT];
} wire;

static inline wire wire_make(void)
{
	wire w = { .body = kms_buf_make(KMS_BUF_PLAIN, 8 << 20) };
	return w;
}

static inline void wire_free(wire *w)
{
	kms_buf_free(&w->body);
}

/* Seals a result as `from` and signs as `signer`. */
static inline kms_status reply_with(wire *w, const identity *from, const identity *signer,
				    const kms_exchange *exchange, kms_span result)
{
	kms_secret *channel = NULL;
	kms_text caller = { exchange->signature132, KMS_SIGNATURE_TEXT };
	kms_buf_clear(&w->body);
	GUARD(kms_channels_get(&channel, world.channels, from->p384, kms_p384_public(world.app.p384)));
	kms_status status = kms_envelope_seal(&w->body, channel, kms_p384_public(from->p384), result);
	kms_secret_unref(channel);
	GUARD(status);
	return kms_response_sign(w->signature132, signer->wallet, caller);
}

static inline kms_status open_request(kms_request *request, kms_request_kind kind, kms_buf *body)
{
	static const kms_request_limits limits = { .max_value = 1 << 20, .max_key = 4096 };
	const char *field;
	kms_envelope envelope;
	kms_secret *channel = NULL;
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 8 << 20);
	GUARD(kms_envelope_parse(&envelope, (char *)body->data, body->len));
	GUARD(kms_envelope_check_sender(&envelope, kms_p384_public(world.app.p384)));
	GUARD(kms_channels_get(&channel, world.channels, world.node.p384, kms_p384_public(world.app.p384)));
	kms_status status = kms_envelope_open(&plain, &envelope, channel);
	kms_secret_unref(channel);
	GUARD(status);
	return kms_request_parse(request, &field, &plain, kind, &limits);
}

/* The node's part: from the request's headers to the sealed reply. */
static inline kms_status serve(wire *w, const kms_exchange *exchange, kms_buf *body, kms_text nonce,
			       kms_text key)
{
	uint8_t caller20[20];
	kms_pop pop = { .domain = KMS_POP_APP,
			.signature = { exchange->signature132, KMS_SIGNATURE_TEXT },
			.nonce = nonce,
			.timestamp = kms_text_from("1700000000") };
	kms_request request = { .kind = exchange->kind };
	bool sealed = exchange->kind != KMS_REQUEST_GET && exchange->kind != KMS_REQUEST_LIST;

	GUARD(kms_pop_check(caller20, world.nonces, &pop, world.node.address20, NOW_S, 1, 120));
	ENSURE(memcmp(caller20, world.app.address20, 20) == 0, KMS_ERR_POP_WALLET);
	if (sealed) GUARD(open_request(&request, exchange->kind, body));
	if (sealed) GUARD(kms_request_check_pop(&request, pop.signature, true));
	if (exchange->kind == KMS_REQUEST_GET) GUARD(kms_request_for_key(&request, key));
	kms_execution context = {
		.app_id = 7,
		.master = world.master,
		.store = world.store,
		.now_ms = NOW_MS,
		.max_list_bytes = 4 << 20,
		.pop = sealed ? pop.signature : KMS_NO_TEXT,
	};
	DEFER(kms_buf_free)
	kms_buf plain =
	    kms_buf_make(exchange->kind == KMS_REQUEST_LIST ? KMS_BUF_WIPED : KMS_BUF_GUARDED, 8 << 20);
	kms_status status = kms_request_execute(&plain, &request, &context);
	kms_request_clear(&request);
	GUARD(status);
	return reply_with(w, &world.node, &world.node, exchange, kms_buf_span(&plain));
}

/* A whole exchange of the application with the node. */
static inline kms_status call_node(kms_exchange *exchange, const kms_request *request)
{
	char nonce[KMS_NONCE_TEXT];
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 8 << 20);
	DEFER(wire_free) wire w = wire_make();
	GUARD(kms_nonces_issue(nonce, world.nonces, 1));
	kms_text nonce_text = { nonce, sizeof(nonce) };
	GUARD(kms_client_begin(exchange, &body, world.client, request, nonce_text, NOW_S));
	GUARD(serve(&w, exchange, &body, nonce_text, request->key));
	kms_text signature = { w.signature132, KMS_SIGNATURE_TEXT };
	return kms_client_finish(exchange, &w.body, world.client, signature);
}

/* Writes an exchange's result as NUL-terminated text of less than `size` bytes. */
static inline kms_status written(char *text, size_t size, const kms_exchange *exchange, kms_format format)
{
	int fds[2];
	ENSURE(pipe(fds) == 0, KMS_ERR_SYSTEM);
	kms_status status = kms_exchange_write(fds[1], exchange, format);
	close(fds[1]);
	ssize_t n = read(fds[0], text, size - 1);
	close(fds[0]);
	text[n > 0 ? n : 0] = '\0';
	return status;
}

static inline kms_status begin_for(kms_exchange *exchange, kms_request_kind kind)
{
	kms_request request = {
		.kind = kind, .path = kms_text_from("p"), .key = kms_text_from("k"), .length = 4
	};
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	return kms_client_begin(exchange, &body, world.client, &request, kms_text_from("nonce"), NOW_S);
}

static inline kms_status finish_with(kms_exchange *exchange, wire *w)
{
	kms_text signature = { w->signature132, KMS_SIGNATURE_TEXT };
	return kms_client_finish(exchange, &w->body, world.client, signature);
}

#endif
