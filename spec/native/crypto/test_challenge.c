/* Challenges to custodians: what they depend on, and that each counts for one node, custodian, hour and set.
 */
#include "base/testing.h"
#include "kms/challenge.h"
#include "material.h"

static const uint8_t wallet[20] = { 7 }, other_wallet[20] = { 8 }, set[32] = { 9 };

/* Keys of a test. */
static kms_secret *key_of(uint8_t fill)
{
	uint8_t bytes[32];
	kms_secret *key;
	memset(bytes, fill, sizeof(bytes));
	MUST(kms_secret_new(&key, KMS_SPAN(bytes)));
	return key;
}

static kms_secret *secret_of(const kms_secret *key, uint8_t x, uint64_t hour, kms_span id)
{
	kms_secret *c;
	MUST(kms_challenge_secret(&c, key, x, hour, id));
	return c;
}

TEST(is_the_mac_that_the_protocol_says)
{
	uint8_t want[32];
	static const uint8_t text[] = { 3, 0, 0, 0, 0, 0, 7, 0xa1, 0x20 };
	kms_secret *key = key_of(1), *c = secret_of(key, 3, 500000, KMS_NO_BYTES);
	MUST(kms_hmac_sha256(want, key, KMS_SPAN(text)));
	CHECK_MEM(kms_secret_bytes(c), want, 32);
	kms_secret_unref(c);
	kms_secret_unref(key);
}

TEST(differs_by_key_custodian_hour_and_set)
{
	kms_secret *key = key_of(1), *other = key_of(2);
	kms_secret *made[] = { secret_of(key, 1, 5, KMS_NO_BYTES), secret_of(other, 1, 5, KMS_NO_BYTES),
			       secret_of(key, 2, 5, KMS_NO_BYTES), secret_of(key, 1, 6, KMS_NO_BYTES),
			       secret_of(key, 1, 5, KMS_SPAN(set)) };
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < i; j++)
			CHECK(!kms_secret_equal(made[i], made[j]));
	for (size_t i = 0; i < 5; i++)
		kms_secret_unref(made[i]);
	kms_secret_unref(key);
	kms_secret_unref(other);
}

TEST(is_read_by_its_custodian_from_its_node_only)
{
	kms_secret *key = key_of(1), *c = secret_of(key, 3, 5, KMS_NO_BYTES), *read = NULL;
	kms_buf text = kms_buf_make(KMS_BUF_GUARDED, 100), plain = kms_buf_make(KMS_BUF_WIPED, 100);
	CHECK_OK(kms_challenge_write(&text, wallet, 3, c));
	CHECK(text.len == KMS_CHALLENGE_BYTES);
	CHECK_OK(kms_challenge_read(&read, kms_buf_span(&text), wallet, 3));
	CHECK(kms_secret_equal(read, c));
	kms_secret_unref(read);
	CHECK_STATUS(KMS_ERR_CHALLENGE, kms_challenge_read(&read, kms_buf_span(&text), other_wallet, 3));
	CHECK(!read);
	CHECK_STATUS(KMS_ERR_CHALLENGE, kms_challenge_read(&read, kms_buf_span(&text), wallet, 2));
	for (size_t len = 0; len < text.len; len++)
		CHECK_STATUS(KMS_ERR_CHALLENGE,
			     kms_challenge_read(&read, kms_span_of(text.data, len), wallet, 3));
	/* A share, say. */
	text.data[3] = '1';
	CHECK_STATUS(KMS_ERR_CHALLENGE, kms_challenge_read(&read, kms_buf_span(&text), wallet, 3));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_challenge_write(&plain, wallet, 3, c));
	CHECK(plain.len == 0);
	kms_buf_free(&text);
	kms_secret_unref(c);
	kms_secret_unref(key);
}

TEST(is_answered_for_one_body)
{
	uint8_t one[32], two[32], digest[32], want[32];
	kms_secret *key = key_of(1), *c = secret_of(key, 3, 5, KMS_NO_BYTES);
	CHECK_OK(kms_challenge_answer(one, c, KMS_BYTES("body")));
	CHECK_OK(kms_challenge_answer(two, c, KMS_BYTES("bodY")));
	CHECK(memcmp(one, two, 32) != 0);
	MUST(kms_sha256(digest, KMS_BYTES("body")));
	MUST(kms_hmac_sha256(want, c, KMS_SPAN(digest)));
	CHECK_MEM(one, want, 32);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_challenge_answer(one, NULL, KMS_NO_BYTES));
	kms_secret_unref(c);
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(is_the_mac_that_the_protocol_says),
	  T(differs_by_key_custodian_hour_and_set), T(is_read_by_its_custodian_from_its_node_only),
	  T(is_answered_for_one_body))
