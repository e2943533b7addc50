/* The opening of a session: what is signed, what it says, the keys that come out of it. */
#include "base/bits.h"
#include "kms/pop.h"
#include "session_kit.h"

#define E "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
#define SID "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
#define SUITE "x25519-sha256-aes256gcm"
#define STAMP 1700000000u

/* ---- what is signed ---- */

static kms_wallet *wallet_of(uint8_t address20[20], const char *hex)
{
	kms_wallet *wallet;
	kms_secret *key = hex_secret(hex);
	MUST(kms_wallet_new(&wallet, key));
	kms_wallet_address(address20, wallet);
	kms_secret_unref(key);
	return wallet;
}

static bool text_ends(const kms_buf *text, const char *begin, const char *end)
{
	size_t begin_len = strlen(begin), end_len = strlen(end);
	return text->len > begin_len + end_len && memcmp(text->data, begin, begin_len) == 0 &&
	       memcmp(text->data + text->len - end_len, end, end_len) == 0;
}

TEST(an_opening_is_signed_for_its_purpose_and_body)
{
	static const kms_pop_domain domains[] = { KMS_POP_APP_SESSION, KMS_POP_PEER_SESSION };
	static const char *const prefixes[] = { "NovaKMS:AppSession:", "NovaKMS:PeerSession:" };
	uint8_t own20[20], node20[20], caller20[20], body32[32], other32[32] = { 1 };
	kms_wallet *own = wallet_of(own20, E), *node = wallet_of(node20, E);
	kms_nonces *nonces;
	char nonce[KMS_NONCE_TEXT], signature[KMS_SIGNATURE_TEXT];
	hex_bytes(body32, sizeof(body32), E);
	node20[0] ^= 1;
	CHECK_OK(kms_nonces_new(&nonces, 120));
	for (size_t i = 0; i < 2; i++) {
		/* Right, for another body, and for another purpose. */
		for (int wrong = 0; wrong < 3; wrong++) {
			CHECK_OK(kms_nonces_issue(nonce, nonces, 1));
			kms_text nonce_text = kms_text_of(nonce, sizeof(nonce));
			CHECK_OK(kms_pop_sign_session(signature, own, domains[wrong == 2 ? 1 - i : i],
						      nonce_text, node20, STAMP,
						      wrong == 1 ? other32 : body32));
			const kms_pop pop = { .domain = domains[i],
					      .signature = kms_text_of(signature, sizeof(signature)),
					      .nonce = nonce_text,
					      .timestamp = KMS_TEXT("1700000000"),
					      .body32 = body32 };
			kms_status status = kms_pop_check(caller20, nonces, &pop, node20, STAMP, 1, 120);
			bool same = status == KMS_OK && memcmp(caller20, own20, 20) == 0;
			CHECK(same == (wrong == 0));
			kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1000);
			CHECK_OK(kms_pop_text(&text, &pop, node20));
			CHECK(text_ends(&text, prefixes[i], ":1700000000:" E));
			kms_buf_free(&text);
		}
	}
	kms_nonces_free(nonces);
	kms_wallet_free(own);
	kms_wallet_free(node);
}

TEST(a_body_hash_belongs_to_openings_alone)
{
	uint8_t own20[20], caller20[20];
	char signature[KMS_SIGNATURE_TEXT];
	kms_wallet *own = wallet_of(own20, E);
	kms_nonces *nonces;
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_OK(kms_nonces_new(&nonces, 120));
	for (int domain = 0; domain <= 4; domain++) {
		for (int with_body = 0; with_body < 2; with_body++) {
			const kms_pop pop = { .domain = (kms_pop_domain)domain,
					      .nonce = KMS_TEXT("n"),
					      .timestamp = KMS_TEXT("1"),
					      .body32 = with_body ? (const uint8_t *)E : NULL };
			bool fits = domain < 4 && with_body == (domain >= 2);
			CHECK_STATUS(fits ? KMS_OK : KMS_ERR_ARGUMENT, kms_pop_text(&text, &pop, own20));
			CHECK_STATUS(fits ? KMS_ERR_POP_MISSING : KMS_ERR_ARGUMENT,
				     kms_pop_check(caller20, nonces, &pop, own20, STAMP, 1, 120));
			kms_status status =
			    with_body ? kms_pop_sign_session(signature, own, pop.domain, pop.nonce, own20, 1,
							     pop.body32)
				      : kms_pop_sign(signature, own, pop.domain, pop.nonce, own20, 1);
			CHECK_STATUS(fits ? KMS_OK : KMS_ERR_ARGUMENT, status);
		}
	}
	kms_pop pop = { .domain = KMS_POP_APP, .timestamp = KMS_TEXT("1") };
	CHECK_STATUS(KMS_ERR_RANGE, kms_pop_text(&text, &pop, own20));
	pop.nonce = KMS_TEXT("n");
	pop.timestamp = KMS_TEXT("1234567890123456");
	CHECK_STATUS(KMS_ERR_RANGE, kms_pop_text(&text, &pop, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_text(NULL, &pop, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_text(&text, NULL, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_text(&text, &pop, NULL));
	kms_buf_free(&text);
	kms_nonces_free(nonces);
	kms_wallet_free(own);
}

TEST(an_answer_is_signed_for_its_opening_and_body)
{
	uint8_t node20[20], other20[20] = { 1 }, body32[32], other32[32] = { 1 };
	char signature[KMS_SIGNATURE_TEXT];
	kms_wallet *node = wallet_of(node20, E);
	const kms_text caller = KMS_TEXT("0x1234"), signed_text = { signature, sizeof(signature) };
	hex_bytes(body32, sizeof(body32), E);
	CHECK_OK(kms_session_answer_sign(signature, node, caller, body32));
	CHECK_OK(kms_session_answer_check(signed_text, caller, node20, body32));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_session_answer_check(signed_text, caller, node20, other32));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_session_answer_check(signed_text, caller, other20, body32));
	CHECK_STATUS(KMS_ERR_SIGNATURE,
		     kms_session_answer_check(signed_text, KMS_TEXT("0x1235"), node20, body32));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_session_answer_check(KMS_NO_TEXT, caller, node20, body32));
	/* The signature of a reply is none of an answer, and the other way around. */
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(signed_text, caller, node20));
	CHECK_OK(kms_response_sign(signature, node, caller));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_session_answer_check(signed_text, caller, node20, body32));
	CHECK_STATUS(KMS_ERR_RANGE, kms_session_answer_sign(signature, node, KMS_TEXT(""), body32));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_sign(signature, node, caller, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_sign(signature, NULL, caller, body32));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_session_answer_check(signed_text, caller, node20, NULL));
	kms_wallet_free(node);
}

/* ---- what it says ---- */

static kms_status parse_offer(kms_session_offer *offer, const char **field, const char *text)
{
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_buf_append_text(&plain, text));
	kms_status status = kms_session_offer_parse(offer, field, &plain);
	kms_buf_free(&plain);
	return status;
}

static kms_status parse_grant(kms_session_grant *grant, const char **field, const char *text)
{
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_buf_append_text(&plain, text));
	kms_status status = kms_session_grant_parse(grant, field, &plain);
	kms_buf_free(&plain);
	return status;
}

TEST(offers_and_grants_are_written_canonically_and_read_back)
{
	const char *field = "?";
	kms_session_offer offer = { 0 }, read;
	kms_session_grant grant = { .expires_s = 3600, .max_operations = 256 }, granted;
	kms_buf json = kms_buf_make(KMS_BUF_GUARDED, 4096);
	hex_bytes(offer.e32, 32, E);
	CHECK_OK(kms_session_offer_write(&json, &offer));
	CHECK(json.len == strlen("{\"e\":\"" E "\",\"op\":\"session\",\"suite\":\"" SUITE "\"}"));
	CHECK_MEM(json.data, "{\"e\":\"" E "\",\"op\":\"session\",\"suite\":\"" SUITE "\"}", json.len);
	CHECK_OK(kms_session_offer_parse(&read, &field, &json));
	CHECK(!field && memcmp(&read, &offer, sizeof(read)) == 0);
	for (offer.ends_count = 1; offer.ends_count <= 8; offer.ends_count++) {
		offer.ends16[offer.ends_count - 1][0] = (uint8_t)offer.ends_count;
		kms_buf_clear(&json);
		CHECK_OK(kms_session_offer_write(&json, &offer));
		CHECK_OK(kms_session_offer_parse(&read, &field, &json));
		CHECK(memcmp(&read, &offer, sizeof(read)) == 0);
	}
	CHECK_STATUS(KMS_ERR_RANGE, kms_session_offer_write(&json, &offer));
	kms_buf_clear(&json);
	hex_bytes(grant.e32, 32, E);
	hex_bytes(grant.sid16, 16, SID);
	CHECK_OK(kms_session_grant_write(&json, &grant));
	const char want[] = "{\"e\":\"" E "\",\"expires_s\":3600,\"max_operations\":256,\"sid\":\"" SID
			    "\",\"suite\":\"" SUITE "\"}";
	CHECK(json.len == strlen(want));
	CHECK_MEM(json.data, want, json.len);
	CHECK_OK(kms_session_grant_parse(&granted, &field, &json));
	CHECK(!field && memcmp(&granted, &grant, sizeof(grant)) == 0);
	kms_buf_free(&json);
}

typedef struct bad_case {
	const char *text;
	kms_status want;
	const char *field;
} bad_case;

#define OFFER(members) "{\"op\":\"session\",\"suite\":\"" SUITE "\"," members "}"
#define GRANT(sid, expires, most)                                                         \
	"{\"e\":\"" E "\",\"suite\":\"" SUITE "\",\"sid\":" sid ",\"expires_s\":" expires \
	",\"max_operations\":" most "}"

/* At the bounds, and past them. */
TEST(of_what_a_grant_says_only_so_much_counts)
{
	static const struct {
		const char *text;
		uint64_t expires_s, max_operations;
	} cases[] = {
		{ GRANT("\"" SID "\"", "604800", "256"), 604800, 256 },
		{ GRANT("\"" SID "\"", "604801", "257"), 604800, 256 },
		{ GRANT("\"" SID "\"", "9223372036854775808", "9223372036854775808"), 604800, 256 },
		{ GRANT("\"" SID "\"", "1", "1"), 1, 1 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *field;
		kms_session_grant grant;
		CHECK_OK(parse_grant(&grant, &field, cases[i].text));
		CHECK(grant.expires_s == cases[i].expires_s);
		CHECK(grant.max_operations == cases[i].max_operations);
	}
}

TEST(malformed_offers_and_grants_are_named)
{
	static const bad_case offers[] = {
		{ "", KMS_ERR_JSON, NULL },
		{ "[]", KMS_ERR_FIELD_TYPE, NULL },
		{ "{}", KMS_ERR_FIELD_MISSING, "op" },
		{ "{\"op\":\"list\"}", KMS_ERR_FIELD_VALUE, "op" },
		{ "{\"op\":\"session\"}", KMS_ERR_FIELD_MISSING, "suite" },
		{ "{\"op\":\"session\",\"suite\":\"x448\"}", KMS_ERR_FIELD_VALUE, "suite" },
		{ "{\"op\":\"session\",\"suite\":[\"" SUITE "\"]}", KMS_ERR_FIELD_TYPE, "suite" },
		{ "{\"op\":\"session\",\"suite\":\"" SUITE "\"}", KMS_ERR_FIELD_MISSING, "e" },
		{ OFFER("\"e\":1"), KMS_ERR_FIELD_TYPE, "e" },
		{ OFFER("\"e\":\"" E "00\""), KMS_ERR_FIELD_VALUE, "e" },
		{ OFFER("\"e\":\"\""), KMS_ERR_FIELD_VALUE, "e" },
		{ OFFER("\"e\":\"" E "\",\"ends\":null"), KMS_ERR_FIELD_TYPE, "ends" },
		{ OFFER("\"e\":\"" E "\",\"ends\":[1]"), KMS_ERR_FIELD_TYPE, "ends" },
		{ OFFER("\"e\":\"" E "\",\"ends\":[\"" E "\"]"), KMS_ERR_FIELD_VALUE, "ends" },
		{ OFFER("\"e\":\"" E "\",\"ends\":[1,2,3,4,5,6,7,8,9]"), KMS_ERR_FIELD_VALUE, "ends" },
		{ OFFER("\"e\":\"" E "\",\"more\":1"), KMS_ERR_FIELD_UNKNOWN, NULL },
		{ OFFER("\"e\":\"" E "\",\"e\":\"" E "\""), KMS_ERR_JSON_DUPLICATE, NULL },
		{ OFFER("\"e\":\"" E "\",\"ends\":[]"), KMS_OK, NULL },
	};
	static const bad_case grants[] = {
		{ "{}", KMS_ERR_FIELD_MISSING, "suite" },
		{ GRANT("\"" SID "\"", "1", "1"), KMS_OK, NULL },
		{ GRANT("\"" SID "\"", "1", "1,\"more\":{}"), KMS_OK, NULL },
		{ GRANT("\"" E "\"", "1", "1"), KMS_ERR_FIELD_VALUE, "sid" },
		{ GRANT("\"" SID "\"", "0", "1"), KMS_ERR_FIELD_VALUE, "expires_s" },
		{ GRANT("\"" SID "\"", "-1", "1"), KMS_ERR_FIELD_VALUE, "expires_s" },
		{ GRANT("\"" SID "\"", "\"1\"", "1"), KMS_ERR_FIELD_TYPE, "expires_s" },
		{ GRANT("\"" SID "\"", "1", "0"), KMS_ERR_FIELD_VALUE, "max_operations" },
		{ GRANT("\"" SID "\"", "1", "1.5"), KMS_ERR_FIELD_TYPE, "max_operations" },
	};
	static const kms_session_offer no_offer;
	static const kms_session_grant no_grant;
	const char *field;
	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		kms_session_offer offer;
		CHECK_STATUS(offers[i].want, parse_offer(&offer, &field, offers[i].text));
		CHECK(offers[i].field ? field && strcmp(field, offers[i].field) == 0 : !field);
		CHECK((memcmp(&offer, &no_offer, sizeof(offer)) != 0) == (offers[i].want == KMS_OK));
	}
	for (size_t i = 0; i < sizeof(grants) / sizeof(grants[0]); i++) {
		kms_session_grant grant;
		CHECK_STATUS(grants[i].want, parse_grant(&grant, &field, grants[i].text));
		CHECK(grants[i].field ? field && strcmp(field, grants[i].field) == 0 : !field);
		CHECK((memcmp(&grant, &no_grant, sizeof(grant)) != 0) == (grants[i].want == KMS_OK));
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(an_opening_is_signed_for_its_purpose_and_body),
	  T(a_body_hash_belongs_to_openings_alone), T(an_answer_is_signed_for_its_opening_and_body),
	  T(offers_and_grants_are_written_canonically_and_read_back),
	  T(of_what_a_grant_says_only_so_much_counts), T(malformed_offers_and_grants_are_named))
