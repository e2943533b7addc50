/* Hashes, MACs, key derivation, AES: published answers, limits, refused allocations. */
#include <pthread.h>

#include "crypto/keccak.h"
#include "base/testing.h"
#include "kms/codec.h"
#include "test.h"

#define KEY_AES "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static uint8_t pool[8192]; /* results of unhex, until the next test that wants it */
static size_t pool_used;

static const uint8_t *unhex(const char *text)
{
	size_t len = strlen(text) / 2;
	if (pool_used + len > sizeof(pool)) pool_used = 0;
	uint8_t *bytes = pool + pool_used;
	if (kms_hex_decode(kms_out_of(bytes, len), kms_text_from(text)) != KMS_OK) abort();
	pool_used += len;
	return bytes;
}

static bool is_hex(const uint8_t *bytes, size_t len, const char *text)
{
	return strlen(text) == 2 * len && memcmp(bytes, unhex(text), len) == 0;
}

/*
 * Bytes i * 7 + 3 of lengths around the rate, by an independent implementation that was itself
 * checked against SHA3-256 of another library (the two differ in one padding byte only).
 */
TEST(keccak_around_the_rate)
{
	static const struct {
		size_t len;
		const char *digest;
	} cases[] = {
		{ 0, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470" },
		{ 1, "69c322e3248a5dfc29d73c5b0553b0185a35cd5bb6386747517ef7e53b15e287" },
		{ 135, "00ef96af9cf4b24c7f269d922294444a197d0a33638c2e56634c57e892103a8f" },
		{ 136, "742061bcad767ed4c4f5883b1dcb1aad11afdcc140dc469d953759b127b9f9ed" },
		{ 137, "e3371f61e770abf254c34239c3b0099ad90594507415bc81dd0a10b9692bbf2a" },
		{ 271, "4401c4afbe16ff911bdbf2d38e556e5b861f3fdf0f9d4306b1c46f6ae4f73584" },
		{ 272, "ac141fd7b0a0ffcd2e967254d508da3ec616596493c36fa304425647d90e6de5" },
		{ 273, "16192ea86793083e47731cb3c970600f04768414d92bc0540e54ce8607a0fce0" },
		{ 1000, "80cdc8dd52cbb3dbaea8f383209893fa2bb52efbd5aedbb4b26dcfe307fcdc9b" },
	};
	uint8_t message[1000], digest[32];
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 7 + 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kms_keccak256(digest, kms_span_of(message, cases[i].len));
		CHECK(is_hex(digest, 32, cases[i].digest));
	}
}

TEST(keccak_in_pieces_is_the_same)
{
	uint8_t message[600], whole[32], pieces[32];
	static const kms_keccak wiped;
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 31);
	for (size_t piece = 1; piece < 300; piece++) {
		kms_keccak hash = kms_keccak_start();
		for (size_t at = 0; at < sizeof(message); at += piece) {
			size_t left = sizeof(message) - at;
			kms_keccak_update(&hash, kms_span_of(message + at, left < piece ? left : piece));
		}
		kms_keccak_final(pieces, &hash);
		kms_keccak256(whole, KMS_SPAN(message));
		CHECK_MEM(whole, pieces, 32);
		CHECK_MEM(hash.state, wiped.state, sizeof(hash.state));
	}
}

TEST(keccak_of_a_secret)
{
	uint8_t digest[32];
	kms_secret *secret;
	CHECK_OK(kms_secret_new(&secret, KMS_BYTES("abc")));
	kms_secret_keccak256(digest, secret);
	kms_secret_unref(secret);
	CHECK(is_hex(digest, 32, "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"));
}

/* FIPS 180-2 appendix B, and the empty message. */
TEST(sha256_known_answers)
{
	uint8_t digest[32];
	CHECK_OK(kms_sha256(digest, KMS_NO_BYTES));
	CHECK(is_hex(digest, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
	CHECK_OK(kms_sha256(digest, KMS_BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")));
	CHECK(is_hex(digest, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sha256(digest, kms_span_of(NULL, 1)));
	/* Spans are read as one text. */
	uint8_t whole[32];
	const kms_span spans[] = { KMS_BYTES("ab"), KMS_NO_BYTES, KMS_BYTES("c"), { NULL, 1 } };
	CHECK_OK(kms_sha256(whole, KMS_BYTES("abc")));
	CHECK_OK(kms_sha256_spans(digest, spans, 3));
	CHECK_MEM(digest, whole, 32);
	CHECK_OK(kms_sha256(whole, KMS_NO_BYTES));
	CHECK_OK(kms_sha256_spans(digest, NULL, 0));
	CHECK_MEM(digest, whole, 32);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sha256_spans(digest, spans, 4));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sha256_spans(digest, NULL, 1));
}

static void check_hmac(int *failed_, const char *key, const char *message, const char *want)
{
	uint8_t mac[32];
	kms_secret *secret;
	CHECK_OK(kms_secret_from_hex(&secret, kms_text_from(key), strlen(key) / 2));
	CHECK_OK(kms_hmac_sha256(mac, secret, kms_span_of(unhex(message), strlen(message) / 2)));
	kms_secret_unref(secret);
	CHECK(is_hex(mac, 32, want));
}

/* RFC 4231 test cases 1, 3 and 4 (2 is in the self-test; 6 and 7 have keys above 64 bytes). */
TEST(hmac_known_answers)
{
	CALL(check_hmac, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	CALL(check_hmac, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	     "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	     "dddddddddddddddddddddddddddddddd",
	     "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	CALL(check_hmac, "0102030405060708090a0b0c0d0e0f10111213141516171819",
	     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	     "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
	uint8_t mac[32];
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_sha256(mac, NULL, KMS_NO_BYTES));
	/* Spans are one text. */
	uint8_t whole[32];
	const kms_span spans[] = { { (const uint8_t *)"what do", 7 },
				   { NULL, 0 },
				   { (const uint8_t *)" ya want", 8 } };
	kms_secret *key;
	CHECK_OK(kms_secret_new(&key, KMS_BYTES("Jefe")));
	CHECK_OK(kms_hmac_sha256(whole, key, KMS_BYTES("what do ya want")));
	CHECK_OK(kms_hmac_sha256_spans(mac, key, spans, 3));
	CHECK_MEM(mac, whole, 32);
	CHECK_OK(kms_hmac_sha256_spans(mac, key, NULL, 0));
	CHECK_OK(kms_hmac_sha256(whole, key, KMS_NO_BYTES));
	CHECK_MEM(mac, whole, 32);
	const kms_span broken = { NULL, 1 };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_sha256_spans(mac, key, &broken, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hmac_sha256_spans(mac, key, NULL, 1));
	kms_secret_unref(key);
}

static void check_hkdf(int *failed_, const char *ikm, const char *salt, const char *info, const char *okm)
{
	uint8_t out[128];
	size_t len = strlen(okm) / 2;
	CHECK_OK(kms_hkdf_sha256(kms_out_of(out, len), kms_span_of(unhex(ikm), strlen(ikm) / 2),
				 kms_span_of(unhex(salt), strlen(salt) / 2),
				 kms_span_of(unhex(info), strlen(info) / 2)));
	CHECK(is_hex(out, len, okm));
}

/* RFC 5869 appendix A.1 to A.3. */
TEST(hkdf_known_answers)
{
	CALL(check_hkdf, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
	     "f0f1f2f3f4f5f6f7f8f9",
	     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
	CALL(check_hkdf,
	     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	     "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
	     "404142434445464748494a4b4c4d4e4f",
	     "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
	     "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	     "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	     "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
	     "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
	     "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
	     "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
	     "cc30c58179ec3e87c14c01d5c1f3434f1d87");
	CALL(check_hkdf, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(hkdf_limits)
{
	static uint8_t okm[8161];
	uint8_t prefix[1];
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_hkdf_sha256(kms_out_of(okm, 0), kms_span_of(okm, 0), KMS_NO_BYTES, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_hkdf_sha256(kms_out_of(okm, 8161), KMS_BYTES("k"), KMS_NO_BYTES, KMS_NO_BYTES));
	CHECK_OK(kms_hkdf_sha256(kms_out_of(okm, 8160), KMS_BYTES("k"), KMS_NO_BYTES, KMS_NO_BYTES));
	CHECK_OK(kms_hkdf_sha256(kms_out_of(prefix, 1), KMS_BYTES("k"), KMS_NO_BYTES, KMS_NO_BYTES));
	CHECK(prefix[0] == okm[0] && okm[8160] == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_hkdf_sha256(kms_out_of(okm, 1), kms_span_of(NULL, 1), KMS_NO_BYTES, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hkdf_sha256(kms_out_of(okm, 1), kms_span_of(okm, 1),
						       kms_span_of(NULL, 1), KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_hkdf_sha256(kms_out_of(okm, 1), kms_span_of(okm, 1), KMS_NO_BYTES,
						       kms_span_of(NULL, 1)));
}

/* FIPS 197 appendix C.3, and the round trip of other blocks. */
TEST(block_cipher)
{
	uint8_t block[16], sealed[16], back[16];
	kms_secret *key = NULL, *shorter = NULL;
	kms_aes_block *cipher = NULL;
	CHECK_OK(kms_secret_from_hex(&key, kms_text_of(KEY_AES, 64), 32));
	CHECK_OK(kms_secret_from_hex(&shorter, kms_text_of(KEY_AES, 64 - 2), 31));
	CHECK_STATUS(KMS_ERR_RANGE, kms_aes_block_new(&cipher, shorter));
	CHECK(cipher == NULL);
	CHECK_OK(kms_aes_block_new(&cipher, key));
	CHECK_OK(kms_aes_block_encrypt(sealed, cipher, unhex("00112233445566778899aabbccddeeff")));
	CHECK(is_hex(sealed, 16, "8ea2b7ca516745bfeafc49904b496089"));
	for (int i = 0; i < 1000; i++) {
		CHECK_OK(kms_random(kms_out_of(block, 16)));
		CHECK_OK(kms_aes_block_encrypt(sealed, cipher, block));
		CHECK(memcmp(sealed, block, 16) != 0);
		CHECK_OK(kms_aes_block_decrypt(back, cipher, sealed));
		CHECK_MEM(back, block, 16);
	}
	kms_aes_block_free(cipher);
	kms_aes_block_free(NULL);
	kms_secret_unref(key);
	kms_secret_unref(shorter);
}

typedef struct shared_cipher {
	kms_aes_block *cipher;
	bool wrong;
} shared_cipher;

static void *use_cipher(void *argument)
{
	shared_cipher *shared = argument;
	uint8_t block[16] = { 0 }, sealed[16];
	for (int i = 0; i < 20000; i++) {
		block[i % 16]++;
		if (kms_aes_block_encrypt(sealed, shared->cipher, block) != KMS_OK) shared->wrong = true;
		if (kms_aes_block_decrypt(sealed, shared->cipher, sealed) != KMS_OK) shared->wrong = true;
		if (memcmp(sealed, block, 16) != 0) shared->wrong = true;
	}
	return NULL;
}

TEST(threads_share_a_cipher_and_leave_nothing_behind)
{
	kms_secret *key;
	shared_cipher shared[4];
	pthread_t threads[4];
	kms_aes_block *cipher;
	CHECK_OK(kms_secret_from_hex(&key, kms_text_of(KEY_AES, 64), 32));
	CHECK_OK(kms_aes_block_new(&cipher, key));
	size_t before = kms_guarded_used();
	for (int i = 0; i < 4; i++) {
		shared[i] = (shared_cipher){ cipher, false };
		CHECK(pthread_create(&threads[i], NULL, use_cipher, &shared[i]) == 0);
	}
	for (int i = 0; i < 4; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		CHECK(!shared[i].wrong);
	}
	CHECK(kms_guarded_used() == before);
	kms_aes_block_free(cipher);
	kms_secret_unref(key);
}

/* Each thread makes its own contexts; what they held goes when it ends. */
static void *hash_once(void *result)
{
	uint8_t digest[32], okm[32];
	bool ok = kms_sha256(digest, KMS_BYTES("abc")) == KMS_OK &&
		  kms_hkdf_sha256(kms_out_of(okm, 32), kms_span_of(digest, 32), KMS_NO_BYTES, KMS_NO_BYTES) ==
		      KMS_OK;
	*(bool *)result = ok;
	return NULL;
}

TEST(contexts_of_a_thread_go_with_it)
{
	size_t after_first = 0;
	for (int i = 0; i < 50; i++) {
		pthread_t thread;
		bool ok = false;
		CHECK(pthread_create(&thread, NULL, hash_once, &ok) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(ok);
		if (i == 0) after_first = kms_guarded_used();
	}
	CHECK(kms_guarded_used() == after_first);
}

/* Each refused allocation on a fresh thread: a clean status, zeroed output, nothing leaked. */
static void *starved_hkdf(void *result)
{
	static const uint8_t zero[32];
	uint8_t okm[32];
	memset(okm, 1, sizeof(okm));
	kms_status status =
	    kms_hkdf_sha256(kms_out_of(okm, 32), KMS_BYTES("key"), KMS_NO_BYTES, KMS_NO_BYTES);
	bool zeroed = memcmp(okm, zero, 32) == 0;
	*(kms_status *)result = (status == KMS_OK) == zeroed ? KMS_ERR_SELFTEST : status;
	return NULL;
}

TEST(refused_allocations_of_a_fresh_thread)
{
	size_t before = 0;
	unsigned long n = 0, failures = 0;
	for (bool reached = true; reached && n < 1000; n++) {
		pthread_t thread;
		kms_status status;
		kms_mem_fail_after(n); /* 0: none fails, to have a measure */
		CHECK(pthread_create(&thread, NULL, starved_hkdf, &status) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		reached = kms_mem_allocations() >= n;
		kms_mem_fail_after(0);
		if (n == 0) before = kms_guarded_used();
		if (status != KMS_OK) failures++;
		CHECK(status == KMS_OK || status == KMS_ERR_LOCKED_MEMORY || status == KMS_ERR_MEMORY);
		CHECK(kms_guarded_used() == before);
	}
	/* 4 with OpenSSL 3.5, more with 3.0. */
	CHECK(failures > 2 && n < 1000);
}

TEST(refused_allocations_of_a_cipher)
{
	kms_secret *key;
	kms_aes_block *cipher = NULL;
	CHECK_OK(kms_secret_from_hex(&key, kms_text_of(KEY_AES, 64), 32));
	size_t before = kms_guarded_used();
	for (unsigned long n = 1; !cipher; n++) {
		CHECK(n < 100);
		kms_mem_fail_after(n);
		kms_status status = kms_aes_block_new(&cipher, key);
		kms_mem_fail_after(0);
		CHECK((status == KMS_OK) == (cipher != NULL));
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		if (!cipher) CHECK(kms_guarded_used() <= before + 1024); /* the error queue */
	}
	kms_aes_block_free(cipher);
	kms_secret_unref(key);
}

TEST(random_bytes_differ)
{
	uint8_t a[300] = { 0 }, b[300] = { 0 };
	CHECK_OK(kms_random(KMS_OUT(a)));
	CHECK_OK(kms_random(KMS_OUT(b)));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	CHECK(memcmp(a + 268, b + 268, 32) != 0);
	CHECK_OK(kms_random(kms_out_of(NULL, 0)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_random(kms_out_of(NULL, 1)));
}

TEST(second_init_does_nothing)
{
	size_t before = kms_guarded_used();
	CHECK_OK(kms_crypto_init());
	CHECK(kms_guarded_used() == before);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keccak_around_the_rate), T(keccak_in_pieces_is_the_same),
	  T(keccak_of_a_secret), T(sha256_known_answers), T(hmac_known_answers), T(hkdf_known_answers),
	  T(hkdf_limits), T(block_cipher), T(threads_share_a_cipher_and_leave_nothing_behind),
	  T(contexts_of_a_thread_go_with_it), T(refused_allocations_of_a_fresh_thread),
	  T(refused_allocations_of_a_cipher), T(random_bytes_differ), T(second_init_does_nothing))
