/*
 * X25519 keys and their agreement. Known answers: RFC 7748 sections 5.2 and 6.1. The encodings of small order
 * are those of https://cr.yp.to/ecdh.html.
 */
#include "base/testing.h"
#include "material.h"

#include <pthread.h>

#include "kms/x25519.h"

#define ALICE "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
#define ALICE_PUBLIC "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
#define BOB "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
#define BOB_PUBLIC "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
#define SHARED "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
#define FF30 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define ZERO30 "000000000000000000000000000000000000000000000000000000000000"

static kms_x25519 *key_of(const char *scalar)
{
	kms_x25519 *key;
	kms_secret *secret = hex_secret(scalar);
	MUST(kms_x25519_new(&key, secret));
	kms_secret_unref(secret);
	return key;
}

static kms_status agree(const char *scalar, const char *peer, const char *want)
{
	uint8_t peer32[32], want32[32];
	kms_x25519 *key = key_of(scalar);
	kms_secret *shared = (kms_secret *)key;
	hex_bytes(peer32, sizeof(peer32), peer);
	kms_status status = kms_x25519_agree(&shared, key, peer32);
	if (status == KMS_OK) {
		hex_bytes(want32, sizeof(want32), want);
		if (memcmp(kms_secret_bytes(shared), want32, 32) != 0) status = KMS_ERR_SELFTEST;
	} else if (shared) {
		status = KMS_ERR_STATE;
	}
	kms_secret_unref(shared);
	kms_x25519_free(key);
	return status;
}

TEST(gives_the_published_keys_and_secrets)
{
	uint8_t public32[32];
	kms_x25519 *alice = key_of(ALICE), *bob = key_of(BOB);
	hex_bytes(public32, sizeof(public32), ALICE_PUBLIC);
	CHECK_MEM(kms_x25519_public(alice), public32, 32);
	hex_bytes(public32, sizeof(public32), BOB_PUBLIC);
	CHECK_MEM(kms_x25519_public(bob), public32, 32);
	kms_x25519_free(alice);
	kms_x25519_free(bob);
	CHECK_OK(agree(ALICE, BOB_PUBLIC, SHARED));
	CHECK_OK(agree(BOB, ALICE_PUBLIC, SHARED));
	CHECK_OK(agree("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
		       "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
		       "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
}

TEST(all_encodings_of_small_order_are_refused)
{
	static const char *const encodings[] = {
		"00" ZERO30 "00",
		"01" ZERO30 "00",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ec" FF30 "7f",
		"ed" FF30 "7f",
		"ee" FF30 "7f",
		"cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
		"4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
		"d9" FF30 "ff",
		"da" FF30 "ff",
		"db" FF30 "ff",
	};
	CHECK(sizeof(encodings) / sizeof(encodings[0]) == 12);
	kms_x25519 *key = key_of(ALICE);
	for (size_t i = 0; i < 12; i++) {
		uint8_t bytes[32];
		kms_secret *shared = (kms_secret *)key;
		CHECK_STATUS(KMS_ERR_PEER_KEY, agree(ALICE, encodings[i], SHARED));
		CHECK_STATUS(KMS_ERR_PEER_KEY, agree(BOB, encodings[i], SHARED));
		/* The same coordinate with the bit that X25519 ignores. */
		hex_bytes(bytes, sizeof(bytes), encodings[i]);
		bytes[31] |= 0x80;
		CHECK_STATUS(KMS_ERR_PEER_KEY, kms_x25519_agree(&shared, key, bytes));
		CHECK(!shared);
	}
	kms_x25519_free(key);
}

TEST(other_spellings_of_a_coordinate_are_refused)
{
	uint8_t bytes[32];
	kms_secret *shared = NULL;
	kms_x25519 *key = key_of(ALICE);
	hex_bytes(bytes, sizeof(bytes), BOB_PUBLIC);
	bytes[31] ^= 0x80;
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_x25519_agree(&shared, key, bytes));
	CHECK(!shared);
	/* From the field's size on; the last number below it is of small order, the ones before are not. */
	for (unsigned low = 0; low < 256; low++) {
		memset(bytes, 0xff, sizeof(bytes));
		bytes[0] = (uint8_t)low;
		bytes[31] = 0x7f;
		kms_status status = kms_x25519_agree(&shared, key, bytes);
		CHECK_STATUS(low < 0xec ? KMS_OK : KMS_ERR_PEER_KEY, status);
		kms_secret_unref(shared);
	}
	bytes[7] = 0xfe;
	CHECK_OK(kms_x25519_agree(&shared, key, bytes));
	kms_secret_unref(shared);
	kms_x25519_free(key);
}

TEST(fresh_keys_differ_and_agree)
{
	kms_x25519 *a, *b;
	kms_secret *ab, *ba;
	CHECK_OK(kms_x25519_generate(&a));
	CHECK_OK(kms_x25519_generate(&b));
	CHECK(memcmp(kms_x25519_public(a), kms_x25519_public(b), 32) != 0);
	CHECK_OK(kms_x25519_agree(&ab, a, kms_x25519_public(b)));
	CHECK_OK(kms_x25519_agree(&ba, b, kms_x25519_public(a)));
	CHECK(kms_secret_len(ab) == 32 && kms_secret_equal(ab, ba));
	kms_secret_unref(ab);
	kms_secret_unref(ba);
	kms_x25519_free(a);
	kms_x25519_free(b);
}

TEST(misuse_is_refused)
{
	kms_x25519 *key = key_of(ALICE), *none = key;
	kms_secret *shared, *lengths[] = { hex_secret("01"), hex_secret(ALICE "00") };
	for (size_t i = 0; i < 2; i++) {
		CHECK_STATUS(KMS_ERR_PRIVATE_KEY, kms_x25519_new(&none, lengths[i]));
		CHECK(!none);
		kms_secret_unref(lengths[i]);
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_new(&none, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_new(NULL, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_generate(NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_agree(&shared, NULL, kms_x25519_public(key)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_agree(&shared, key, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_x25519_agree(NULL, key, kms_x25519_public(key)));
	kms_x25519_free(key);
	kms_x25519_free(NULL);
}

/* Every allocation of a new key and an agreement fails once. */
static void sweep_failures(int *failed_, const uint8_t peer32[32])
{
	kms_status status = KMS_ERR_MEMORY;
	unsigned long n;
	bool ended = false;
	for (n = 1; n < 2000 && !ended; n++) {
		kms_x25519 *key = NULL;
		kms_secret *shared = NULL;
		kms_mem_fail_after(n);
		status = kms_x25519_generate(&key);
		if (status != KMS_OK) CHECK(!key);
		if (status == KMS_OK) status = kms_x25519_agree(&shared, key, peer32);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY || status == KMS_ERR_LOCKED_MEMORY);
		CHECK((status == KMS_OK) == (shared != NULL));
		kms_secret_unref(shared);
		kms_x25519_free(key);
	}
	CHECK(ended && n > 8 && status == KMS_OK);
}

TEST(failing_allocations_are_reported_as_such)
{
	uint8_t peer32[32];
	hex_bytes(peer32, sizeof(peer32), BOB_PUBLIC);
	CALL(sweep_failures, peer32); /* the first round also makes what OpenSSL keeps */
	size_t used = kms_guarded_used();
	CALL(sweep_failures, peer32);
	CHECK(kms_guarded_used() == used);
}

TEST(a_refused_key_is_no_lack_of_memory)
{
	static const uint8_t zero[32];
	kms_x25519 *key = key_of(ALICE);
	kms_secret *shared;
	kms_mem_fail_after(1); /* leaves a refused allocation of OpenSSL behind */
	kms_x25519 *none;
	CHECK(kms_x25519_generate(&none) != KMS_OK);
	kms_mem_fail_after(0);
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_x25519_agree(&shared, key, zero));
	kms_x25519_free(key);
}

typedef struct worker {
	pthread_t thread;
	const kms_x25519 *key;
	const uint8_t *peer32;
	const kms_secret *want;
	int wrong;
} worker;

static void *agree_often(void *opaque)
{
	worker *w = opaque;
	for (int i = 0; i < 50; i++) {
		kms_secret *shared = NULL;
		bool good = kms_x25519_agree(&shared, w->key, w->peer32) == KMS_OK &&
			    kms_secret_equal(shared, w->want);
		w->wrong += !good;
		kms_secret_unref(shared);
	}
	return NULL;
}

TEST(one_key_serves_several_threads)
{
	enum { THREADS = 4 };
	worker workers[THREADS];
	uint8_t peer32[32];
	kms_x25519 *key = key_of(ALICE);
	kms_secret *want = hex_secret(SHARED);
	hex_bytes(peer32, sizeof(peer32), BOB_PUBLIC);
	for (size_t i = 0; i < THREADS; i++) {
		workers[i] = (worker){ .key = key, .peer32 = peer32, .want = want };
		CHECK(pthread_create(&workers[i].thread, NULL, agree_often, &workers[i]) == 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(workers[i].wrong == 0);
	kms_secret_unref(want);
	kms_x25519_free(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(gives_the_published_keys_and_secrets),
	  T(all_encodings_of_small_order_are_refused), T(other_spellings_of_a_coordinate_are_refused),
	  T(fresh_keys_differ_and_agree), T(misuse_is_refused), T(failing_allocations_are_reported_as_such),
	  T(a_refused_key_is_no_lack_of_memory), T(one_key_serves_several_threads))
