/* HMAC-SHA256 under a key that is made ready once. */
#include "base/testing.h"
#include "kms/codec.h"
#include "test.h"

static kms_hmac_key *ready_key(kms_span bytes)
{
	kms_secret *secret;
	kms_hmac_key *key;
	if (kms_secret_new(&secret, bytes) != KMS_OK) abort();
	if (kms_hmac_key_new(&key, secret) != KMS_OK) abort();
	kms_secret_unref(secret);
	return key;
}

/* RFC 4231 test cases 2 and 3, each time that the key is used. */
TEST(known_answers)
{
	static const struct {
		const char *key, *text, *want;
	} rows[] = {
		{ "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
		  "dd"
		  "dddddddd",
		  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[64], text[64], want[32], mac[32];
		size_t key_len = strlen(rows[i].key) / 2, text_len = strlen(rows[i].text) / 2;
		if (kms_hex_decode(kms_out_of(bytes, key_len), kms_text_from(rows[i].key)) != KMS_OK) abort();
		if (kms_hex_decode(kms_out_of(text, text_len), kms_text_from(rows[i].text)) != KMS_OK)
			abort();
		if (kms_hex_decode(KMS_OUT(want), kms_text_from(rows[i].want)) != KMS_OK) abort();
		kms_hmac_key *key = ready_key(kms_span_of(bytes, key_len));
		const kms_span whole = kms_span_of(text, text_len);
		const kms_span halves[] = { { text, 7 }, KMS_NO_BYTES, { text + 7, text_len - 7 } };
		for (int n = 0; n < 2; n++) {
			CHECK_OK(kms_hmac_key_mac(mac, key, &whole, 1));
			CHECK_MEM(mac, want, 32);
			CHECK_OK(kms_hmac_key_mac(mac, key, halves, 3));
			CHECK_MEM(mac, want, 32);
		}
		kms_hmac_key_free(key);
	}
}

/* A key as long as a block, and no text. */
TEST(the_longest_key_is_the_same_as_without_making_it_ready)
{
	static const uint8_t bytes[KMS_SECRET_MAX] = { 1, 2, 3 };
	uint8_t mac[32], want[32];
	kms_secret *secret;
	CHECK_OK(kms_secret_new(&secret, KMS_SPAN(bytes)));
	kms_hmac_key *key = ready_key(KMS_SPAN(bytes));
	CHECK_OK(kms_hmac_sha256(want, secret, KMS_NO_BYTES));
	CHECK_OK(kms_hmac_key_mac(mac, key, NULL, 0));
	CHECK_MEM(mac, want, 32);
	kms_hmac_key_free(key);
	kms_secret_unref(secret);
}

TEST(wrong_arguments)
{
	uint8_t mac[32];
	const kms_span broken = { NULL, 1 };
	kms_hmac_key *key;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_key_new(&key, NULL));
	CHECK(!key);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_key_mac(mac, NULL, NULL, 0));
	key = ready_key(KMS_BYTES("Jefe"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_key_mac(mac, key, &broken, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_key_mac(mac, key, NULL, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_key_mac(NULL, key, NULL, 0));
	kms_hmac_key_free(key);
	kms_hmac_key_free(NULL);
}

/* Each allocation is refused once, and nothing stays. */
TEST(refused_allocations)
{
	kms_secret *secret;
	CHECK_OK(kms_secret_new(&secret, KMS_BYTES("Jefe")));
	size_t used = kms_guarded_used();
	kms_status status = KMS_ERR_MEMORY;
	for (unsigned long n = 1; status != KMS_OK && n < 100; n++) {
		kms_hmac_key *key;
		kms_mem_fail_after(n);
		status = kms_hmac_key_new(&key, secret);
		kms_mem_fail_after(0);
		CHECK(status == KMS_OK || (!key && kms_guarded_used() == used));
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY || status == KMS_ERR_LOCKED_MEMORY);
		kms_hmac_key_free(key);
	}
	CHECK_OK(status);
	CHECK(kms_guarded_used() == used);
	kms_secret_unref(secret);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(known_answers), T(the_longest_key_is_the_same_as_without_making_it_ready),
	  T(wrong_arguments), T(refused_allocations))
