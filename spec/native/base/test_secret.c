/* Secret handles, wiping and comparing. */
#include "base/testing.h"
#include "test.h"

TEST(secrets_have_one_to_64_bytes)
{
	kms_secret *secret = NULL, *other = NULL;
	uint8_t bytes[65] = { 1, 2, 3 };
	size_t before = kms_guarded_used();
	CHECK_STATUS(KMS_ERR_RANGE, kms_secret_new(&secret, kms_span_of(bytes, 0)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_secret_new(&secret, kms_span_of(bytes, 65)));
	CHECK(!secret);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_secret_new(&secret, kms_span_of(NULL, 5)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_secret_new(NULL, kms_span_of(bytes, 5)));
	CHECK_OK(kms_secret_new(&secret, kms_span_of(bytes, 64)));
	CHECK(kms_secret_len(secret) == 64);
	CHECK_MEM(kms_secret_bytes(secret), bytes, 64);
	CHECK_OK(kms_secret_new(&other, kms_span_of(bytes, 63)));
	CHECK(!kms_secret_equal(secret, other));
	kms_secret_unref(other);
	bytes[63] = 1;
	CHECK_OK(kms_secret_new(&other, kms_span_of(bytes, 64)));
	CHECK(!kms_secret_equal(secret, other));
	CHECK(kms_secret_equal(secret, secret));
	kms_secret_unref(other);
	CHECK(kms_secret_ref(secret) == secret);
	kms_secret_unref(secret);
	CHECK(kms_secret_bytes(secret)[2] == 3);
	kms_secret_unref(secret);
	kms_secret_unref(NULL);
	CHECK_OK(kms_secret_new(&secret, kms_span_of(bytes, 1)));
	kms_secret_unref(secret);
	CHECK(kms_guarded_used() == before);
}

TEST(secrets_from_the_kernel)
{
	kms_secret *a = NULL, *b = NULL;
	size_t before = kms_guarded_used();
	CHECK(!a);
	CHECK_STATUS(KMS_ERR_RANGE, kms_secret_random(&a, 65));
	CHECK_OK(kms_secret_random(&a, 32));
	CHECK_OK(kms_secret_random(&b, 32));
	CHECK(!kms_secret_equal(a, b));
	kms_secret_unref(a);
	kms_secret_unref(b);
	kms_mem_fail_after(1);
	CHECK_STATUS(KMS_ERR_LOCKED_MEMORY, kms_secret_random(&a, 32));
	kms_mem_fail_after(0);
	CHECK(!a && kms_guarded_used() == before);
}

TEST(wipe_and_compare)
{
	uint8_t a[40], b[40];
	memset(a, 7, sizeof(a));
	memcpy(b, a, sizeof(a));
	CHECK(kms_equal_ct(a, b, sizeof(a)));
	CHECK(kms_equal_ct(a, b, 0));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		CHECK(!kms_equal_ct(a, b, sizeof(a)));
		CHECK(kms_equal_ct(a, b, i));
		b[i] ^= 0x80;
	}
	kms_wipe(a + 1, sizeof(a) - 2);
	CHECK(a[0] == 7 && a[1] == 0 && a[38] == 0 && a[39] == 7);
	kms_wipe(NULL, 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(secrets_have_one_to_64_bytes), T(secrets_from_the_kernel),
	  T(wipe_and_compare))
