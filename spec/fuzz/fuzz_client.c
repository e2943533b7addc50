/*
 * Replies to the client, as they arrive and as the result that a node sealed and signed: a failure leaves no
 * result, and a reply that the node did not seal and sign always fails.
 */
#include "client_kit.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = KMS_REQUEST_LIST + 1;

#define SEALED 0x80 /* of the first byte: the input is the result; else it is the body */

static void check_result(const kms_exchange *exchange, kms_status status)
{
	char text8[8];
	if (status != KMS_OK) {
		HOLDS(!exchange->plain.data && !exchange->secret.data && exchange->json.count == 0);
		HOLDS(kms_exchange_fingerprint(text8, exchange) == KMS_ERR_STATE);
		return;
	}
	fuzz_accept(exchange->kind);
	HOLDS(exchange->json.count > 0 && exchange->json.values[0].type == KMS_JSON_OBJECT);
	if (exchange->kind == KMS_REQUEST_DERIVE) HOLDS(exchange->secret.len == exchange->length);
}

/* The first byte: the kind of the exchange, and SEALED. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_exchange exchange;
	fuzz_start();
	if (!world.client) HOLDS_OK(make_world());
	if (size < 2 || size > FUZZ_MAX_INPUT) return 0;
	kms_span input = kms_span_of(data + 1, size - 1);
	wire w = wire_make();
	HOLDS_OK(begin_for(&exchange, (kms_request_kind)((data[0] & 0x7f) % (KMS_REQUEST_LIST + 1))));
	bool sealed = data[0] & SEALED;
	HOLDS_OK(reply_with(&w, &world.node, &world.node, &exchange, input));
	if (!sealed) {
		kms_buf_clear(&w.body);
		HOLDS_OK(kms_buf_append(&w.body, input));
	}
	kms_status status = finish_with(&exchange, &w);
	HOLDS(sealed || status != KMS_OK);
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	check_result(&exchange, status);
	kms_exchange_clear(&exchange);
	wire_free(&w);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_seed_choice(SEALED | KMS_REQUEST_DERIVE,
			 KMS_BYTES("{\"app_id\":7,\"key\":\"AAECAw==\",\"length\":4,\"path\":\"p\"}"));
	fuzz_seed_choice(SEALED | KMS_REQUEST_GET,
			 KMS_BYTES("{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":1,\"value\":\"Zm9v\"}"));
	fuzz_seed_choice(SEALED | KMS_REQUEST_PUT,
			 KMS_BYTES("{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":1}"));
	fuzz_seed_choice(SEALED | KMS_REQUEST_DELETE,
			 KMS_BYTES("{\"app_id\":7,\"deleted\":true,\"key\":\"k\"}"));
	fuzz_seed_choice(SEALED | KMS_REQUEST_LIST, KMS_BYTES("{\"app_id\":7,\"count\":1,\"keys\":[\"k\"]}"));
	fuzz_seed_choice(
	    KMS_REQUEST_GET,
	    KMS_BYTES("{\"encrypted_data\":\"00\",\"nonce\":\"00\",\"sender_tee_pubkey\":\"04\"}"));
}
