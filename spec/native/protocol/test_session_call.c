/* Requests of a session on the node: each number opens once and is answered once. */
#include <pthread.h>

#include "base/bits.h"
#include "session_kit.h"

/* ---- the window alone ---- */

TEST(the_window_agrees_with_a_list_of_all_numbers)
{
	enum { NUMBERS = 6000 };
	static bool used[NUMBERS];
	session_window window = { 0 };
	uint64_t state = 1, highest = 0;
	for (int i = 0; i < 200000; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		uint64_t spread = (state >> 60) ? 1100 : 3000;
		uint64_t seq = highest + 40 + (state >> 33) % spread;
		seq = seq > spread ? seq - spread : seq % 64;
		if (seq >= NUMBERS) { /* from the start again */
			memset(used, 0, sizeof(used));
			window = (session_window){ 0 };
			highest = 0;
			continue;
		}
		bool want = seq >= 1 && !used[seq] && (seq > highest || highest - seq <= 1024);
		CHECK(kms_session_window_is_new(&window, seq) == want);
		CHECK(kms_session_window_mark(&window, seq) == want);
		if (!want) continue;
		used[seq] = true;
		if (seq > highest) highest = seq;
		CHECK(window.highest == highest);
	}
}

TEST(the_window_has_its_edges_where_they_belong)
{
	static const uint64_t tops[] = { 1025, 1026, 1087, 1088, 1089, 70000, KMS_SESSION_MAX_SEQ };
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		session_window window = { 0 };
		CHECK(kms_session_window_mark(&window, tops[i]) &&
		      !kms_session_window_mark(&window, tops[i]));
		CHECK(!kms_session_window_is_new(&window, tops[i] - 1025));
		CHECK(kms_session_window_mark(&window, tops[i] - 1024));
		CHECK(!kms_session_window_mark(&window, tops[i] - 1024));
		CHECK(kms_session_window_mark(&window, tops[i] - 1));
		CHECK(!kms_session_window_is_new(&window, 0));
		CHECK(!kms_session_window_is_new(&window, KMS_SESSION_MAX_SEQ + 1));
		CHECK(!kms_session_window_is_new(&window, UINT64_MAX) && window.highest == tops[i]);
	}
	/* Numbers of earlier laps of the ring are forgotten, not taken for those of this one. */
	session_window window = { 0 };
	for (uint64_t seq = 1; seq <= 1088; seq++)
		CHECK(kms_session_window_mark(&window, seq));
	CHECK(kms_session_window_mark(&window, 3000));
	for (uint64_t seq = 3000 - 1024; seq < 3000; seq++)
		CHECK(kms_session_window_mark(&window, seq));
}

/* ---- requests ---- */

TEST(a_number_opens_once)
{
	kit_pair pair = kit_open(1);
	CHECK_OK(kit_send(&pair, 1));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_send(&pair, 1));
	CHECK_OK(kit_send(&pair, 3));
	CHECK_OK(kit_send(&pair, 2));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_send(&pair, 2));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_send(&pair, 3));
	kit_close(&pair);
}

TEST(numbers_1024_behind_open_and_1025_behind_do_not)
{
	kit_pair pair = kit_open(1);
	CHECK_OK(kit_send(&pair, 2000));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_send(&pair, 975));
	CHECK_OK(kit_send(&pair, 976));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_send(&pair, 976));
	kit_close(&pair);
}

TEST(numbers_are_1_to_2_to_the_32)
{
	kit_pair pair = kit_open(1);
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kit_send(&pair, 0));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kit_send(&pair, KMS_SESSION_MAX_SEQ + 1));
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kit_send(&pair, UINT64_MAX));
	CHECK_OK(kit_send(&pair, KMS_SESSION_MAX_SEQ));
	CHECK_OK(kit_send(&pair, KMS_SESSION_MAX_SEQ - 1));
	kit_close(&pair);
}

TEST(nothing_forged_moves_the_window_or_counts_as_a_use)
{
	kit_pair pair = kit_open(1);
	kms_buf request = kit_request(&pair, 7, "{}");
	kms_store64_be(request.data + 16, KMS_SESSION_MAX_SEQ);
	pair.session->used_s = 5;
	CHECK_STATUS(KMS_ERR_DECRYPT, kit_receive(&pair, &request));
	kms_store64_be(request.data + 16, 7);
	request.data[request.len - 1] ^= 1;
	CHECK_STATUS(KMS_ERR_DECRYPT, kit_receive(&pair, &request));
	CHECK(pair.session->window.highest == 0 && pair.session->used_s == 5);
	request.data[request.len - 1] ^= 1;
	CHECK_OK(kit_receive(&pair, &request));
	CHECK(pair.session->window.highest == 7 && pair.session->used_s == KIT_NOW);
	kms_buf_free(&request);
	kit_close(&pair);
}

TEST(the_head_is_read_before_the_rest)
{
	uint8_t sid[16], head[24] = { 1, 2, 3 };
	uint64_t seq;
	head[23] = 9;
	CHECK_OK(kms_session_head_parse(sid, &seq, KMS_SPAN(head)));
	CHECK(seq == 9);
	CHECK_MEM(sid, head, 16);
	for (size_t len = 0; len < 24; len++)
		CHECK_STATUS(KMS_ERR_TRUNCATED, kms_session_head_parse(sid, &seq, kms_span_of(head, len)));
	CHECK(seq == 0 && sid[0] == 0);
	head[23] = 0;
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kms_session_head_parse(sid, &seq, KMS_SPAN(head)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_head_parse(NULL, &seq, KMS_SPAN(head)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_head_parse(sid, NULL, KMS_SPAN(head)));
}

typedef struct copies {
	pthread_t thread;
	const kit_pair *pair;
	const kms_buf *requests;
	size_t count;
	int opened;
} copies;

static void *receive_all(void *opaque)
{
	copies *c = opaque;
	for (size_t i = 0; i < c->count; i++)
		c->opened += kit_receive(c->pair, &c->requests[i]) == KMS_OK;
	return NULL;
}

TEST(of_copies_at_the_same_time_one_opens)
{
	enum { THREADS = 4, REQUESTS = 200 };
	copies threads[THREADS];
	kms_buf requests[REQUESTS];
	kit_pair pair = kit_open(1);
	int opened = 0;
	for (size_t i = 0; i < REQUESTS; i++)
		requests[i] = kit_request(&pair, i + 1, "{}");
	for (size_t i = 0; i < THREADS; i++) {
		threads[i] = (copies){ .pair = &pair, .requests = requests, .count = REQUESTS };
		CHECK(pthread_create(&threads[i].thread, NULL, receive_all, &threads[i]) == 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i].thread, NULL) == 0);
		opened += threads[i].opened;
	}
	CHECK(opened == REQUESTS);
	for (size_t i = 0; i < REQUESTS; i++)
		kms_buf_free(&requests[i]);
	kit_close(&pair);
}

/* ---- answers ---- */

TEST(a_call_is_answered_once)
{
	kit_pair pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 1);
	kms_buf answer, second;
	CHECK_OK(kit_answer(&answer, call, "{}"));
	CHECK_STATUS(KMS_ERR_STATE, kit_answer(&second, call, "[]"));
	CHECK(second.len == 0 && answer.len > 0);
	CHECK(kit_is_open(pair.sessions, 1, KIT_NOW));
	kms_session_call_free(call);
	kms_buf_free(&answer);
	kms_buf_free(&second);
	kit_close(&pair);
}

TEST(an_answer_that_fails_ends_the_session)
{
	kit_pair pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 1), *other = kit_call(&pair, 2);
	kms_buf unprepared = kit_buffer(), answer;
	CHECK_STATUS(KMS_ERR_STATE, kms_session_answer_seal(&unprepared, call, 0));
	CHECK(!kit_is_open(pair.sessions, 1, KIT_NOW));
	CHECK_STATUS(KMS_ERR_STATE, kit_answer(&answer, call, "{}"));
	kms_buf_free(&answer);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_send(&pair, 3));
	/* What was opened before is still answered: a refusal is the last answer of a session. */
	CHECK_OK(kit_answer(&answer, other, "{}"));
	kms_buf_free(&answer);
	kms_buf_free(&unprepared);
	kms_session_call_free(call);
	kms_session_call_free(other);
	kit_close(&pair);
}

TEST(a_call_that_is_dropped_without_an_answer_ends_the_session)
{
	kit_pair pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 1), *other = kit_call(&pair, 2);
	kms_buf answer;
	kms_session_call_free(call);
	CHECK(!kit_is_open(pair.sessions, 1, KIT_NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_send(&pair, 3));
	CHECK_OK(kit_answer(&answer, other, "{}"));
	kms_buf_free(&answer);
	kms_session_call_free(other);
	kit_close(&pair);
}

TEST(misuse_of_a_call_is_refused)
{
	kit_pair pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 1);
	kms_session_content content = { 1, KMS_TEXT("x") };
	kms_buf answer = kit_buffer();
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_seal(NULL, call, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_seal(&answer, NULL, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_call_content(NULL, call));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_call_content(&content, NULL));
	CHECK(!content.json.text && kit_is_open(pair.sessions, 1, KIT_NOW));
	kms_session_call_free(call);
	kms_session_call_free(NULL);
	kit_close(&pair);
}

TEST(keys_stay_while_a_call_needs_them_and_no_longer)
{
	kit_pair warm = kit_open(9), pair;
	CHECK_OK(kit_send(&warm, 1)); /* makes what OpenSSL keeps */
	kit_close(&warm);
	size_t before = kms_guarded_used();
	pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 1);
	kms_buf answer;
	kms_session_caller_free(pair.caller);
	kms_session_end(pair.session);
	kms_session_end(pair.session); /* has ended already */
	kms_session_unref(pair.session);
	kms_sessions_free(pair.sessions);
	CHECK(kms_guarded_used() > before);
	CHECK_OK(kit_answer(&answer, call, "{}"));
	kms_buf_free(&answer);
	kms_session_call_free(call);
	CHECK(kms_guarded_used() == before);
}

/* ---- the caller's numbers ---- */

TEST(a_caller_seals_under_each_number_once)
{
	kit_pair pair = kit_open(1);
	uint64_t seq;
	kms_buf message = kit_buffer();
	for (uint64_t want = 1; want <= 1030; want++) {
		CHECK_OK(kms_session_caller_take(&seq, pair.caller));
		CHECK(seq == want);
	}
	static const struct {
		uint64_t seq;
		kms_status want;
	} tries[] = { { 0, KMS_ERR_STATE },    { 1031, KMS_ERR_STATE }, { 1029, KMS_OK },
		      { 4, KMS_ERR_STATE },    { 5, KMS_OK },           { 5, KMS_ERR_STATE },
		      { 1029, KMS_ERR_STATE }, { 1030, KMS_OK } };
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		kms_buf_clear(&message);
		CHECK_OK(kms_session_request_begin(&message, 2));
		CHECK_OK(kms_buf_append_text(&message, "{}"));
		CHECK_STATUS(tries[i].want, kms_session_request_seal(&message, pair.caller, tries[i].seq, 0));
		CHECK((message.len > 0) == (tries[i].want == KMS_OK));
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_seal(&message, NULL, 1, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_seal(NULL, pair.caller, 1, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_caller_take(NULL, pair.caller));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_caller_take(&seq, NULL));
	kms_buf_free(&message);
	kit_close(&pair);
}

TEST(a_caller_ends_with_the_last_number)
{
	kit_pair pair = kit_open(1);
	uint64_t seq;
	pair.caller->taken = KMS_SESSION_MAX_SEQ - 1;
	CHECK_OK(kms_session_caller_take(&seq, pair.caller));
	CHECK(seq == KMS_SESSION_MAX_SEQ);
	for (int i = 0; i < 2; i++) {
		CHECK_STATUS(KMS_ERR_STATE, kms_session_caller_take(&seq, pair.caller));
		CHECK(seq == 0);
	}
	kit_close(&pair);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(the_window_agrees_with_a_list_of_all_numbers),
	  T(the_window_has_its_edges_where_they_belong), T(a_number_opens_once),
	  T(numbers_1024_behind_open_and_1025_behind_do_not), T(numbers_are_1_to_2_to_the_32),
	  T(nothing_forged_moves_the_window_or_counts_as_a_use), T(the_head_is_read_before_the_rest),
	  T(of_copies_at_the_same_time_one_opens), T(a_call_is_answered_once),
	  T(an_answer_that_fails_ends_the_session),
	  T(a_call_that_is_dropped_without_an_answer_ends_the_session), T(misuse_of_a_call_is_refused),
	  T(keys_stay_while_a_call_needs_them_and_no_longer), T(a_caller_seals_under_each_number_once),
	  T(a_caller_ends_with_the_last_number))
