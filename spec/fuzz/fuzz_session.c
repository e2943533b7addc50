/*
 * Sessions: of all bytes only the sealed message opens, as a request and as an answer; content and the
 * objects of an opening are accepted in the one form that their writers give them.
 */
#include "base/bits.h"
#include "lib/fuzz.h"
#include "session_kit.h"

enum { REQUEST, ANSWER, CONTENT, OFFER, GRANT, KINDS }; /* the first byte of an input */

const unsigned fuzz_kinds = KINDS;

#define SEQ 7u
#define JSON "{\"op\":\"list\"}"

static const session_keys keys = { .sid16 = { 1, 2, 3 }, .c2s32 = { 4 }, .s2c32 = { 5 } };

/* The one message of a form under these keys. */
static kms_buf sealed(session_form form)
{
	kms_buf message = kms_buf_make(KMS_BUF_GUARDED, FUZZ_MAX_INPUT);
	HOLDS_OK(kms_session_form_begin(&message, form, sizeof(JSON) - 1));
	HOLDS_OK(kms_buf_append_text(&message, JSON));
	HOLDS_OK(kms_session_form_seal(&message, form, &keys, SEQ, KIT_TIME_MS));
	return message;
}

static bool is_sealed(session_form form, kms_span bytes)
{
	kms_buf message = sealed(form);
	bool same = message.len == bytes.len && memcmp(message.data, bytes.bytes, bytes.len) == 0;
	kms_buf_free(&message);
	return same;
}

/* The node's side: a session that is open, has just this sid and has seen no number. */
static void fuzz_request(kms_span bytes)
{
	uint8_t sid16[16];
	uint64_t seq;
	kms_session_call *call;
	kms_session *session;
	kms_session_owner owner = kit_owner(KMS_SESSION_APP, 1);
	kms_sessions *sessions = kit_table(1, 1, 3600);
	kms_session *made = kms_session_make(sessions, &owner);
	HOLDS(made);
	made->keys = keys;
	HOLDS_OK(kms_sessions_add(sessions, made, KIT_NOW));
	HOLDS_OK(kms_sessions_find(&session, sessions, keys.sid16, KIT_NOW));
	kms_status head = kms_session_head_parse(sid16, &seq, bytes);
	HOLDS((head == KMS_OK) == (seq != 0) && (bytes.len >= KMS_SESSION_HEAD || head == KMS_ERR_TRUNCATED));
	kms_buf message = fuzz_copy(KMS_BUF_WIPED, bytes);
	kms_status status = kms_session_request_open(&call, &message, session, KIT_NOW);
	HOLDS((status == KMS_OK) == is_sealed(SESSION_REQUEST, bytes));
	HOLDS((call != NULL) == (status == KMS_OK) && session->window.highest == (call ? SEQ : 0));
	if (call) fuzz_accept(REQUEST);
	kms_session_call_free(call);
	kms_session_unref(session);
	kms_sessions_free(sessions);
	kms_buf_free(&message);
}

static void fuzz_answer(kms_span bytes)
{
	kms_session_caller caller = { .keys = keys };
	kms_session_content content;
	kms_buf message = fuzz_copy(KMS_BUF_WIPED, bytes);
	kms_status status = kms_session_answer_open(&content, &message, &caller, SEQ);
	HOLDS((status == KMS_OK) == is_sealed(SESSION_ANSWER, bytes));
	HOLDS(fuzz_within(kms_text_span(content.json), kms_buf_span(&message)));
	HOLDS((content.json.text != NULL) == (status == KMS_OK));
	if (status == KMS_OK) fuzz_accept(ANSWER);
	kms_buf_free(&message);
}

/* Authentic content, whatever it says; a decoder gets whole units of padding. */
static void fuzz_content(kms_span bytes)
{
	kms_session_content content;
	size_t len = bytes.len / KMS_SESSION_PADDING * KMS_SESSION_PADDING;
	if (len == 0) return;
	kms_buf plain = fuzz_copy(KMS_BUF_WIPED, kms_span_of(bytes.bytes, len));
	kms_status status = kms_session_content_read(&content, kms_buf_span(&plain));
	HOLDS(status == KMS_OK || status == KMS_ERR_TRUNCATED || status == KMS_ERR_TRAILING);
	HOLDS(fuzz_within(kms_text_span(content.json), kms_buf_span(&plain)));
	HOLDS((content.json.text != NULL) == (status == KMS_OK));
	if (status == KMS_OK) {
		/* What it says, sealed and opened again, is the same content. */
		kms_span again;
		kms_buf message = kms_buf_make(KMS_BUF_GUARDED, 2 * FUZZ_MAX_INPUT);
		HOLDS_OK(kms_session_answer_begin(&message, content.json.len));
		HOLDS_OK(kms_buf_append(&message, kms_text_span(content.json)));
		HOLDS_OK(kms_session_form_seal(&message, SESSION_ANSWER, &keys, SEQ, content.time_ms));
		HOLDS_OK(kms_session_form_open(&again, &message, SESSION_ANSWER, &keys, SEQ));
		HOLDS(again.len == len && memcmp(again.bytes, bytes.bytes, len) == 0);
		fuzz_accept(CONTENT);
		kms_buf_free(&message);
	}
	kms_buf_free(&plain);
}

static void fuzz_offer(kms_span bytes)
{
	kms_session_offer offer, again;
	const char *field;
	kms_buf plain = fuzz_copy(KMS_BUF_WIPED, bytes), json = kms_buf_make(KMS_BUF_WIPED, FUZZ_MAX_INPUT);
	if (kms_session_offer_parse(&offer, &field, &plain) == KMS_OK) {
		HOLDS(offer.ends_count <= KMS_SESSION_MAX_ENDS);
		HOLDS_OK(kms_session_offer_write(&json, &offer));
		HOLDS_OK(kms_session_offer_parse(&again, &field, &json));
		HOLDS(memcmp(&offer, &again, sizeof(offer)) == 0);
		fuzz_accept(OFFER);
	}
	kms_buf_free(&plain);
	kms_buf_free(&json);
}

static void fuzz_grant(kms_span bytes)
{
	kms_session_grant grant, again;
	const char *field;
	kms_buf plain = fuzz_copy(KMS_BUF_WIPED, bytes), json = kms_buf_make(KMS_BUF_WIPED, FUZZ_MAX_INPUT);
	if (kms_session_grant_parse(&grant, &field, &plain) == KMS_OK) {
		HOLDS(grant.expires_s && grant.max_operations);
		HOLDS_OK(kms_session_grant_write(&json, &grant));
		HOLDS_OK(kms_session_grant_parse(&again, &field, &json));
		HOLDS(memcmp(&grant, &again, sizeof(grant)) == 0);
		fuzz_accept(GRANT);
	}
	kms_buf_free(&plain);
	kms_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[KINDS])(kms_span bytes) = { fuzz_request, fuzz_answer, fuzz_content,
								fuzz_offer, fuzz_grant };
	fuzz_start();
	if (size == 0 || size > FUZZ_MAX_INPUT) return 0;
	targets[data[0] % KINDS](kms_span_of(data + 1, size - 1));
	return 0;
}

static void seed_content(uint32_t json_len, size_t size)
{
	uint8_t plain[1024] = { 0 };
	kms_store32_be(plain + 8, json_len);
	memset(plain + 12, 'x', json_len < 1000 ? json_len : 1000);
	fuzz_seed_choice(CONTENT, kms_span_of(plain, size));
}

void fuzz_seeds(void)
{
	kms_buf request = sealed(SESSION_REQUEST), answer = sealed(SESSION_ANSWER);
	kms_buf json = kms_buf_make(KMS_BUF_PLAIN, FUZZ_MAX_INPUT);
	kms_session_offer offer = { .e32 = { 1 }, .ends16 = { { 2 }, { 3 } }, .ends_count = 2 };
	kms_session_grant grant = { .e32 = { 1 }, .expires_s = 3600, .max_operations = 256 };
	fuzz_seed_choice(REQUEST, kms_buf_span(&request));
	fuzz_seed_choice(ANSWER, kms_buf_span(&answer));
	seed_content(0, 256);
	seed_content(244, 256);
	seed_content(245, 512);
	seed_content(0x80000000u, 512);
	HOLDS_OK(kms_session_offer_write(&json, &offer));
	fuzz_seed_choice(OFFER, kms_buf_span(&json));
	kms_buf_clear(&json);
	HOLDS_OK(kms_session_grant_write(&json, &grant));
	fuzz_seed_choice(GRANT, kms_buf_span(&json));
	kms_buf_free(&request);
	kms_buf_free(&answer);
	kms_buf_free(&json);
}
