/*
 * Derivations from the master secret. Known answers are HKDF-SHA256 as RFC 5869 defines it,
 * computed with another implementation (Python's hmac and hashlib) for the master secret
 * 00 01 .. 1f.
 */
#include "base/testing.h"
#include "material.h"

#include "kms/kdf.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

typedef struct derive_case {
	uint64_t app_id;
	const char *path, *context;
	size_t len;
	const char *key;
} derive_case;

static const derive_case cases[] = {
	{ 49, "app/key", "", 32, "e96a43bcd1f7164b8a460a5fe7c1358ba9f3550d07e366fe17440268651e4414" },
	{ 49, "app/key", "ctx", 16, "cf1d7e92382ec7bc3fe151e190474e87" },
	{ 49, "a:b", "c", 33, "e93a46ae7e5856839085f73197290eba04d73480d4e1a3bf7efeafa0c8b565199e" },
	{ 49, "a", "b:c", 33, "e93a46ae7e5856839085f73197290eba04d73480d4e1a3bf7efeafa0c8b565199e" },
	{ UINT64_MAX, "data_key", "", 32,
	  "a1a3ce8ac021e512fd5c87aa5ddca713ad38e910bf84af14a436f9d27be00359" },
};

static kms_status derive(uint8_t *key, size_t len, const kms_secret *master, uint64_t app_id,
			 const char *path, const char *context)
{
	return kms_derive(kms_out_of(key, len), master, app_id, kms_text_from(path), kms_text_from(context));
}

TEST(keys_are_hkdf_of_application_path_and_context)
{
	kms_secret *master = hex_secret(MASTER);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const derive_case *c = &cases[i];
		uint8_t key[64], want[64];
		hex_bytes(want, c->len, c->key);
		CHECK_OK(derive(key, c->len, master, c->app_id, c->path, c->context));
		CHECK_MEM(key, want, c->len);
	}
	kms_secret_unref(master);
}

TEST(keys_of_one_application_are_the_same_one_by_one)
{
	kms_secret *master = hex_secret(MASTER), *alone = NULL;
	kms_app_keys keys = kms_app_keys_make(master, 49);
	const kms_secret *data = NULL, *again = NULL;
	for (size_t i = 0; i < 4; i++) {
		const derive_case *c = &cases[i];
		uint8_t key[64], want[64];
		hex_bytes(want, c->len, c->key);
		CHECK_OK(kms_app_keys_derive(kms_out_of(key, c->len), &keys, kms_text_from(c->path),
					     kms_text_from(c->context)));
		CHECK_MEM(key, want, c->len);
	}
	CHECK_OK(kms_data_key(&alone, master, 49));
	CHECK_OK(kms_app_keys_data(&data, &keys));
	CHECK_OK(kms_app_keys_data(&again, &keys));
	CHECK(data == again && kms_secret_equal(data, alone));
	kms_secret_unref(alone);
	kms_app_keys_forget(&keys);
	CHECK(!keys.prk32 && !keys.data_key32);
	/* And may be made again. */
	CHECK_OK(kms_app_keys_data(&data, &keys));
	kms_app_keys_forget(&keys);
	kms_secret_unref(master);
}

TEST(keys_of_no_application_are_refused)
{
	uint8_t key[32];
	kms_secret *master = hex_secret(MASTER), *brief = hex_secret("0001");
	kms_app_keys none = kms_app_keys_make(master, 0), without = kms_app_keys_make(NULL, 7),
		     of_brief = kms_app_keys_make(brief, 7);
	const kms_secret *data = NULL;
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_keys_derive(KMS_OUT(key), &none, KMS_TEXT("p"), KMS_NO_TEXT));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_keys_data(&data, &none));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_app_keys_data(&data, &without));
	CHECK_STATUS(KMS_ERR_RANGE, kms_app_keys_derive(KMS_OUT(key), &of_brief, KMS_TEXT("p"), KMS_NO_TEXT));
	CHECK(!data && !without.data_key32 && !of_brief.prk32);
	kms_secret_unref(brief);
	kms_secret_unref(master);
}

TEST(length_is_bounded)
{
	uint8_t key[KMS_DERIVE_MAX + 1], digest[32], want[32];
	kms_secret *master = hex_secret(MASTER);
	CHECK_OK(derive(key, KMS_DERIVE_MAX, master, 7, "p", ""));
	CHECK_OK(kms_sha256(digest, kms_span_of(key, KMS_DERIVE_MAX)));
	hex_bytes(want, 32, "6574c3f276c9fbfeb7a922ed5d5efb8e1bad824fbf0d45f537a7fde7e211448b");
	CHECK_MEM(digest, want, 32);
	CHECK_STATUS(KMS_ERR_RANGE, derive(key, KMS_DERIVE_MAX + 1, master, 7, "p", ""));
	CHECK_STATUS(KMS_ERR_RANGE, derive(key, 0, master, 7, "p", ""));
	CHECK_OK(derive(key, 1, master, 7, "p", ""));
	kms_secret_unref(master);
}

TEST(reserved_keys_are_the_ones_of_the_protocol)
{
	uint8_t want[32], same[32];
	kms_secret *master = hex_secret(MASTER), *key;
	CHECK_OK(kms_data_key(&key, master, 1));
	hex_bytes(want, 32, "f2b58f7d76d7c4dbc368a6a42ba5ae529cb3abfbb6172de3554a4e313b6d409b");
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(key);
	/* An application that asks for this path gets the key of its own records. */
	CHECK_OK(derive(same, 32, master, 1, "data_key", ""));
	CHECK_MEM(same, want, 32);
	CHECK_OK(kms_sync_key(&key, master));
	hex_bytes(want, 32, "78dd59b0dd0507447c3e734ff942177f2dffce9d2e17201aa3ceb3cfc4358356");
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(key);
	CHECK_OK(kms_digest_key(&key, master));
	hex_bytes(want, 32, "1e2cde943913226e207f2bfb41bfec6ac54d75ece9b596b61b71e466969d9df8");
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(key);
	CHECK_OK(kms_snapshot_key(&key, master));
	hex_bytes(want, 32, "c6e376cd49b2d39103b3333f6ab13254307f4f0f47ac33a7de6fe6334f28fe1f");
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(key);
	CHECK_OK(kms_audit_key(&key, master));
	hex_bytes(want, 32, "ba43e92c2dbc5b2ca6b03f4b8afe099720e6f0b7a8590f84ecf2e29232a18a08");
	CHECK_MEM(kms_secret_bytes(key), want, 32);
	kms_secret_unref(key);
	kms_secret_unref(master);
}

TEST(the_reserved_application_and_misuse_are_refused)
{
	static const uint8_t zeros[32];
	uint8_t key[32];
	kms_secret *master = hex_secret(MASTER), *half = hex_secret("00112233445566778899aabbccddeeff");
	kms_secret *made = master;
	memset(key, 0xaa, sizeof(key));
	CHECK_STATUS(KMS_ERR_RANGE, derive(key, 32, master, 0, "sync_hmac_key", ""));
	CHECK_MEM(key, zeros, 32);
	CHECK_STATUS(KMS_ERR_RANGE, kms_data_key(&made, master, 0));
	CHECK(!made);
	CHECK_STATUS(KMS_ERR_RANGE, derive(key, 32, half, 1, "p", ""));
	CHECK_STATUS(KMS_ERR_RANGE, kms_data_key(&made, half, 1));
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_key(&made, half));
	CHECK_STATUS(KMS_ERR_RANGE, kms_digest_key(&made, half));
	CHECK_STATUS(KMS_ERR_RANGE, kms_snapshot_key(&made, half));
	CHECK_STATUS(KMS_ERR_RANGE, kms_audit_key(&made, half));
	CHECK_STATUS(KMS_ERR_ARGUMENT, derive(key, 32, NULL, 1, "p", ""));
	CHECK_STATUS(KMS_ERR_ARGUMENT, derive(NULL, 32, master, 1, "p", ""));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_derive(kms_out_of(key, 32), master, 1, kms_text_of(NULL, 1), KMS_NO_TEXT));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_derive(kms_out_of(key, 32), master, 1, KMS_TEXT("p"), kms_text_of(NULL, 1)));
	CHECK_OK(kms_derive(kms_out_of(key, 32), master, 1, KMS_TEXT("p"), KMS_NO_TEXT));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_data_key(NULL, master, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_key(&made, NULL));
	kms_secret_unref(master);
	kms_secret_unref(half);
}

TEST(failing_allocations_leave_nothing)
{
	static const uint8_t zeros[32];
	kms_secret *master = hex_secret(MASTER);
	size_t used = kms_guarded_used();
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 200 && !ended; n++) {
		uint8_t key[32];
		kms_secret *data_key = NULL;
		memset(key, 0xaa, sizeof(key));
		kms_mem_fail_after(n);
		status = derive(key, 32, master, 1, "p", "c");
		if (status != KMS_OK) CHECK_MEM(key, zeros, sizeof(key));
		if (status == KMS_OK) status = kms_data_key(&data_key, master, 1);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK((status == KMS_OK) == (data_key != NULL));
		kms_secret_unref(data_key);
	}
	CHECK(ended && status == KMS_OK);
	CHECK(kms_guarded_used() == used);
	kms_secret_unref(master);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keys_are_hkdf_of_application_path_and_context),
	  T(keys_of_one_application_are_the_same_one_by_one), T(keys_of_no_application_are_refused),
	  T(length_is_bounded), T(reserved_keys_are_the_ones_of_the_protocol),
	  T(the_reserved_application_and_misuse_are_refused), T(failing_allocations_leave_nothing))
