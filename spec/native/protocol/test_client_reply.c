/* Replies that a client refuses, and what a failure leaves behind (kms/client.h). */
#include "client_kit.h"

#include "base/testing.h"

/* A result made by hand; @ stands for the exchange's own signature. */
static void finish_by_hand(int *failed_, kms_status want, kms_request_kind kind, const char *inner)
{
	DEFER(wire_free) wire w = wire_make();
	DEFER(kms_buf_free) kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096);
	kms_exchange exchange;
	CHECK_OK(begin_for(&exchange, kind));
	for (const char *c = inner; *c; c++)
		if (*c == '@')
			CHECK_OK(
			    kms_buf_append(&text, kms_span_of(exchange.signature132, KMS_SIGNATURE_TEXT)));
		else
			CHECK_OK(kms_buf_append(&text, kms_span_of(c, 1)));
	CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_buf_span(&text)));
	kms_status got = finish_with(&exchange, &w);
	if (got != want) fprintf(stderr, "%s: %s\n", inner, kms_status_name(got));
	CHECK(got == want);
	bool has_result = exchange.json.values || exchange.plain.data || exchange.secret.data ||
			  exchange.app_id || exchange.updated_at_ms;
	CHECK(has_result == (want == KMS_OK));
	kms_exchange_clear(&exchange);
}

typedef struct result_case {
	kms_status want;
	kms_request_kind kind;
	const char *inner;
} result_case;

TEST(refuses_results_that_do_not_fit)
{
	static const result_case cases[] = {
		/* Existing nodes send no pop. */
		{ KMS_OK, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4}" },
		{ KMS_OK, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"key\":\"k\",\"value\":\"\",\"updated_at_ms\":1}" },
		{ KMS_OK, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[],\"count\":0}" },
		{ KMS_OK, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[\"a\"],\"count\":1,\"next\":\"a\"}" },
		/* How many members hold a write: from nodes of this version. */
		{ KMS_OK, KMS_REQUEST_PUT, "{\"app_id\":7,\"copies\":2,\"key\":\"k\",\"updated_at_ms\":1}" },
		{ KMS_OK, KMS_REQUEST_DELETE, "{\"app_id\":7,\"copies\":1,\"deleted\":true,\"key\":\"k\"}" },
		{ KMS_ERR_FIELD_VALUE, KMS_REQUEST_PUT,
		  "{\"app_id\":7,\"copies\":0,\"key\":\"k\",\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_TYPE, KMS_REQUEST_DELETE,
		  "{\"app_id\":7,\"copies\":\"2\",\"deleted\":true,\"key\":\"k\"}" },
		{ KMS_ERR_FIELD_UNKNOWN, KMS_REQUEST_GET,
		  "{\"app_id\":7,\"copies\":2,\"key\":\"k\",\"value\":\"\",\"updated_at_ms\":1}" },
		/* replies to another operation: exactly this one's members */
		{ KMS_ERR_FIELD_UNKNOWN, KMS_REQUEST_PUT,
		  "{\"app_id\":7,\"key\":\"k\",\"value\":\"\",\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_UNKNOWN, KMS_REQUEST_DELETE,
		  "{\"app_id\":7,\"key\":\"k\",\"deleted\":true,\"updated_at_ms\":1}" },
		{ KMS_ERR_FIELD_UNKNOWN, KMS_REQUEST_DERIVE,
		  "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4,\"x\":1}" },
		{ KMS_ERR_FIELD_UNKNOWN, KMS_REQUEST_LIST,
		  "{\"app_id\":7,\"keys\":[],\"count\":0,\"value\":\"\"}" },
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
		  "{\"app_id\":7,\"path\":\"\",\"key\":\"AAAAAA==\",\"length\":4}" },
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

TEST(hears_of_sessions_where_it_asked)
{
	static const struct {
		kms_status want;
		bool asks, has;
		const char *result;
	} cases[] = {
		{ KMS_OK, true, true,
		  "{\"app_id\":7,\"count\":0,\"features\":[\"a\",\"session\"],\"keys\":[]}" },
		{ KMS_OK, true, false, "{\"app_id\":7,\"count\":0,\"features\":[\"sessions\"],\"keys\":[]}" },
		{ KMS_OK, true, false, "{\"app_id\":7,\"count\":0,\"features\":[],\"keys\":[]}" },
		{ KMS_OK, true, false, "{\"app_id\":7,\"count\":0,\"keys\":[]}" },
		{ KMS_ERR_FIELD_TYPE, true, false,
		  "{\"app_id\":7,\"count\":0,\"features\":\"session\",\"keys\":[]}" },
		{ KMS_ERR_FIELD_TYPE, true, false,
		  "{\"app_id\":7,\"count\":0,\"features\":[5],\"keys\":[]}" },
		{ KMS_ERR_FIELD_UNKNOWN, false, false,
		  "{\"app_id\":7,\"count\":0,\"features\":[\"session\"],\"keys\":[]}" },
	};
	CHECK_OK(make_world());
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		kms_exchange exchange;
		wire w = wire_make();
		kms_text result = kms_text_from(cases[i].result);
		CHECK_OK(begin_for(&exchange, KMS_REQUEST_LIST));
		exchange.asks_sessions = cases[i].asks;
		CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_text_span(result)));
		CHECK_STATUS(cases[i].want, finish_with(&exchange, &w));
		CHECK(exchange.has_sessions == cases[i].has);
		kms_exchange_clear(&exchange);
		wire_free(&w);
	}
	free_world();
}

/* Once the client has had a reply with `pop`, or is told of one, replies must have it. */
static void insists_on_pop(int *failed_, bool told)
{
	static const char *const bare[] = { "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4}",
					    "{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":1}",
					    "{\"app_id\":7,\"key\":\"k\",\"deleted\":true}" };
	static const kms_request_kind kinds[] = { KMS_REQUEST_DERIVE, KMS_REQUEST_PUT, KMS_REQUEST_DELETE };
	CHECK_OK(make_world());
	for (size_t i = 0; i < KMS_ARRAY_LEN(bare); i++)
		CALL(finish_by_hand, KMS_OK, kinds[i], bare[i]);
	if (told)
		kms_client_require_pop(world.client);
	else
		CALL(finish_by_hand, KMS_OK, KMS_REQUEST_PUT,
		     "{\"app_id\":7,\"key\":\"k\",\"updated_at_ms\":1,\"pop\":\"@\"}");
	for (size_t i = 0; i < KMS_ARRAY_LEN(bare); i++)
		CALL(finish_by_hand, KMS_ERR_POP_BINDING, kinds[i], bare[i]);
	/* A request without a body has no pop to repeat. */
	CALL(finish_by_hand, KMS_OK, KMS_REQUEST_LIST, "{\"app_id\":7,\"keys\":[],\"count\":0}");
	CALL(finish_by_hand, KMS_OK, KMS_REQUEST_DELETE,
	     "{\"app_id\":7,\"key\":\"k\",\"deleted\":true,\"pop\":\"@\"}");
	free_world();
}

TEST(a_node_that_sent_pop_must_send_it_again)
{
	CALL(insists_on_pop, false);
	CALL(insists_on_pop, true);
	kms_client_require_pop(NULL);
}

/* A PUT whose headers reach the node on a GET of the same key: the reply is the node's, but nothing is
 * stored. */
TEST(a_reply_to_a_get_is_not_taken_for_one_to_a_put)
{
	DEFER(wire_free) wire w = wire_make();
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	char nonce[KMS_NONCE_TEXT];
	kms_exchange exchange;
	kms_request put = { .kind = KMS_REQUEST_PUT, .key = KMS_TEXT("k"), .value = KMS_BYTES("old") };
	CHECK_OK(make_world());
	CHECK_OK(kms_nonces_issue(nonce, world.nonces, 1));
	CHECK_OK(
	    kms_client_begin(&exchange, &body, world.client, &put, kms_text_of(nonce, sizeof(nonce)), NOW_S));
	CHECK_OK(serve(&w, &exchange, &body, kms_text_of(nonce, sizeof(nonce)), put.key));
	kms_exchange_clear(&exchange);

	put.value = KMS_BYTES("new");
	kms_buf_clear(&body);
	CHECK_OK(kms_nonces_issue(nonce, world.nonces, 1));
	CHECK_OK(
	    kms_client_begin(&exchange, &body, world.client, &put, kms_text_of(nonce, sizeof(nonce)), NOW_S));
	kms_exchange redirected = exchange;
	redirected.kind = KMS_REQUEST_GET;
	CHECK_OK(serve(&w, &redirected, &body, kms_text_of(nonce, sizeof(nonce)), put.key));
	CHECK_STATUS(KMS_ERR_FIELD_UNKNOWN, finish_with(&exchange, &w));
	kms_exchange_clear(&exchange);
	free_world();
}

TEST(refuses_replies_of_others)
{
	static const char inner[] = "{\"app_id\":7,\"keys\":[],\"count\":0}";
	DEFER(wire_free) wire w = wire_make();
	kms_exchange exchange, earlier;
	CHECK_OK(make_world());
	CHECK_OK(begin_for(&exchange, KMS_REQUEST_LIST));

	/* Signed by another, sealed by another, not signed. */
	CHECK_OK(reply_with(&w, &world.node, &world.other, &exchange, kms_span_of(inner, strlen(inner))));
	CHECK_STATUS(KMS_ERR_SIGNATURE, finish_with(&exchange, &w));
	CHECK_OK(reply_with(&w, &world.other, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
	CHECK_STATUS(KMS_ERR_SENDER_KEY, finish_with(&exchange, &w));
	CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
	CHECK_STATUS(KMS_ERR_SIGNATURE,
		     kms_client_finish(&exchange, &w.body, world.client, (kms_text){ NULL, 0 }));
	CHECK_STATUS(KMS_ERR_SIGNATURE,
		     kms_client_finish(&exchange, &w.body, world.client, KMS_TEXT("0x00")));

	/* The signature of an earlier exchange. */
	kms_request request = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(kms_client_begin(&earlier, &w.body, world.client, &request, KMS_TEXT("other"), NOW_S));
	CHECK_OK(reply_with(&w, &world.node, &world.node, &earlier, kms_span_of(inner, strlen(inner))));
	CHECK_STATUS(KMS_ERR_SIGNATURE, finish_with(&exchange, &w));
	kms_exchange_clear(&earlier);

	/* One changed digit of the ciphertext; no envelope at all. */
	CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
	char *digit = strstr((char *)w.body.data, "\"encrypted_data\":\"") + strlen("\"encrypted_data\":\"");
	*digit = *digit == '0' ? '1' : '0';
	CHECK_STATUS(KMS_ERR_DECRYPT, finish_with(&exchange, &w));
	kms_buf_clear(&w.body);
	CHECK_OK(kms_buf_append_text(&w.body, inner));
	CHECK_STATUS(KMS_ERR_ENVELOPE, finish_with(&exchange, &w));

	/* Refused replies leave the exchange usable; an accepted one ends it. */
	CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
	CHECK_OK(finish_with(&exchange, &w));
	CHECK_STATUS(KMS_ERR_STATE, finish_with(&exchange, &w));
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_STATE, finish_with(&exchange, &w));
	free_world();
}

/* Every allocation of an exchange fails in turn; each failure is clean. */
TEST(survives_failing_allocations)
{
	static const char inner[] = "{\"app_id\":7,\"path\":\"p\",\"key\":\"AAAAAA==\",\"length\":4}";
	DEFER(wire_free) wire w = wire_make();
	static const kms_exchange empty;
	kms_exchange exchange;
	kms_status status = KMS_ERR_MEMORY;
	CHECK_OK(make_world());
	/* The first run makes the contexts that OpenSSL keeps for the thread. */
	CHECK_OK(begin_for(&exchange, KMS_REQUEST_DERIVE));
	CHECK_OK(reply_with(&w, &world.node, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
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
		CHECK_OK(
		    reply_with(&w, &world.node, &world.node, &exchange, kms_span_of(inner, strlen(inner))));
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(refuses_results_that_do_not_fit), T(hears_of_sessions_where_it_asked),
	  T(a_node_that_sent_pop_must_send_it_again), T(a_reply_to_a_get_is_not_taken_for_one_to_a_put),
	  T(refuses_replies_of_others), T(survives_failing_allocations))
