/* The keys of a session: both sides derive the same, from all of the opening, and erase what they came from.
 */
#include "base/bits.h"
#include "session_kit.h"

TEST(both_sides_have_the_same_keys_and_each_direction_its_own)
{
	kit_pair pair = kit_open(1);
	const session_keys *node = &pair.session->keys, *caller = &pair.caller->keys;
	CHECK_MEM(node, caller, sizeof(*node));
	CHECK(memcmp(node->c2s32, node->s2c32, 32) != 0);
	CHECK_MEM(kms_session_salt_of(pair.session), kms_session_caller_salt(pair.caller), 32);
	kit_close(&pair);
}

TEST(keys_depend_on_the_salt)
{
	kit_pair one = kit_open(1), other = kit_open(2); /* the same ephemeral keys, another salt */
	CHECK(memcmp(one.session->keys.c2s32, other.session->keys.c2s32, 32) != 0);
	CHECK(memcmp(one.session->keys.s2c32, other.session->keys.s2c32, 32) != 0);
	kit_close(&one);
	kit_close(&other);
}

TEST(the_salt_tells_all_parts_of_the_opening_apart)
{
	static const kms_span parts[][3] = {
		{ { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"c", 1 }, { (const uint8_t *)"d", 1 } },
		{ { (const uint8_t *)"a", 1 }, { (const uint8_t *)"bc", 2 }, { (const uint8_t *)"d", 1 } },
		{ { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"", 0 }, { (const uint8_t *)"cd", 2 } },
		{ { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"cd", 2 }, { NULL, 0 } },
	};
	uint8_t salts[4][32], want[32];
	for (size_t i = 0; i < 4; i++) {
		CHECK_OK(kms_session_salt(salts[i], parts[i][0], parts[i][1], parts[i][2]));
		for (size_t j = 0; j < i; j++)
			CHECK(memcmp(salts[i], salts[j], 32) != 0);
	}
	CHECK_OK(kms_sha256(want, KMS_BYTES("\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\1c\0\0\0\0\0\0\0\1d")));
	CHECK_MEM(salts[0], want, 32);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_salt(NULL, parts[0][0], parts[0][1], parts[0][2]));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_session_salt(want, kms_span_of(NULL, 1), parts[0][1], parts[0][2]));
}

/* Both ends refuse it, and have erased their own key. */
static void refused(int *failed_, kms_sessions *sessions, const uint8_t e32[32])
{
	kms_session_terms terms = { .sid16 = { 1 } };
	kms_session_owner owner = kit_owner(KMS_SESSION_APP, 1);
	kms_x25519 *own = kit_ephemeral(2);
	kms_session_caller *caller = (kms_session_caller *)own;
	memcpy(terms.peer_e32, e32, 32);
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_sessions_open(sessions, &own, &owner, &terms, KIT_NOW));
	CHECK(!own && kms_sessions_count(sessions, KMS_SESSION_APP) == 0);
	own = kit_ephemeral(2);
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_session_caller_new(&caller, &own, &terms));
	CHECK(!own && !caller);
}

/* Of the twelve (test_x25519.c), one of each kind. */
TEST(ephemeral_keys_of_small_order_open_nothing)
{
	static const char *const encodings[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
		"dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	};
	kms_sessions *sessions = kit_table(4, 4, 3600);
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		uint8_t e32[32];
		hex_bytes(e32, sizeof(e32), encodings[i]);
		CALL(refused, sessions, e32);
	}
	kms_sessions_free(sessions);
}

TEST(a_members_mac_belongs_to_one_session_and_number)
{
	uint8_t mac[32], want[32], other[32], salt[32] = { 1, 2, 3 },
					      text[21 + 32 + 8] = "nova-kms:session-mac:";
	kms_secret *key = hex_secret("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20");
	memcpy(text + 21, salt, 32);
	kms_store64_be(text + 53, 0x102030405u);
	CHECK_OK(kms_session_mac(mac, key, salt, 0x102030405u));
	CHECK_OK(kms_hmac_sha256(want, key, KMS_SPAN(text)));
	CHECK_MEM(mac, want, 32);
	CHECK_OK(kms_session_mac(other, key, salt, 0x102030406u));
	CHECK(memcmp(mac, other, 32) != 0);
	salt[31] = 1;
	CHECK_OK(kms_session_mac(other, key, salt, 0x102030405u));
	CHECK(memcmp(mac, other, 32) != 0);
	char digits[64];
	kms_hex_encode(digits, KMS_SPAN(other));
	kms_text text64 = kms_text_of(digits, sizeof(digits));
	CHECK_OK(kms_session_mac_check(text64, key, salt, 0x102030405u));
	CHECK_STATUS(KMS_ERR_MAC, kms_session_mac_check(text64, key, salt, 0x102030406u));
	CHECK_STATUS(KMS_ERR_MAC, kms_session_mac_check(kms_text_of(digits, 63), key, salt, 0x102030405u));
	CHECK_STATUS(KMS_ERR_MAC, kms_session_mac_check(KMS_TEXT("none"), key, salt, 0x102030405u));
	CHECK_STATUS(KMS_ERR_MAC, kms_session_mac_check(kms_text_of(NULL, 0), key, salt, 0x102030405u));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_mac_check(text64, NULL, salt, 1));
	salt[31] = 2;
	CHECK_STATUS(KMS_ERR_MAC, kms_session_mac_check(text64, key, salt, 0x102030405u));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_mac(NULL, key, salt, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_mac(mac, NULL, salt, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_mac(mac, key, NULL, 1));
	kms_secret_unref(key);
}

TEST(misuse_erases_the_ephemeral_key_too)
{
	kms_session_terms terms = { .sid16 = { 1 } };
	kms_session_owner owner = kit_owner(KMS_SESSION_APP, 1), odd = kit_owner((kms_session_kind)2, 1);
	kms_sessions *sessions = kit_table(4, 4, 3600);
	kms_session_caller *caller;
	size_t before = kms_guarded_used();
	const struct {
		kms_sessions *sessions;
		const kms_session_owner *owner;
		const kms_session_terms *terms;
	} cases[] = { { NULL, &owner, &terms },
		      { sessions, NULL, &terms },
		      { sessions, &odd, &terms },
		      { sessions, &owner, NULL } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kms_x25519 *own = kit_ephemeral(3);
		CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_open(cases[i].sessions, &own, cases[i].owner,
								 cases[i].terms, KIT_NOW));
		CHECK(!own);
		CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_open(sessions, &own, &owner, &terms, KIT_NOW));
	}
	kms_x25519 *own = kit_ephemeral(3);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_caller_new(&caller, &own, NULL));
	CHECK(!own && !caller);
	own = kit_ephemeral(3);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_caller_new(NULL, &own, &terms));
	CHECK(!own);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_caller_new(&caller, NULL, &terms));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_open(sessions, NULL, &owner, &terms, KIT_NOW));
	kms_session_caller_free(NULL);
	CHECK(kms_guarded_used() == before);
	kms_sessions_free(sessions);
}

/* ---- allocations that fail ---- */

typedef struct attempt {
	kms_sessions *sessions;
	kms_session_caller *caller;
	kms_session *session;
	kms_session_call *call;
	kms_buf request;
	kms_buf answer;
} attempt;

/* Everything from the opening to the opened answer. */
static kms_status whole_session(attempt *a)
{
	kms_x25519 *mine, *theirs;
	kms_session_terms node = { .sid16 = { 1 } }, caller = node;
	kms_session_owner owner = kit_owner(KMS_SESSION_APP, 1);
	kms_session_content content;
	uint64_t seq;
	kms_status status = kms_x25519_generate(&mine);
	if (status != KMS_OK) return status;
	status = kms_x25519_generate(&theirs);
	if (status != KMS_OK) {
		kms_x25519_free(mine);
		return status;
	}
	memcpy(node.peer_e32, kms_x25519_public(mine), 32);
	memcpy(caller.peer_e32, kms_x25519_public(theirs), 32);
	status = kms_sessions_open(a->sessions, &theirs, &owner, &node, KIT_NOW);
	kms_status caller_status = kms_session_caller_new(&a->caller, &mine, &caller);
	if (status == KMS_OK) status = caller_status;
	if (status == KMS_OK) status = kms_sessions_find(&a->session, a->sessions, node.sid16, KIT_NOW);
	if (status == KMS_OK) status = kms_session_caller_take(&seq, a->caller);
	if (status == KMS_OK) status = kms_session_request_begin(&a->request, 2);
	if (status == KMS_OK) status = kms_buf_append_text(&a->request, "{}");
	if (status == KMS_OK) status = kms_session_request_seal(&a->request, a->caller, seq, KIT_TIME_MS);
	if (status == KMS_OK) status = kms_session_answer_begin(&a->answer, 300);
	if (status == KMS_OK) status = kms_session_request_open(&a->call, &a->request, a->session, KIT_NOW);
	if (status != KMS_OK) return status;
	status = kms_buf_append_text(&a->answer, "[]");
	if (status == KMS_OK) status = kms_session_answer_seal(&a->answer, a->call, KIT_TIME_MS);
	/* A call without an answer has no session any more. */
	if (status != KMS_OK && kms_sessions_count(a->sessions, KMS_SESSION_APP) != 0)
		return KMS_ERR_SELFTEST;
	if (status == KMS_OK) status = kms_session_answer_open(&content, &a->answer, a->caller, seq);
	return status;
}

static void sweep(int *failed_)
{
	bool ended = false;
	kms_status status = KMS_ERR_MEMORY;
	unsigned long n;
	for (n = 1; n < 2000 && !ended; n++) {
		attempt a = { .sessions = kit_table(4, 4, 3600),
			      .request = kit_buffer(),
			      .answer = kit_buffer() };
		kms_mem_fail_after(n);
		status = whole_session(&a);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY || status == KMS_ERR_LOCKED_MEMORY);
		kms_session_call_free(a.call);
		kms_session_unref(a.session);
		kms_session_caller_free(a.caller);
		kms_sessions_free(a.sessions);
		kms_buf_free(&a.request);
		kms_buf_free(&a.answer);
	}
	CHECK(ended && n > 20 && status == KMS_OK);
}

TEST(failing_allocations_are_reported_and_leave_nothing)
{
	sweep(failed_); /* this first run also makes what OpenSSL keeps */
	if (*failed_) return;
	size_t used = kms_guarded_used();
	sweep(failed_);
	if (*failed_) return;
	CHECK(kms_guarded_used() == used);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(both_sides_have_the_same_keys_and_each_direction_its_own),
	  T(keys_depend_on_the_salt), T(the_salt_tells_all_parts_of_the_opening_apart),
	  T(ephemeral_keys_of_small_order_open_nothing), T(a_members_mac_belongs_to_one_session_and_number),
	  T(misuse_erases_the_ephemeral_key_too), T(failing_allocations_are_reported_and_leave_nothing))
