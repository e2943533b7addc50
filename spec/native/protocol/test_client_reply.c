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
		/* Existing nodes send no pop, ours do. Other members are ignored. */
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(refuses_results_that_do_not_fit), T(refuses_replies_of_others),
	  T(survives_failing_allocations))
