/* An application's sessions (kms/client_session.h) against the node's own functions. */
#include "client_session_kit.h"

TEST(opens_a_session_whose_keys_both_sides_have)
{
	pair p;
	kms_session_grant grant;
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK(grant.expires_s == 3600 && grant.max_operations == 256);
	CHECK(p.opening.own == NULL);
	CALL(ask, &p, "{\"op\":\"derive\",\"path\":\"p\",\"strict\":true}",
	     &(kms_request){ .kind = KMS_REQUEST_DERIVE, .path = KMS_TEXT("p") });
	pair_free(&p);
	free_world();
}

/* ---- openings that are refused ---- */

static void refused_opening(int *failed_, const forgery *f)
{
	pair p;
	kms_session_grant grant;
	kms_status status = pair_open(&p, &grant, f);
	if (status != f->want)
		fprintf(stderr, "%s instead of %s\n", kms_status_name(status), kms_status_name(f->want));
	CHECK(status == f->want);
	CHECK(p.session == NULL && p.opening.own == NULL);
	CHECK(grant.expires_s == 0 && grant.max_operations == 0);
	pair_free(&p);
}

TEST(refuses_an_answer_that_is_not_the_nodes)
{
	static const forgery cases[] = {
		{ .signed_by = &world.other, .want = KMS_ERR_SIGNATURE },
		{ .no_signature = true, .want = KMS_ERR_SIGNATURE },
		{ .other_signature = true, .want = KMS_ERR_SIGNATURE },
		{ .other_body = true, .want = KMS_ERR_SIGNATURE },
		{ .cut = true, .want = KMS_ERR_SIGNATURE },
		{ .sealed_by = &world.other, .want = KMS_ERR_SENDER_KEY },
		{ .grant = "{}", .want = KMS_ERR_FIELD_MISSING },
		{ .grant = "", .want = KMS_ERR_JSON },
		{ .grant = GRANT(E_GOOD, "x25519-sha256-other"), .want = KMS_ERR_FIELD_VALUE },
		{ .grant = GRANT(E_ZERO, KMS_SESSION_SUITE), .want = KMS_ERR_PEER_KEY },
		{ .grant = GRANT(E_ONE, KMS_SESSION_SUITE), .want = KMS_ERR_PEER_KEY },
		{ .grant = GRANT(E_GOOD, KMS_SESSION_SUITE), .want = KMS_OK },
	};
	CHECK_OK(make_world());
	for (size_t i = 0; i + 1 < KMS_ARRAY_LEN(cases); i++)
		CALL(refused_opening, &cases[i]);
	/* The last one shows that the others fail for their reason. */
	pair p;
	kms_session_grant grant;
	CHECK_OK(pair_open(&p, &grant, &cases[KMS_ARRAY_LEN(cases) - 1]));
	pair_free(&p);
	free_world();
}

TEST(an_opening_is_answered_once)
{
	pair p;
	kms_session_grant grant;
	kms_session_caller *again;
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_STATUS(KMS_ERR_STATE, kms_client_opening_finish(&again, &grant, &p.opening, &body, world.client,
							      KMS_TEXT("0x")));
	CHECK(again == NULL);
	pair_free(&p);
	free_world();
}

TEST(names_the_sessions_that_it_gave_up)
{
	kms_session_offer ends = { .ends_count = 2 }, read;
	kms_client_opening opening;
	kms_session_grant grant;
	pair p;
	memset(ends.ends16[0], 0xaa, 16);
	memset(ends.ends16[1], 0xbb, 16);
	CHECK_OK(make_world());
	CHECK_OK(kms_client_opening_begin(&opening, world.client, &ends, kms_text_from("nonce"), NOW_S));
	CHECK_OK(open_offer(&read, &opening.body));
	CHECK(read.ends_count == 2 && memcmp(read.ends16, ends.ends16, 32) == 0);
	kms_client_opening_clear(&opening);
	CHECK(opening.own == NULL && opening.body.data == NULL);
	ends.ends_count = KMS_SESSION_MAX_ENDS + 1;
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_client_opening_begin(&opening, world.client, &ends, kms_text_from("nonce"), NOW_S));
	CHECK(opening.own == NULL && opening.body.data == NULL);
	/* Two openings have different keys. */
	CHECK_OK(pair_open(&p, &grant, NULL));
	pair_free(&p);
	free_world();
}

/* ---- messages ---- */

TEST(writes_each_operation_as_nodes_read_it)
{
	static const struct {
		const char *json;
		kms_request request;
	} cases[] = {
		{ "{\"context\":\"c\",\"length\":16,\"op\":\"derive\",\"path\":\"p\",\"strict\":true}",
		  { .kind = KMS_REQUEST_DERIVE, .path = { "p", 1 }, .context = { "c", 1 }, .length = 16 } },
		{ "{\"key\":\"\\\"\",\"op\":\"put\",\"strict\":true,\"ttl_ms\":5,\"value\":\"AAE=\"}",
		  { .kind = KMS_REQUEST_PUT,
		    .key = { "\"", 1 },
		    .value = { (const uint8_t *)"\0\1", 2 },
		    .ttl_ms = 5 } },
		{ "{\"key\":\"k\",\"op\":\"put\",\"strict\":true,\"value\":\"\"}",
		  { .kind = KMS_REQUEST_PUT, .key = { "k", 1 } } },
		{ "{\"key\":\"k\",\"op\":\"delete\",\"strict\":true}",
		  { .kind = KMS_REQUEST_DELETE, .key = { "k", 1 } } },
		{ "{\"key\":\"k\",\"op\":\"get\",\"strict\":true}",
		  { .kind = KMS_REQUEST_GET, .key = { "k", 1 }, .prefix = { "p", 1 }, .after = { "a", 1 } } },
		{ "{\"op\":\"list\",\"strict\":true}", { .kind = KMS_REQUEST_LIST } },
		{ "{\"after\":\"a\",\"limit\":7,\"op\":\"list\",\"prefix\":\"\xc3\xa4\",\"strict\":true}",
		  { .kind = KMS_REQUEST_LIST,
		    .after = { "a", 1 },
		    .prefix = { "\xc3\xa4", 2 },
		    .limit = 7 } },
	};
	pair p;
	kms_session_grant grant;
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++)
		CALL(ask, &p, cases[i].json, &cases[i].request);
	pair_free(&p);
	free_world();
}

TEST(takes_a_new_number_each_time_a_message_is_sealed)
{
	pair p;
	uint64_t seq;
	kms_session_grant grant;
	kms_buf sealed = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	kms_buf plain = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	const kms_request list = { .kind = KMS_REQUEST_LIST };
	CHECK_OK(make_world());
	CHECK_OK(pair_open(&p, &grant, NULL));
	CHECK_STATUS(KMS_ERR_STATE, kms_client_message_seal(&sealed, &seq, p.message, p.session, NOW_MS));
	CHECK_OK(kms_client_message_add(p.message, &list));
	for (uint64_t want = 1; want <= 3; want++) {
		CHECK_OK(kms_client_message_seal(&sealed, &seq, p.message, p.session, NOW_MS));
		CHECK(seq == want && sealed.len % 256 == KMS_SESSION_HEAD + 16);
		kms_buf_free(&sealed);
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_client_message_seal(&plain, &seq, p.message, p.session, NOW_MS));
	CHECK(seq == 0);
	pair_free(&p);
	free_world();
}

TEST(a_message_has_room_for_so_much)
{
	static uint8_t value[300000];
	kms_client_message *message;
	const kms_request derive = { .kind = KMS_REQUEST_DERIVE, .path = KMS_TEXT("p") };
	const kms_request put = { .kind = KMS_REQUEST_PUT, .key = KMS_TEXT("k"), .value = KMS_SPAN(value) };
	const kms_request none = { .kind = KMS_REQUEST_DERIVE };
	CHECK_OK(kms_client_message_new(&message));
	for (size_t i = 0; i < KMS_CLIENT_OPERATIONS; i++)
		CHECK_OK(kms_client_message_add(message, &derive));
	CHECK_STATUS(KMS_ERR_BUSY, kms_client_message_add(message, &derive));
	CHECK(kms_client_message_count(message) == KMS_CLIENT_OPERATIONS);
	kms_client_message_free(message);
	/* The first one always has. */
	CHECK_OK(kms_client_message_new(&message));
	CHECK_OK(kms_client_message_add(message, &put));
	CHECK_STATUS(KMS_ERR_BUSY, kms_client_message_add(message, &put));
	CHECK_STATUS(KMS_ERR_FIELD_MISSING, kms_client_message_add(message, &none));
	CHECK_OK(kms_client_message_add(message, &derive));
	CHECK(kms_client_message_count(message) == 2);
	kms_client_message_free(message);
	kms_client_message_free(NULL);
	CHECK(kms_client_message_count(NULL) == 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(opens_a_session_whose_keys_both_sides_have),
	  T(refuses_an_answer_that_is_not_the_nodes), T(an_opening_is_answered_once),
	  T(names_the_sessions_that_it_gave_up), T(writes_each_operation_as_nodes_read_it),
	  T(takes_a_new_number_each_time_a_message_is_sealed), T(a_message_has_room_for_so_much))
