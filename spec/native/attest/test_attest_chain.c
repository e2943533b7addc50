/*
 * Verifying the certificates and the signature of a document: for each check, documents that are
 * broken in this one way, and documents just within the limit.
 */
#include "attest_kit.h"

static doc d;

TEST(root_must_be_a_pinned_one)
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
	/* Neither another certificate of the chain, nor another root of the same name. */
	CHECK_OK(kms_sha256(roots[2], kms_span_of(d.der[1].data, d.der[1].len)));
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

TEST(chain_each_certificate_is_signed_by_the_one_before)
{
	EVP_PKEY *stranger = new_key("P-384"), *small = new_key("P-256"), *other = new_key("secp521r1");
	for (size_t i = 1; i < 4; i++) {
		CHANGED(i, signer, stranger, CHAIN);
		CHANGED(i, issuer, "somebody", CHAIN);
		CHANGED(i, digest, EVP_sha256(), CHAIN);
		CHANGED(i, digest, EVP_sha512(), CHAIN);
	}
	/* A root is trusted by its hash: its own signature does not matter. */
	CHANGED(0, signer, stranger, NONE);
	/* Keys of other curves may not sign, though their signatures would verify. */
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

TEST(chain_malformed_certificates_are_refused)
{
	honest(&d, 4);
	kms_attest_policy policy = lenient(&d);
	bytes der[4];
	for (size_t i = 0; i < 4; i++)
		der[i] = d.der[i];
	for (size_t i = 1; i < 4; i++) {
		/* A byte too many, a byte too few, another type in the outer head. */
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
	/* BER: an indefinite outer length, which OpenSSL accepts. */
	d.der[2].len = 0;
	PUT(&d.der[2], "\x30\x80");
	put(&d.der[2], der[2].data + 4, der[2].len - 4);
	PUT(&d.der[2], "\0\0");
	put_chain(&d);
	assemble(&d);
	EXPECT(&d, &policy, CHAIN);
	/* Out of order, and with a gap. */
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
	/* Nine with an unused one: the leaf is signed by the seventh. */
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
	CHECK_OK(kms_attest_read(&facts, &failure, out_of(&d)));
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
	/* Certificates below: two, one and none. At the path length, and one beyond it. */
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

/* OpenSSL knows these extensions, so it does not flag them; the verifier must enforce them. */
TEST(constraints_known_but_not_enforced_are_refused_when_critical)
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

TEST(validity_is_checked_to_the_second)
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

/* Of all certificates only the leaf is made with the document. */
TEST(the_leaf_may_begin_ahead_as_the_timestamp_may)
{
	for (size_t i = 0; i < 4; i++) {
		plan(&d, 4);
		d.certs[i].from_s = KIT_NOW_S + 5;
		build_certs(&d);
		put_chain(&d);
		assemble(&d);
		kms_attest_policy policy = lenient(&d);
		policy.max_ahead_ms = (uint64_t)(KIT_NOW_S + 5) * 1000 - policy.now_ms - 1;
		EXPECT(&d, &policy, NOT_YET_VALID);
		policy.max_ahead_ms++;
		if (i == 3)
			EXPECT(&d, &policy, NONE);
		else
			EXPECT(&d, &policy, NOT_YET_VALID);
	}
}

/* Gives the leaf of a chain of two another notAfter, and signs it again. */
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

TEST(validity_times_have_one_form)
{
	static const struct {
		const char *time;
		int type;
		kms_attest_failure failure;
	} cases[] = {
		{ "270115080000Z", V_ASN1_UTCTIME, KMS_ATTEST_NONE },
		{ "20270115080000Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_NONE },
		{ "99991231235959Z", V_ASN1_GENERALIZEDTIME, KMS_ATTEST_NONE },
		/* No seconds, another time zone, no time zone, a fraction, another form. */
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
	d.indefinite = true; /* another encoding of the same map */
	assemble(&d);
	EXPECT(&d, &policy, SIGNATURE);
	d.indefinite = false;
	assemble(&d);
	EXPECT(&d, &policy, NONE);
	/* Signed by another certificate of the chain. */
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

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(root_must_be_a_pinned_one),
	  T(chain_each_certificate_is_signed_by_the_one_before), T(chain_malformed_certificates_are_refused),
	  T(chain_has_eight_certificates_at_the_most), T(constraints_hold_for_each),
	  T(constraints_unknown_critical_extensions_and_old_versions_are_refused),
	  T(constraints_known_but_not_enforced_are_refused_when_critical),
	  T(validity_is_checked_to_the_second), T(the_leaf_may_begin_ahead_as_the_timestamp_may),
	  T(validity_times_have_one_form), T(signature_is_the_leafs_over_exactly_this_payload),
	  T(signature_needs_a_p384_leaf))
