/* SHA-256, HMAC-SHA256 and HKDF-SHA256. */
#include <string.h>

#include "core/crypto.h"
#include "core/safe.h"
#include "kms/crypto.h"

#define HASH 32
#define MAX_BLOCKS 255

kms_status kms_sha256(uint8_t digest32[32], const uint8_t *bytes, size_t len)
{
	ENSURE_REF(digest32);
	memset(digest32, 0, HASH);
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	kms_contexts *contexts;
	GUARD(kms_contexts_get(&contexts));
	GUARD_OPENSSL(EVP_DigestInit_ex2(contexts->sha256, kms_algorithms_get()->sha256, NULL));
	GUARD_OPENSSL(EVP_DigestUpdate(contexts->sha256, bytes, len));
	GUARD_OPENSSL(EVP_DigestFinal_ex(contexts->sha256, digest32, NULL));
	return KMS_OK;
}

static const uint8_t zero_key[HASH];

/* A key must not stay in the context until the thread's next use of it, days later perhaps. */
static void forget_key(kms_contexts **contexts)
{
	if (!*contexts) return;
	kms_wipe((*contexts)->scratch, sizeof((*contexts)->scratch));
	if (EVP_MAC_init((*contexts)->hmac, zero_key, sizeof(zero_key), NULL) != 1)
		(void)kms_openssl_failure(); /* out of memory: OpenSSL has dropped the old key first */
}

static kms_status mac_start(EVP_MAC_CTX *mac, const uint8_t *key, size_t len)
{
	GUARD_OPENSSL(EVP_MAC_init(mac, key, len, NULL));
	return KMS_OK;
}

static kms_status mac_add(EVP_MAC_CTX *mac, const uint8_t *bytes, size_t len)
{
	if (len) GUARD_OPENSSL(EVP_MAC_update(mac, bytes, len));
	return KMS_OK;
}

static kms_status mac_end(uint8_t mac32[HASH], EVP_MAC_CTX *mac)
{
	size_t written;
	GUARD_OPENSSL(EVP_MAC_final(mac, mac32, &written, HASH));
	return KMS_OK;
}

static kms_status hmac(uint8_t mac32[HASH], EVP_MAC_CTX *mac, const uint8_t *key, size_t key_len,
		       const uint8_t *bytes, size_t len)
{
	GUARD(mac_start(mac, key, key_len));
	GUARD(mac_add(mac, bytes, len));
	return mac_end(mac32, mac);
}

kms_status kms_hmac_sha256(uint8_t mac32[32], const kms_secret *key, const uint8_t *bytes, size_t len)
{
	ENSURE_REF(mac32);
	memset(mac32, 0, HASH);
	ENSURE_REF(key);
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_contexts *contexts = NULL;
	GUARD(kms_contexts_get(&contexts));
	return hmac(mac32, contexts->hmac, kms_secret_bytes(key), kms_secret_len(key), bytes, len);
}

/* T(n) = HMAC(PRK, T(n - 1) || info || n), in `block32` in place (RFC 5869 section 2.3). */
static kms_status expand_block(uint8_t block32[HASH], EVP_MAC_CTX *mac, const uint8_t prk32[HASH],
			       const uint8_t *info, size_t info_len, uint8_t n)
{
	GUARD(mac_start(mac, prk32, HASH));
	GUARD(mac_add(mac, block32, n == 1 ? 0 : HASH));
	GUARD(mac_add(mac, info, info_len));
	GUARD(mac_add(mac, &n, 1));
	return mac_end(block32, mac);
}

static kms_status hkdf(uint8_t *okm, size_t len, kms_contexts *contexts, const uint8_t *ikm, size_t ikm_len,
		       const uint8_t *salt, size_t salt_len, const uint8_t *info, size_t info_len)
{
	uint8_t *prk = contexts->scratch;
	uint8_t *block = contexts->scratch + HASH;
	/* An absent salt is HashLen zeros (section 2.2); OpenSSL takes an empty key for "the same". */
	const uint8_t *key = salt_len ? salt : zero_key;
	GUARD(hmac(prk, contexts->hmac, key, salt_len ? salt_len : HASH, ikm, ikm_len));
	uint8_t n = 0;
	for (size_t done = 0; done < len; done += HASH) {
		size_t part = len - done < HASH ? len - done : HASH;
		GUARD(expand_block(block, contexts->hmac, prk, info, info_len, ++n));
		memcpy(okm + done, block, part);
	}
	return KMS_OK;
}

kms_status kms_hkdf_sha256(uint8_t *okm, size_t len, const uint8_t *ikm, size_t ikm_len, const uint8_t *salt,
			   size_t salt_len, const uint8_t *info, size_t info_len)
{
	ENSURE_REF(okm);
	ENSURE(len >= 1 && len <= (size_t)HASH * MAX_BLOCKS, KMS_ERR_RANGE);
	memset(okm, 0, len);
	ENSURE(ikm || ikm_len == 0, KMS_ERR_ARGUMENT);
	ENSURE(salt || salt_len == 0, KMS_ERR_ARGUMENT);
	ENSURE(info || info_len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_contexts *contexts = NULL;
	GUARD(kms_contexts_get(&contexts));
	kms_status status = hkdf(okm, len, contexts, ikm, ikm_len, salt, salt_len, info, info_len);
	if (status != KMS_OK) kms_wipe(okm, len);
	return status;
}
