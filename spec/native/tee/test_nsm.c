/*
 * The Nitro Security Module on a fake device (nsm_fake.c, linked in): every response that a device
 * may give, and those that it must never give.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/testing.h"
#include "kms/nsm.h"
#include "material.h"

static void with_fault(const char *fault)
{
	setenv("NSM_FAKE", fault, 1);
}

static void without_fault(void)
{
	unsetenv("NSM_FAKE");
	unsetenv("NSM_FAKE_RANDOM");
	unsetenv("NSM_FAKE_KERNEL");
	unsetenv("NSM_FAKE_LOG");
}

static kms_nsm *module(void)
{
	kms_nsm *nsm;
	without_fault();
	MUST(kms_nsm_open(&nsm));
	return nsm;
}

TEST(opening_says_what_is_missing)
{
	kms_nsm *nsm = (kms_nsm *)failed_;
	without_fault();
	with_fault("missing");
	CHECK_STATUS(KMS_ERR_NSM_MISSING, kms_nsm_open(&nsm));
	CHECK(!nsm);
	with_fault("denied");
	CHECK_STATUS(KMS_ERR_NSM_ACCESS, kms_nsm_open(&nsm));
	CHECK(!nsm);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_open(NULL));
	kms_nsm_close(NULL);
	without_fault();
	/* The descriptor is closed when memory runs out. */
	int before = dup(0);
	close(before);
	kms_mem_fail_after(1);
	CHECK_STATUS(KMS_ERR_MEMORY, kms_nsm_open(&nsm));
	kms_mem_fail_after(0);
	int after = dup(0);
	close(after);
	CHECK(!nsm && before == after);
}

TEST(random_bytes_of_any_length)
{
	static const size_t lengths[] = { 1, 32, 256, 257, 1024 };
	static const uint8_t zeros[16];
	uint8_t bytes[1024], again[1024];
	kms_nsm *nsm = module();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		CHECK_OK(kms_nsm_random(kms_out_of(bytes, lengths[i]), nsm));
		CHECK_OK(kms_nsm_random(kms_out_of(again, lengths[i]), nsm));
		CHECK(lengths[i] < 16 || memcmp(bytes, again, lengths[i]) != 0);
		CHECK(lengths[i] < 32 || memcmp(bytes + lengths[i] - 16, zeros, 16) != 0);
	}
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_random(kms_out_of(bytes, 0), nsm));
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_random(kms_out_of(bytes, 1025), nsm));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_random(kms_out_of(NULL, 1), nsm));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_random(kms_out_of(bytes, 1), NULL));
	/* Several short responses together give what was asked for. */
	with_fault("short-random");
	memset(bytes, 0, sizeof(bytes));
	CHECK_OK(kms_nsm_random(kms_out_of(bytes, 64), nsm));
	CHECK(memcmp(bytes + 48, zeros, 16) != 0);
	with_fault("interrupted-often");
	CHECK_OK(kms_nsm_random(kms_out_of(bytes, 64), nsm));
	with_fault("interrupted=999"); /* each call to the device is made 1000 times at most */
	CHECK_OK(kms_nsm_random(kms_out_of(bytes, 64), nsm));
	with_fault("interrupted=1000");
	CHECK_STATUS(KMS_ERR_NSM, kms_nsm_random(kms_out_of(bytes, 64), nsm));
	CHECK_OK(kms_nsm_random(kms_out_of(bytes, 64), nsm));
	kms_nsm_close(nsm);
}

static const struct {
	const char *fault;
	kms_status status;
} bad_responses[] = {
	{ "gone", KMS_ERR_NSM },
	{ "io", KMS_ERR_NSM },
	{ "not-permitted", KMS_ERR_NSM_ACCESS },
	{ "interrupted", KMS_ERR_NSM }, /* at every attempt */
	{ "error=InternalError", KMS_ERR_NSM_REFUSED },
	{ "error=8", KMS_ERR_NSM_REFUSED },
	{ "oversized", KMS_ERR_NSM_ANSWER },
	{ "short", KMS_ERR_NSM_ANSWER },
	{ "empty", KMS_ERR_NSM_ANSWER },
	{ "trailing", KMS_ERR_NSM_ANSWER },
	{ "garbage", KMS_ERR_NSM_ANSWER },
	{ "array", KMS_ERR_NSM_ANSWER },
	{ "indefinite", KMS_ERR_NSM_ANSWER },
	{ "tag", KMS_ERR_NSM_ANSWER },
};

static const char *const bad_random[] = { "huge",         "empty-random", "other-name",
					  "other-member", "extra-member", "text-for-bytes" };

static void refuse_random(int *failed_, kms_nsm *nsm, const char *fault, kms_status status)
{
	uint8_t bytes[64];
	static const uint8_t zeros[64];
	kms_secret *secret = (kms_secret *)bytes;
	kms_wallet *wallet = (kms_wallet *)bytes;
	kms_p384 *p384 = (kms_p384 *)bytes;
	with_fault(fault);
	memset(bytes, 0xaa, sizeof(bytes));
	CHECK_STATUS(status, kms_nsm_random(kms_out_of(bytes, sizeof(bytes)), nsm));
	CHECK_MEM(bytes, zeros, sizeof(bytes));
	CHECK_STATUS(status, kms_nsm_secret(&secret, nsm, 32, KMS_TEXT("x")));
	CHECK(!secret);
	CHECK_STATUS(status, kms_nsm_identity(&wallet, &p384, nsm));
	CHECK(!wallet && !p384);
}

static void refuse_others(int *failed_, kms_nsm *nsm, const char *fault, kms_status status)
{
	static const kms_nsm_claims none;
	static const kms_nsm_description zeros;
	kms_nsm_description description;
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_RESPONSE_MAX);
	with_fault(fault);
	CHECK_STATUS(status, kms_nsm_attest(&document, nsm, &none));
	CHECK(document.len == 0);
	memset(&description, 0xaa, sizeof(description));
	CHECK_STATUS(status, kms_nsm_describe(&description, nsm));
	CHECK_MEM(&description, &zeros, sizeof(zeros));
	kms_buf_free(&document);
}

TEST(bad_responses_are_refused_and_leave_nothing)
{
	kms_nsm *nsm = module();
	size_t used = kms_guarded_used();
	for (size_t i = 0; i < sizeof(bad_responses) / sizeof(bad_responses[0]); i++) {
		CALL(refuse_random, nsm, bad_responses[i].fault, bad_responses[i].status);
		CALL(refuse_others, nsm, bad_responses[i].fault, bad_responses[i].status);
	}
	for (size_t i = 0; i < sizeof(bad_random) / sizeof(bad_random[0]); i++)
		CALL(refuse_random, nsm, bad_random[i], KMS_ERR_NSM_ANSWER);
	CHECK(kms_guarded_used() == used);
	/* The device still works. */
	uint8_t bytes[32];
	without_fault();
	CHECK_OK(kms_nsm_random(kms_out_of(bytes, 32), nsm));
	kms_nsm_close(nsm);
}

TEST(noise_is_never_a_response)
{
	uint8_t bytes[32];
	kms_nsm *nsm = module();
	with_fault("noise");
	for (int i = 0; i < 2000; i++)
		CHECK(kms_nsm_random(kms_out_of(bytes, sizeof(bytes)), nsm) != KMS_OK);
	kms_nsm_close(nsm);
}

TEST(refusals_have_names)
{
	static const char *const names[][2] = {
		{ "error=InvalidArgument", "InvalidArgument" },
		{ "error=InputTooLarge", "InputTooLarge" },
		{ "error=0", "Success" },
		{ "error=6", "BufferTooSmall" },
		{ "error=9", "an error without a name" },
		{ "error=Other", "an error without a name" },
	};
	uint8_t bytes[32];
	kms_nsm *nsm = module();
	CHECK(strcmp(kms_nsm_refusal(nsm), "") == 0);
	CHECK(strcmp(kms_nsm_refusal(NULL), "") == 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		with_fault(names[i][0]);
		CHECK_STATUS(KMS_ERR_NSM_REFUSED, kms_nsm_random(kms_out_of(bytes, 32), nsm));
		CHECK(strcmp(kms_nsm_refusal(nsm), names[i][1]) == 0);
	}
	kms_nsm_close(nsm);
}

/* A secret drawn with each generator broken ("zero") or not. */
static kms_secret *draw(kms_nsm *nsm, const char *module_mode, const char *kernel_mode, const char *use)
{
	kms_secret *secret;
	setenv("NSM_FAKE_RANDOM", module_mode, 1);
	setenv("NSM_FAKE_KERNEL", kernel_mode, 1);
	MUST(kms_nsm_secret(&secret, nsm, 32, kms_text_from(use)));
	without_fault();
	return secret;
}

static void check_mixed(int *failed_, kms_nsm *nsm, const char *module_mode, const char *kernel_mode,
			bool same)
{
	kms_secret *a = draw(nsm, module_mode, kernel_mode, "x"),
		   *b = draw(nsm, module_mode, kernel_mode, "x");
	kms_secret *other = draw(nsm, module_mode, kernel_mode, "y");
	CHECK(kms_secret_equal(a, b) == same);
	CHECK(!kms_secret_equal(a, other));
	kms_secret_unref(a);
	kms_secret_unref(b);
	kms_secret_unref(other);
}

TEST(neither_generator_weakens_a_secret_alone)
{
	kms_nsm *nsm = module();
	CALL(check_mixed, nsm, "zero", "good", false);
	CALL(check_mixed, nsm, "good", "zero", false);
	CALL(check_mixed, nsm, "good", "good", false);
	/* With both broken the secret repeats: nothing else is mixed in. */
	CALL(check_mixed, nsm, "zero", "zero", true);
	kms_nsm_close(nsm);
}

/* RFC 5869 over 128 zeros. */
TEST(a_secret_is_hkdf_over_both)
{
	static const uint8_t drawn[128];
	uint8_t expected[32];
	kms_nsm *nsm = module();
	kms_secret *secret = draw(nsm, "zero", "zero", "wallet");
	CHECK_OK(kms_hkdf_sha256(kms_out_of(expected, 32), KMS_SPAN(drawn), KMS_BYTES("nova-kms:nsm"),
				 KMS_BYTES("wallet")));
	CHECK_MEM(kms_secret_bytes(secret), expected, 32);
	kms_secret_unref(secret);
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_secret(&secret, nsm, 0, KMS_TEXT("x")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_secret(&secret, nsm, 65, KMS_TEXT("x")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_secret(&secret, nsm, 32, KMS_NO_TEXT));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_secret(&secret, NULL, 32, KMS_TEXT("x")));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_secret(NULL, nsm, 32, KMS_TEXT("x")));
	kms_nsm_close(nsm);
}

TEST(an_identity_is_new_each_time)
{
	kms_wallet *wallets[2];
	kms_p384 *keys[2];
	uint8_t addresses[2][20];
	kms_nsm *nsm = module();
	for (int i = 0; i < 2; i++) {
		CHECK_OK(kms_nsm_identity(&wallets[i], &keys[i], nsm));
		kms_wallet_address(addresses[i], wallets[i]);
	}
	CHECK(memcmp(addresses[0], addresses[1], 20) != 0);
	CHECK(memcmp(kms_p384_public(keys[0]), kms_p384_public(keys[1]), 97) != 0);
	for (int i = 0; i < 2; i++) {
		kms_wallet_free(wallets[i]);
		kms_p384_free(keys[i]);
	}
	kms_nsm_close(nsm);
	/* Keys outlive the device; when memory runs out, both are NULL. */
	nsm = module();
	for (unsigned long n = 1, ended = 0; !ended; n++) {
		kms_mem_fail_after(n);
		kms_status status = kms_nsm_identity(&wallets[0], &keys[0], nsm);
		ended = sweep_ends(n);
		CHECK(n < 2000 && (status == KMS_OK) == (wallets[0] != NULL) &&
		      (wallets[0] != NULL) == (keys[0] != NULL));
		kms_wallet_free(wallets[0]);
		kms_p384_free(keys[0]);
	}
	kms_nsm_close(nsm);
}

static bool contains(const kms_buf *buf, const void *bytes, size_t len)
{
	return memmem(buf->data, buf->len, bytes, len) != NULL;
}

TEST(a_document_holds_the_claims)
{
	uint8_t user_data[1024], nonce[1024], key[1024];
	kms_nsm *nsm = module();
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_RESPONSE_MAX);
	memset(user_data, 1, sizeof(user_data));
	memset(nonce, 2, sizeof(nonce));
	memset(key, 3, sizeof(key));
	kms_nsm_claims claims = { { user_data, sizeof(user_data) },
				  { nonce, sizeof(nonce) },
				  { key, sizeof(key) } };
	CHECK_OK(kms_nsm_attest(&document, nsm, &claims));
	CHECK(contains(&document, user_data, sizeof(user_data)) &&
	      contains(&document, nonce, sizeof(nonce)) && contains(&document, key, sizeof(key)));
	/* Absent is null (0xf6), which is not the same as empty (0x40). */
	kms_buf_clear(&document);
	claims = (kms_nsm_claims){ { user_data, 0 }, { NULL, 0 }, { key, 23 } };
	CHECK_OK(kms_nsm_attest(&document, nsm, &claims));
	CHECK(contains(&document, "\x69user_data\x40", 11) && contains(&document, "\x65nonce\xf6", 7) &&
	      contains(&document, "\x6apublic_key\x57\x03", 13));
	/* Earlier content stays. */
	size_t len = document.len;
	CHECK_OK(kms_nsm_attest(&document, nsm, &claims));
	CHECK(document.len > len);
	kms_buf_free(&document);
	kms_nsm_close(nsm);
}

TEST(claims_beyond_their_sizes_are_refused)
{
	uint8_t bytes[1025] = { 0 };
	kms_nsm *nsm = module();
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_NSM_RESPONSE_MAX);
	const kms_nsm_claims data = { .user_data = { bytes, 1025 } }, nonce = { .nonce = { bytes, 1025 } },
			     key = { .public_key = { bytes, 1025 } }, none = { 0 };
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_attest(&document, nsm, &data));
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_attest(&document, nsm, &nonce));
	CHECK_STATUS(KMS_ERR_RANGE, kms_nsm_attest(&document, nsm, &key));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_attest(&document, nsm, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_attest(&document, NULL, &none));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_attest(NULL, nsm, &none));
	CHECK(document.len == 0);
	document.max = 100;
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_nsm_attest(&document, nsm, &none));
	kms_buf_free(&document);
	kms_nsm_close(nsm);
}

TEST(a_description)
{
	static const char *const bad[] = { "member-missing", "member-twice", "member-unknown", "odd-text" };
	kms_nsm_description d;
	kms_nsm *nsm = module();
	CHECK_OK(kms_nsm_describe(&d, nsm));
	CHECK(strcmp(d.module_id, "i-0123456789abcdef0-enc0123456789abcd") == 0);
	CHECK(strcmp(d.digest, "SHA384") == 0);
	CHECK(d.version[0] == 1 && d.version[1] == 0 && d.version[2] == 7);
	CHECK(d.max_pcrs == 32 && d.locked_pcrs == 4);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		with_fault(bad[i]);
		CHECK_STATUS(KMS_ERR_NSM_ANSWER, kms_nsm_describe(&d, nsm));
		CHECK(d.module_id[0] == '\0' && d.max_pcrs == 0);
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_describe(NULL, nsm));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nsm_describe(&d, NULL));
	kms_nsm_close(nsm);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(opening_says_what_is_missing), T(random_bytes_of_any_length),
	  T(bad_responses_are_refused_and_leave_nothing), T(noise_is_never_a_response),
	  T(refusals_have_names), T(neither_generator_weakens_a_secret_alone), T(a_secret_is_hkdf_over_both),
	  T(an_identity_is_new_each_time), T(a_document_holds_the_claims),
	  T(claims_beyond_their_sizes_are_refused), T(a_description))
