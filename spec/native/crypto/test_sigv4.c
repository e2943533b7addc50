/* AWS Signature Version 4. Known answers: the examples of Amazon's documentation, "Signature Calculations for
 * the Authorization Header". */
#include "kms/sigv4.h"
#include "material.h"

#define KEY "AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define HEAD "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"

static const kms_sigv4_scope scope = { { "20130524", 8 }, { "us-east-1", 9 }, { "s3", 2 } };

static kms_secret *example_key(void)
{
	kms_secret *key;
	MUST(kms_secret_new(&key, KMS_BYTES(KEY)));
	return key;
}

TEST(signatures_are_those_of_the_documentation)
{
	static const struct {
		const char *to_sign;
		const char *signature;
	} examples[] = {
		/* GET of an object, PUT of an object, GET of a list. */
		{ HEAD "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
		  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
		{ HEAD "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d",
		  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
		{ HEAD "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7",
		  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
	};
	kms_secret *key = example_key();
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		uint8_t signature[32], want[32];
		CHECK_OK(kms_sigv4(signature, key, &scope, kms_text_from(examples[i].to_sign)));
		hex_bytes(want, 32, examples[i].signature);
		CHECK_MEM(signature, want, 32);
	}
	kms_secret_unref(key);
}

static void sweep_failures(int *failed_, const kms_secret *key)
{
	static const uint8_t zeros[32];
	bool ended = false;
	for (unsigned long n = 1; !ended && n < 100; n++) {
		uint8_t signature[32];
		kms_mem_fail_after(n);
		kms_status status = kms_sigv4(signature, key, &scope, KMS_TEXT("text"));
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || memcmp(signature, zeros, sizeof(zeros)) == 0);
	}
	CHECK(ended);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *key = example_key();
	/* The first round also makes what OpenSSL keeps. */
	CALL(sweep_failures, key);
	size_t used = kms_guarded_used();
	CALL(sweep_failures, key);
	CHECK(kms_guarded_used() == used);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sigv4(NULL, key, &scope, KMS_TEXT("text")));
	kms_secret_unref(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(signatures_are_those_of_the_documentation),
	  T(failing_allocations_leave_nothing))
