/*
 * Attestation documents for tests, honest or broken in one way. The kit uses OpenSSL and literal
 * bytes, not the core's encoder, so that the core cannot make the same mistake on both sides. A
 * failure of the kit itself ends the program.
 */
#ifndef KMS_SPEC_ATTEST_KIT_H
#define KMS_SPEC_ATTEST_KIT_H

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "kms/attest.h"
#include "base/ensure.h"
#include "material.h"

#define KIT_NOW_MS 1800000000500u /* 2027-01-15 */
#define KIT_NOW_S INT64_C(1800000000)
#define KIT_DAY 86400

#define KIT_MUST(cond)                                                             \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(2);                                                   \
		}                                                                  \
	} while (0)

/* ---- bytes --------------------------------------------------------------------------------- */

typedef struct bytes {
	uint8_t data[20480];
	size_t len;
} bytes;

static inline void put(bytes *out, const void *data, size_t len)
{
	KIT_MUST(out->len + len <= sizeof(out->data));
	if (len) memcpy(out->data + out->len, data, len);
	out->len += len;
}

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

static inline void put_head(bytes *out, unsigned major, uint64_t n)
{
	uint8_t head[9];
	size_t len = n < 24 ? 0 : n < 256 ? 1 : n < 65536 ? 2 : n <= 0xffffffffu ? 4 : 8;
	head[0] = (uint8_t)(major << 5 | (len == 0 ? n : len == 1 ? 24 : len == 2 ? 25 : len == 4 ? 26 : 27));
	for (size_t i = 0; i < len; i++)
		head[1 + i] = (uint8_t)(n >> 8 * (len - 1 - i));
	put(out, head, 1 + len);
}

static inline void put_bytes(bytes *out, const void *data, size_t len)
{
	put_head(out, 2, len);
	put(out, data, len);
}

static inline void put_text(bytes *out, const char *text)
{
	put_head(out, 3, strlen(text));
	put(out, text, strlen(text));
}

static inline void put_filled(bytes *out, unsigned major, uint8_t byte, size_t len)
{
	put_head(out, major, len);
	for (size_t i = 0; i < len; i++)
		put(out, &byte, 1);
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* The plan of a certificate; tests change members of an honest one. */
typedef struct cert {
	const char *subject, *issuer;
	EVP_PKEY *key, *signer;
	const EVP_MD *digest;
	int64_t from_s, to_s;
	int version;
	int ca;      /* 1, 0, -1: no basicConstraints */
	int pathlen; /* -1: none */
	int usage;   /* bit of keyUsage, -1: none */
	bool odd_extension, odd_critical;
	const char *constraint; /* a further extension, in OpenSSL's configuration syntax; NULL: none */
	int constraint_nid;
} cert;

static inline EVP_PKEY *new_key(const char *curve)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
	KIT_MUST(key);
	return key;
}

static inline void name_it(X509_NAME *name, const char *text)
{
	KIT_MUST(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)text, -1,
					    -1, 0));
}

static inline void add_extensions(X509 *x, const cert *c)
{
	if (c->ca >= 0) {
		BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
		constraints->ca = c->ca ? 0xff : 0;
		if (c->pathlen >= 0) {
			constraints->pathlen = ASN1_INTEGER_new();
			KIT_MUST(ASN1_INTEGER_set(constraints->pathlen, c->pathlen));
		}
		KIT_MUST(X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, 0) == 1);
		BASIC_CONSTRAINTS_free(constraints);
	}
	if (c->usage >= 0) {
		ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
		KIT_MUST(ASN1_BIT_STRING_set_bit(usage, c->usage, 1));
		KIT_MUST(X509_add1_ext_i2d(x, NID_key_usage, usage, 1, 0) == 1);
		ASN1_BIT_STRING_free(usage);
	}
	if (c->odd_extension) {
		ASN1_OBJECT *type = OBJ_txt2obj("1.3.6.1.4.1.99999.7", 1);
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		KIT_MUST(ASN1_OCTET_STRING_set(value, (const uint8_t *)"\5\0", 2));
		X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, type, c->odd_critical, value);
		KIT_MUST(X509_add_ext(x, extension, -1));
		X509_EXTENSION_free(extension);
		ASN1_OCTET_STRING_free(value);
		ASN1_OBJECT_free(type);
	}
	if (c->constraint) {
		X509_EXTENSION *known = X509V3_EXT_conf_nid(NULL, NULL, c->constraint_nid, c->constraint);
		KIT_MUST(known && X509_add_ext(x, known, -1));
		X509_EXTENSION_free(known);
	}
}

/*
 * Signs as X509_sign does, and keeps the version: OpenSSL 3.5 turns a certificate with extensions into
 * version 3 when it signs it.
 */
static inline void sign_cert(X509 *x, const cert *c)
{
	KIT_MUST(X509_sign(x, c->signer, c->digest) > 0);
	if (X509_get_version(x) == c->version) return;
	const ASN1_BIT_STRING *signature;
	uint8_t *tbs = NULL, made[1024];
	size_t len = sizeof(made);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	KIT_MUST(X509_set_version(x, c->version));
	int tbs_len = i2d_re_X509_tbs(x, &tbs);
	KIT_MUST(tbs_len > 0 && EVP_DigestSignInit(context, NULL, c->digest, NULL, c->signer) == 1 &&
		 EVP_DigestSign(context, made, &len, tbs, (size_t)tbs_len) == 1);
	X509_get0_signature(&signature, NULL, x);
	KIT_MUST(ASN1_STRING_set((ASN1_STRING *)(uintptr_t)signature, made, (int)len));
	EVP_MD_CTX_free(context);
	OPENSSL_free(tbs);
}

static inline void make_cert(bytes *der, const cert *c)
{
	X509 *x = X509_new();
	KIT_MUST(x && X509_set_version(x, c->version));
	KIT_MUST(ASN1_INTEGER_set(X509_get_serialNumber(x), 77));
	name_it(X509_get_subject_name(x), c->subject);
	name_it(X509_get_issuer_name(x), c->issuer);
	KIT_MUST(ASN1_TIME_set(X509_getm_notBefore(x), c->from_s) &&
		 ASN1_TIME_set(X509_getm_notAfter(x), c->to_s));
	KIT_MUST(X509_set_pubkey(x, c->key));
	add_extensions(x, c);
	sign_cert(x, c);
	uint8_t *at = der->data;
	KIT_MUST(i2d_X509(x, NULL) < (int)sizeof(der->data));
	der->len = (size_t)i2d_X509(x, &at);
	X509_free(x);
}

/* ---- documents --------------------------------------------------------------------------------- */

enum { MODULE_ID, DIGEST, TIMESTAMP, PCRS, CERTIFICATE, CABUNDLE, PUBLIC_KEY, USER_DATA, NONCE, FIELDS };

static const char *const field_names[FIELDS] = { "module_id",  "digest",      "timestamp",
						 "pcrs",       "certificate", "cabundle",
						 "public_key", "user_data",   "nonce" };

#define KIT_CHAIN 9 /* one more than documents may have */

/* A document in pieces, so that a test can replace any piece before assemble(). */
typedef struct doc {
	cert certs[KIT_CHAIN]; /* root first, leaf last */
	size_t chain_len;
	bytes der[KIT_CHAIN];
	uint8_t root32[32];
	bytes values[FIELDS]; /* encoded */
	char names[FIELDS][16];
	bool indefinite, leave_out[FIELDS], resign;
	bytes before, header, unprotected, payload, extra, signature, after;
	bytes out;
} doc;

static EVP_PKEY *kit_keys[KIT_CHAIN];
static const char *const kit_names[KIT_CHAIN] = { "root", "one", "two",   "three", "four",
						  "five", "six", "seven", "eight" };

/* Plans an honest chain of `len` certificates. */
static inline void plan_chain(doc *d, size_t len)
{
	d->chain_len = len;
	for (size_t i = 0; i < len; i++) {
		size_t by = i ? i - 1 : 0;
		bool leaf = i == len - 1;
		if (!kit_keys[i]) kit_keys[i] = new_key("P-384");
		d->certs[i] = (cert){ .subject = leaf ? "leaf" : kit_names[i],
				      .issuer = kit_names[by],
				      .key = kit_keys[i],
				      .signer = kit_keys[by],
				      .digest = EVP_sha384(),
				      .from_s = KIT_NOW_S - KIT_DAY,
				      .to_s = KIT_NOW_S + KIT_DAY,
				      .version = 2,
				      .ca = !leaf,
				      .pathlen = i == 0 || leaf ? -1 : (int)(len - 2 - i),
				      .usage = leaf ? 0 : 5 };
	}
}

static inline void plan_values(doc *d)
{
	for (size_t i = 0; i < FIELDS; i++) {
		d->values[i].len = 0;
		d->leave_out[i] = false;
		snprintf(d->names[i], sizeof(d->names[i]), "%s", field_names[i]);
	}
	put_text(&d->values[MODULE_ID], "i-0123-enc4567");
	put_text(&d->values[DIGEST], "SHA384");
	put_head(&d->values[TIMESTAMP], 0, KIT_NOW_MS - 1000);
	put_head(&d->values[PCRS], 5, 4);
	for (unsigned i = 0; i < 4; i++) {
		put_head(&d->values[PCRS], 0, i);
		put_filled(&d->values[PCRS], 2, (uint8_t)(0xa0 + i), 48);
	}
	put_filled(&d->values[PUBLIC_KEY], 2, 0x11, 120);
	put_filled(&d->values[USER_DATA], 2, 0x22, 20);
	put_filled(&d->values[NONCE], 2, 0x33, 32);
}

static inline void plan(doc *d, size_t chain_len)
{
	d->indefinite = false;
	d->resign = true;
	d->before.len = d->header.len = d->unprotected.len = d->extra.len = d->after.len = 0;
	PUT(&d->header, "\x44\xa1\x01\x38\x22");
	PUT(&d->unprotected, "\xa0");
	plan_chain(d, chain_len);
	plan_values(d);
}

static inline void build_certs(doc *d)
{
	for (size_t i = 0; i < d->chain_len; i++)
		make_cert(&d->der[i], &d->certs[i]);
	KIT_MUST(kms_sha256(d->root32, kms_span_of(d->der[0].data, d->der[0].len)) == KMS_OK);
}

static inline void put_chain(doc *d)
{
	const bytes *leaf = &d->der[d->chain_len - 1];
	d->values[CERTIFICATE].len = d->values[CABUNDLE].len = 0;
	put_bytes(&d->values[CERTIFICATE], leaf->data, leaf->len);
	put_head(&d->values[CABUNDLE], 4, d->chain_len - 1);
	for (size_t i = 0; i + 1 < d->chain_len; i++)
		put_bytes(&d->values[CABUNDLE], d->der[i].data, d->der[i].len);
}

static inline void build_payload(doc *d)
{
	size_t count = 0;
	d->payload.len = 0;
	for (size_t i = 0; i < FIELDS; i++)
		count += !d->leave_out[i];
	if (d->indefinite)
		PUT(&d->payload, "\xbf");
	else
		put_head(&d->payload, 5, count + (d->extra.len > 0));
	for (size_t i = 0; i < FIELDS; i++) {
		if (d->leave_out[i]) continue;
		put_text(&d->payload, d->names[i]);
		put(&d->payload, d->values[i].data, d->values[i].len);
	}
	put(&d->payload, d->extra.data, d->extra.len);
	if (d->indefinite) PUT(&d->payload, "\xff");
}

/* Signs the Sig_structure with the leaf's key: r || s. */
static inline void build_signature(doc *d)
{
	static bytes structure;
	uint8_t der[160], raw[96];
	size_t len = sizeof(der);
	const uint8_t *at = der;
	structure.len = 0;
	PUT(&structure, "\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40");
	put_bytes(&structure, d->payload.data, d->payload.len);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	KIT_MUST(EVP_DigestSignInit(context, NULL, EVP_sha384(), NULL, d->certs[d->chain_len - 1].key) == 1);
	KIT_MUST(EVP_DigestSign(context, der, &len, structure.data, structure.len) == 1);
	EVP_MD_CTX_free(context);
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);
	KIT_MUST(pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 48) == 48 &&
		 BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 48, 48) == 48);
	ECDSA_SIG_free(pair);
	d->signature.len = 0;
	put_bytes(&d->signature, raw, sizeof(raw));
}

/* Puts the pieces together; with `resign` false d->signature stays as it is. */
static inline void assemble(doc *d)
{
	build_payload(d);
	if (d->resign) build_signature(d);
	d->out.len = 0;
	put(&d->out, d->before.data, d->before.len);
	PUT(&d->out, "\x84");
	put(&d->out, d->header.data, d->header.len);
	put(&d->out, d->unprotected.data, d->unprotected.len);
	put_bytes(&d->out, d->payload.data, d->payload.len);
	put(&d->out, d->signature.data, d->signature.len);
	put(&d->out, d->after.data, d->after.len);
}

/* An honest document with new certificates. */
static inline void honest(doc *d, size_t chain_len)
{
	plan(d, chain_len);
	build_certs(d);
	put_chain(d);
	assemble(d);
}

static inline kms_span out_of(const doc *d)
{
	return kms_span_of(d->out.data, d->out.len);
}

/* A policy that honest documents pass: it checks the root and the time only. */
static inline kms_attest_policy lenient(const doc *d)
{
	kms_attest_policy policy = { 0 };
	policy.roots = &d->root32;
	policy.root_count = 1;
	policy.now_ms = KIT_NOW_MS;
	policy.max_age_ms = KMS_ATTEST_ANY_AGE;
	return policy;
}

/* The verification must end with the failure `want`, and zero its output. */
static inline void expect_failure(int *failed_, const doc *d, const kms_attest_policy *policy,
				  kms_attest_failure want)
{
	static const kms_attest_facts nothing;
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_status status = kms_attest_verify(&facts, &failure, out_of(d), policy);
	if (failure != want)
		fprintf(stderr, "got %s, want %s\n", kms_attest_failure_name(failure),
			kms_attest_failure_name(want));
	CHECK(failure == want);
	CHECK_STATUS(want == KMS_ATTEST_NONE ? KMS_OK : KMS_ERR_ATTEST, status);
	if (want != KMS_ATTEST_NONE) CHECK_MEM(&facts, &nothing, sizeof(facts));
}

/* Encodes a field of the test's document `d` anew; the statements put the bytes into `v`. */
#define VALUE(field, ...)                    \
	do {                                 \
		bytes *v = &d.values[field]; \
		v->len = 0;                  \
		__VA_ARGS__;                 \
		assemble(&d);                \
	} while (0)

#define EXPECT(d, policy, name) CALL(expect_failure, (d), (policy), KMS_ATTEST_##name)

#endif
