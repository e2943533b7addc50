/* Which bodies are envelopes, and the MAC over their canonical form. */
#include "envelope_kit.h"

static kms_status parse_text(const char *text)
{
	kms_envelope envelope;
	body b = body_of(text, strlen(text));
	kms_status status = kms_envelope_parse(&envelope, b.text, b.len);
	free(b.text);
	return status;
}

static kms_status parse_members(const char *sender, const char *nonce, const char *data)
{
	char text[2048];
	snprintf(text, sizeof(text), FORMAT, sender, nonce, data);
	return parse_text(text);
}

TEST(accepted_forms)
{
	char sender[241], upper[243] = "0X", point[195];
	kms_p384 *own = hex_p384("42");
	kms_envelope envelope;
	sender_hex(sender, own);
	for (size_t i = 0; i <= 240; i++)
		upper[i + 2] = (char)(sender[i] >= 'a' ? sender[i] - 32 : sender[i]);
	kms_hex_encode(point, kms_span_of(kms_p384_public(own), 97));
	point[194] = '\0';
	CHECK_OK(parse_members(sender, NONCE12, TAG));
	CHECK_OK(parse_members(upper, "0x" NONCE32, "0x" TAG));
	CHECK_OK(parse_members(sender, NONCE32 NONCE32 NONCE32, TAG "00"));
	char text[2048];
	snprintf(
	    text, sizeof(text),
	    " {\"x\":[1,{}], \"encrypted_data\" : \"%s\",\"nonce\":\"%s\",\"sender_tee_pubkey\":\"%s\"}\n",
	    "0xAABBccdd" TAG, NONCE32, point);
	CHECK_OK(kms_envelope_parse(&envelope, text, strlen(text)));
	CHECK(envelope.sender_len == 97 && envelope.hex.len == 8 + 32);
	CHECK_MEM(envelope.hex.text, "AABBccdd", 8);
	CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(own)));
	uint8_t iv[12];
	hex_bytes(iv, 12, NONCE12);
	CHECK_MEM(envelope.iv12, iv, 12);
	envelope.sender_der[96] ^= 1;
	CHECK_STATUS(KMS_ERR_SENDER_KEY, kms_envelope_check_sender(&envelope, kms_p384_public(own)));
	kms_p384_free(own);
}

TEST(bodies_that_are_no_envelope_are_refused)
{
	static const uint8_t zeros[sizeof(kms_envelope)];
	char s[241], text[1024];
	kms_envelope envelope;
	kms_p384 *own = hex_p384("42");
	sender_hex(s, own);
	kms_p384_free(own);
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text("{}"));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text("[]"));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text("null"));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text("\"sender_tee_pubkey\""));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text("{\"path\":\"plain\"}"));
	CHECK_STATUS(KMS_ERR_ENVELOPE,
		     parse_text("{\"sender_tee_pubkey\":1,\"nonce\":2,\"encrypted_data\":3}"));
	CHECK_STATUS(KMS_ERR_JSON, parse_text(""));
	CHECK_STATUS(KMS_ERR_JSON, parse_text("{"));
	CHECK_STATUS(KMS_ERR_JSON_DUPLICATE, parse_text("{\"nonce\":\"00\",\"nonce\":\"00\"}"));
	/* each member absent, or not a string */
	snprintf(text, sizeof(text), "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"" NONCE12 "\"}", s);
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text(text));
	snprintf(text, sizeof(text), "{\"sender_tee_pubkey\":\"%s\",\"encrypted_data\":\"" TAG "\"}", s);
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text(text));
	snprintf(text, sizeof(text), "{\"nonce\":\"" NONCE12 "\",\"encrypted_data\":\"" TAG "\"}");
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text(text));
	snprintf(text, sizeof(text),
		 "{\"sender_tee_pubkey\":\"%s\",\"nonce\":null,\"encrypted_data\":\"" TAG "\"}", s);
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_text(text));
	/* lengths and digits */
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s + 2, NONCE12, TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members("", NONCE12, TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, "", TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, "000102030405060708090a", TAG)); /* 11 bytes */
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12 "0", TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, "000102030405060708090g", TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12 "0g", TAG)); /* beyond the IV */
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12 "0x", TAG));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12, "00112233445566778899aabbccddee")); /* 15 */
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12, TAG "0"));
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12, ""));
	s[0] = 'g';
	CHECK_STATUS(KMS_ERR_ENVELOPE, parse_members(s, NONCE12, TAG));
	char bad[] = "{\"nonce\":\"" NONCE12 "\"}";
	memset(&envelope, 0xaa, sizeof(envelope));
	CHECK_STATUS(KMS_ERR_ENVELOPE, kms_envelope_parse(&envelope, bad, strlen(bad)));
	CHECK_MEM(&envelope, zeros, sizeof(zeros));
}

TEST(other_members_are_bounded)
{
	char sender[241], text[4096], *at = text;
	kms_p384 *own = hex_p384("42");
	sender_hex(sender, own);
	kms_p384_free(own);
	/* 1 root, 3 * 2 members, 1 key and 1 array: 247 elements make 256 values. */
	for (int elements = 247; elements <= 248; elements++) {
		at = text;
		at += sprintf(at,
			      "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"" NONCE12
			      "\",\"encrypted_data\":\"" TAG "\",\"x\":[0",
			      sender);
		for (int i = 1; i < elements; i++)
			at += sprintf(at, ",0");
		sprintf(at, "]}");
		CHECK_STATUS(elements == 247 ? KMS_OK : KMS_ERR_JSON_SIZE, parse_text(text));
	}
}

/* HMAC of the text under KEY. */
static void mac_of(uint8_t mac[32], const char *text)
{
	kms_secret *key = hex_secret(KEY);
	MUST(kms_hmac_sha256(mac, key, kms_text_span(kms_text_from(text))));
	kms_secret_unref(key);
}

static void check_mac(int *failed_, const char *text, const char *canonical)
{
	uint8_t want[32];
	bool authentic;
	kms_envelope envelope;
	kms_secret *key = hex_secret(KEY);
	mac_of(want, canonical);
	/* The right MAC, one wrong at its beginning, one wrong at its end, none. */
	for (int i = 0; i < 4; i++) {
		body b = body_of(text, strlen(text));
		if (i == 1 || i == 2) want[i == 1 ? 0 : 31] ^= 0x80;
		CHECK_OK(
		    kms_envelope_parse_mac(&envelope, &authentic, b.text, b.len, key, i == 3 ? NULL : want));
		if (i == 1 || i == 2) want[i == 1 ? 0 : 31] ^= 0x80;
		CHECK(authentic == (i == 0));
		free(b.text);
	}
	kms_secret_unref(key);
}

TEST(the_mac_covers_the_canonical_form_of_all_members)
{
	char s[241], text[2048], canonical[2048];
	kms_p384 *own = hex_p384("42");
	sender_hex(s, own);
	kms_p384_free(own);
	snprintf(canonical, sizeof(canonical),
		 "{\"encrypted_data\":\"" TAG "\",\"nonce\":\"" NONCE12 "\",\"sender_tee_pubkey\":\"%s\"}",
		 s);
	CALL(check_mac, canonical, canonical);
	/* Another order, spaces, escapes: the same object. */
	snprintf(text, sizeof(text),
		 " { \"sender_tee_pubkey\" : \"%s\", \"encrypt\\u0065d_data\" : \"\\u0030"
		 "0112233445566778899aabbccddeeff"
		 "\" ,\"nonce\":\"" NONCE12 "\" }\n",
		 s);
	CALL(check_mac, text, canonical);
	/* The MAC covers case and 0x as sent. */
	snprintf(text, sizeof(text),
		 "{\"encrypted_data\":\"0xAA" TAG "\",\"nonce\":\"0X" NONCE12
		 "\",\"sender_tee_pubkey\":\"0x%s\"}",
		 s);
	CALL(check_mac, text, text);
	/* Other members are covered, in any place, with escapes where canonical JSON needs them. */
	snprintf(text, sizeof(text),
		 "{\"z\":[1,{\"b\":null,\"a\":\"\\u00e9\\/\"}],\"encrypted_data\":\"" TAG
		 "\",\"nonce\":\"" NONCE12 "\",\"sender_tee_pubkey\":\"%s\",\"A\":-7}",
		 s);
	snprintf(canonical, sizeof(canonical),
		 "{\"A\":-7,\"encrypted_data\":\"" TAG "\",\"nonce\":\"" NONCE12
		 "\",\"sender_tee_pubkey\":\"%s\",\"z\":[1,{\"a\":\"\xc3\xa9/\",\"b\":null}]}",
		 s);
	CALL(check_mac, text, canonical);
	/* Not hexadecimal, but the object has a canonical form. */
	snprintf(text, sizeof(text),
		 "{\"encrypted_data\":\"" TAG "\\\"\\\\\\u0001\\n\",\"nonce\":\"" NONCE12
		 "\",\"sender_tee_pubkey\":\"%s\"}",
		 s);
	CALL(check_mac, text, text);
}

TEST(what_has_no_canonical_form_has_no_mac)
{
	static const uint8_t mac[32];
	char s[241], text[1024];
	bool authentic = true;
	kms_envelope envelope;
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	sender_hex(s, own);
	kms_p384_free(own);
	snprintf(text, sizeof(text),
		 "{\"x\":1.5,\"encrypted_data\":\"" TAG "\",\"nonce\":\"" NONCE12
		 "\",\"sender_tee_pubkey\":\"%s\"}",
		 s);
	CHECK_STATUS(KMS_ERR_JSON,
		     kms_envelope_parse_mac(&envelope, &authentic, text, strlen(text), key, mac));
	CHECK(!authentic);
	CHECK(!envelope.hex.text);
	char none[] = "{}";
	CHECK_STATUS(KMS_ERR_ENVELOPE, kms_envelope_parse_mac(&envelope, &authentic, none, 2, key, mac));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse_mac(NULL, &authentic, none, 2, key, mac));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse_mac(&envelope, NULL, none, 2, key, mac));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse_mac(&envelope, &authentic, none, 2, NULL, mac));
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(accepted_forms), T(bodies_that_are_no_envelope_are_refused),
	  T(other_members_are_bounded), T(the_mac_covers_the_canonical_form_of_all_members),
	  T(what_has_no_canonical_form_has_no_mac))
