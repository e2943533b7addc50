/* An application's requests (kms/client.h) against the node's own functions. */
#include "client_kit.h"

static void derive_round_trip(int *failed_, const char *path, const char *context, uint32_t length)
{
	uint8_t want[KMS_DERIVE_MAX];
	kms_exchange exchange;
	kms_request request = { .kind = KMS_REQUEST_DERIVE,
				.path = kms_text_from(path),
				.context = kms_text_from(context),
				.length = length };
	size_t len = length ? length : 32;
	CHECK_OK(call_node(&exchange, &request));
	CHECK(exchange.app_id == 7 && exchange.secret.len == len);
	CHECK(exchange.secret.kind == KMS_BUF_GUARDED && exchange.plain.kind == KMS_BUF_GUARDED);
	CHECK_OK(kms_derive(kms_out_of(want, len), world.master, 7, kms_text_from(path),
			    kms_text_from(context ? context : "")));
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

static void value_round_trip(int *failed_, const char *key, const uint8_t *value, size_t len)
{
	kms_exchange exchange;
	kms_request put = { .kind = KMS_REQUEST_PUT,
			    .key = kms_text_from(key),
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

	kms_request del = { .kind = KMS_REQUEST_DELETE, .key = kms_text_from("a") };
	CHECK_OK(call_node(&exchange, &del));
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, call_node(&exchange, &del));
	kms_exchange_clear(&exchange);
	free_world();
}

/* ---- requests that are refused ---- */

static kms_status try_begin(const kms_request *request)
{
	kms_exchange exchange;
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 64 << 20);
	kms_status status =
	    kms_client_begin(&exchange, &body, world.client, request, kms_text_from("nonce"), NOW_S);
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
	derive.path = kms_text_from("");
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&derive));
	derive.path = kms_text_from("p");
	derive.length = KMS_DERIVE_MAX;
	CHECK_OK(try_begin(&derive));
	derive.length++;
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, try_begin(&derive));
	derive.length = 0;
	derive.context = kms_text_from("\xc3");
	CHECK_STATUS(KMS_ERR_UTF8, try_begin(&derive));
	derive.context = kms_text_from(NULL);
	derive.path = kms_text_from("\xff");
	CHECK_STATUS(KMS_ERR_UTF8, try_begin(&derive));
	derive.path = (kms_text){ name, 65536 };
	CHECK_OK(try_begin(&derive));
	derive.path.len++;
	CHECK_STATUS(KMS_ERR_KEY_SIZE, try_begin(&derive));

	kms_request put = { .kind = KMS_REQUEST_PUT, .value = kms_span_of(name, 1) };
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, try_begin(&put));
	put.key = kms_text_from("k");
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(derives), T(puts_gets_lists_and_deletes),
	  T(refuses_requests_that_no_node_takes), T(a_client_needs_a_real_node_key))
