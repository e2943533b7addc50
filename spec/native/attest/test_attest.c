/*
 * Verifying documents, row by row: for each a document that is broken in this one way, and what
 * lies just within. What a broken form is, test_attest_shape.c says.
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
	CHECK_OK(kms_attest_verify(&facts, &failure, d.out.data, d.out.len, &policy));
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

TEST(tag_and_an_indefinite_payload_map_are_the_freedoms_of_the_form)
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

TEST(root_only_pinned_ones_are_trusted)
{
	uint8_t roots[3][32] = { { 1 }, { 2 }, { 3 } };
	honest(&d, 3);
	kms_attest_policy policy = lenient(&d);
	policy.root_count = 0;
	EXPECT(&d, &policy, ROOT);
	policy.roots = NULL;
	EXPECT(&d, &policy, ROOT);
	policy.roots = roots;
	policy.root_count = 3;
	EXPECT(&d, &policy, ROOT);
	memcpy(roots[2], d.root32, 32);
	EXPECT(&d, &policy, NONE);
	roots[2][31] ^= 1;
	EXPECT(&d, &policy, ROOT);
	/* Another one of the same chain does not do, nor one that calls itself the same. */
	CHECK_OK(kms_sha256(roots[2], d.der[1].data, d.der[1].len));
	EXPECT(&d, &policy, ROOT);
	memcpy(roots[2], d.root32, 32);
	honest(&d, 3);
	EXPECT(&d, &policy, ROOT);
}

/* A chain of four with one certificate changed. */
#define CHANGED(index, member, value, name)              \
	do {                                             \
		plan(&d, 4);                             \
		d.certs[index].member = (value);         \
		build_certs(&d);                         \
		put_chain(&d);                           \
		assemble(&d);                            \
		kms_attest_policy changed = lenient(&d); \
		EXPECT(&d, &changed, name);              \
	} while (0)

TEST(chain_each_is_signed_by_the_one_before)
{
	EVP_PKEY *stranger = new_key("P-384"), *small = new_key("P-256"), *other = new_key("secp521r1");
	for (size_t i = 1; i < 4; i++) {
		CHANGED(i, signer, stranger, CHAIN);
		CHANGED(i, issuer, "somebody", CHAIN);
		CHANGED(i, digest, EVP_sha256(), CHAIN);
		CHANGED(i, digest, EVP_sha512(), CHAIN);
	}
	/* A root is believed for its hash; what signed it does not matter. */
	CHANGED(0, signer, stranger, NONE);
	/* Keys of other curves sign nothing, though what they sign would verify. */
	for (size_t i = 0; i < 3; i++) {
		EVP_PKEY *odd = i % 2 ? small : other;
		plan(&d, 4);
		d.certs[i].key = d.certs[i + 1].signer = odd;
		build_certs(&d);
		put_chain(&d);
		assemble(&d);
		kms_attest_policy policy = lenient(&d);
		EXPECT(&d, &policy, CHAIN);
	}
	EVP_PKEY_free(stranger);
	EVP_PKEY_free(small);
	EVP_PKEY_free(other);
}

TEST(chain_what_is_no_certificate_ends_it)
{
	honest(&d, 4);
	kms_attest_policy policy = lenient(&d);
	bytes der[4];
	for (size_t i = 0; i < 4; i++)
		der[i] = d.der[i];
	for (size_t i = 1; i < 4; i++) {
		/* A byte more, a byte less, none at all, another length in the outer head. */
		d.der[i].len = der[i].len + 1;
		put_chain(&d);
		assemble(&d);
		EXPECT(&d, &policy, CHAIN);
		d.der[i].len = der[i].len - 1;
		put_chain(&d);
		assemble(&d);
		EXPECT(&d, &policy, CHAIN);
		d.der[i] = der[i];
		d.der[i].data[0] = 0x31;
		put_chain(&d);
		assemble(&d);
		EXPECT(&d, &policy, CHAIN);
		d.der[i] = der[i];
	}
	/* BER: an indefinite outer length, which OpenSSL would read. */
	d.der[2].len = 0;
	PUT(&d.der[2], "\x30\x80");
	put(&d.der[2], der[2].data + 4, der[2].len - 4);
	PUT(&d.der[2], "\0\0");
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, CHAIN);
	/* Out of order, and one left out. */
	d.der[1] = der[2];
	d.der[2] = der[1];
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, CHAIN);
	d.der[1] = der[2];
	d.der[2] = der[3];
	d.chain_len = 3;
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, CHAIN);
}

TEST(chain_has_eight_certificates_at_the_most)
{
	honest(&d, 8);
	kms_attest_policy policy = lenient(&d);
	EXPECT(&d, &policy, NONE);
	honest(&d, 9);
	policy = lenient(&d);
	EXPECT(&d, &policy, CHAIN);
	/* Not even with one that nobody would look at: the leaf is the seventh's. */
	honest(&d, 8);
	policy = lenient(&d);
	bytes *bundle = &d.values[CABUNDLE];
	CHECK(bundle->data[0] == 0x87);
	bundle->data[0] = 0x88;
	put_bytes(bundle, d.der[6].data, d.der[6].len);
	assemble(&d);
	EXPECT(&d, &policy, CHAIN);
	kms_attest_facts facts;
	kms_attest_failure failure;
	CHECK_OK(kms_attest_read(&facts, &failure, d.out.data, d.out.len));
	CHECK(facts.chain_len == 9 && strcmp(facts.chain[7].subject, "leaf") == 0);
}

TEST(constraints_hold_for_each)
{
	for (size_t i = 0; i < 3; i++) {
		CHANGED(i, ca, 0, CONSTRAINTS);
		CHANGED(i, ca, -1, CONSTRAINTS);
		CHANGED(i, usage, 0, CONSTRAINTS); /* digitalSignature */
		CHANGED(i, usage, 6, CONSTRAINTS); /* cRLSign */
		CHANGED(i, usage, -1, CONSTRAINTS);
	}
	CHANGED(3, ca, 1, CONSTRAINTS);
	CHANGED(3, ca, -1, NONE);
	CHANGED(3, usage, 5, CONSTRAINTS);
	CHANGED(3, usage, 4, CONSTRAINTS); /* keyAgreement */
	CHANGED(3, usage, -1, CONSTRAINTS);
	/* Two, one and none below: at the limit and one short of it. */
	CHANGED(0, pathlen, 2, NONE);
	CHANGED(0, pathlen, 1, CONSTRAINTS);
	CHANGED(1, pathlen, 1, NONE);
	CHANGED(1, pathlen, 0, CONSTRAINTS);
	CHANGED(2, pathlen, 0, NONE);
	CHANGED(1, pathlen, -1, NONE);
}

TEST(constraints_unknown_critical_extensions_and_old_versions_are_refused)
{
	for (size_t i = 0; i < 4; i++) {
		for (int critical = 0; critical < 2; critical++) {
			plan(&d, 4);
			d.certs[i].odd_extension = true;
			d.certs[i].odd_critical = critical;
			build_certs(&d);
			put_chain(&d);
			assemble(&d);
			kms_attest_policy policy = lenient(&d);
			CALL(expect_failure, &d, &policy,
			     critical ? KMS_ATTEST_CONSTRAINTS : KMS_ATTEST_NONE);
		}
		CHANGED(i, version, 1, CONSTRAINTS);
	}
}

/* OpenSSL reads these, so that they are not unknown, and leaves them to whoever verifies. */
TEST(constraints_that_nobody_enforces_are_refused_where_they_are_critical)
{
	static const struct {
		int nid;
		const char *critical, *plain;
	} cases[] = {
		{ NID_name_constraints, "critical,permitted;DNS:example.com", "permitted;DNS:example.com" },
		{ NID_policy_constraints, "critical,requireExplicitPolicy:0", "requireExplicitPolicy:0" },
		{ NID_inhibit_any_policy, "critical,0", "0" },
		{ NID_ext_key_usage, "critical,serverAuth", "serverAuth" },
	};
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < sizeof(cases) / sizeof(cases[0]); j++) {
			for (int critical = 0; critical < 2; critical++) {
				plan(&d, 4);
				d.certs[i].constraint_nid = cases[j].nid;
				d.certs[i].constraint = critical ? cases[j].critical : cases[j].plain;
				build_certs(&d);
				put_chain(&d);
				assemble(&d);
				kms_attest_policy policy = lenient(&d);
				CALL(expect_failure, &d, &policy,
				     critical ? KMS_ATTEST_CONSTRAINTS : KMS_ATTEST_NONE);
			}
		}
	}
}

TEST(validity_holds_to_the_second_for_each)
{
	for (size_t i = 0; i < 4; i++) {
		CHANGED(i, to_s, KIT_NOW_S, NONE);
		CHANGED(i, to_s, KIT_NOW_S - 1, EXPIRED);
		CHANGED(i, from_s, KIT_NOW_S, NONE);
		CHANGED(i, from_s, KIT_NOW_S + 1, NOT_YET_VALID);
	}
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	policy.max_ahead_ms = UINT64_MAX;
	policy.now_ms = (uint64_t)(KIT_NOW_S + KIT_DAY) * 1000 + 999;
	EXPECT(&d, &policy, NONE);
	policy.now_ms++;
	EXPECT(&d, &policy, EXPIRED);
	policy.now_ms = (uint64_t)(KIT_NOW_S - KIT_DAY) * 1000;
	EXPECT(&d, &policy, NONE);
	policy.now_ms--;
	EXPECT(&d, &policy, NOT_YET_VALID);
	policy.now_ms = 0;
	EXPECT(&d, &policy, NOT_YET_VALID);
	policy.now_ms = UINT64_MAX;
	EXPECT(&d, &policy, EXPIRED);
}

/* Puts another end into the leaf of a chain of two, and signs it again. */
static void end_leaf(const char *time, int type)
{
	plan(&d, 2);
	build_certs(&d);
	const uint8_t *from = d.der[1].data;
	uint8_t *to = d.der[1].data;
	X509 *leaf = d2i_X509(NULL, &from, (long)d.der[1].len);
	KIT_MUST(leaf);
	ASN1_TIME *end = ASN1_STRING_type_new(type);
	KIT_MUST(end && ASN1_STRING_set(end, time, -1) && X509_set1_notAfter(leaf, end));
	KIT_MUST(X509_sign(leaf, d.certs[0].key, EVP_sha384()) > 0);
	d.der[1].len = (size_t)i2d_X509(leaf, &to);
	ASN1_TIME_free(end);
	X509_free(leaf);
	put_chain(&d);
	assemble(&d);
}

TEST(validity_is_written_as_certificates_must_have_it)
{
	static const struct {
		const char *time;
		int type;
		kms_attest_failure failure;
	} cases[] = {
		{ "270115080000Z", V_ASN1_UTCTIME, KMS_ATTEST_NONE },
		{ "20270115080000Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_NONE },
		{ "99991231235959Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_NONE },
		/* Without seconds, in another zone, in none, with a fraction, of another century. */
		{ "2701150900Z", V_ASN1_UTCTIME, KMS_ATTEST_CHAIN },
		{ "270115090000+0100", V_ASN1_UTCTIME, KMS_ATTEST_CHAIN },
		{ "270114230000-1200", V_ASN1_UTCTIME, KMS_ATTEST_CHAIN },
		{ "270115090000", V_ASN1_UTCTIME, KMS_ATTEST_CHAIN },
		{ "20270115090000", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_CHAIN },
		{ "20270115090000.5Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_CHAIN },
		{ "270115090000Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_CHAIN },
		{ "271315090000Z", V_ASN1_UTCTIME, KMS_ATTEST_CHAIN },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		end_leaf(cases[i].time, cases[i].type);
		kms_attest_policy policy = lenient(&d);
		CALL(expect_failure, &d, &policy, cases[i].failure);
	}
}

/* How a changed signature, or a changed payload under the old one, is named. */
TEST(signature_is_the_leafs_over_exactly_this_payload)
{
	honest(&d, 3);
	kms_attest_policy policy = lenient(&d);
	bytes good = d.signature;
	d.resign = false;
	for (size_t i = 2; i < good.len; i += 5) {
		d.signature = good;
		d.signature.data[i] ^= 0x10;
		assemble(&d);
		EXPECT(&d, &policy, SIGNATURE);
	}
	d.signature = good;
	memset(d.signature.data + 2, 0, 48);
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	memset(d.signature.data + 2, 0, 96);
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	memset(d.signature.data + 2, 0xff, 96);
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.signature = good;
	d.values[NONCE].data[10] ^= 1;
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.values[NONCE].data[10] ^= 1;
	d.indefinite = true; /* another spelling of the same map */
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.indefinite = false;
	assemble(&d);
	EXPECT(&d, &policy, NONE);
	/* Signed by another one of the chain. */
	d.resign = true;
	EVP_PKEY *leaf = d.certs[2].key;
	d.certs[2].key = d.certs[1].key;
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.certs[2].key = leaf;
}

TEST(signature_needs_a_p384_leaf)
{
	EVP_PKEY *small = new_key("P-256"), *koblitz = new_key("secp256k1");
	CHANGED(3, key, small, SIGNATURE);
	CHANGED(3, key, koblitz, SIGNATURE);
	EVP_PKEY_free(small);
	EVP_PKEY_free(koblitz);
}

/* The values of an honest document, one of them encoded anew by the statements. */
#define VALUE(field, ...)                    \
	do {                                 \
		bytes *v = &d.values[field]; \
		v->len = 0;                  \
		__VA_ARGS__;                 \
		assemble(&d);                \
	} while (0)

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
		if (cases[i].field == PUBLIC_KEY) continue; /* is never empty */
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
	policy.image_count = 2; /* each right in what the other has wrong: still none is right */
	EXPECT(&d, &policy, PCR);
	policy.image_count = 3;
	EXPECT(&d, &policy, NONE);
	images[2] = image_of(0x17); /* PCR4, which the document does not have */
	EXPECT(&d, &policy, PCR);
	images[2] = image_of(0x80000000u);
	EXPECT(&d, &policy, PCR);
	images[2] = image_of(0xf);
	EXPECT(&d, &policy, NONE);
}

/* Everything is wrong at once; repaired row by row, the next name comes up. */
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
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(NULL, &failure, d.out.data, d.out.len, &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, NULL, d.out.data, d.out.len, &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, NULL, 0, &policy));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, d.out.data, d.out.len, NULL));
	policy.image_count = 1;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, d.out.data, d.out.len, &policy));
	policy.images = &nothing;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, d.out.data, d.out.len, &policy));
	policy.check_pcrs = true; /* an image without registers would be equal to all */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, d.out.data, d.out.len, &policy));
	policy.image_count = 0;
	policy.roots = NULL;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_verify(&facts, &failure, d.out.data, d.out.len, &policy));
	CHECK(failure == KMS_ATTEST_NONE);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_read(&facts, &failure, NULL, 0));
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
	  T(tag_and_an_indefinite_payload_map_are_the_freedoms_of_the_form),
	  T(root_only_pinned_ones_are_trusted), T(chain_each_is_signed_by_the_one_before),
	  T(chain_what_is_no_certificate_ends_it), T(chain_has_eight_certificates_at_the_most),
	  T(constraints_hold_for_each),
	  T(constraints_unknown_critical_extensions_and_old_versions_are_refused),
	  T(constraints_that_nobody_enforces_are_refused_where_they_are_critical),
	  T(validity_holds_to_the_second_for_each), T(validity_is_written_as_certificates_must_have_it),
	  T(signature_is_the_leafs_over_exactly_this_payload), T(signature_needs_a_p384_leaf),
	  T(digest_is_sha384_and_registers_have_its_length), T(debug_is_an_all_zero_or_missing_pcr0),
	  T(expected_bytes_are_compared_whole), T(age_is_bounded_to_the_millisecond),
	  T(pcrs_equal_one_entry_as_a_whole), T(failures_come_in_the_order_of_the_table),
	  T(misuse_is_refused), T(names_and_sentences_are_all_different))
