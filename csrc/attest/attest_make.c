/*
 * Making documents for development (kms/attest.h): a test root, which is two keys of a seed and
 * certificates like those of a Nitro chain, and documents of the device's shape under it. OpenSSL
 * keeps the keys in the guarded arena.
 */
#include "attest/attest_internal.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "codec/cbor.h"
#include "crypto/crypto.h"
#include "kms/kdf.h"
#include "kms/p384.h"

#define ROOT_NAME "nova-kms simulated attestation root"
#define LEAF_NAME "nova-kms simulated enclave"
#define SALT "nova-kms:attest"
#define SCALAR 48
#define ROOT_BEGINS 1577836800 /* 2020-01-01 */
#define ROOT_ENDS 2524607999   /* 2049-12-31 23:59:59, the last second of UTCTime */
#define SIMULATED_PCRS 16      /* as many as the device gives */
#define BEFORE_S 3             /* validity of the leaf around the timestamp, as the device has it */
#define AFTER_S (3 * 3600)

struct kms_attest_root {
	EVP_PKEY *key;
	EVP_PKEY *leaf;
	size_t der_len;
	uint8_t der[KMS_ATTEST_MAX_CERTIFICATE];
};

KMS_DEFINE_RELEASE(builder_release, OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
KMS_DEFINE_RELEASE(params_release, OSSL_PARAM, OSSL_PARAM_free)
KMS_DEFINE_RELEASE(number_release, BIGNUM, BN_clear_free)
KMS_DEFINE_RELEASE(root_release, kms_attest_root, kms_attest_root_free)
KMS_DEFINE_RELEASE(constraints_release, BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free)
KMS_DEFINE_RELEASE(bits_release, ASN1_BIT_STRING, ASN1_BIT_STRING_free)

/* ---- keys ------------------------------------------------------------------------------------------ */

static kms_status import_key(EVP_PKEY **key, const kms_secret *scalar48, const uint8_t point97[97])
{
	DEFER(builder_release) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	DEFER(number_release) BIGNUM *scalar = BN_bin2bn(kms_secret_bytes(scalar48), SCALAR, NULL);
	DEFER(key_ctx_release) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	ENSURE(builder && scalar && context, kms_openssl_failure());
	GUARD_OPENSSL(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, SN_secp384r1, 0));
	GUARD_OPENSSL(
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point97, KMS_P384_POINT));
	GUARD_OPENSSL(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, scalar));
	DEFER(params_release) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	ENSURE(params, kms_openssl_failure());
	GUARD_OPENSSL(EVP_PKEY_fromdata_init(context));
	GUARD_OPENSSL(EVP_PKEY_fromdata(context, key, EVP_PKEY_KEYPAIR, params));
	return KMS_OK;
}

static kms_status seed_key(EVP_PKEY **key, const kms_secret *seed32, const char *use)
{
	DEFER(kms_guarded_release) uint8_t *bytes = kms_guarded_alloc(SCALAR);
	DEFER(kms_secret_release) kms_secret *scalar = NULL;
	DEFER(kms_p384_release) kms_p384 *pair = NULL;
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hkdf_sha256(kms_out_of(bytes, SCALAR), kms_secret_span(seed32), KMS_BYTES(SALT),
			      kms_text_span(kms_text_from(use))));
	GUARD(kms_secret_new(&scalar, kms_span_of(bytes, SCALAR)));
	GUARD(kms_p384_new(&pair, scalar)); /* refuses a scalar out of range, computes the point */
	return import_key(key, scalar, kms_p384_public(pair));
}

/* ---- certificates ---------------------------------------------------------------------------------- */

static kms_status set_serial(X509 *certificate)
{
	uint8_t bytes[16];
	GUARD(kms_random(KMS_OUT(bytes)));
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always 16 bytes */
	GUARD_OPENSSL(ASN1_STRING_set(X509_get_serialNumber(certificate), bytes, sizeof(bytes)));
	return KMS_OK;
}

static kms_status set_name(X509_NAME *name, const char *common_name)
{
	GUARD_OPENSSL(X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_ASC,
						 (const unsigned char *)"nova-kms", -1, -1, 0));
	GUARD_OPENSSL(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
						 (const unsigned char *)common_name, -1, -1, 0));
	return KMS_OK;
}

static kms_status set_names(X509 *certificate, const char *subject)
{
	GUARD(set_name(X509_get_issuer_name(certificate), ROOT_NAME));
	return set_name(X509_get_subject_name(certificate), subject);
}

static kms_status set_validity(X509 *certificate, int64_t from_s, int64_t to_s)
{
	ENSURE(ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)from_s), kms_openssl_failure());
	ENSURE(ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)to_s), kms_openssl_failure());
	return KMS_OK;
}

/* Bits of key usage as RFC 5280 section 4.2.1.3 numbers them. */
#define USE_SIGN 0
#define USE_CERTIFY 5

static kms_status set_extensions(X509 *certificate, bool is_ca)
{
	DEFER(constraints_release) BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	DEFER(bits_release) ASN1_BIT_STRING *use = ASN1_BIT_STRING_new();
	ENSURE(constraints && use, kms_openssl_failure());
	constraints->ca = is_ca ? 0xff : 0;
	GUARD_OPENSSL(ASN1_BIT_STRING_set_bit(use, is_ca ? USE_CERTIFY : USE_SIGN, 1));
	GUARD_OPENSSL(
	    X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT));
	GUARD_OPENSSL(X509_add1_ext_i2d(certificate, NID_key_usage, use, 1, X509V3_ADD_DEFAULT));
	return KMS_OK;
}

static kms_status issue(uint8_t der[KMS_ATTEST_MAX_CERTIFICATE], size_t *len, const kms_attest_root *root,
			EVP_PKEY *key, const char *subject, int64_t from_s, int64_t to_s)
{
	bool is_ca = key == root->key;
	DEFER(x509_release) X509 *certificate = X509_new();
	ENSURE(certificate, kms_openssl_failure());
	GUARD_OPENSSL(X509_set_version(certificate, X509_VERSION_3));
	GUARD(set_serial(certificate));
	GUARD(set_names(certificate, subject));
	GUARD(set_validity(certificate, from_s, to_s));
	GUARD_OPENSSL(X509_set_pubkey(certificate, key));
	GUARD(set_extensions(certificate, is_ca));
	ENSURE(X509_sign(certificate, root->key, kms_crypto_shared_get()->sha384) > 0, kms_openssl_failure());
	int size = i2d_X509(certificate, NULL);
	ENSURE(size > 0 && size <= KMS_ATTEST_MAX_CERTIFICATE, kms_openssl_failure());
	unsigned char *at = der;
	ENSURE(i2d_X509(certificate, &at) == size, kms_openssl_failure());
	*len = (size_t)size;
	return KMS_OK;
}

/* A certificate of the leaf's key, valid from and to these Unix seconds, inclusive. */
static kms_status issue_leaf(uint8_t der[KMS_ATTEST_MAX_CERTIFICATE], size_t *len,
			     const kms_attest_root *root, int64_t from_s, int64_t to_s)
{
	return issue(der, len, root, root->leaf, LEAF_NAME, from_s, to_s);
}

/* ---- roots ----------------------------------------------------------------------------------------- */

/* Takes the certificate of an earlier run, which must be signed by this seed's key. */
static kms_status adopt(kms_attest_root *root, kms_span der)
{
	ENSURE(der.len > 0 && der.len <= sizeof(root->der), KMS_ERR_FILE_FORMAT);
	memcpy(root->der, der.bytes, der.len);
	root->der_len = der.len;
	kms_attest_failure unused;
	DEFER(x509_release) X509 *certificate = kms_attest_certificate_parse(kms_attest_root_der(root));
	if (certificate && X509_verify(certificate, root->key) == 1) return KMS_OK;
	kms_status status = kms_attest_refusal(&unused, KMS_ATTEST_ROOT);
	return status == KMS_ERR_ATTEST ? KMS_ERR_FILE_FORMAT : status;
}

kms_status kms_attest_root_new(kms_attest_root **root, const kms_secret *seed32, kms_span certificate)
{
	ENSURE_REF(root);
	*root = NULL;
	ENSURE_REF(seed32);
	ENSURE(kms_secret_len(seed32) == 32, KMS_ERR_RANGE);
	ENSURE(kms_crypto_shared_get(), KMS_ERR_STATE);
	DEFER(root_release) kms_attest_root *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(seed_key(&made->key, seed32, "root"));
	GUARD(seed_key(&made->leaf, seed32, "leaf"));
	if (certificate.bytes)
		GUARD(adopt(made, certificate));
	else
		GUARD(issue(made->der, &made->der_len, made, made->key, ROOT_NAME, ROOT_BEGINS, ROOT_ENDS));
	*root = made;
	made = NULL;
	return KMS_OK;
}

void kms_attest_root_free(kms_attest_root *root)
{
	if (!root) return;
	EVP_PKEY_free(root->key);
	EVP_PKEY_free(root->leaf);
	kms_heap_free(root);
}

kms_span kms_attest_root_der(const kms_attest_root *root)
{
	return kms_span_of(root->der, root->der_len);
}

/* ---- documents -------------------------------------------------------------------------------------- */

static const uint8_t zero_pcr[KMS_ATTEST_PCR_BYTES];

static kms_status put_field(kms_buf *out, const char *name, kms_span bytes)
{
	GUARD(kms_cbor_put_text(out, name));
	return kms_cbor_put_bytes(out, bytes);
}

static bool is_named(const kms_attest_pcrs *pcrs, size_t index)
{
	return pcrs && pcrs->named & 1u << index;
}

/* The first 16 registers always, others only when named. */
static kms_status put_pcrs(kms_buf *out, const kms_attest_pcrs *pcrs)
{
	size_t count = SIMULATED_PCRS;
	for (size_t i = SIMULATED_PCRS; i < KMS_ATTEST_PCR_COUNT; i++)
		count += is_named(pcrs, i);
	GUARD(kms_cbor_put_text(out, "pcrs"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_MAP, count));
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++) {
		bool named = is_named(pcrs, i);
		if (i >= SIMULATED_PCRS && !named) continue;
		kms_span pcr = { named ? pcrs->values[i] : zero_pcr, KMS_ATTEST_PCR_BYTES };
		GUARD(kms_cbor_put_head(out, KMS_CBOR_UINT, i));
		GUARD(kms_cbor_put_bytes(out, pcr));
	}
	return KMS_OK;
}

static kms_status put_chain(kms_buf *out, const kms_attest_root *root, uint64_t now_ms)
{
	uint8_t leaf[KMS_ATTEST_MAX_CERTIFICATE];
	size_t len = 0;
	int64_t now_s = (int64_t)(now_ms / 1000);
	GUARD(issue_leaf(leaf, &len, root, now_s - BEFORE_S, now_s + AFTER_S));
	GUARD(put_field(out, "certificate", kms_span_of(leaf, len)));
	GUARD(kms_cbor_put_text(out, "cabundle"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_ARRAY, 1));
	return kms_cbor_put_bytes(out, kms_attest_root_der(root));
}

/* In the device's order and, like the device's own, a map of indefinite length. */
static kms_status put_payload(kms_buf *out, const kms_attest_root *root, const kms_attest_claims *claims)
{
	GUARD(kms_cbor_put_byte(out, KMS_CBOR_INDEFINITE_MAP));
	GUARD(kms_cbor_put_text(out, "module_id"));
	GUARD(kms_cbor_put_text(out, "simulated"));
	GUARD(kms_cbor_put_text(out, "digest"));
	GUARD(kms_cbor_put_text(out, "SHA384"));
	GUARD(kms_cbor_put_text(out, "timestamp"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_UINT, claims->now_ms));
	GUARD(put_pcrs(out, claims->pcrs));
	GUARD(put_chain(out, root, claims->now_ms));
	GUARD(put_field(out, "public_key", claims->public_key));
	GUARD(put_field(out, "user_data", claims->user_data));
	GUARD(put_field(out, "nonce", claims->nonce));
	return kms_cbor_put_byte(out, KMS_CBOR_BREAK);
}

static kms_status put_document(kms_buf *out, const kms_buf *payload,
			       const uint8_t signature96[KMS_ES384_BYTES])
{
	GUARD(kms_cbor_put_head(out, KMS_CBOR_ARRAY, 4));
	GUARD(kms_buf_append(out, KMS_SPAN(kms_cose_es384_header)));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_MAP, 0));
	GUARD(kms_cbor_put_bytes(out, kms_span_of(payload->data, payload->len)));
	return kms_cbor_put_bytes(out, kms_span_of(signature96, KMS_ES384_BYTES));
}

static kms_status check(const kms_attest_claims *claims)
{
	ENSURE(claims->now_ms >= BEFORE_S * 1000 && claims->now_ms <= KMS_ATTEST_MAX_TIME_MS - AFTER_S * 1000,
	       KMS_ERR_FIELD_VALUE);
	ENSURE(!claims->public_key.bytes ||
		   (claims->public_key.len > 0 && claims->public_key.len <= KMS_ATTEST_MAX_PUBLIC_KEY),
	       KMS_ERR_FIELD_VALUE);
	ENSURE(claims->user_data.len <= KMS_ATTEST_MAX_DATA, KMS_ERR_FIELD_VALUE);
	ENSURE(claims->nonce.len <= KMS_ATTEST_MAX_DATA, KMS_ERR_FIELD_VALUE);
	return KMS_OK;
}

kms_status kms_attest_make(kms_buf *document, const kms_attest_root *root, const kms_attest_claims *claims)
{
	uint8_t signature[KMS_ES384_BYTES];
	ENSURE(document && root && claims, KMS_ERR_ARGUMENT);
	GUARD(check(claims));
	DEFER(kms_buf_free) kms_buf payload = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	DEFER(kms_buf_free) kms_buf made = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	GUARD(put_payload(&payload, root, claims));
	GUARD(kms_es384_sign(signature, root->leaf, kms_span_of(payload.data, payload.len)));
	GUARD(put_document(&made, &payload, signature));
	return kms_buf_append(document, kms_buf_span(&made));
}
