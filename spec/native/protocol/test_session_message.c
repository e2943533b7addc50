/* Messages of a session: what is sealed here opens there, and nothing else does. */
#include "base/bits.h"
#include "session_kit.h"

static kms_status open_answer(const kit_pair *pair, const kms_buf *answer, uint64_t seq)
{
	kms_session_content content;
	kms_buf copy = kit_copy(answer);
	kms_status status = kms_session_answer_open(&content, &copy, pair->caller, seq);
	if (status != KMS_OK && (content.json.text || content.time_ms || copy.len)) status = KMS_ERR_STATE;
	kms_buf_free(&copy);
	return status;
}

/* A request and its answer with JSON of this length, from end to end. */
static void exchange(int *failed_, kit_pair *pair, size_t json_len)
{
	kms_session_call *call;
	kms_session_content content;
	uint64_t seq;
	size_t padded = (12 + json_len + 255) / 256 * 256;
	kms_buf request = kit_buffer(), answer = kit_buffer();
	char *json = malloc(json_len + 1);
	CHECK(json);
	memset(json, 'x', json_len);
	CHECK_OK(kms_session_caller_take(&seq, pair->caller));
	CHECK_OK(kms_session_request_begin(&request, json_len));
	CHECK_OK(kms_buf_append(&request, kms_span_of(json, json_len)));
	CHECK_OK(kms_session_request_seal(&request, pair->caller, seq, KIT_TIME_MS));
	CHECK(request.len == 24 + padded + 16 && kms_load64_be(request.data + 16) == seq);
	CHECK_MEM(request.data, kms_session_caller_sid(pair->caller), 16);

	CHECK_OK(kms_session_request_open(&call, &request, pair->session, KIT_NOW));
	CHECK_OK(kms_session_call_content(&content, call));
	CHECK(content.time_ms == KIT_TIME_MS && content.json.len == json_len);
	CHECK_MEM(content.json.text, json, json_len);
	CHECK(kms_session_call_seq(call) == seq && kms_session_call_session(call) == pair->session);

	CHECK_OK(kms_session_answer_begin(&answer, json_len));
	CHECK_OK(kms_buf_append(&answer, kms_span_of(json, json_len)));
	CHECK_OK(kms_session_answer_seal(&answer, call, KIT_TIME_MS + 1));
	CHECK(answer.len == 8 + padded + 16 && kms_load64_be(answer.data) == seq);
	CHECK_OK(kms_session_answer_open(&content, &answer, pair->caller, seq));
	CHECK(content.time_ms == KIT_TIME_MS + 1 && content.json.len == json_len);
	CHECK_MEM(content.json.text, json, json_len);
	kms_session_call_free(call);
	kms_buf_free(&request);
	kms_buf_free(&answer);
	free(json);
}

TEST(messages_travel_both_ways_in_every_size)
{
	static const size_t lengths[] = { 0, 1, 2, 243, 244, 245, 499, 500, 501, 4096, 70000 };
	kit_pair pair = kit_open(1);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		CALL(exchange, &pair, lengths[i]);
	kit_close(&pair);
}

TEST(a_flipped_bit_anywhere_in_a_request_is_refused)
{
	kit_pair pair = kit_open(1);
	kms_buf request = kit_request(&pair, 5, "{\"op\":\"list\"}");
	for (size_t i = 0; i < request.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			request.data[i] ^= (uint8_t)(1u << bit);
			kms_status status = kit_receive(&pair, &request);
			bool sid = status == KMS_ERR_NOT_FOUND && i < 16;
			bool seq = status == KMS_ERR_FIELD_VALUE && i >= 16 && i < 20;
			CHECK(sid || seq || (status == KMS_ERR_DECRYPT && i >= 16));
			request.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	/* All of that has left the number unused. */
	CHECK(pair.session->window.highest == 0);
	CHECK_OK(kit_receive(&pair, &request));
	kms_buf_free(&request);
	kit_close(&pair);
}

TEST(a_flipped_bit_anywhere_in_an_answer_is_refused)
{
	kit_pair pair = kit_open(1);
	kms_buf answer;
	kms_session_call *call = kit_call(&pair, 5);
	CHECK_OK(kit_answer(&answer, call, "{\"status\":200}"));
	for (size_t i = 0; i < answer.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			answer.data[i] ^= (uint8_t)(1u << bit);
			CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 5));
			answer.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	CHECK_OK(open_answer(&pair, &answer, 5));
	kms_session_call_free(call);
	kms_buf_free(&answer);
	kit_close(&pair);
}

TEST(cut_and_longer_messages_are_refused)
{
	kit_pair pair = kit_open(1);
	kms_buf request = kit_request(&pair, 5, "{}"), answer;
	kms_session_call *call = kit_call(&pair, 6);
	size_t request_len = request.len, answer_len;
	CHECK_OK(kit_answer(&answer, call, "{}"));
	answer_len = answer.len;
	for (request.len = 0; request.len < request_len; request.len++) {
		kms_status want = request.len < KMS_SESSION_HEAD ? KMS_ERR_TRUNCATED : KMS_ERR_DECRYPT;
		CHECK_STATUS(want, kit_receive(&pair, &request));
	}
	for (answer.len = 0; answer.len < answer_len; answer.len++)
		CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 6));
	for (size_t more = 1; more <= 256; more++) {
		CHECK_OK(kms_buf_append(&request, KMS_BYTES("\0")));
		CHECK_OK(kms_buf_append(&answer, KMS_BYTES("\0")));
		CHECK_STATUS(KMS_ERR_DECRYPT, kit_receive(&pair, &request));
		CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 6));
	}
	request.len = request_len;
	CHECK_OK(kit_receive(&pair, &request));
	kms_session_call_free(call);
	kms_buf_free(&request);
	kms_buf_free(&answer);
	kit_close(&pair);
}

TEST(messages_of_another_session_are_refused)
{
	kit_pair one = kit_open(1), other = kit_open(2);
	kms_buf request = kit_request(&one, 5, "{}"), answer;
	kms_session_call *call = kit_call(&one, 6), *same_seq = kit_call(&other, 6);
	CHECK_OK(kit_answer(&answer, call, "{}"));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_receive(&other, &request));
	/* Another session's sid in front of it. */
	memcpy(request.data, kms_session_caller_sid(other.caller), 16);
	CHECK_STATUS(KMS_ERR_DECRYPT, kit_receive(&other, &request));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_receive(&one, &request));
	/* The other session's answer to a request with the same number. */
	CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&other, &answer, 6));
	CHECK_OK(open_answer(&one, &answer, 6));
	kms_session_call_free(call);
	kms_session_call_free(same_seq);
	kms_buf_free(&request);
	kms_buf_free(&answer);
	kit_close(&one);
	kit_close(&other);
}

TEST(the_same_key_with_another_sid_opens_nothing)
{
	session_keys keys = { { 1 }, { 2 }, { 3 }, { 4 } };
	kms_span plain;
	kms_buf message = kit_buffer();
	CHECK_OK(kms_session_answer_begin(&message, 2));
	CHECK_OK(kms_buf_append_text(&message, "{}"));
	CHECK_OK(kms_session_form_seal(&message, SESSION_ANSWER, &keys, 1, 0));
	keys.sid16[15] ^= 1;
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_session_form_open(&plain, &message, SESSION_ANSWER, &keys, 1));
	CHECK(!plain.bytes && message.len == 0);
	kms_buf_free(&message);
}

TEST(reflected_messages_are_refused)
{
	kit_pair pair = kit_open(1);
	kms_buf request = kit_request(&pair, 5, "{}"), answer, turned = kit_buffer();
	kms_session_call *call = kit_call(&pair, 6);
	CHECK_OK(kit_answer(&answer, call, "{}"));
	/* The caller's own request as the answer to it: without the sid it has an answer's form. */
	CHECK_OK(kms_buf_append(&turned, kms_span_of(request.data + 16, request.len - 16)));
	CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &turned, 5));
	/* The node's own answer as a request. */
	kms_buf_clear(&turned);
	CHECK_OK(kms_buf_append(&turned, kms_span_of(kms_session_caller_sid(pair.caller), 16)));
	CHECK_OK(kms_buf_append(&turned, kms_buf_span(&answer)));
	kms_store64_be(turned.data + 16, 6);
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kit_receive(&pair, &turned));
	pair.session->window = (session_window){ 0 };
	CHECK_STATUS(KMS_ERR_DECRYPT, kit_receive(&pair, &turned));
	kms_session_call_free(call);
	kms_buf_free(&request);
	kms_buf_free(&answer);
	kms_buf_free(&turned);
	kit_close(&pair);
}

TEST(an_answer_belongs_to_one_number)
{
	kit_pair pair = kit_open(1);
	kms_session_call *call = kit_call(&pair, 6);
	kms_buf answer;
	CHECK_OK(kit_answer(&answer, call, "{}"));
	CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 5));
	CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 0));
	kms_store64_be(answer.data, 5);
	CHECK_STATUS(KMS_ERR_DECRYPT, open_answer(&pair, &answer, 5));
	kms_session_call_free(call);
	kms_buf_free(&answer);
	kit_close(&pair);
}

/* ---- content that is authentic and malformed ---- */

/* Content with this length field, and one byte of the rest set, as an answer and as a request. */
static void malformed(int *failed_, kit_pair *pair, uint64_t seq, uint32_t json_len, size_t at,
		      kms_status want)
{
	kms_session_call *call;
	kms_session_content content;
	uint8_t bytes[512] = { 0 };
	kms_store32_be(bytes + 8, json_len);
	if (at) bytes[at] = 1;
	CHECK_STATUS(want, kms_session_content_read(&content, KMS_SPAN(bytes)));
	CHECK(want == KMS_OK || (!content.json.text && !content.json.len));
	for (session_form form = SESSION_REQUEST; form <= SESSION_ANSWER; form++) {
		kms_buf message = kit_buffer();
		size_t head = form == SESSION_REQUEST ? 24 : 8;
		/* 500 bytes of JSON fill two units of padding: the content is the bytes above. */
		CHECK_OK(kms_session_form_begin(&message, form, 500));
		CHECK_OK(kms_buf_append(&message, kms_span_of(bytes + 12, 500)));
		CHECK_OK(kms_session_form_seal(&message, form, &pair->session->keys, seq, 0));
		memcpy(message.data + head, bytes, sizeof(bytes));
		uint8_t iv[12] = { 0 }, aad[32] = "nova-kms";
		kms_store64_be(iv + 4, seq);
		memcpy(aad + 8, pair->session->keys.sid16, 16);
		kms_store64_be(aad + 24, seq);
		const uint8_t *key =
		    form == SESSION_REQUEST ? pair->session->keys.c2s32 : pair->session->keys.s2c32;
		CHECK_OK(kms_gcm_seal_in_place(message.data + head + 512,
					       kms_out_of(message.data + head, 512), key, iv, KMS_SPAN(aad)));
		if (form == SESSION_ANSWER) {
			CHECK_STATUS(want, open_answer(pair, &message, seq));
		} else {
			/* Authentic: the request has its number and its call, whatever it says. */
			CHECK_OK(kms_session_request_open(&call, &message, pair->session, KIT_NOW));
			CHECK_STATUS(want, kms_session_call_content(&content, call));
			kms_buf answer;
			CHECK_OK(kit_answer(&answer, call, "{}"));
			kms_buf_free(&answer);
			kms_session_call_free(call);
		}
		kms_buf_free(&message);
	}
}

TEST(malformed_content_is_named)
{
	kit_pair pair = kit_open(1);
	uint64_t seq = 0;
	CALL(malformed, &pair, ++seq, 500, 0, KMS_OK);
	CALL(malformed, &pair, ++seq, 501, 0, KMS_ERR_TRUNCATED);
	CALL(malformed, &pair, ++seq, 0x80000000u, 0, KMS_ERR_TRUNCATED);
	CALL(malformed, &pair, ++seq, 0xffffffffu, 0, KMS_ERR_TRUNCATED);
	/* Padding that is not zero: its first and its last byte; and no padding. */
	CALL(malformed, &pair, ++seq, 400, 0, KMS_OK);
	CALL(malformed, &pair, ++seq, 400, 411, KMS_OK);
	CALL(malformed, &pair, ++seq, 400, 412, KMS_ERR_TRAILING);
	CALL(malformed, &pair, ++seq, 400, 511, KMS_ERR_TRAILING);
	CALL(malformed, &pair, ++seq, 500, 511, KMS_OK);
	/* More padding than there needs to be. */
	CALL(malformed, &pair, ++seq, 245, 0, KMS_OK);
	CALL(malformed, &pair, ++seq, 244, 0, KMS_ERR_TRAILING);
	CALL(malformed, &pair, ++seq, 0, 0, KMS_ERR_TRAILING);
	kit_close(&pair);
}

/* ---- buffers ---- */

TEST(buffers_are_guarded_empty_and_begun)
{
	kit_pair pair = kit_open(1);
	kms_session_content content;
	uint64_t seq;
	kms_buf plain = kms_buf_make(KMS_BUF_PLAIN, KIT_LIMIT),
		small = kms_buf_make(KMS_BUF_WIPED, 8 + 256 + 15);
	kms_buf message = kit_buffer();
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_begin(&plain, 2));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_session_answer_begin(&small, 2));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_session_answer_begin(&message, SIZE_MAX));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_session_answer_begin(&message, (size_t)1 << 32));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_begin(NULL, 2));
	CHECK_OK(kms_session_caller_take(&seq, pair.caller));
	CHECK_STATUS(KMS_ERR_STATE, kms_session_request_seal(&message, pair.caller, seq, 0));
	CHECK_OK(kms_buf_append_text(&message, "{}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_begin(&message, 2));
	/* Ciphertext in ordinary memory would become plaintext there. */
	kms_buf request = kit_request(&pair, 5, "{}");
	CHECK_OK(kms_buf_append(&plain, kms_buf_span(&request)));
	kms_session_call *call = (kms_session_call *)&pair;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_open(&call, &plain, pair.session, KIT_NOW));
	CHECK(!call);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_open(&content, &plain, pair.caller, 5));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_open(NULL, &request, pair.session, KIT_NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_open(&call, NULL, pair.session, KIT_NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_request_open(&call, &request, NULL, KIT_NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_open(NULL, &request, pair.caller, 5));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_open(&content, &request, NULL, 5));
	CHECK_OK(kit_receive(&pair, &request));
	kms_buf_free(&plain);
	kms_buf_free(&small);
	kms_buf_free(&message);
	kms_buf_free(&request);
	kit_close(&pair);
}

TEST(sealing_an_announced_answer_allocates_nothing_of_its_own)
{
	kit_pair pair = kit_open(1);
	static const size_t lengths[] = { 0, 243, 244, 245, 10000 };
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		kms_session_call *call = kit_call(&pair, i + 1);
		kms_buf answer = kit_buffer();
		CHECK_OK(kms_session_answer_begin(&answer, lengths[i]));
		const uint8_t *before = answer.data;
		size_t capacity = answer.cap;
		for (size_t n = 0; n < lengths[i]; n++)
			CHECK_OK(kms_buf_append_text(&answer, "x"));
		CHECK_OK(kms_session_answer_seal(&answer, call, 0));
		CHECK(answer.data == before && answer.cap == capacity);
		kms_buf_free(&answer);
		kms_session_call_free(call);
	}
	kit_close(&pair);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(messages_travel_both_ways_in_every_size),
	  T(a_flipped_bit_anywhere_in_a_request_is_refused),
	  T(a_flipped_bit_anywhere_in_an_answer_is_refused), T(cut_and_longer_messages_are_refused),
	  T(messages_of_another_session_are_refused), T(the_same_key_with_another_sid_opens_nothing),
	  T(reflected_messages_are_refused), T(an_answer_belongs_to_one_number),
	  T(malformed_content_is_named), T(buffers_are_guarded_empty_and_begun),
	  T(sealing_an_announced_answer_allocates_nothing_of_its_own))
