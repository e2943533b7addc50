/*
 * A test root (kms/attest.h): two keys of a seed, and certificates for them like those of a
 * Nitro chain. What these keys protect is development; OpenSSL keeps them in the arena.
 */
#include "attest/attest_root.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#include "crypto/crypto.h"
#include "base/mem.h"
#include "kms/p384.h"

#define SALT "nova-kms:attest"
#define SCALAR 48
#define ROOT_BEGINS 1577836800 /* 2020-01-01 */
#define ROOT_ENDS 2524607999   /* 2049-12-31 23:59:59, the last that UTCTime can say */

DEFINE_DEFER(guarded_release, uint8_t, kms_guarded_free)
DEFINE_DEFER(secret_release, kms_secret, kms_secret_unref)
DEFINE_DEFER(p384_release, kms_p384, kms_p384_free)
DEFINE_DEFER(builder_release, OSSL_PARAM_BLD, OSSL_PARAM_BLD_free)
DEFINE_DEFER(params_release, OSSL_PARAM, OSSL_PARAM_free)
DEFINE_DEFER(number_release, BIGNUM, BN_clear_free)
DEFINE_DEFER(key_ctx_release, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_DEFER(x509_release, X509, X509_free)
DEFINE_DEFER(root_release, kms_attest_root, kms_attest_root_free)
DEFINE_DEFER(constraints_release, BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free)
DEFINE_DEFER(bits_release, ASN1_BIT_STRING, ASN1_BIT_STRING_free)

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
	DEFER(guarded_release) uint8_t *bytes = kms_guarded_alloc(SCALAR);
	DEFER(secret_release) kms_secret *scalar = NULL;
	DEFER(p384_release) kms_p384 *pair = NULL;
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_hkdf_sha256(bytes, SCALAR, kms_secret_bytes(seed32), kms_secret_len(seed32),
			      (const uint8_t *)SALT, strlen(SALT), (const uint8_t *)use, strlen(use)));
	GUARD(kms_secret_new(&scalar, bytes, SCALAR));
	GUARD(kms_p384_new(&pair, scalar)); /* refuses what is no scalar, and knows the point */
	return import_key(key, scalar, kms_p384_public(pair));
}

/* ---- certificates ---------------------------------------------------------------------------------- */

static kms_status set_serial(X509 *certificate)
{
	uint8_t bytes[16];
	GUARD(kms_random(bytes, sizeof(bytes)));
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and of one length */
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
	GUARD(set_name(X509_get_issuer_name(certificate), KMS_ATTEST_ROOT_NAME));
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
	ENSURE(X509_sign(certificate, root->key, kms_algorithms_get()->sha384) > 0, kms_openssl_failure());
	int size = i2d_X509(certificate, NULL);
	ENSURE(size > 0 && size <= KMS_ATTEST_MAX_CERTIFICATE, kms_openssl_failure());
	unsigned char *at = der;
	ENSURE(i2d_X509(certificate, &at) == size, kms_openssl_failure());
	*len = (size_t)size;
	return KMS_OK;
}

kms_status kms_attest_leaf_issue(uint8_t der[KMS_ATTEST_MAX_CERTIFICATE], size_t *len,
				 const kms_attest_root *root, int64_t from_s, int64_t to_s)
{
	return issue(der, len, root, root->leaf, KMS_ATTEST_LEAF_NAME, from_s, to_s);
}

/* ---- roots ----------------------------------------------------------------------------------------- */

/* Takes over the certificate of an earlier run: of this key, or it is another seed's. */
static kms_status adopt(kms_attest_root *root, const uint8_t *der, size_t len)
{
	ENSURE(len > 0 && len <= sizeof(root->der), KMS_ERR_FILE_FORMAT);
	memcpy(root->der, der, len);
	root->der_len = len;
	kms_attest_failure unused;
	DEFER(x509_release) X509 *certificate = kms_attest_certificate_parse(kms_attest_root_der(root));
	if (certificate && X509_verify(certificate, root->key) == 1) return KMS_OK;
	kms_status status = kms_attest_refusal(&unused, KMS_ATTEST_ROOT);
	return status == KMS_ERR_ATTEST ? KMS_ERR_FILE_FORMAT : status;
}

kms_status kms_attest_root_new(kms_attest_root **root, const kms_secret *seed32, const uint8_t *der,
			       size_t der_len)
{
	ENSURE_REF(root);
	*root = NULL;
	ENSURE_REF(seed32);
	ENSURE(kms_secret_len(seed32) == 32, KMS_ERR_RANGE);
	ENSURE(kms_algorithms_get(), KMS_ERR_STATE);
	DEFER(root_release) kms_attest_root *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(seed_key(&made->key, seed32, "root"));
	GUARD(seed_key(&made->leaf, seed32, "leaf"));
	if (der)
		GUARD(adopt(made, der, der_len));
	else
		GUARD(issue(made->der, &made->der_len, made, made->key, KMS_ATTEST_ROOT_NAME, ROOT_BEGINS,
			    ROOT_ENDS));
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
	return (kms_span){ root->der, root->der_len };
}
