/* Stored values, sealed under an application's data key. Known answers: sync/test_sync_vectors.c. */
#include "base/testing.h"
#include "material.h"

#include "kms/value_seal.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

TEST(values_of_every_size_come_back)
{
	static uint8_t value[70000];
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 4096, sizeof(value) };
	kms_secret *key = hex_secret(KEY);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		kms_buf record = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
		kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
		CHECK_OK(kms_buf_append(&record, KMS_BYTES("head")));
		CHECK_OK(kms_value_seal(&record, key, kms_span_of(sizes[i] ? value : NULL, sizes[i])));
		CHECK(record.len == 4 + sizes[i] + KMS_VALUE_SEAL_OVERHEAD);
		CHECK_MEM(record.data, "head", 4);
		CHECK_OK(kms_value_open(&opened, key, kms_span_of(record.data + 4, record.len - 4)));
		CHECK(opened.len == sizes[i]);
		CHECK_OK(kms_value_verify(key, kms_span_of(record.data + 4, record.len - 4)));
		CHECK(!sizes[i] || memcmp(opened.data, value, sizes[i]) == 0);
		kms_buf_free(&record);
		kms_buf_free(&opened);
	}
	kms_secret_unref(key);
}

TEST(the_same_value_never_seals_the_same)
{
	kms_secret *key = hex_secret(KEY);
	kms_buf a = kms_buf_make(KMS_BUF_PLAIN, 100), b = kms_buf_make(KMS_BUF_PLAIN, 100);
	CHECK_OK(kms_value_seal(&a, key, KMS_BYTES("value")));
	CHECK_OK(kms_value_seal(&b, key, KMS_BYTES("value")));
	CHECK(memcmp(a.data, b.data, 12) != 0);
	CHECK(memcmp(a.data + 12, b.data + 12, 5) != 0);
	kms_buf_free(&a);
	kms_buf_free(&b);
	kms_secret_unref(key);
}

TEST(changed_records_are_refused)
{
	kms_secret *key = hex_secret(KEY);
	kms_secret *other = hex_secret("ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	kms_buf record = kms_buf_make(KMS_BUF_PLAIN, 100), opened = kms_buf_make(KMS_BUF_GUARDED, 100);
	CHECK_OK(kms_value_seal(&record, key, KMS_BYTES("value")));
	CHECK_OK(kms_buf_append(&opened, KMS_BYTES("x")));
	for (size_t i = 0; i < record.len; i++) {
		record.data[i] ^= 1;
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_open(&opened, key, kms_buf_span(&record)));
		CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_verify(key, kms_buf_span(&record)));
		record.data[i] ^= 1;
	}
	CHECK_OK(kms_value_verify(key, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_verify(other, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_verify(key, kms_span_of(record.data, record.len - 1)));
	CHECK_STATUS(KMS_ERR_DECRYPT,
		     kms_value_verify(key, kms_span_of(record.data, KMS_VALUE_SEAL_OVERHEAD)));
	CHECK_STATUS(KMS_ERR_RECORD,
		     kms_value_verify(key, kms_span_of(record.data, KMS_VALUE_SEAL_OVERHEAD - 1)));
	CHECK_STATUS(KMS_ERR_RECORD, kms_value_verify(key, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_open(&opened, other, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_DECRYPT, kms_value_open(&opened, key, kms_span_of(record.data, record.len - 1)));
	CHECK_STATUS(KMS_ERR_DECRYPT,
		     kms_value_open(&opened, key, kms_span_of(record.data, KMS_VALUE_SEAL_OVERHEAD)));
	CHECK_STATUS(KMS_ERR_RECORD,
		     kms_value_open(&opened, key, kms_span_of(record.data, KMS_VALUE_SEAL_OVERHEAD - 1)));
	CHECK_STATUS(KMS_ERR_RECORD, kms_value_open(&opened, key, KMS_NO_BYTES));
	CHECK(opened.len == 1 && opened.data[0] == 'x');
	kms_buf_free(&record);
	kms_buf_free(&opened);
	kms_secret_unref(key);
	kms_secret_unref(other);
}

TEST(misuse_and_limits_are_refused)
{
	kms_secret *key = hex_secret(KEY), *half = hex_secret("0011");
	kms_buf record = kms_buf_make(KMS_BUF_PLAIN, 33), plain = kms_buf_make(KMS_BUF_PLAIN, 100);
	kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 4);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_value_seal(&record, key, KMS_BYTES("value!")));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_value_seal(&record, key, kms_span_of("value", SIZE_MAX)));
	CHECK(record.len == 0);
	CHECK_OK(kms_value_seal(&record, key, KMS_BYTES("value")));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_value_open(&opened, key, kms_buf_span(&record)));
	/* A plaintext goes into guarded memory or nowhere. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_open(&plain, key, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_value_open(&opened, half, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_value_seal(&plain, half, KMS_BYTES("value")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_seal(&plain, key, kms_span_of(NULL, 5)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_seal(NULL, key, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_open(NULL, key, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_open(&opened, NULL, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_verify(NULL, kms_buf_span(&record)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_value_verify(key, kms_span_of(NULL, record.len)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_value_verify(half, kms_buf_span(&record)));
	kms_buf_free(&record);
	kms_buf_free(&opened);
	kms_secret_unref(key);
	kms_secret_unref(half);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *key = hex_secret(KEY);
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 100 && !ended; n++) {
		kms_buf record = kms_buf_make(KMS_BUF_PLAIN, 100),
			opened = kms_buf_make(KMS_BUF_GUARDED, 100);
		kms_mem_fail_after(n);
		status = kms_value_seal(&record, key, KMS_BYTES("value"));
		if (status != KMS_OK) CHECK(record.len == 0);
		if (status == KMS_OK) status = kms_value_open(&opened, key, kms_buf_span(&record));
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(opened.len == (status == KMS_OK ? 5 : 0));
		kms_buf_free(&record);
		kms_buf_free(&opened);
	}
	CHECK(ended && status == KMS_OK);
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(values_of_every_size_come_back), T(the_same_value_never_seals_the_same),
	  T(changed_records_are_refused), T(misuse_and_limits_are_refused),
	  T(failing_allocations_leave_nothing))
