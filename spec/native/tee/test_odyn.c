/* Bodies of the Odyn service: requests, plaintext and envelopes. test_odyn_keys.c has the rest. */
#include "odyn_kit.h"

/* ---- requests ----------------------------------------------------------------------------------- */

TEST(decrypt_requests_carry_the_envelope)
{
	char der[241], text[2048], want[2048];
	kms_envelope envelope;
	kms_p384 *peer = hex_p384("43");
	const uint8_t *peer97 = kms_p384_public(peer);
	kms_buf request = kms_buf_make(KMS_BUF_WIPED, 4096);
	der_hex(der, peer);
	snprintf(text, sizeof(text),
		 "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"0x000102030405060708090A0B0c\","
		 "\"encrypted_data\":\"0X00112233445566778899AABBCCDDEEFF01\"}",
		 der);
	CHECK_OK(kms_envelope_parse(&envelope, text, strlen(text)));
	CHECK_OK(kms_odyn_decrypt_request(&request, &envelope, peer97));
	snprintf(
	    want, sizeof(want),
	    "{\"client_public_key\":\"0x%s\",\"encrypted_data\":\"0x00112233445566778899aabbccddeeff01\","
	    "\"nonce\":\"0x000102030405060708090a0b0c\"}",
	    der);
	CHECK(is_text(&request, want));

	/* Not hexadecimal: JSON text of the sender must not get into our request. */
	snprintf(text, sizeof(text),
		 "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"000102030405060708090a0b\","
		 "\"encrypted_data\":\"00112233445566778899aabbccddeeff\\\",\\\"x\\\":\\\"0\"}",
		 der);
	CHECK_OK(kms_envelope_parse(&envelope, text, strlen(text)));
	CHECK_STATUS(KMS_ERR_HEX, kms_odyn_decrypt_request(&request, &envelope, peer97));
	CHECK(is_text(&request, want));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_decrypt_request(NULL, &envelope, peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_decrypt_request(&request, NULL, peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_decrypt_request(&request, &envelope, NULL));
	kms_buf_free(&request);
	kms_p384_free(peer);
}

/* Lengths around the size of the piece that converts digits. */
TEST(long_ciphertext_passes_whole)
{
	static const size_t lengths[] = { 1023, 1024, 1025, 2048, 5000 };
	kms_p384 *peer = hex_p384("43");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t digits = 2 * lengths[i];
		kms_buf request = kms_buf_make(KMS_BUF_WIPED, 1 << 20);
		char *hex = malloc(digits);
		if (!hex) abort();
		for (size_t k = 0; k < digits; k++)
			hex[k] = "0123456789abcdefABCDEF"[k * 7 % 22];
		kms_envelope envelope = { .hex = { hex, digits },
					  .nonce = { "000102030405060708090a0b", 24 } };
		CHECK_OK(kms_odyn_decrypt_request(&request, &envelope, kms_p384_public(peer)));
		const char *sent = strstr((char *)request.data, "encrypted_data");
		CHECK(sent);
		sent += strlen("encrypted_data\":\"0x");
		for (size_t k = 0; k < digits; k++)
			CHECK(sent[k] == (hex[k] >= 'A' && hex[k] <= 'F' ? hex[k] + 32 : hex[k]));
		CHECK(sent[digits] == '"');
		hex[digits - 1] = 'g';
		kms_buf_clear(&request);
		CHECK_STATUS(KMS_ERR_HEX,
			     kms_odyn_decrypt_request(&request, &envelope, kms_p384_public(peer)));
		CHECK(request.len == 0);
		free(hex);
		kms_buf_free(&request);
	}
	kms_p384_free(peer);
}

TEST(encrypt_requests_escape_the_plaintext)
{
	char der[241], want[1024];
	static const char plain[] = "{\"key\":\"a\\\"b\",\"value\":\"\xc3\xa9\\n\"}";
	kms_p384 *peer = hex_p384("43");
	const uint8_t *peer97 = kms_p384_public(peer);
	kms_buf request = kms_buf_make(KMS_BUF_WIPED, 4096), tiny = kms_buf_make(KMS_BUF_GUARDED, 300);
	kms_buf public = kms_buf_make(KMS_BUF_PLAIN, 4096);
	der_hex(der, peer);
	CHECK_OK(kms_odyn_encrypt_request(&request, kms_text_from(plain), peer97));
	snprintf(want, sizeof(want),
		 "{\"client_public_key\":\"0x%s\",\"plaintext\":\"{\\\"key\\\":\\\"a\\\\\\\"b\\\","
		 "\\\"value\\\":\\\"\xc3\xa9\\\\n\\\"}\"}",
		 der);
	CHECK(is_text(&request, want));
	CHECK_STATUS(KMS_ERR_UTF8, kms_odyn_encrypt_request(&request, KMS_TEXT("\xff"), peer97));
	CHECK(is_text(&request, want));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_odyn_encrypt_request(&tiny, kms_text_from(plain), peer97));
	CHECK(tiny.len == 0);
	/* Plaintext may only go into wiped or guarded memory. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&public, KMS_TEXT("{}"), peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(NULL, KMS_TEXT("{}"), peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&request, kms_text_of(NULL, 2), peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&request, KMS_TEXT("{}"), NULL));
	kms_buf_free(&request);
	kms_buf_free(&tiny);
	kms_p384_free(peer);
}

/* ---- plaintext ---------------------------------------------------------------------------------- */

static kms_status read_plain(kms_buf_kind kind, const char *text, const char *want, const char **field)
{
	kms_buf plain = kms_buf_make(kind, 4096), response = response_of(text);
	kms_status status = kms_odyn_plain(&plain, field, &response);
	bool taken = !response.data && !response.len;
	bool right = status == KMS_OK ? is_text(&plain, want) : plain.len == 0;
	kms_buf_free(&plain);
	return taken && right ? status : KMS_ERR_STATE;
}

TEST(plaintext_goes_into_guarded_or_wiped_memory)
{
	static const kms_buf_kind kinds[] = { KMS_BUF_GUARDED, KMS_BUF_WIPED };
	const char *field;
	for (int i = 0; i < 2; i++) {
		CHECK_OK(read_plain(kinds[i], "{\"plaintext\":\"{\\\"a\\\":1}\"}", "{\"a\":1}", &field));
		CHECK_OK(read_plain(kinds[i], " { \"x\" : [1] , \"plaintext\":\"\\u00e9\\\\\\/\" } ",
				    "\xc3\xa9\\/", &field));
		CHECK_OK(read_plain(kinds[i], "{\"plaintext\":\"\"}", "", &field));
	}
}

TEST(responses_without_plaintext_are_refused)
{
	static const struct {
		const char *text, *field;
	} table[] = {
		{ "", NULL },
		{ "null", NULL },
		{ "[]", NULL },
		{ "\"plaintext\"", NULL },
		{ "{", NULL },
		{ "{\"plaintext\":\"a\"", NULL },
		{ "{\"plaintext\":\"a\"}x", NULL },
		{ "{\"plaintext\":\"a\",\"plaintext\":\"b\"}", NULL },
		{ "{\"plaintext\":\"\\ud800\"}", NULL },
		{ "{\"plaintext\":\"\xff\"}", NULL },
		{ "<html>502</html>", NULL },
		{ "{}", "plaintext" },
		{ "{\"plaintext\":null}", "plaintext" },
		{ "{\"plaintext\":{}}", "plaintext" },
		{ "{\"plaintext\":7}", "plaintext" },
		{ "{\"Plaintext\":\"a\"}", "plaintext" },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *field = "unset";
		CHECK_STATUS(KMS_ERR_TEE, read_plain(KMS_BUF_GUARDED, table[i].text, "", &field));
		CHECK(field == table[i].field || strcmp(field, table[i].field) == 0);
		CHECK_STATUS(KMS_ERR_TEE, read_plain(KMS_BUF_WIPED, table[i].text, "", &field));
	}
}

TEST(plaintext_stays_within_its_limit_and_kind)
{
	const char *field;
	kms_buf tight = kms_buf_make(KMS_BUF_WIPED, 3), guarded = kms_buf_make(KMS_BUF_GUARDED, 3);
	kms_buf public = kms_buf_make(KMS_BUF_PLAIN, 100);
	kms_buf response = response_of("{\"plaintext\":\"abcd\"}");
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_plain(&tight, &field, &response));
	CHECK(!tight.data && !response.data);
	response = response_of("{\"plaintext\":\"abcd\"}");
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_plain(&guarded, &field, &response));
	response = response_of("{\"plaintext\":\"abc\"}");
	CHECK_OK(kms_odyn_plain(&guarded, &field, &response));
	CHECK(is_text(&guarded, "abc"));
	response = response_of("{\"plaintext\":\"abc\"}"); /* the buffer is not empty */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&guarded, &field, &response));
	CHECK(!response.data);
	response = response_of("{\"plaintext\":\"abc\"}");
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&public, &field, &response));
	CHECK(!response.data && !public.data);
	kms_buf unwiped = kms_buf_make(KMS_BUF_PLAIN, 100);
	CHECK_OK(kms_buf_append_text(&unwiped, "{\"plaintext\":\"abc\"}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, &field, &unwiped));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(NULL, &field, &response));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, NULL, &response));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, &field, NULL));
	kms_buf_free(&guarded);
}

/* The memory that `plain` takes over has no other part of the response. */
TEST(memory_taken_over_holds_nothing_but_the_plaintext)
{
	const char *field;
	kms_buf plain = kms_buf_make(KMS_BUF_WIPED, 4096);
	kms_buf response = response_of("{\"plaintext\":\"ab\",\"trace\":\"cdefghijklmnop\"}");
	CHECK_OK(kms_odyn_plain(&plain, &field, &response));
	CHECK(is_text(&plain, "ab"));
	for (size_t i = plain.len; i < plain.cap; i++)
		CHECK(plain.data[i] == 0);
	kms_buf_free(&plain);
}

/* ---- envelopes ---------------------------------------------------------------------------------- */

TEST(envelopes_become_canonical)
{
	char der[241], upper[243] = "0X", text[2048], want[2048];
	const char *field;
	kms_p384 *own = hex_p384("42");
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 4096);
	der_hex(der, own);
	for (size_t i = 0; i <= 240; i++)
		upper[i + 2] = (char)(der[i] >= 'a' ? der[i] - 32 : der[i]);
	snprintf(want, sizeof(want),
		 "{\"encrypted_data\":\"" DATA "\",\"nonce\":\"" NONCE "\",\"sender_tee_pubkey\":\"%s\"}",
		 der);
	envelope_response(text, der, NONCE, DATA);
	CHECK_OK(read_envelope(&body, &field, text, own, 2));
	CHECK(is_text(&body, want));
	kms_buf_clear(&body);
	envelope_response(text, upper, "0X000102030405060708090A0B",
			  "0x00112233445566778899AABBCCDDEEFF0102");
	CHECK_OK(read_envelope(&body, &field, text, own, SIZE_MAX));
	CHECK(is_text(&body, want));
	kms_buf_free(&body);
	kms_p384_free(own);
}

TEST(impossible_envelopes_are_refused)
{
	char der[241], other[241], text[2048];
	const char *field;
	kms_p384 *own = hex_p384("42"), *stranger = hex_p384("43");
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 4096);
	der_hex(der, own);
	der_hex(other, stranger);
	const struct {
		const char *key, *nonce, *data, *field;
		size_t plain_len;
	} table[] = {
		{ other, NONCE, DATA, "enclave_public_key", 2 },
		{ "", NONCE, DATA, "enclave_public_key", 2 },
		{ der + 2, NONCE, DATA, "enclave_public_key", 2 },
		{ der + 46, NONCE, DATA, "enclave_public_key", 2 }, /* a point alone, without its prefix */
		{ der, "", DATA, "nonce", 2 },
		{ der, "000102030405060708090a", DATA, "nonce", 2 },
		{ der, NONCE "0", DATA, "nonce", 2 },
		{ der, NONCE "0g", DATA, "nonce", 2 },
		{ der, NONCE, "", "encrypted_data", 2 },
		{ der, NONCE, "00112233445566778899aabbccddee", "encrypted_data", SIZE_MAX },
		{ der, NONCE, DATA "0", "encrypted_data", 2 },
		{ der, NONCE, DATA "00", "encrypted_data",
		  2 }, /* longer or shorter than the plaintext requires */
		{ der, NONCE, DATA, "encrypted_data", 3 },
		{ der, NONCE, "g0112233445566778899aabbccddeeff0102", "encrypted_data", 2 },
		{ der, NONCE, "00112233445566778899aabbccddeeff01\\u0000", "encrypted_data", 2 },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		envelope_response(text, table[i].key, table[i].nonce, table[i].data);
		CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, text, own, table[i].plain_len));
		CHECK(field && strcmp(field, table[i].field) == 0);
		CHECK(body.len == 0);
	}
	/* 64 bytes of nonce, and one more */
	char nonce[132];
	memset(nonce, '0', sizeof(nonce));
	nonce[128] = '\0';
	envelope_response(text, der, nonce, DATA);
	CHECK_OK(read_envelope(&body, &field, text, own, 2));
	kms_buf_clear(&body);
	nonce[128] = '0';
	nonce[130] = '\0';
	envelope_response(text, der, nonce, DATA);
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, text, own, 2));
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, "{}", own, 2));
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, "[]", own, 2));
	CHECK(!field);
	const uint8_t *own97 = kms_p384_public(own);
	kms_buf tight = kms_buf_make(KMS_BUF_PLAIN, 100), response = response_of("{}");
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&field, NULL, &response, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(NULL, &tight, &response, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&field, &tight, NULL, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&field, &tight, &response, NULL, 2));
	kms_buf_free(&response);
	kms_buf_free(&body);
	kms_p384_free(own);
	kms_p384_free(stranger);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(decrypt_requests_carry_the_envelope), T(long_ciphertext_passes_whole),
	  T(encrypt_requests_escape_the_plaintext), T(plaintext_goes_into_guarded_or_wiped_memory),
	  T(responses_without_plaintext_are_refused), T(plaintext_stays_within_its_limit_and_kind),
	  T(memory_taken_over_holds_nothing_but_the_plaintext), T(envelopes_become_canonical),
	  T(impossible_envelopes_are_refused))
