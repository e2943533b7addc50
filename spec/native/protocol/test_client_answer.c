/* What an application makes of the answers to its messages (kms/client_session.h). */
#include "client_session_kit.h"

#define DERIVED "{\"app_id\":7,\"key\":\"AAECAw==\",\"length\":4,\"path\":\"p\",\"status\":200}"
#define GOT "{\"app_id\":7,\"key\":\"k\",\"status\":200,\"updated_at_ms\":5,\"value\":\"Zm9v\"}"
#define REFUSED "{\"code\":\"not_found\",\"message\":\"none\",\"status\":404}"

static const kms_request derive = { .kind = KMS_REQUEST_DERIVE, .path = { "p", 1 }, .length = 4 };
static const kms_request get = { .kind = KMS_REQUEST_GET, .key = { "k", 1 } };
static const kms_request put = { .kind = KMS_REQUEST_PUT, .key = { "k", 1 } };
static const kms_request list = { .kind = KMS_REQUEST_LIST };

/* Sends the pair's message, and opens `result` as its answer. */
static kms_status answered(kms_client_answer *answer, pair *p, const char *result)
{
	uint64_t seq;
	DEFER(kms_buf_free) kms_buf sealed = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	memset(answer, 0, sizeof(*answer));
	GUARD(pair_exchange(p, &seq, &sealed, NULL, kms_text_from(result)));
	return kms_client_answer_open(answer, p->message, p->session, seq, kms_buf_span(&sealed));
}

/* At the bound, and past it. */
TEST(of_a_wait_only_so_much_counts)
{
	static const char *const waits[] = { "999999999", "1000000000", "9223372036854775808" };
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		pair p;
		char text[100];
		kms_session_grant grant;
		kms_client_answer answer;
		kms_exchange exchange;
		snprintf(text, sizeof(text),
			 "{\"code\":\"c\",\"message\":\"m\",\"retry_after_s\":%s,\"status\":429}", waits[i]);
		CHECK_OK(make_world());
		CHECK_OK(pair_open(&p, &grant, NULL));
		CHECK_OK(pair_ask(&p, &derive, 1));
		CHECK_OK(answered(&answer, &p, text));
		CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 0));
		CHECK(exchange.refusal.status == 429 && exchange.refusal.retry_after_s == 999999999);
		kms_exchange_clear(&exchange);
		kms_client_answer_clear(&answer);
		pair_free(&p);
		free_world();
	}
}

TEST(gives_each_operation_its_result_or_refusal)
{
	pair p;
	char text[256];
	kms_session_grant grant;
	kms_client_answer answer;
	kms_exchange exchange;
	const kms_request requests[] = { derive, get, get, list };
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_OK(pair_ask(&p, requests, 4));
	CHECK_OK(answered(&answer, &p,
			  "[" DERIVED ",{\"code\":\"rate_limited\",\"message\":\"slow\",\"retry_after_s\":9,"
			  "\"status\":429}," GOT
			  ",{\"app_id\":7,\"count\":1,\"keys\":[\"k\"],\"status\":200}]"));
	CHECK(!answer.whole && answer.plain.kind == KMS_BUF_GUARDED);
	CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 0));
	CHECK(exchange.refusal.status == 0 && exchange.app_id == 7 && exchange.secret.len == 4);
	CHECK(exchange.plain.kind == KMS_BUF_GUARDED && exchange.secret.kind == KMS_BUF_GUARDED);
	CHECK_MEM(exchange.secret.data, "\0\1\2\3", 4);
	kms_exchange_clear(&exchange);
	CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 1));
	CHECK(exchange.refusal.status == 429 && exchange.refusal.retry_after_s == 9);
	CHECK(kms_text_compare(exchange.refusal.code, KMS_TEXT("rate_limited")) == 0);
	CHECK(kms_text_compare(exchange.refusal.message, KMS_TEXT("slow")) == 0);
	CHECK_OK(written(text, sizeof(text), &exchange, KMS_FORMAT_JSON));
	CHECK(
	    strcmp(text,
		   "{\"code\":\"rate_limited\",\"message\":\"slow\",\"retry_after_s\":9,\"status\":429}\n") ==
	    0);
	kms_exchange_clear(&exchange);
	CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 2));
	CHECK(exchange.updated_at_ms == 5 && exchange.secret.len == 3);
	kms_exchange_clear(&exchange);
	CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 3));
	kms_exchange_clear(&exchange);
	CHECK_STATUS(KMS_ERR_RANGE, kms_client_answer_result(&exchange, &answer, p.message, 4));
	kms_client_answer_clear(&answer);
	CHECK_STATUS(KMS_ERR_STATE, kms_client_answer_result(&exchange, &answer, p.message, 0));
	pair_free(&p);
	free_world();
}

TEST(listings_alone_need_no_guarded_memory)
{
	pair p;
	kms_session_grant grant;
	kms_client_answer answer;
	kms_exchange exchange;
	const kms_request requests[] = { list, list };
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_OK(pair_ask(&p, requests, 2));
	CHECK_OK(
	    answered(&answer, &p, "[{\"app_id\":7,\"count\":0,\"keys\":[],\"status\":200}," REFUSED "]"));
	CHECK(answer.plain.kind == KMS_BUF_WIPED);
	CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, 0));
	CHECK(exchange.plain.kind == KMS_BUF_WIPED);
	kms_exchange_clear(&exchange);
	kms_client_answer_clear(&answer);
	pair_free(&p);
	free_world();
}

TEST(one_object_may_refuse_all_operations_and_answers_none)
{
	pair p;
	kms_session_grant grant;
	kms_client_answer answer;
	kms_exchange exchange;
	const kms_request requests[] = { derive, derive };
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_OK(pair_ask(&p, requests, 2));
	CHECK_OK(answered(&answer, &p, "{\"code\":\"stale\",\"message\":\"old\",\"status\":403}"));
	CHECK(answer.whole);
	for (size_t i = 0; i < 2; i++) {
		CHECK_OK(kms_client_answer_result(&exchange, &answer, p.message, i));
		CHECK(exchange.refusal.status == 403);
		kms_exchange_clear(&exchange);
	}
	kms_client_answer_clear(&answer);
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, answered(&answer, &p, DERIVED));
	CHECK(answer.plain.data == NULL && answer.json.values == NULL);
	pair_free(&p);
	free_world();
}

TEST(an_answer_of_another_shape_is_none)
{
	static const struct {
		size_t count;
		kms_status want;
		const char *json;
	} cases[] = {
		{ 1, KMS_ERR_JSON, "" },
		{ 1, KMS_ERR_JSON, "{" },
		{ 1, KMS_ERR_FIELD_TYPE, "[" DERIVED "]" },
		{ 1, KMS_ERR_FIELD_TYPE, "5" },
		{ 1, KMS_ERR_FIELD_MISSING, "{}" },
		{ 1, KMS_ERR_FIELD_TYPE, "{\"status\":\"200\"}" },
		{ 2, KMS_ERR_FIELD_VALUE, "[" DERIVED "]" },
		{ 2, KMS_ERR_FIELD_VALUE, "[" DERIVED "," DERIVED "," DERIVED "]" },
		{ 2, KMS_ERR_FIELD_VALUE, "[]" },
		{ 2, KMS_ERR_FIELD_TYPE, "null" },
		{ 2, KMS_OK, "[" DERIVED "," DERIVED "]" },
	};
	pair p;
	kms_session_grant grant;
	kms_client_answer answer;
	const kms_request requests[] = { derive, derive };
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		CHECK_OK(pair_ask(&p, requests, cases[i].count));
		CHECK_STATUS(cases[i].want, answered(&answer, &p, cases[i].json));
		CHECK((answer.plain.data != NULL) == (cases[i].want == KMS_OK));
		kms_client_answer_clear(&answer);
	}
	pair_free(&p);
	free_world();
}

TEST(a_result_of_another_operation_is_none)
{
	static const struct {
		const kms_request *request;
		kms_status want;
		const char *json;
	} cases[] = {
		{ &derive, KMS_ERR_FIELD_MISSING, GOT },
		{ &derive, KMS_ERR_FIELD_VALUE,
		  "{\"app_id\":7,\"key\":\"AAECAw==\",\"length\":4,\"path\":\"q\",\"status\":200}" },
		{ &derive, KMS_ERR_FIELD_VALUE,
		  "{\"app_id\":7,\"key\":\"AAEC\",\"length\":3,\"path\":\"p\",\"status\":200}" },
		{ &derive, KMS_ERR_FIELD_UNKNOWN,
		  "{\"app_id\":7,\"key\":\"AAECAw==\",\"length\":4,\"path\":\"p\",\"pop\":\"\",\"status\":"
		  "200}" },
		{ &get, KMS_ERR_FIELD_VALUE,
		  "{\"app_id\":7,\"key\":\"l\",\"status\":200,\"updated_at_ms\":5,\"value\":\"Zm9v\"}" },
		{ &get, KMS_ERR_FIELD_MISSING,
		  "{\"app_id\":7,\"key\":\"k\",\"status\":200,\"updated_at_ms\":5}" },
		{ &put, KMS_ERR_FIELD_UNKNOWN, GOT },
		{ &get, KMS_ERR_FIELD_VALUE, "{\"code\":\"c\",\"message\":\"m\",\"status\":299}" },
		{ &get, KMS_ERR_FIELD_VALUE, "{\"code\":\"c\",\"message\":\"m\",\"status\":600}" },
		{ &get, KMS_ERR_FIELD_MISSING, "{\"code\":\"c\",\"status\":404}" },
		{ &get, KMS_ERR_FIELD_TYPE, "{\"code\":1,\"message\":\"m\",\"status\":404}" },
		{ &get, KMS_ERR_FIELD_TYPE,
		  "{\"code\":\"c\",\"message\":\"m\",\"retry_after_s\":-1,\"status\":404}" },
		{ &get, KMS_OK, REFUSED },
		{ &get, KMS_OK, GOT },
		{ &put, KMS_OK,
		  "{\"app_id\":7,\"copies\":2,\"key\":\"k\",\"status\":200,\"updated_at_ms\":5}" },
	};
	pair p;
	kms_session_grant grant;
	kms_client_answer answer;
	kms_exchange exchange;
	static const kms_exchange empty;
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		CHECK_OK(pair_ask(&p, cases[i].request, 1));
		CHECK_OK(answered(&answer, &p, cases[i].json));
		CHECK_STATUS(cases[i].want, kms_client_answer_result(&exchange, &answer, p.message, 0));
		CHECK(cases[i].want == KMS_OK || memcmp(&exchange, &empty, sizeof(empty)) == 0);
		kms_exchange_clear(&exchange);
		kms_client_answer_clear(&answer);
	}
	pair_free(&p);
	free_world();
}

TEST(an_answer_belongs_to_one_message_of_one_session)
{
	pair p, other;
	uint64_t first, second, third;
	kms_session_grant grant;
	kms_client_answer answer;
	kms_buf a = kms_buf_make(KMS_BUF_GUARDED, 4096), b = kms_buf_make(KMS_BUF_GUARDED, 4096);
	kms_buf c = kms_buf_make(KMS_BUF_GUARDED, 4096);
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_OK(pair_open(&other, &grant, NULL));
	CHECK_OK(pair_ask(&p, &derive, 1));
	CHECK_OK(pair_ask(&other, &derive, 1));
	CHECK_OK(pair_exchange(&p, &first, &a, NULL, KMS_TEXT(DERIVED)));
	CHECK_OK(pair_exchange(&p, &second, &b, NULL, KMS_TEXT(DERIVED)));
	CHECK_OK(pair_exchange(&other, &third, &c, NULL, KMS_TEXT(DERIVED)));
	CHECK_STATUS(KMS_ERR_DECRYPT,
		     kms_client_answer_open(&answer, p.message, p.session, first, kms_buf_span(&b)));
	CHECK_STATUS(KMS_ERR_DECRYPT,
		     kms_client_answer_open(&answer, p.message, p.session, third, kms_buf_span(&c)));
	for (size_t i = 0; i < a.len; i++) {
		a.data[i] ^= 1;
		CHECK_STATUS(KMS_ERR_DECRYPT,
			     kms_client_answer_open(&answer, p.message, p.session, first, kms_buf_span(&a)));
		CHECK(answer.plain.data == NULL);
		a.data[i] ^= 1;
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_client_answer_open(&answer, p.message, p.session, first,
								     kms_span_of(a.data, i)));
	}
	CHECK_OK(kms_client_answer_open(&answer, p.message, p.session, first, kms_buf_span(&a)));
	kms_client_answer_clear(&answer);
	kms_buf_free(&a);
	kms_buf_free(&b);
	kms_buf_free(&c);
	pair_free(&p);
	pair_free(&other);
	free_world();
}

TEST(reads_operations_as_a_client_writes_them)
{
	static const struct {
		const char *json;
		kms_status want;
	} cases[] = {
		{ "{\"op\":\"derive\",\"path\":\"p\"}", KMS_OK },
		{ "{\"op\":\"list\",\"limit\":5}", KMS_OK },
		{ "{\"op\":\"get\",\"key\":\"k\",\"strict\":false}", KMS_OK },
		{ "{\"op\":\"get\",\"key\":\"k\",\"value\":\"\"}", KMS_ERR_FIELD_UNKNOWN },
		{ "{\"op\":\"get\"}", KMS_ERR_FIELD_MISSING },
		{ "{\"key\":\"k\"}", KMS_ERR_FIELD_MISSING },
		{ "[]", KMS_ERR_JSON },
		{ "", KMS_ERR_JSON },
	};
	const char *field;
	kms_request request;
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		kms_buf line = kms_buf_make(KMS_BUF_GUARDED, 4096);
		CHECK_OK(kms_buf_append_text(&line, cases[i].json));
		CHECK_STATUS(cases[i].want, kms_client_operation_read(&request, &field, &line));
		kms_buf_free(&line);
	}
	/* 64 values and keys at most: the object, a key, an array and its elements. */
	for (size_t elements = 61; elements <= 62; elements++) {
		kms_buf line = kms_buf_make(KMS_BUF_GUARDED, 4096);
		CHECK_OK(kms_buf_append_text(&line, "{\"none\":["));
		for (size_t i = 0; i < elements; i++)
			CHECK_OK(kms_buf_append_text(&line, i ? ",1" : "1"));
		CHECK_OK(kms_buf_append_text(&line, "]}"));
		kms_status want = elements == 61 ? KMS_ERR_FIELD_MISSING : KMS_ERR_JSON_SIZE;
		CHECK_STATUS(want, kms_client_operation_read(&request, &field, &line));
		kms_buf_free(&line);
	}
	kms_buf plain = kms_buf_make(KMS_BUF_PLAIN, 4096);
	CHECK_OK(kms_buf_append_text(&plain, "{}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_client_operation_read(&request, &field, &plain));
	kms_buf_free(&plain);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(gives_each_operation_its_result_or_refusal),
	  T(listings_alone_need_no_guarded_memory), T(one_object_may_refuse_all_operations_and_answers_none),
	  T(an_answer_of_another_shape_is_none), T(a_result_of_another_operation_is_none),
	  T(an_answer_belongs_to_one_message_of_one_session), T(of_a_wait_only_so_much_counts),
	  T(reads_operations_as_a_client_writes_them))
