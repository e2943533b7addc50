/* ES384 over a payload: COSE_Sign1 with {1: -35} and no external data (RFC 9052 section 4.4). */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "attest/attest_internal.h"
#include "codec/cbor.h"
#include "crypto/crypto.h"

#define HALF (KMS_ES384_BYTES / 2)
#define MAX_DER 112 /* SEQUENCE of two INTEGERs of at most 49 bytes: 104 */
#define MAX_HEAD 32 /* of Sig_structure: 26 */

KMS_DEFINE_RELEASE(md_ctx_release, EVP_MD_CTX, EVP_MD_CTX_free)
KMS_DEFINE_RELEASE(signature_release, ECDSA_SIG, ECDSA_SIG_free)
KMS_DEFINE_RELEASE(number_release, BIGNUM, BN_free)

/* Sig_structure: ["Signature1", protected header, external data (empty), payload]. */
static kms_status put_head(kms_buf *head, size_t payload_len)
{
	GUARD(kms_cbor_put_head(head, KMS_CBOR_ARRAY, 4));
	GUARD(kms_cbor_put_text(head, "Signature1"));
	GUARD(kms_buf_append(head, KMS_SPAN(kms_cose_es384_header)));
	GUARD(kms_cbor_put_head(head, KMS_CBOR_BYTES, 0));
	return kms_cbor_put_head(head, KMS_CBOR_BYTES, payload_len);
}

static kms_status digest(uint8_t digest48[KMS_SHA384_BYTES], kms_span payload)
{
	const kms_crypto_shared *shared = kms_crypto_shared_get();
	ENSURE(shared, KMS_ERR_STATE);
	DEFER(kms_buf_free) kms_buf head = kms_buf_make(KMS_BUF_PLAIN, MAX_HEAD);
	DEFER(md_ctx_release) EVP_MD_CTX *context = EVP_MD_CTX_new();
	ENSURE(context, kms_openssl_failure());
	GUARD(put_head(&head, payload.len));
	GUARD_OPENSSL(EVP_DigestInit_ex2(context, shared->sha384, NULL));
	GUARD_OPENSSL(EVP_DigestUpdate(context, head.data, head.len));
	GUARD_OPENSSL(EVP_DigestUpdate(context, payload.bytes, payload.len));
	GUARD_OPENSSL(EVP_DigestFinal_ex(context, digest48, NULL));
	return KMS_OK;
}

/* r || s as the DER SEQUENCE that OpenSSL takes. */
static kms_status to_der(uint8_t der[MAX_DER], size_t *len, const uint8_t signature96[KMS_ES384_BYTES])
{
	unsigned char *at = der;
	DEFER(signature_release) ECDSA_SIG *pair = ECDSA_SIG_new();
	DEFER(number_release) BIGNUM *r = BN_bin2bn(signature96, HALF, NULL);
	DEFER(number_release) BIGNUM *s = BN_bin2bn(signature96 + HALF, HALF, NULL);
	ENSURE(pair && r && s, kms_openssl_failure());
	GUARD_OPENSSL(ECDSA_SIG_set0(pair, r, s));
	r = NULL;
	s = NULL;
	int size = i2d_ECDSA_SIG(pair, NULL);
	ENSURE(size > 0 && size <= MAX_DER, kms_openssl_failure());
	*len = (size_t)size;
	ENSURE(i2d_ECDSA_SIG(pair, &at) == size, kms_openssl_failure());
	return KMS_OK;
}

kms_status kms_es384_verify(kms_attest_failure *failure, EVP_PKEY *key, kms_span payload,
			    const uint8_t signature96[KMS_ES384_BYTES])
{
	uint8_t digest48[KMS_SHA384_BYTES], der[MAX_DER];
	size_t len = 0;
	GUARD(digest(digest48, payload));
	GUARD(to_der(der, &len, signature96));
	DEFER(key_ctx_release) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	ENSURE(context, kms_openssl_failure());
	GUARD_OPENSSL(EVP_PKEY_verify_init(context));
	if (EVP_PKEY_verify(context, der, len, digest48, sizeof(digest48)) == 1) return KMS_OK;
	return kms_attest_refusal(failure, KMS_ATTEST_SIGNATURE);
}

static kms_status from_der(uint8_t signature96[KMS_ES384_BYTES], const uint8_t *der, size_t len)
{
	DEFER(signature_release) ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
	ENSURE(pair, kms_openssl_failure());
	ENSURE(BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature96, HALF) == HALF &&
		   BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature96 + HALF, HALF) == HALF,
	       kms_openssl_failure());
	return KMS_OK;
}

kms_status kms_es384_sign(uint8_t signature96[KMS_ES384_BYTES], EVP_PKEY *key, kms_span payload)
{
	uint8_t digest48[KMS_SHA384_BYTES], der[MAX_DER];
	size_t len = sizeof(der);
	memset(signature96, 0, KMS_ES384_BYTES);
	GUARD(digest(digest48, payload));
	DEFER(key_ctx_release) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	ENSURE(context, kms_openssl_failure());
	GUARD_OPENSSL(EVP_PKEY_sign_init(context));
	GUARD_OPENSSL(EVP_PKEY_sign(context, der, &len, digest48, sizeof(digest48)));
	return from_der(signature96, der, len);
}
