/* Bodies of Odyn's HTTP API: what is asked, what is read, and everything that is refused. */
#include "material.h"

#include "kms/odyn.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OWN_ADDRESS "0x00112233445566778899aAbBcCdDeEfF00112233"
#define OTHER_ADDRESS "0x00112233445566778899aabbccddeeff00112234"
#define R "1111111111111111111111111111111111111111111111111111111111111111"
#define S "2222222222222222222222222222222222222222222222222222222222222222"
/* Half the group order, and one more: the highest s that is accepted and the lowest that is not. */
#define HALF "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
#define HALF_1 "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"
#define ORDER "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static const uint8_t own20[20] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
				   0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33 };

/* An owned copy, since reading changes it; exactly as long, for ASan. */
static char *copy_of(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	if (!copy) abort();
	memcpy(copy, text, len);
	return copy;
}

static kms_buf wiped(const char *text)
{
	kms_buf buf = kms_buf_make(KMS_BUF_WIPED, 1 << 20);
	MUST(kms_buf_append(&buf, text, strlen(text)));
	return buf;
}

static void der_hex(char hex[241], const kms_p384 *key)
{
	uint8_t der[120];
	kms_p384_der(der, kms_p384_public(key));
	kms_hex_encode(hex, der, sizeof(der));
	hex[240] = '\0';
}

static bool is_text(const kms_buf *buf, const char *want)
{
	return buf->len == strlen(want) && (!buf->len || memcmp(buf->data, want, buf->len) == 0);
}

/* ---- requests --------------------------------------------------------------------------------- */

TEST(decrypt_requests_carry_what_came)
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

	/* No digit: JSON text of the sender's must not get into a request of ours. */
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

/* Longer than the piece that digits pass through, at its edges. */
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
	CHECK_OK(kms_odyn_encrypt_request(&request, (const uint8_t *)plain, strlen(plain), peer97));
	snprintf(want, sizeof(want),
		 "{\"client_public_key\":\"0x%s\",\"plaintext\":\"{\\\"key\\\":\\\"a\\\\\\\"b\\\","
		 "\\\"value\\\":\\\"\xc3\xa9\\\\n\\\"}\"}",
		 der);
	CHECK(is_text(&request, want));
	CHECK_STATUS(KMS_ERR_UTF8, kms_odyn_encrypt_request(&request, (const uint8_t *)"\xff", 1, peer97));
	CHECK(is_text(&request, want));
	CHECK_STATUS(KMS_ERR_TOO_LARGE,
		     kms_odyn_encrypt_request(&tiny, (const uint8_t *)plain, strlen(plain), peer97));
	CHECK(tiny.len == 0);
	/* Plaintext goes into memory that is wiped, or nowhere. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&public, (const uint8_t *)"{}", 2, peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(NULL, (const uint8_t *)"{}", 2, peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&request, NULL, 2, peer97));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_encrypt_request(&request, (const uint8_t *)"{}", 2, NULL));
	kms_buf_free(&request);
	kms_buf_free(&tiny);
	kms_p384_free(peer);
}

/* ---- plaintext -------------------------------------------------------------------------------- */

static kms_status read_plain(kms_buf_kind kind, const char *text, const char *want, const char **field)
{
	kms_buf plain = kms_buf_make(kind, 4096), answer = wiped(text);
	kms_status status = kms_odyn_plain(&plain, field, &answer);
	bool taken = !answer.data && !answer.len;
	bool right = status == KMS_OK ? is_text(&plain, want) : plain.len == 0;
	kms_buf_free(&plain);
	return taken && right ? status : KMS_ERR_STATE;
}

TEST(plaintext_comes_into_guarded_or_wiped_memory)
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

TEST(answers_without_plaintext_are_refused)
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
	kms_buf answer = wiped("{\"plaintext\":\"abcd\"}");
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_plain(&tight, &field, &answer));
	CHECK(!tight.data && !answer.data);
	answer = wiped("{\"plaintext\":\"abcd\"}");
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_plain(&guarded, &field, &answer));
	answer = wiped("{\"plaintext\":\"abc\"}");
	CHECK_OK(kms_odyn_plain(&guarded, &field, &answer));
	CHECK(is_text(&guarded, "abc"));
	answer = wiped("{\"plaintext\":\"abc\"}"); /* into a buffer that is not empty */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&guarded, &field, &answer));
	CHECK(!answer.data);
	answer = wiped("{\"plaintext\":\"abc\"}");
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&public, &field, &answer));
	CHECK(!answer.data && !public.data);
	kms_buf plain_answer = kms_buf_make(KMS_BUF_PLAIN, 100);
	CHECK_OK(kms_buf_append_text(&plain_answer, "{\"plaintext\":\"abc\"}"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, &field, &plain_answer));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(NULL, &field, &answer));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, NULL, &answer));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_plain(&tight, &field, NULL));
	kms_buf_free(&guarded);
}

/* What was not the plaintext of a wiped answer is wiped when its memory is taken over. */
TEST(memory_that_is_taken_over_holds_the_plaintext_alone)
{
	const char *field;
	kms_buf plain = kms_buf_make(KMS_BUF_WIPED, 4096);
	kms_buf answer = wiped("{\"plaintext\":\"ab\",\"trace\":\"cdefghijklmnop\"}");
	CHECK_OK(kms_odyn_plain(&plain, &field, &answer));
	CHECK(is_text(&plain, "ab"));
	for (size_t i = plain.len; i < plain.cap; i++)
		CHECK(plain.data[i] == 0);
	kms_buf_free(&plain);
}

/* ---- envelopes --------------------------------------------------------------------------------- */

static kms_status read_envelope(kms_buf *body, const char **field, const char *text, const kms_p384 *own,
				size_t plain_len)
{
	char *copy = copy_of(text);
	kms_status status =
	    kms_odyn_envelope(body, field, copy, strlen(text), kms_p384_public(own), plain_len);
	free(copy);
	return status;
}

static void answer_text(char text[2048], const char *key, const char *nonce, const char *data)
{
	snprintf(text, 2048,
		 "{\"encrypted_data\":\"%s\",\"enclave_public_key\":\"%s\",\"nonce\":\"%s\",\"x\":[0]}", data,
		 key, nonce);
}

#define NONCE "000102030405060708090a0b"
#define DATA "00112233445566778899aabbccddeeff0102" /* two bytes and the tag */

TEST(envelopes_are_canonical_whatever_the_service_writes)
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
	answer_text(text, der, NONCE, DATA);
	CHECK_OK(read_envelope(&body, &field, text, own, 2));
	CHECK(is_text(&body, want));
	kms_buf_clear(&body);
	answer_text(text, upper, "0X000102030405060708090A0B", "0x00112233445566778899AABBCCDDEEFF0102");
	CHECK_OK(read_envelope(&body, &field, text, own, SIZE_MAX));
	CHECK(is_text(&body, want));
	kms_buf_free(&body);
	kms_p384_free(own);
}

TEST(envelopes_that_cannot_be_are_refused)
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
		{ der + 46, NONCE, DATA, "enclave_public_key", 2 }, /* the point alone is another form */
		{ der, "", DATA, "nonce", 2 },
		{ der, "000102030405060708090a", DATA, "nonce", 2 },
		{ der, NONCE "0", DATA, "nonce", 2 },
		{ der, NONCE "0g", DATA, "nonce", 2 },
		{ der, NONCE, "", "encrypted_data", 2 },
		{ der, NONCE, "00112233445566778899aabbccddee", "encrypted_data", SIZE_MAX },
		{ der, NONCE, DATA "0", "encrypted_data", 2 },
		{ der, NONCE, DATA "00", "encrypted_data", 2 }, /* longer, shorter than what was asked for */
		{ der, NONCE, DATA, "encrypted_data", 3 },
		{ der, NONCE, "g0112233445566778899aabbccddeeff0102", "encrypted_data", 2 },
		{ der, NONCE, "00112233445566778899aabbccddeeff01\\u0000", "encrypted_data", 2 },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		answer_text(text, table[i].key, table[i].nonce, table[i].data);
		CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, text, own, table[i].plain_len));
		CHECK(field && strcmp(field, table[i].field) == 0);
		CHECK(body.len == 0);
	}
	/* 64 bytes of nonce, and one more */
	char nonce[132];
	memset(nonce, '0', sizeof(nonce));
	nonce[128] = '\0';
	answer_text(text, der, nonce, DATA);
	CHECK_OK(read_envelope(&body, &field, text, own, 2));
	kms_buf_clear(&body);
	nonce[128] = '0';
	nonce[130] = '\0';
	answer_text(text, der, nonce, DATA);
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, text, own, 2));
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, "{}", own, 2));
	CHECK_STATUS(KMS_ERR_TEE, read_envelope(&body, &field, "[]", own, 2));
	CHECK(!field);
	const uint8_t *own97 = kms_p384_public(own);
	kms_buf tight = kms_buf_make(KMS_BUF_PLAIN, 100);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(NULL, &field, text, 1, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&tight, NULL, text, 1, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&tight, &field, NULL, 1, own97, 2));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_envelope(&tight, &field, text, 1, NULL, 2));
	kms_buf_free(&body);
	kms_p384_free(own);
	kms_p384_free(stranger);
}

/* ---- random bytes, signatures, transactions -------------------------------------------------------- */

static kms_status read_secret(const char *text, const char *want, const char **field)
{
	kms_secret *secret, *right = want ? hex_secret(want) : NULL;
	char *copy = copy_of(text);
	kms_status status = kms_odyn_secret(&secret, field, copy, strlen(text));
	bool same = status == KMS_OK ? right && kms_secret_equal(secret, right) : !secret;
	kms_secret_unref(secret);
	kms_secret_unref(right);
	free(copy);
	return same ? status : KMS_ERR_STATE;
}

TEST(random_bytes_are_32)
{
	static const char *const refused[] = {
		"{}",
		"{\"random_bytes\":null}",
		"{\"random_bytes\":\"\"}",
		"{\"random_bytes\":\"0x\"}",
		"{\"random_bytes\":\"0x00" KEY "\"}",
		"{\"random_bytes\":\"0x0001\"}",
		"{\"random_bytes\":\"0x" KEY "0\"}",
		"{\"random_bytes\":\"0xg00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"}",
	};
	const char *field;
	CHECK_OK(read_secret("{\"random_bytes\":\"0x" KEY "\"}", KEY, &field));
	CHECK_OK(read_secret("{\"random_bytes\":\"" KEY "\",\"more\":true}", KEY, &field));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		CHECK_STATUS(KMS_ERR_TEE, read_secret(refused[i], NULL, &field));
		CHECK(field && strcmp(field, "random_bytes") == 0);
	}
	CHECK_STATUS(KMS_ERR_TEE, read_secret("[\"" KEY "\"]", NULL, &field));
	CHECK(!field);
}

static kms_status read_signature(char text[133], const char **field, const char *address, const char *rsv)
{
	char answer[1024];
	snprintf(answer, sizeof(answer), "{\"signature\":\"%s\",\"address\":\"%s\",\"attestation\":null}",
		 rsv, address);
	char *copy = copy_of(answer);
	text[132] = '\0';
	kms_status status = kms_odyn_signature(text, field, copy, strlen(answer), own20);
	free(copy);
	return status;
}

TEST(signatures_are_low_s_and_by_the_own_wallet)
{
	static const struct {
		const char *address, *signature, *field;
	} refused[] = {
		{ OTHER_ADDRESS, "0x" R S "00", "address" },
		{ "", "0x" R S "00", "address" },
		{ "0x0011", "0x" R S "00", "address" },
		{ OWN_ADDRESS, "", "signature" },
		{ OWN_ADDRESS, "0x", "signature" },
		{ OWN_ADDRESS, "0x" R S, "signature" },
		{ OWN_ADDRESS, "0x" R S "0", "signature" },
		{ OWN_ADDRESS, "0x" R S "0000", "signature" },
		{ OWN_ADDRESS, "0x" R S "02", "signature" },
		{ OWN_ADDRESS, "0x" R S "1d", "signature" },
		{ OWN_ADDRESS, "0x" R HALF_1 "00", "signature" },
		{ OWN_ADDRESS, "0x" R ZERO "00", "signature" },
		{ OWN_ADDRESS, "0x" ZERO S "00", "signature" },
		{ OWN_ADDRESS, "0x" ORDER S "00", "signature" },
		{ OWN_ADDRESS, "0xg1" R S "00", "signature" },
	};
	static const char zeros[132];
	char text[133];
	const char *field;
	CHECK_OK(read_signature(text, &field, OWN_ADDRESS, "0x" R S "00"));
	CHECK(strcmp(text, "0x" R S "1b") == 0);
	CHECK_OK(read_signature(text, &field, OWN_ADDRESS, R HALF "01"));
	CHECK(strcmp(text, "0x" R HALF "1c") == 0);
	CHECK_OK(read_signature(text, &field, OWN_ADDRESS, R S "1C"));
	CHECK(strcmp(text, "0x" R S "1c") == 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		CHECK_STATUS(KMS_ERR_TEE,
			     read_signature(text, &field, refused[i].address, refused[i].signature));
		CHECK(field && strcmp(field, refused[i].field) == 0);
		CHECK_MEM(text, zeros, 132);
	}
	char answer[] = "{\"signature\":\"0x" R S "00\"}";
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_signature(text, &field, answer, strlen(answer), own20));
	CHECK(strcmp(field, "address") == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(NULL, &field, answer, 1, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, NULL, answer, 1, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, &field, NULL, 1, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, &field, answer, 1, NULL));
}

static kms_status read_transaction(kms_buf *raw, uint8_t hash[32], const char **field, const char *bytes,
				   const char *told, const char *address)
{
	char answer[1024];
	snprintf(answer, sizeof(answer),
		 "{\"raw_transaction\":\"%s\",\"transaction_hash\":\"%s\",\"signature\":\"0x\",\"address\":"
		 "\"%s\"}",
		 bytes, told, address);
	char *copy = copy_of(answer);
	kms_status status = kms_odyn_transaction(raw, hash, field, copy, strlen(answer), own20);
	free(copy);
	return status;
}

TEST(transactions_hash_to_what_they_come_with)
{
	static const uint8_t bytes[] = { 0x02, 0xc1, 0x80 }, zeros[32];
	uint8_t digest[32], hash[32];
	char told[65];
	const char *field;
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 4096);
	kms_keccak256(digest, KMS_SPAN(bytes));
	kms_hex_encode(told, digest, 32);
	told[64] = '\0';
	CHECK_OK(read_transaction(&raw, hash, &field, "0x02c180", told, OWN_ADDRESS));
	CHECK(raw.len == 3);
	CHECK_MEM(raw.data, bytes, 3);
	CHECK_MEM(hash, digest, 32);
	kms_buf_clear(&raw);
	const struct {
		const char *raw, *hash, *address, *field;
	} refused[] = {
		{ "0x02c180", told, OTHER_ADDRESS, "address" },
		{ "0x02c180", KEY, OWN_ADDRESS, "transaction_hash" },
		{ "0x02c180", "0x00", OWN_ADDRESS, "transaction_hash" },
		{ "0x02c181", told, OWN_ADDRESS, "transaction_hash" },
		{ "0x01c180", told, OWN_ADDRESS, "raw_transaction" },
		{ "0x02", told, OWN_ADDRESS, "raw_transaction" },
		{ "0x", told, OWN_ADDRESS, "raw_transaction" },
		{ "0x02c18", told, OWN_ADDRESS, "raw_transaction" },
		{ "0x02c1zz", told, OWN_ADDRESS, "raw_transaction" },
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		CHECK_STATUS(KMS_ERR_TEE, read_transaction(&raw, hash, &field, refused[i].raw,
							   refused[i].hash, refused[i].address));
		CHECK(field && strcmp(field, refused[i].field) == 0);
		CHECK(raw.len == 0);
		CHECK_MEM(hash, zeros, 32);
	}
	kms_buf_free(&raw);
}

/* ---- memory, and anything at all -------------------------------------------------------------------- */

TEST(failing_allocations_are_not_the_services_fault)
{
	char der[241], text[2048];
	const char *field;
	kms_p384 *own = hex_p384("42");
	bool ended = false;
	der_hex(der, own);
	answer_text(text, der, NONCE, DATA);
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 4096), body = kms_buf_make(KMS_BUF_PLAIN, 4096);
		kms_buf answer = wiped("{\"plaintext\":\"abcdef\"}");
		kms_secret *secret = NULL;
		char random[] = "{\"random_bytes\":\"" KEY "\"}";
		kms_mem_fail_after(n);
		kms_status status = kms_odyn_plain(&plain, &field, &answer);
		if (status == KMS_OK) status = read_envelope(&body, &field, text, own, 2);
		if (status == KMS_OK) status = kms_odyn_secret(&secret, &field, random, strlen(random));
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		CHECK(status == KMS_OK || !secret);
		CHECK(!answer.data);
		kms_secret_unref(secret);
		kms_buf_free(&plain);
		kms_buf_free(&body);
	}
	CHECK(ended);
	kms_p384_free(own);
}

/* A mutant of a text: one to three edits, cuts and characters that JSON and hex care about. */
static size_t mutate(char *text, size_t len, uint64_t *state)
{
	for (uint64_t edits = *state % 3 + 1; edits && len; edits--) {
		*state ^= *state << 13;
		*state ^= *state >> 7;
		*state ^= *state << 17;
		size_t at = (size_t)(*state >> 16) % len;
		if (*state % 7 == 0)
			len = at + 1;
		else
			text[at] = *state % 3 ? "\"\\{}:,0xgF"[(*state >> 59) % 10] : (char)(*state >> 8);
	}
	return len;
}

TEST(mutated_answers_do_no_harm)
{
	uint64_t state = 0x6f64796e20616e73ULL;
	char der[241], envelope[2048], hash[65];
	static const uint8_t tx[] = { 0x02, 0xc1, 0x80 };
	uint8_t digest[32];
	int accepted = 0;
	kms_p384 *own = hex_p384("42");
	der_hex(der, own);
	answer_text(envelope, der, NONCE, DATA);
	kms_keccak256(digest, KMS_SPAN(tx));
	kms_hex_encode(hash, digest, 32);
	hash[64] = '\0';
	char transaction[512];
	snprintf(transaction, sizeof(transaction),
		 "{\"raw_transaction\":\"0x02c180\",\"transaction_hash\":\"%s\",\"address\":\"" OWN_ADDRESS
		 "\"}",
		 hash);
	const char *const seeds[] = { "{\"plaintext\":\"{\\\"path\\\":\\\"a\\u00e9\\\"}\"}", envelope,
				      "{\"random_bytes\":\"0x" KEY "\"}",
				      "{\"signature\":\"0x" R S "00\",\"address\":\"" OWN_ADDRESS "\"}",
				      transaction };
	for (int i = 0; i < 20000; i++) {
		const char *field, *seed = seeds[i % 5];
		size_t len = strlen(seed);
		char signature[132], text[2048];
		memcpy(text, seed, len);
		len = mutate(text, len, &state);
		kms_buf answer = kms_buf_make(KMS_BUF_WIPED, len), out = kms_buf_make(KMS_BUF_PLAIN, 4096);
		kms_buf plain = kms_buf_make(i % 2 ? KMS_BUF_WIPED : KMS_BUF_GUARDED, 4096);
		kms_secret *secret = NULL;
		MUST(kms_buf_append(&answer, text, len)); /* exactly as long, for ASan */
		char *bytes = (char *)answer.data;
		kms_status status = KMS_OK;
		switch (i % 5) {
		case 0:
			status = kms_odyn_plain(&plain, &field, &answer);
			break;
		case 1:
			status = kms_odyn_envelope(&out, &field, bytes, len, kms_p384_public(own), 2);
			CHECK(status != KMS_OK || out.len > 2 * 120);
			break;
		case 2:
			status = kms_odyn_secret(&secret, &field, bytes, len);
			break;
		case 3:
			status = kms_odyn_signature(signature, &field, bytes, len, own20);
			break;
		default:
			status = kms_odyn_transaction(&out, digest, &field, bytes, len, own20);
			CHECK(status != KMS_OK || is_text(&out, "\x02\xc1\x80"));
		}
		CHECK(status == KMS_OK || status == KMS_ERR_TEE);
		accepted += status == KMS_OK;
		kms_secret_unref(secret);
		kms_buf_free(&plain);
		kms_buf_free(&out);
		kms_buf_free(&answer);
	}
	CHECK(accepted > 100); /* the mutants get past the parser too */
	kms_p384_free(own);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(decrypt_requests_carry_what_came), T(long_ciphertext_passes_whole),
	  T(encrypt_requests_escape_the_plaintext), T(plaintext_comes_into_guarded_or_wiped_memory),
	  T(answers_without_plaintext_are_refused), T(plaintext_stays_within_its_limit_and_kind),
	  T(memory_that_is_taken_over_holds_the_plaintext_alone),
	  T(envelopes_are_canonical_whatever_the_service_writes), T(envelopes_that_cannot_be_are_refused),
	  T(random_bytes_are_32), T(signatures_are_low_s_and_by_the_own_wallet),
	  T(transactions_hash_to_what_they_come_with), T(failing_allocations_are_not_the_services_fault),
	  T(mutated_answers_do_no_harm))
