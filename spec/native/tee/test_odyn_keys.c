/* Bodies of the Odyn service: random bytes, signatures, transactions; failing allocations; mutations. */
#include "base/testing.h"
#include "odyn_kit.h"

#define OTHER_ADDRESS "0x00112233445566778899aabbccddeeff00112234"
/* Half the group order, the highest accepted s, and one more, the lowest refused. */
#define HALF "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
#define HALF_1 "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"
#define ORDER "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static kms_status read_secret(const char *text, const char *want, const char **field)
{
	kms_secret *secret, *right = want ? hex_secret(want) : NULL;
	DEFER(kms_buf_free) kms_buf response = response_of(text);
	kms_status status = kms_odyn_secret(&secret, field, &response);
	bool same = status == KMS_OK ? right && kms_secret_equal(secret, right) : !secret;
	kms_secret_unref(secret);
	kms_secret_unref(right);
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
	char body[1024];
	snprintf(body, sizeof(body), "{\"signature\":\"%s\",\"address\":\"%s\",\"attestation\":null}", rsv,
		 address);
	DEFER(kms_buf_free) kms_buf response = response_of(body);
	text[132] = '\0';
	return kms_odyn_signature(text, field, &response, own20);
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
	kms_buf response = response_of("{\"signature\":\"0x" R S "00\"}");
	CHECK_STATUS(KMS_ERR_TEE, kms_odyn_signature(text, &field, &response, own20));
	CHECK(strcmp(field, "address") == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(NULL, &field, &response, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, NULL, &response, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, &field, NULL, own20));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_odyn_signature(text, &field, &response, NULL));
	kms_buf_free(&response);
}

static kms_status read_transaction(kms_buf *raw, uint8_t hash[32], const char **field, const char *bytes,
				   const char *told, const char *address)
{
	char body[1024];
	snprintf(body, sizeof(body),
		 "{\"raw_transaction\":\"%s\",\"transaction_hash\":\"%s\",\"signature\":\"0x\",\"address\":"
		 "\"%s\"}",
		 bytes, told, address);
	DEFER(kms_buf_free) kms_buf response = response_of(body);
	return kms_odyn_transaction(hash, field, raw, &response, own20);
}

TEST(transactions_must_have_the_hash_given)
{
	static const uint8_t bytes[] = { 0x02, 0xc1, 0x80 }, zeros[32];
	uint8_t digest[32], hash[32];
	char told[65];
	const char *field;
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 4096);
	kms_keccak256(digest, KMS_SPAN(bytes));
	kms_hex_encode(told, kms_span_of(digest, 32));
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

/* ---- memory and mutations ----------------------------------------------------------------------- */

TEST(failing_allocations_are_not_the_services_fault)
{
	char der[241], text[2048];
	const char *field;
	kms_p384 *own = hex_p384("42");
	bool ended = false;
	der_hex(der, own);
	envelope_response(text, der, NONCE, DATA);
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 4096), body = kms_buf_make(KMS_BUF_PLAIN, 4096);
		kms_buf response = response_of("{\"plaintext\":\"abcdef\"}");
		kms_secret *secret = NULL;
		kms_buf random = response_of("{\"random_bytes\":\"" KEY "\"}");
		kms_buf envelope = response_of(text);
		kms_mem_fail_after(n);
		kms_status status = kms_odyn_plain(&plain, &field, &response);
		if (status == KMS_OK)
			status = kms_odyn_envelope(&field, &body, &envelope, kms_p384_public(own), 2);
		if (status == KMS_OK) status = kms_odyn_secret(&secret, &field, &random);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		CHECK(status == KMS_OK || !secret);
		CHECK(!response.data);
		kms_secret_unref(secret);
		kms_buf_free(&plain);
		kms_buf_free(&body);
		kms_buf_free(&random);
		kms_buf_free(&envelope);
	}
	CHECK(ended);
	kms_p384_free(own);
}

/* Changes a text in one to three places: cuts, and characters special to JSON and hexadecimal. */
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

TEST(mutated_responses_do_no_harm)
{
	uint64_t state = 0x6f64796e20616e73ULL;
	char der[241], envelope[2048], hash[65];
	static const uint8_t tx[] = { 0x02, 0xc1, 0x80 };
	uint8_t digest[32];
	int accepted = 0;
	kms_p384 *own = hex_p384("42");
	der_hex(der, own);
	envelope_response(envelope, der, NONCE, DATA);
	kms_keccak256(digest, KMS_SPAN(tx));
	kms_hex_encode(hash, kms_span_of(digest, 32));
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
		kms_buf response = kms_buf_make(KMS_BUF_WIPED, len), out = kms_buf_make(KMS_BUF_PLAIN, 4096);
		kms_buf plain = kms_buf_make(i % 2 ? KMS_BUF_WIPED : KMS_BUF_GUARDED, 4096);
		kms_secret *secret = NULL;
		MUST(kms_buf_append(&response,
				    kms_span_of(text, len))); /* the block is exactly as long, for ASan */
		kms_status status = KMS_OK;
		switch (i % 5) {
		case 0:
			status = kms_odyn_plain(&plain, &field, &response);
			break;
		case 1:
			status = kms_odyn_envelope(&field, &out, &response, kms_p384_public(own), 2);
			CHECK(status != KMS_OK || out.len > 2 * 120);
			break;
		case 2:
			status = kms_odyn_secret(&secret, &field, &response);
			break;
		case 3:
			status = kms_odyn_signature(signature, &field, &response, own20);
			break;
		default:
			status = kms_odyn_transaction(digest, &field, &out, &response, own20);
			CHECK(status != KMS_OK || is_text(&out, "\x02\xc1\x80"));
		}
		CHECK(status == KMS_OK || status == KMS_ERR_TEE);
		accepted += status == KMS_OK;
		kms_secret_unref(secret);
		kms_buf_free(&plain);
		kms_buf_free(&out);
		kms_buf_free(&response);
	}
	CHECK(accepted > 100); /* some mutants pass the parser */
	kms_p384_free(own);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(random_bytes_are_32), T(signatures_are_low_s_and_by_the_own_wallet),
	  T(transactions_must_have_the_hash_given), T(failing_allocations_are_not_the_services_fault),
	  T(mutated_responses_do_no_harm))
