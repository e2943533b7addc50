/*
 * Verifying the signed content of a document, and the order of the checks. test_attest_chain.c
 * tests the checks of certificates, test_attest_shape.c and test_attest_fields.c the format.
 */
#include "attest_kit.h"

static doc d;

TEST(an_honest_document_passes_and_gives_its_facts)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	for (size_t len = 2; len <= 8; len++) {
		honest(&d, len);
		kms_attest_policy policy = lenient(&d);
		EXPECT(&d, &policy, NONE);
	}
	honest(&d, 3);
	kms_attest_policy policy = lenient(&d);
	CHECK_OK(kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	CHECK(facts.module_id.len == 14 && memcmp(facts.module_id.bytes, "i-0123-enc4567", 14) == 0);
	CHECK(facts.timestamp_ms == KIT_NOW_MS - 1000);
	CHECK(facts.pcrs[3].len == 48 && facts.pcrs[3].bytes[47] == 0xa3 && !facts.pcrs[4].bytes);
	CHECK(facts.public_key.len == 120 && facts.user_data.len == 20 && facts.nonce.len == 32);
	CHECK(facts.chain_len == 3 && facts.chain[0].readable && facts.chain[2].readable);
	CHECK(strcmp(facts.chain[0].subject, "root") == 0 && strcmp(facts.chain[2].subject, "leaf") == 0);
	CHECK(facts.chain[1].not_before_s == KIT_NOW_S - KIT_DAY);
	CHECK(facts.chain[1].not_after_s == KIT_NOW_S + KIT_DAY);
	CHECK_MEM(facts.chain[0].sha256, d.root32, 32);
	CHECK(facts.der[2].len == d.der[2].len && !facts.der[3].bytes && !facts.chain[3].readable);
}

TEST(a_tag_and_an_indefinite_payload_map_are_optional)
{
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	PUT(&d.before, "\xd2");
	assemble(&d);
	EXPECT(&d, &policy, NONE);
	d.indefinite = true;
	assemble(&d);
	EXPECT(&d, &policy, NONE);
}

TEST(digest_is_sha384_and_registers_have_its_length)
{
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	VALUE(DIGEST, put_text(v, "SHA256"));
	EXPECT(&d, &policy, DIGEST);
	VALUE(DIGEST, put_text(v, "sha384"));
	EXPECT(&d, &policy, DIGEST);
	VALUE(DIGEST, put_text(v, "SHA384 "));
	EXPECT(&d, &policy, DIGEST);
	VALUE(DIGEST, put_text(v, "SHA384"));
	EXPECT(&d, &policy, NONE);
	for (size_t len = 32; len <= 64; len += 32) {
		VALUE(PCRS, {
			put_head(v, 5, 2);
			put_head(v, 0, 0);
			put_filled(v, 2, 9, 48);
			put_head(v, 0, 7);
			put_filled(v, 2, 9, len);
		});
		EXPECT(&d, &policy, DIGEST);
	}
}

TEST(debug_is_an_all_zero_or_missing_pcr0)
{
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d), allowing = lenient(&d);
	allowing.allow_debug = true;
	EXPECT(&d, &allowing, NONE);
	for (size_t set = 0; set <= 48; set += 24) { /* one bit, at either end; none */
		VALUE(PCRS, {
			put_head(v, 5, 2);
			put_head(v, 0, 0);
			put_filled(v, 2, 0, 48);
			if (set) v->data[v->len - (set == 48 ? 48 : 1)] = 0x80;
			put_head(v, 0, 1);
			put_filled(v, 2, 7, 48);
		});
		CALL(expect_failure, &d, &policy, set ? KMS_ATTEST_NONE : KMS_ATTEST_DEBUG);
		EXPECT(&d, &allowing, NONE);
	}
	VALUE(PCRS, {
		put_head(v, 5, 1);
		put_head(v, 0, 1);
		put_filled(v, 2, 7, 48);
	});
	EXPECT(&d, &policy, DEBUG);
	EXPECT(&d, &allowing, NONE);
}

TEST(expected_bytes_are_compared_whole)
{
	static const struct {
		int field;
		kms_attest_failure failure;
	} cases[] = { { NONCE, KMS_ATTEST_NONCE },
		      { USER_DATA, KMS_ATTEST_USER_DATA },
		      { PUBLIC_KEY, KMS_ATTEST_PUBLIC_KEY } };
	uint8_t text[40];
	memset(text, 0x55, sizeof(text));
	for (size_t i = 0; i < 3; i++) {
		honest(&d, 2);
		kms_attest_policy policy = lenient(&d);
		kms_span want = { text, 32 };
		if (cases[i].field == NONCE) policy.nonce = &want;
		if (cases[i].field == USER_DATA) policy.user_data = &want;
		if (cases[i].field == PUBLIC_KEY) policy.public_key = &want;
		CALL(expect_failure, &d, &policy, cases[i].failure);
		VALUE(cases[i].field, put_filled(v, 2, 0x55, 32));
		EXPECT(&d, &policy, NONE);
		want.len = 31;
		CALL(expect_failure, &d, &policy, cases[i].failure);
		want.len = 33;
		CALL(expect_failure, &d, &policy, cases[i].failure);
		want.len = 32;
		text[31] ^= 1;
		CALL(expect_failure, &d, &policy, cases[i].failure);
		text[31] ^= 1;
		VALUE(cases[i].field, PUT(v, "\xf6"));
		CALL(expect_failure, &d, &policy, cases[i].failure);
		want = (kms_span){ NULL, 0 };
		EXPECT(&d, &policy, NONE);
		if (cases[i].field == PUBLIC_KEY) continue; /* cannot be empty */
		VALUE(cases[i].field, PUT(v, "\x40"));
		EXPECT(&d, &policy, NONE);
	}
}

TEST(age_is_bounded_to_the_millisecond)
{
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	policy.max_age_ms = 1000;
	EXPECT(&d, &policy, NONE);
	policy.max_age_ms = 999;
	EXPECT(&d, &policy, STALE);
	policy.max_age_ms = 0;
	VALUE(TIMESTAMP, put_head(v, 0, KIT_NOW_MS));
	EXPECT(&d, &policy, NONE);
	VALUE(TIMESTAMP, put_head(v, 0, KIT_NOW_MS + 1));
	EXPECT(&d, &policy, FUTURE);
	policy.max_ahead_ms = 1;
	EXPECT(&d, &policy, NONE);
	VALUE(TIMESTAMP, put_head(v, 0, KIT_NOW_MS + 2));
	EXPECT(&d, &policy, FUTURE);
	policy.max_age_ms = KMS_ATTEST_ANY_AGE;
	VALUE(TIMESTAMP, put_head(v, 0, 1));
	EXPECT(&d, &policy, NONE);
}

static kms_attest_pcrs image_of(uint32_t named)
{
	kms_attest_pcrs image = { .named = named };
	for (unsigned i = 0; i < KMS_ATTEST_PCR_COUNT; i++)
		memset(image.values[i], (int)(0xa0 + i), KMS_ATTEST_PCR_BYTES);
	return image;
}

TEST(pcrs_equal_one_entry_as_a_whole)
{
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	kms_attest_pcrs images[3] = { image_of(0x7), image_of(0x7), image_of(0x7) };
	policy.images = images;
	policy.check_pcrs = true;
	EXPECT(&d, &policy, PCR); /* an empty list allows nothing */
	policy.image_count = 1;
	EXPECT(&d, &policy, NONE);
	images[0].values[2][47] ^= 1;
	EXPECT(&d, &policy, PCR);
	images[1].values[0][0] ^= 1;
	policy.image_count = 2; /* each has one wrong register: neither matches */
	EXPECT(&d, &policy, PCR);
	policy.image_count = 3;
	EXPECT(&d, &policy, NONE);
	images[2] = image_of(0x17); /* PCR4: absent from the document */
	EXPECT(&d, &policy, PCR);
	images[2] = image_of(0x80000000u);
	EXPECT(&d, &policy, PCR);
	images[2] = image_of(0xf);
	EXPECT(&d, &policy, NONE);
}

/* Everything is wrong at once; after each repair the next check fails. */
TEST(failures_come_in_the_order_of_the_table)
{
	static const uint8_t other[32] = { 1 };
	kms_span odd = { other, 5 };
	kms_attest_policy policy = { 0 };
	kms_attest_pcrs image = image_of(0x1f);
	plan(&d, 3);
	PUT(&d.after, "\0");
	d.certs[2].issuer = "nobody";
	d.certs[1].ca = 0;
	d.certs[1].to_s = KIT_NOW_S - 1;
	VALUE(DIGEST, put_text(v, "SHA512"));
	VALUE(PCRS, {
		put_head(v, 5, 1);
		put_head(v, 0, 0);
		put_filled(v, 2, 0, 48);
	});
	VALUE(TIMESTAMP, put_head(v, 0, KIT_NOW_MS + 1));
	d.signature.len = 0;
	put_filled(&d.signature, 2, 1, 96);
	d.resign = false;
	build_certs(&d);
	put_chain(&d);
	assemble(&d);
	policy.now_ms = KIT_NOW_MS;
	policy.nonce = policy.user_data = policy.public_key = &odd;
	policy.check_pcrs = true;
	policy.images = &image;
	policy.image_count = 1;

	EXPECT(&d, &policy, SHAPE);
	d.after.len = 0;
	assemble(&d);
	EXPECT(&d, &policy, ROOT);
	policy.roots = &d.root32;
	policy.root_count = 1;
	EXPECT(&d, &policy, CHAIN);
	d.certs[2].issuer = "one";
	build_certs(&d);
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, CONSTRAINTS);
	d.certs[1].ca = 1;
	build_certs(&d);
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, EXPIRED);
	d.certs[1].to_s = KIT_NOW_S;
	build_certs(&d);
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.resign = true;
	assemble(&d);
	EXPECT(&d, &policy, DIGEST);
	VALUE(DIGEST, put_text(v, "SHA384"));
	EXPECT(&d, &policy, DEBUG);
	policy.allow_debug = true;
	EXPECT(&d, &policy, NONCE);
	policy.nonce = NULL;
	EXPECT(&d, &policy, FUTURE);
	VALUE(TIMESTAMP, put_head(v, 0, KIT_NOW_MS - 1));
	EXPECT(&d, &policy, STALE);
	policy.max_age_ms = 1;
	EXPECT(&d, &policy, PCR);
	policy.check_pcrs = false;
	policy.image_count = 0;
	EXPECT(&d, &policy, USER_DATA);
	policy.user_data = NULL;
	EXPECT(&d, &policy, PUBLIC_KEY);
	policy.public_key = NULL;
	EXPECT(&d, &policy, NONE);
}

TEST(misuse_is_refused)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_attest_pcrs nothing = { 0 };
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d), empty = { 0 };
	EXPECT(&d, &empty, ROOT);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(NULL, &failure, out_of(&d), &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, NULL, out_of(&d), &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, KMS_NO_BYTES, &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, out_of(&d), NULL));
	policy.image_count = 1;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	policy.images = &nothing;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	policy.check_pcrs = true; /* an image without registers would match every document */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	policy.image_count = 0;
	policy.roots = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	CHECK(failure == KMS_ATTEST_NONE);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_read(&facts, &failure, KMS_NO_BYTES));
}

TEST(names_and_sentences_are_all_different)
{
	const char *names[KMS_ATTEST_PUBLIC_KEY + 1];
	for (int i = 0; i <= KMS_ATTEST_PUBLIC_KEY; i++) {
		names[i] = kms_attest_failure_name((kms_attest_failure)i);
		CHECK(strlen(kms_attest_failure_text((kms_attest_failure)i)) > 10);
		for (int j = 0; j < i; j++)
			CHECK(strcmp(names[i], names[j]) != 0);
	}
	CHECK(strcmp(names[KMS_ATTEST_NOT_YET_VALID], "not_yet_valid") == 0);
	CHECK(strcmp(kms_attest_failure_name((kms_attest_failure)99), "unknown") == 0);
	CHECK(strcmp(kms_attest_failure_text((kms_attest_failure)99), "unknown") == 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(an_honest_document_passes_and_gives_its_facts),
	  T(a_tag_and_an_indefinite_payload_map_are_optional),
	  T(digest_is_sha384_and_registers_have_its_length), T(debug_is_an_all_zero_or_missing_pcr0),
	  T(expected_bytes_are_compared_whole), T(age_is_bounded_to_the_millisecond),
	  T(pcrs_equal_one_entry_as_a_whole), T(failures_come_in_the_order_of_the_table),
	  T(misuse_is_refused), T(names_and_sentences_are_all_different))
