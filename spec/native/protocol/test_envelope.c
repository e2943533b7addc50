/* Encrypted bodies: what is read, what is refused, what is written. Known answers: test_vectors.c. */
#include "material.h"

#include "kms/envelope.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NONCE12 "000102030405060708090a0b"
#define NONCE32 NONCE12 "0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TAG "00112233445566778899aabbccddeeff"
#define FORMAT "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"%s\",\"encrypted_data\":\"%s\"}"

/* An owned copy of a body, since parsing changes it; exactly as long, for ASan. */
typedef struct body {
	char *text;
	size_t len;
} body;

static body body_of(const void *text, size_t len)
{
	body b = { malloc(len ? len : 1), len };
	if (!b.text) abort();
	memcpy(b.text, text, len);
	return b;
}

static void sender_hex(char hex[241], const kms_p384 *key)
{
	uint8_t der[120];
	kms_p384_der(der, kms_p384_public(key));
	kms_hex_encode(hex, der, sizeof(der));
	hex[240] = '\0';
}

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

TEST(what_is_sealed_opens)
{
	static uint8_t plain[20000];
	static const size_t sizes[] = { 0, 1, 2, 4095, 4096, 4097, sizeof(plain) };
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42"), *other = hex_p384("43");
	memset(plain, 'x', sizeof(plain));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		kms_envelope envelope;
		kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1 << 20),
			opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
		CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own),
					   kms_span_of(sizes[i] ? plain : NULL, sizes[i])));
		CHECK_OK(kms_envelope_parse(&envelope, (char *)text.data, text.len));
		CHECK(envelope.sender_len == 120 && envelope.hex.len == 2 * (sizes[i] + 16));
		CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(own)));
		CHECK_STATUS(KMS_ERR_SENDER_KEY,
			     kms_envelope_check_sender(&envelope, kms_p384_public(other)));
		CHECK(envelope.nonce.len == 64);
		CHECK_OK(kms_envelope_open(&opened, &envelope, key));
		kms_buf also = kms_buf_make(KMS_BUF_WIPED, 1 << 20);
		CHECK_OK(kms_envelope_open(&also, &envelope, key));
		CHECK(also.len == opened.len && (!also.len || memcmp(also.data, opened.data, also.len) == 0));
		kms_buf_free(&also);
		CHECK(opened.len == sizes[i]);
		CHECK(!sizes[i] || memcmp(opened.data, plain, sizes[i]) == 0);
		kms_buf_free(&text);
		kms_buf_free(&opened);
	}
	kms_p384_free(own);
	kms_p384_free(other);
	kms_secret_unref(key);
}

TEST(what_is_written_is_canonical_and_fresh)
{
	char sender[241], want[1024];
	uint8_t nonce[32], sealed[18];
	char data[37];
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 1024), again = kms_buf_make(KMS_BUF_PLAIN, 1024);
	sender_hex(sender, own);
	hex_bytes(nonce, 32, NONCE32);
	CHECK_OK(kms_gcm_seal(sealed, kms_secret_bytes(key), nonce, KMS_BYTES("{}")));
	kms_hex_encode(data, sealed, sizeof(sealed));
	data[36] = '\0';
	snprintf(want, sizeof(want),
		 "{\"encrypted_data\":\"%s\",\"nonce\":\"" NONCE32 "\",\"sender_tee_pubkey\":\"%s\"}", data,
		 sender);
	CHECK_OK(kms_envelope_seal_with(&text, key, kms_p384_public(own), nonce, kms_span_of("{}", 2)));
	CHECK(text.len == strlen(want));
	CHECK_MEM(text.data, want, text.len);
	kms_buf_clear(&text);
	CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own), kms_span_of("{}", 2)));
	CHECK_OK(kms_envelope_seal(&again, key, kms_p384_public(own), kms_span_of("{}", 2)));
	CHECK(text.len == again.len && memcmp(text.data, again.data, text.len) != 0);
	kms_buf_free(&text);
	kms_buf_free(&again);
	kms_p384_free(own);
	kms_secret_unref(key);
}

TEST(accepted_forms)
{
	char sender[241], upper[243] = "0X", point[195];
	kms_p384 *own = hex_p384("42");
	kms_envelope envelope;
	sender_hex(sender, own);
	for (size_t i = 0; i <= 240; i++)
		upper[i + 2] = (char)(sender[i] >= 'a' ? sender[i] - 32 : sender[i]);
	kms_hex_encode(point, kms_p384_public(own), 97);
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
	/* each member missing, or no string */
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
	/* The right one, wrong at either end, none. */
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
	/* Case and 0x are the sender's own. */
	snprintf(text, sizeof(text),
		 "{\"encrypted_data\":\"0xAA" TAG "\",\"nonce\":\"0X" NONCE12
		 "\",\"sender_tee_pubkey\":\"0x%s\"}",
		 s);
	CALL(check_mac, text, text);
	/* Other members count, wherever they stand; what has to be escaped is. */
	snprintf(text, sizeof(text),
		 "{\"z\":[1,{\"b\":null,\"a\":\"\\u00e9\\/\"}],\"encrypted_data\":\"" TAG
		 "\",\"nonce\":\"" NONCE12 "\",\"sender_tee_pubkey\":\"%s\",\"A\":-7}",
		 s);
	snprintf(canonical, sizeof(canonical),
		 "{\"A\":-7,\"encrypted_data\":\"" TAG "\",\"nonce\":\"" NONCE12
		 "\",\"sender_tee_pubkey\":\"%s\",\"z\":[1,{\"a\":\"\xc3\xa9/\",\"b\":null}]}",
		 s);
	CALL(check_mac, text, canonical);
	/* No ciphertext, but an object with a canonical form. */
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

TEST(changed_ciphertext_is_refused)
{
	kms_secret *key = hex_secret(KEY), *other = hex_secret(NONCE32);
	kms_p384 *own = hex_p384("42");
	kms_envelope envelope;
	uint8_t other_key[32];
	hex_bytes(other_key, 32, KEY);
	other_key[31] ^= 1;
	kms_secret_unref(other);
	CHECK_OK(kms_secret_new(&other, kms_span_of(other_key, 32)));
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 100);
	CHECK_OK(kms_envelope_seal(&text, key, kms_p384_public(own), kms_span_of("secret", 6)));
	CHECK_OK(kms_envelope_parse(&envelope, (char *)text.data, text.len));
	char *hex = (char *)text.data + ((const uint8_t *)envelope.hex.text - text.data);
	for (size_t i = 0; i < envelope.hex.len; i++) {
		char was = hex[i];
		hex[i] = was == '0' ? '1' : '0';
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, key));
		hex[i] = 'g';
		CHECK_STATUS(KMS_ERR_HEX, kms_envelope_open(&opened, &envelope, key));
		hex[i] = was;
	}
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, other));
	envelope.iv12[11] ^= 1;
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_envelope_open(&opened, &envelope, key));
	CHECK(opened.len == 0);
	kms_buf_free(&text);
	kms_buf_free(&opened);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(other);
}

TEST(misuse_and_limits_are_refused)
{
	kms_secret *key = hex_secret(KEY), *half = hex_secret("0011");
	kms_p384 *own = hex_p384("42");
	const uint8_t *own97 = kms_p384_public(own);
	const uint8_t *plain = (const uint8_t *)"secret";
	kms_envelope envelope = { 0 };
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 300), ordinary = kms_buf_make(KMS_BUF_PLAIN, 100);
	CHECK_OK(kms_buf_append(&text, "x", 1));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_envelope_seal(&text, key, own97, kms_span_of(plain, 6)));
	CHECK(text.len == 1);
	CHECK_STATUS(KMS_ERR_RANGE, kms_envelope_seal(&text, half, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(NULL, key, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, NULL, own97, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, key, NULL, kms_span_of(plain, 6)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_seal(&text, key, own97, kms_span_of(NULL, 6)));
	/* A plaintext goes into memory that is guarded or wiped, or nowhere. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_open(&ordinary, &envelope, key));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_open(NULL, &envelope, key));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse(NULL, (char *)text.data, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_envelope_parse(&envelope, NULL, 1));
	CHECK_STATUS(KMS_ERR_JSON, kms_envelope_parse(&envelope, NULL, 0));
	CHECK_STATUS(KMS_ERR_SENDER_KEY, kms_envelope_check_sender(&envelope, own97));
	kms_buf_free(&text);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(half);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_envelope envelope;
		kms_buf text = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 100);
		kms_mem_fail_after(n);
		status = kms_envelope_seal(&text, key, kms_p384_public(own), kms_span_of("{}", 2));
		if (status != KMS_OK) CHECK(text.len == 0);
		if (status == KMS_OK) status = kms_envelope_parse(&envelope, (char *)text.data, text.len);
		if (status == KMS_OK) status = kms_envelope_open(&opened, &envelope, key);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(opened.len == (status == KMS_OK ? 2 : 0));
		kms_buf_free(&text);
		kms_buf_free(&opened);
	}
	CHECK(ended && status == KMS_OK);
	kms_p384_free(own);
	kms_secret_unref(key);
}

TEST(mutated_envelopes_do_no_harm)
{
	uint64_t state = 0x656e76656c6f7065ULL;
	kms_secret *key = hex_secret(KEY);
	kms_p384 *own = hex_p384("42");
	kms_buf seed = kms_buf_make(KMS_BUF_PLAIN, 4096), opened = kms_buf_make(KMS_BUF_GUARDED, 4096);
	CHECK_OK(kms_envelope_seal(&seed, key, kms_p384_public(own), kms_span_of("{\"path\":\"a\"}", 12)));
	int parsed = 0;
	for (int i = 0; i < 100000; i++) {
		kms_envelope envelope;
		body b = body_of(seed.data, seed.len);
		for (int edits = i % 3 + 1; edits; edits--) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			size_t at = (size_t)(state >> 16) % b.len;
			if (state % 5 == 0)
				b.len = at + 1;
			else
				b.text[at] =
				    state % 5 == 1 ? "\"\\{}:,0x"[state >> 60 & 7] : (char)(state >> 8);
		}
		if (kms_envelope_parse(&envelope, b.text, b.len) == KMS_OK) {
			parsed++;
			CHECK(envelope.hex.text >= b.text &&
			      envelope.hex.text + envelope.hex.len <= b.text + b.len);
			CHECK(envelope.hex.len >= 32 && envelope.sender_len <= sizeof(envelope.sender_der));
			kms_buf_clear(&opened);
			(void)(kms_envelope_open(&opened, &envelope, key) == KMS_OK);
			CHECK(opened.len == 0 ||
			      (opened.len == 12 && memcmp(opened.data, "{\"path\":\"a\"}", 12) == 0));
		}
		free(b.text);
	}
	CHECK(parsed > 100); /* the mutants get past the parser too */
	kms_buf_free(&seed);
	kms_buf_free(&opened);
	kms_p384_free(own);
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(what_is_sealed_opens), T(what_is_written_is_canonical_and_fresh),
	  T(accepted_forms), T(bodies_that_are_no_envelope_are_refused), T(other_members_are_bounded),
	  T(the_mac_covers_the_canonical_form_of_all_members), T(what_has_no_canonical_form_has_no_mac),
	  T(changed_ciphertext_is_refused), T(misuse_and_limits_are_refused),
	  T(failing_allocations_leave_nothing), T(mutated_envelopes_do_no_harm))
