/* HMAC-SHA256 under one key many times: both padded keys are hashed once. */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "kms/crypto.h"

#define HASH 32
#define BLOCK 64
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

/* The states are as secret as the key. OpenSSL keeps them in guarded memory. */
struct kms_hmac_key {
	EVP_MD_CTX *inner;
	EVP_MD_CTX *outer;
	EVP_MD_CTX *work;
};

KMS_DEFINE_RELEASE(hmac_key_release, kms_hmac_key, kms_hmac_key_free)

void kms_hmac_key_free(kms_hmac_key *key)
{
	if (!key) return;
	EVP_MD_CTX_free(key->inner);
	EVP_MD_CTX_free(key->outer);
	EVP_MD_CTX_free(key->work);
	kms_heap_free(key);
}

_Static_assert(KMS_SECRET_MAX <= BLOCK, "a longer key would have to be hashed first (RFC 2104)");

/* A digest that has read the padded key. */
static kms_status start(EVP_MD_CTX **context, kms_span key, uint8_t pad)
{
	*context = EVP_MD_CTX_new();
	ENSURE(*context, kms_openssl_failure());
	DEFER(kms_guarded_release) uint8_t *block = kms_guarded_alloc(BLOCK);
	ENSURE(block, KMS_ERR_LOCKED_MEMORY);
	memcpy(block, key.bytes, key.len);
	for (size_t i = 0; i < BLOCK; i++)
		block[i] ^= pad;
	GUARD_OPENSSL(EVP_DigestInit_ex2(*context, kms_crypto_shared_get()->sha256, NULL));
	GUARD_OPENSSL(EVP_DigestUpdate(*context, block, BLOCK));
	return KMS_OK;
}

kms_status kms_hmac_key_new(kms_hmac_key **key, const kms_secret *secret)
{
	ENSURE_REF(key);
	*key = NULL;
	ENSURE_REF(secret);
	ENSURE(kms_crypto_shared_get(), KMS_ERR_STATE);
	DEFER(hmac_key_release) kms_hmac_key *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(start(&made->inner, kms_secret_span(secret), INNER_PAD));
	GUARD(start(&made->outer, kms_secret_span(secret), OUTER_PAD));
	made->work = EVP_MD_CTX_new();
	ENSURE(made->work, kms_openssl_failure());
	*key = made;
	made = NULL;
	return KMS_OK;
}

static kms_status digest(uint8_t digest32[HASH], EVP_MD_CTX *work, const EVP_MD_CTX *start,
			 const kms_span *spans, size_t count)
{
	GUARD_OPENSSL(EVP_MD_CTX_copy_ex(work, start));
	for (size_t i = 0; i < count; i++)
		if (spans[i].len) GUARD_OPENSSL(EVP_DigestUpdate(work, spans[i].bytes, spans[i].len));
	GUARD_OPENSSL(EVP_DigestFinal_ex(work, digest32, NULL));
	return KMS_OK;
}

kms_status kms_hmac_key_mac(uint8_t mac32[32], kms_hmac_key *key, const kms_span *spans, size_t count)
{
	ENSURE_REF(mac32);
	memset(mac32, 0, HASH);
	ENSURE_REF(key);
	ENSURE(spans || count == 0, KMS_ERR_ARGUMENT);
	for (size_t i = 0; i < count; i++)
		ENSURE(spans[i].bytes || spans[i].len == 0, KMS_ERR_ARGUMENT);
	const kms_span inner = kms_span_of(mac32, HASH);
	kms_status status = digest(mac32, key->work, key->inner, spans, count);
	if (status == KMS_OK) status = digest(mac32, key->work, key->outer, &inner, 1);
	if (status != KMS_OK) kms_wipe(mac32, HASH);
	return status;
}
