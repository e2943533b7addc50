/* An application's requests and answers (kms/client.h) against the node's own functions. */
#include "kms/client.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "test.h"

#define NOW_S 1700000000u
#define NOW_MS (NOW_S * 1000ull)

/* ---- a node and an application -------------------------------------------------------------- */

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

static kms_status make_identity(identity *id, uint8_t fill)
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

static void free_identity(identity *id)
{
	kms_wallet_free(id->wallet);
	kms_p384_free(id->p384);
}

static kms_status make_world(void)
{
	kms_store_config config = { .max_key = 4096,
				    .max_value = 1 << 20,
				    .max_app_bytes = 10 << 20,
				    .max_total_bytes = 64 << 20,
				    .max_namespaces = 10,
				    .max_tombstones = 100,
				    .tombstone_retention_ms = 86400000,
				    .max_clock_skew_ms = 15000 };
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

static void free_world(void)
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

/* An answer on the wire. */
typedef struct wire {
	kms_buf body;
	char signature132[KMS_SIGNATURE_TEXT];
} wire;

static wire wire_make(void)
{
	wire w = { .body = kms_buf_make(KMS_BUF_PLAIN, 8 << 20) };
	return w;
}

static void wire_free(wire *w)
{
	kms_buf_free(&w->body);
}

static kms_text text_of(const char *text)
{
	return (kms_text){ text, text ? strlen(text) : 0 };
}

/* Seals an inner answer as `from` and signs as `signer`. */
static kms_status answer_with(wire *w, const identity *from, const identity *signer,
			      const kms_exchange *exchange, const uint8_t *inner, size_t len)
{
	kms_secret *channel = NULL;
	kms_text caller = { exchange->signature132, KMS_SIGNATURE_TEXT };
	kms_buf_clear(&w->body);
	GUARD(kms_channels_get(&channel, world.channels, from->p384, kms_p384_public(world.app.p384)));
	kms_status status =
	    kms_envelope_seal(&w->body, channel, kms_p384_public(from->p384), kms_span_of(inner, len));
	kms_secret_unref(channel);
	GUARD(status);
	return kms_response_sign(w->signature132, signer->wallet, caller);
}

static kms_status open_request(kms_request *request, kms_request_kind kind, kms_buf *body)
{
	static const kms_request_limits limits = { 1 << 20, 4096 };
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

/* What the node does with a request, from its headers to the sealed answer. */
static kms_status serve(wire *w, const kms_exchange *exchange, kms_buf *body, kms_text nonce, kms_text key)
{
	uint8_t caller20[20];
	kms_pop pop = { .domain = KMS_POP_APP,
			.signature = { exchange->signature132, KMS_SIGNATURE_TEXT },
			.nonce = nonce,
			.timestamp = text_of("1700000000") };
	kms_request request = { .kind = exchange->kind };
	bool sealed = exchange->kind != KMS_REQUEST_GET && exchange->kind != KMS_REQUEST_LIST;

	GUARD(kms_pop_check(caller20, world.nonces, &pop, world.node.address20, NOW_S, 1, 120));
	ENSURE(memcmp(caller20, world.app.address20, 20) == 0, KMS_ERR_POP_WALLET);
	if (sealed) GUARD(open_request(&request, exchange->kind, body));
	if (sealed) GUARD(kms_request_check_pop(&request, pop.signature, true));
	if (exchange->kind == KMS_REQUEST_GET) GUARD(kms_request_for_key(&request, key));
	kms_execution context = { 7, world.master, world.store, NOW_MS,
				  sealed ? pop.signature : (kms_text){ NULL, 0 } };
	DEFER(kms_buf_free)
	kms_buf plain =
	    kms_buf_make(exchange->kind == KMS_REQUEST_LIST ? KMS_BUF_WIPED : KMS_BUF_GUARDED, 8 << 20);
	kms_status status = kms_request_execute(&plain, &request, &context);
	kms_request_clear(&request);
	GUARD(status);
	return answer_with(w, &world.node, &world.node, exchange, plain.data, plain.len);
}

/* A whole exchange. */
static kms_status call_node(kms_exchange *exchange, const kms_request *request)
{
	char nonce[KMS_NONCE_TEXT];
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 8 << 20);
	DEFER(wire_free) wire w = wire_make();
	GUARD(kms_nonces_issue(nonce, world.nonces, 1));
	kms_text nonce_text = { nonce, sizeof(nonce) };
	GUARD(kms_client_begin(exchange, &body, world.client, request, nonce_text, NOW_S));
	GUARD(serve(&w, exchange, &body, nonce_text, request->key));
	kms_text signature = { w.signature132, KMS_SIGNATURE_TEXT };
	return kms_client_finish(exchange, (char *)w.body.data, w.body.len, world.client, signature);
}

/* What an exchange writes, as text (at most `size` bytes). */
static kms_status written(char *text, size_t size, const kms_exchange *exchange, kms_format format)
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

/* ---- round trips -------------------------------------------------------------------------------- */

static void derive_round_trip(int *failed_, const char *path, const char *context, uint32_t length)
{
	uint8_t want[KMS_DERIVE_MAX];
	kms_exchange exchange;
	kms_request request = { .kind = KMS_REQUEST_DERIVE,
				.path = text_of(path),
				.context = text_of(context),
				.length = length };
	size_t len = length ? length : 32;
	CHECK_OK(call_node(&exchange, &request));
	CHECK(exchange.app_id == 7 && exchange.secret.len == len);
	CHECK(exchange.secret.kind == KMS_BUF_GUARDED && exchange.plain.kind == KMS_BUF_GUARDED);
	CHECK_OK(kms_derive(kms_out_of(want, len), world.master, 7, kms_text_from(path),
			    kms_text_of(context ? context : "", context ? strlen(context) : 0)));
	CHECK_MEM(exchange.secret.data, want, len);
	kms_exchange_clear(&exchange);
	CHECK(exchange.secret.data == NULL && exchange.plain.data == NULL && exchange.name.data == NULL);
}

TEST(derives)
{
	CHECK_OK(make_world());
	CALL(derive_round_trip, "app/key", NULL, 0);
	CALL(derive_round_trip, "app/key", "", 32);
	CALL(derive_round_trip, "app/key", "v1:\"quoted\"\\", 1);
	CALL(derive_round_trip, "\xc3\xa4\xf0\x9f\x94\x91 \t\"\\/\x01", "\xe2\x82\xac", KMS_DERIVE_MAX);
	free_world();
}

static kms_status fingerprint_of(char text8[8], const char *path, uint32_t length)
{
	kms_exchange exchange;
	kms_request request = { .kind = KMS_REQUEST_DERIVE, .path = text_of(path), .length = length };
	kms_status status = call_node(&exchange, &request);
	if (status == KMS_OK) status = kms_exchange_fingerprint(text8, &exchange);
	kms_exchange_clear(&exchange);
	return status;
}

TEST(shows_a_key_by_its_fingerprint)
{
	static const char zero[8] = { 0 };
	char text[8], again[8], want[8];
	uint8_t key[32], digest[32];
	CHECK_OK(make_world());
	CHECK_OK(fingerprint_of(text, "a", 32));
	CHECK_OK(kms_derive(KMS_OUT(key), world.master, 7, KMS_TEXT("a"), KMS_TEXT("")));
	CHECK_OK(kms_sha256(digest, KMS_SPAN(key)));
	kms_hex_encode(want, digest, 4);
	CHECK_MEM(text, want, 8);
	CHECK_OK(fingerprint_of(again, "b", 32));
	CHECK(memcmp(text, again, 8) != 0);
	CHECK_OK(fingerprint_of(again, "a", KMS_FINGERPRINT_MIN));
	CHECK_STATUS(KMS_ERR_ARGUMENT, fingerprint_of(text, "a", KMS_FINGERPRINT_MIN - 1));
	CHECK_MEM(text, zero, 8);

	kms_exchange exchange = { .kind = KMS_REQUEST_DERIVE };
	CHECK_STATUS(KMS_ERR_STATE, kms_exchange_fingerprint(text, &exchange));
	uint8_t value[32] = { 1 };
	kms_request put = { .kind = KMS_REQUEST_PUT, .key = text_of("k"), .value = KMS_SPAN(value) };
	kms_request get = { .kind = KMS_REQUEST_GET, .key = put.key };
	CHECK_OK(call_node(&exchange, &put));
	kms_exchange_clear(&exchange);
	CHECK_OK(call_node(&exchange, &get));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_exchange_fingerprint(text, &exchange));
	kms_exchange_clear(&exchange);
	free_world();
}

static void value_round_trip(int *failed_, const char *key, const uint8_t *value, size_t len)
{
	kms_exchange exchange;
	kms_request put = { .kind = KMS_REQUEST_PUT,
			    .key = text_of(key),
			    .value = kms_span_of(value, len),
			    .ttl_ms = 60000 };
	kms_request get = { .kind = KMS_REQUEST_GET, .key = put.key };
	CHECK_OK(call_node(&exchange, &put));
	CHECK(exchange.updated_at_ms >= NOW_MS && exchange.secret.len == 0);
	uint64_t stamp = exchange.updated_at_ms;
	kms_exchange_clear(&exchange);
	CHECK_OK(call_node(&exchange, &get));
	CHECK(exchange.secret.len == len && exchange.updated_at_ms == stamp);
	if (len) CHECK_MEM(exchange.secret.data, value, len);
	kms_exchange_clear(&exchange);
}

TEST(puts_gets_lists_and_deletes)
{
	static uint8_t large[1 << 20];
	char text[256];
	kms_exchange exchange;
	CHECK_OK(make_world());
	CHECK_OK(kms_random(KMS_OUT(large)));
	CALL(value_round_trip, "a", (const uint8_t *)"va\0lue", 6);
	CALL(value_round_trip, "empty", NULL, 0);
	CALL(value_round_trip, "k/\"\xc3\xa4\"", (const uint8_t *)"\xff", 1);
	CALL(value_round_trip, "large", large, sizeof(large));

	kms_request list = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(call_node(&exchange, &list));
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(
	    strcmp(
		text,
		"{\"app_id\":7,\"count\":4,\"keys\":[\"a\",\"empty\",\"k/\\\"\xc3\xa4\\\"\",\"large\"]}\n") ==
	    0);
	CHECK(exchange.plain.kind == KMS_BUF_WIPED);
	kms_exchange_clear(&exchange);

	kms_request del = { .kind = KMS_REQUEST_DELETE, .key = text_of("a") };
	CHECK_OK(call_node(&exchange, &del));
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, call_node(&exchange, &del));
	kms_exchange_clear(&exchange);
	free_world();
}

TEST(writes_in_each_format)
{
	char text[512];
	kms_exchange exchange;
	kms_request put = { .kind = KMS_REQUEST_PUT,
			    .key = text_of("k"),
			    .value = kms_span_of("\xfb\xff!", 3) };
	kms_request get = { .kind = KMS_REQUEST_GET, .key = text_of("k") };
	CHECK_OK(make_world());
	CHECK_OK(call_node(&exchange, &put));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_BASE64));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_HEX));
	CHECK_STATUS(KMS_ERR_ARGUMENT, written(text, sizeof(text), &exchange, KMS_FORMAT_RAW));
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(strstr(text, "{\"app_id\":7,\"key\":\"k\",\"pop\":\"0x") == text);
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_STATE, kms_exchange_write(1, &exchange, KMS_FORMAT_JSON));

	CHECK_OK(call_node(&exchange, &get));
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_BASE64));
	CHECK(strcmp(text, "+/8h\n") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_HEX));
	CHECK(strcmp(text, "fbff21\n") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_RAW));
	CHECK(strcmp(text, "\xfb\xff!") == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(strstr(text, "\"value\":\"+/8h\"}\n") != NULL);
	CHECK_STATUS(KMS_ERR_SYSTEM, kms_exchange_write(-1, &exchange, KMS_FORMAT_RAW));
	kms_exchange_clear(&exchange);
	free_world();
}

/* ---- requests that are refused -------------------------------------------------------------------- */

static kms_status try_begin(const kms_request *request)
{
	kms_exchange exchange;
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 64 << 20);
	kms_status status =
	    kms_client_begin(&exchange, &body, world.client, request, text_of("nonce"), NOW_S);
	static const kms_exchange empty;
	if (status != KMS_OK && memcmp(&exchange, &empty, sizeof(empty)) != 0) return KMS_ERR_STATE;
	kms_exchange_clear(&exchange);
	return status;
}

TEST(refuses_requests_that_no_node_takes)
{
	static char name[65537];
	memset(name, 'n', sizeof(name));
	CHECK_OK(make_world());
	kms_request derive = { .kind = KMS_REQUEST_DERIVE };
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&derive));
	derive.path = text_of("");
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&derive));
	derive.path = text_of("p");
	derive.length = KMS_DERIVE_MAX;
	CHECK_OK(try_begin(&derive));
	derive.length++;
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, try_begin(&derive));
	derive.length = 0;
	derive.context = text_of("\xc3");
	CHECK_STATUS(KMS_ERR_UTF8, try_begin(&derive));
	derive.context = text_of(NULL);
	derive.path = text_of("\xff");
	CHECK_STATUS(KMS_ERR_UTF8, try_begin(&derive));
	derive.path = (kms_text){ name, 65536 };
	CHECK_OK(try_begin(&derive));
	derive.path.len++;
	CHECK_STATUS(KMS_ERR_KEY_SIZE, try_begin(&derive));

	kms_request put = { .kind = KMS_REQUEST_PUT, .value = kms_span_of(name, 1) };
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&put));
	put.key = text_of("k");
	CHECK_OK(try_begin(&put));
	put.value.len = KMS_CLIENT_MAX_VALUE + 1;
	CHECK_STATUS(KMS_ERR_VALUE_SIZE, try_begin(&put));
	kms_request get = { .kind = KMS_REQUEST_GET };
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&get));
	kms_request list = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(try_begin(&list));
	free_world();
}

TEST(a_client_needs_a_real_node_key)
{
	uint8_t point[97] = { 4 };
	kms_client *client = (kms_client *)&point;
	CHECK_OK(make_world());
	CHECK_STATUS(KMS_ERR_PEER_KEY,
		     kms_client_new(&client, world.app.wallet, world.app.p384, world.node.address20, point));
	CHECK(client == NULL);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_client_new(&client, NULL, world.app.p384, world.node.address20,
						      kms_p384_public(world.node.p384)));
	kms_client_free(NULL);
	free_world();
}

/* ---- answers that are refused ------------------------------------------------------------------------ */

static kms_status begin_for(kms_exchange *exchange, kms_request_kind kind)
{
	kms_request request = { .kind = kind, .path = text_of("p"), .key = text_of("k"), .length = 4 };
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	return kms_client_begin(exchange, &body, world.client, &request, text_of("nonce"), NOW_S);
}

static kms_status finish_with(kms_exchange *exchange, wire *w)
{
	kms_text signature = { w->signature132, KMS_SIGNATURE_TEXT };
	return kms_client_finish(exchange, (char *)w->body.data, w->body.len, world.client, signature);
}

/* An answer made by hand; @ stands for the exchange's own signature. */
static void finish_by_hand(int *failed_, kms_status want, kms_request_kind kind, const char *inner)
{
	DEFER(wire_free) wire w = wire_make();
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096);
	kms_exchange exchange;
	CHECK_OK(begin_for(&exchange, kind));
	for (const char *c = inner; *c; c++)
		if (*c == '@')
			CHECK_OK(kms_buf_append(&text, exchange.signature132, KMS_SIGNATURE_TEXT));
		else
			CHECK_OK(kms_buf_append(&text, c, 1));
	CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, text.data, text.len));
	kms_status got = finish_with(&exchange, &w);
	if (got != want) fprintf(stderr, "%s: %s\n", inner, kms_status_name(got));
	CHECK(got == want);
	bool has_answer = exchange.json.values || exchange.plain.data || exchange.secret.data ||
			  exchange.app_id || exchange.updated_at_ms;
	CHECK(has_answer == (want == KMS_OK));
	kms_exchange_clear(&exchange);
}

typedef struct answer_case {
	kms_status want;
	kms_request_kind kind;
	const char *inner;
} answer_case;

TEST(refuses_answers_that_do_not_fit)
{
	static const answer_case cases[] = {
		/* Existing nodes send no pop, ours do; other members are theirs. */
		{ KMS_OK, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4}" },
		{ KMS_OK, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4,\"pop\":\"@\",\"x\":[1.5]"
		  "}" },
		{ KMS_OK, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"key\":\"k\",\"value\":\"\",\"updated_at_ms\":1}" },
		{ KMS_OK, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[],\"count\":0}" },
		/* pop */
		{ KMS_ERR_POP_BINDING, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4,\"pop\":\"\"}" },
		{ KMS_ERR_POP_BINDING, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4,\"pop\":\"@0\"}" },
		{ KMS_ERR_POP_BINDING, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4,\"pop\":null}" },
		{ KMS_ERR_POP_BINDING, KMS_REQUEST_LIST,
		  "{\"app_id\":7,\"keys\":[],\"count\":0,\"pop\":"
		  "\"0x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		  "0000"
		  "0000000000000000000000000000000000000001b\"}" },
		/* about something else */
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"q\",\"key\":\"AAAAAA==\",\"length\":4}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"pp\",\"key\":\"AAAAAA==\",\"length\":4}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAA\",\"length\":3}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAA\",\"length\":4}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"key\":\"l\",\"value\":\"\",\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[\"a\"],\"count\":0}" },
		/* malformed */
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_DERIVE, "{}" },
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_DERIVE, "{\"app_id\":7,\"path\":\"p\",\"length\":4}" },
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_GET, "{\"app_id\":7,\"key\":\"k\",\"value\":\"\"}" },
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_PUT, "{\"app_id\":7,\"key\":\"k\"}" },
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_DELETE, "{\"app_id\":7,\"key\":\"k\"}" },
		{ KMS_ERR_FIELD_MISSING, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[]}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_DELETE, "{\"app_id\":7,\"key\":\"k\",\"deleted\":false}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_PUT,
		  "{\"app_id\":\"7\",\"key\":\"k\",\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_PUT, "{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":1.5}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_PUT, "{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":-1}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"key\":\"k\",\"value\":null,\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[\"a\",1],\"count\":2}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":{},\"count\":0}" },
		{ KMS_ERR_BASE64, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"key\":\"k\",\"value\":\"AB==\",\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_LIST, "[]" },
		{ KMS_ERR_JSON, KMS_REQUEST_LIST, "{} {}" },
		{ KMS_ERR_JSON, KMS_REQUEST_LIST, "" },
		{ KMS_ERR_JSON_DUPLICATE, KMS_REQUEST_LIST,
		  "{\"app_id\":7,\"app_id\":7,\"keys\":[],\"count\":0}" },
	};
	CHECK_OK(make_world());
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++)
		CALL(finish_by_hand, cases[i].want, cases[i].kind, cases[i].inner);
	free_world();
}

TEST(refuses_answers_of_others)
{
	static const char inner[] = "{\"app_id\":7,\"keys\":[],\"count\":0}";
	DEFER(wire_free) wire w = wire_make();
	kms_exchange exchange, earlier;
	CHECK_OK(make_world());
	CHECK_OK(begin_for(&exchange, KMS_REQUEST_LIST));

	/* Signed by another, sealed by another, not signed. */
	CHECK_OK(
	    answer_with(&w, &world.node, &world.other, &exchange, (const uint8_t *)inner, strlen(inner)));
	CHECK_STATUS(KMS_ERR_SIGNATURE, finish_with(&exchange, &w));
	CHECK_OK(
	    answer_with(&w, &world.other, &world.node, &exchange, (const uint8_t *)inner, strlen(inner)));
	CHECK_STATUS(KMS_ERR_SENDER_KEY, finish_with(&exchange, &w));
	CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, (const uint8_t *)inner, strlen(inner)));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_client_finish(&exchange, (char *)w.body.data, w.body.len,
							  world.client, (kms_text){ NULL, 0 }));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_client_finish(&exchange, (char *)w.body.data, w.body.len,
							  world.client, text_of("0x00")));

	/* The signature of an earlier exchange. */
	kms_request request = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(kms_client_begin(&earlier, &w.body, world.client, &request, text_of("other"), NOW_S));
	CHECK_OK(answer_with(&w, &world.node, &world.node, &earlier, (const uint8_t *)inner, strlen(inner)));
	CHECK_STATUS(KMS_ERR_SIGNATURE, finish_with(&exchange, &w));
	kms_exchange_clear(&earlier);

	/* One changed digit of the ciphertext; no envelope at all. */
	CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, (const uint8_t *)inner, strlen(inner)));
	char *digit = strstr((char *)w.body.data, "\"encrypted_data\":\"") + strlen("\"encrypted_data\":\"");
	*digit = *digit == '0' ? '1' : '0';
	CHECK_STATUS(KMS_ERR_DECRYPT, finish_with(&exchange, &w));
	kms_buf_clear(&w.body);
	CHECK_OK(kms_buf_append_text(&w.body, inner));
	CHECK_STATUS(KMS_ERR_ENVELOPE, finish_with(&exchange, &w));

	/* None of them spoilt the exchange, and an answer is taken once. */
	CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, (const uint8_t *)inner, strlen(inner)));
	CHECK_OK(finish_with(&exchange, &w));
	CHECK_STATUS(KMS_ERR_STATE, finish_with(&exchange, &w));
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_STATE, finish_with(&exchange, &w));
	free_world();
}

/* ---- faults ----------------------------------------------------------------------------------------------
 */

/* Every allocation of an exchange fails in turn; each failure is clean. */
TEST(survives_failing_allocations)
{
	static const char inner[] = "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4}";
	DEFER(wire_free) wire w = wire_make();
	static const kms_exchange empty;
	kms_exchange exchange;
	kms_status status = KMS_ERR_MEMORY;
	CHECK_OK(make_world());
	/* Contexts that OpenSSL keeps for the thread come first. */
	CHECK_OK(begin_for(&exchange, KMS_REQUEST_DERIVE));
	CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, (const uint8_t *)inner, strlen(inner)));
	CHECK_OK(finish_with(&exchange, &w));
	kms_exchange_clear(&exchange);
	size_t used = kms_guarded_used();

	for (unsigned long n = 1; status != KMS_OK; n++) {
		CHECK(n < 200);
		kms_mem_fail_after(n);
		status = begin_for(&exchange, KMS_REQUEST_DERIVE);
		kms_mem_fail_after(0);
		if (status != KMS_OK) CHECK_MEM(&exchange, &empty, sizeof(empty));
		kms_exchange_clear(&exchange);
	}
	status = KMS_ERR_MEMORY;
	for (unsigned long n = 1; status != KMS_OK; n++) {
		CHECK(n < 200);
		CHECK_OK(begin_for(&exchange, KMS_REQUEST_DERIVE));
		CHECK_OK(answer_with(&w, &world.node, &world.node, &exchange, (const uint8_t *)inner,
				     strlen(inner)));
		kms_mem_fail_after(n);
		status = finish_with(&exchange, &w);
		kms_mem_fail_after(0);
		if (status != KMS_OK)
			CHECK(!exchange.plain.data && !exchange.secret.data && !exchange.json.values);
		kms_exchange_clear(&exchange);
	}
	CHECK(kms_guarded_used() == used);
	free_world();
}

/* ---- values from files -----------------------------------------------------------------------------------
 */

static void read_file(int *failed_, kms_status want, const char *path, size_t max, size_t len)
{
	DEFER(kms_buf_free) kms_buf value = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	CHECK_STATUS(want, kms_value_read(&value, path, max));
	CHECK(value.len == (want == KMS_OK ? len : 0));
	for (size_t i = 0; i < value.len; i++)
		CHECK(value.data[i] == (uint8_t)i);
}

TEST(reads_values_from_files)
{
	char path[] = "/tmp/kms-test-client-XXXXXX";
	static uint8_t bytes[200000];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CALL(read_file, KMS_OK, path, 0, 0);
	CHECK(write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
	CALL(read_file, KMS_OK, path, sizeof(bytes) + 1, sizeof(bytes));
	CALL(read_file, KMS_OK, path, sizeof(bytes), sizeof(bytes));
	CALL(read_file, KMS_ERR_VALUE_SIZE, path, sizeof(bytes) - 1, 0);
	CALL(read_file, KMS_ERR_VALUE_SIZE, path, 0, 0);
	CHECK(unlink(path) == 0 && close(fd) == 0);
	CALL(read_file, KMS_ERR_FILE_MISSING, path, 1, 0);
	CALL(read_file, KMS_ERR_SYSTEM, "/tmp", 1, 0);
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_PLAIN, 10);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_read(&plain, path, 1));
}

/* In pieces and without blocking, as a terminal or pipe that luv has taken over. */
TEST(reads_values_from_the_standard_input)
{
	int fds[2], saved = dup(STDIN_FILENO);
	CHECK(pipe(fds) == 0);
	CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
	pid_t writer = fork();
	CHECK(writer >= 0);
	if (writer == 0) {
		for (int i = 0; i < 100; i++) {
			uint8_t byte = (uint8_t)i;
			if (write(fds[1], &byte, 1) != 1) _exit(1);
			if (i % 25 == 0) usleep(1000);
		}
		_exit(0);
	}
	close(fds[1]);
	dup2(fds[0], STDIN_FILENO);
	close(fds[0]);
	CALL(read_file, KMS_OK, "-", 100, 100);
	CALL(read_file, KMS_OK, "-", 100, 0);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(derives), T(shows_a_key_by_its_fingerprint),
	  T(puts_gets_lists_and_deletes), T(writes_in_each_format), T(refuses_requests_that_no_node_takes),
	  T(a_client_needs_a_real_node_key), T(refuses_answers_that_do_not_fit), T(refuses_answers_of_others),
	  T(survives_failing_allocations), T(reads_values_from_files),
	  T(reads_values_from_the_standard_input))
