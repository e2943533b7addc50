/* SHA-256, HMAC-SHA256 and HKDF-SHA256. */
#include <string.h>

#include "crypto/crypto.h"
#include "base/ensure.h"
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

/* ---- HMAC (RFC 2104) on the thread's digest ---- */

/*
 * OpenSSL's own HMAC object copies digest contexts and allocates at each key, which costs four
 * times as much as the digests themselves, and every derived key takes three of them.
 */
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

/* Neither a key nor what it makes may stay until the thread's next use, days later perhaps. */
static void forget_key(kms_contexts **contexts)
{
	if (!*contexts) return;
	kms_wipe((*contexts)->scratch, sizeof((*contexts)->scratch));
	kms_wipe((*contexts)->pad, sizeof((*contexts)->pad));
	/* Starting anew clears the digest's state; where it fails, OpenSSL has dropped that first. */
	if (EVP_DigestInit_ex2((*contexts)->sha256, kms_algorithms_get()->sha256, NULL) != 1)
		(void)kms_openssl_failure();
}

static kms_status digest_start(kms_contexts *contexts)
{
	GUARD_OPENSSL(EVP_DigestInit_ex2(contexts->sha256, kms_algorithms_get()->sha256, NULL));
	return KMS_OK;
}

static kms_status mac_add(kms_contexts *contexts, const uint8_t *bytes, size_t len)
{
	if (len) GUARD_OPENSSL(EVP_DigestUpdate(contexts->sha256, bytes, len));
	return KMS_OK;
}

static kms_status digest_end(uint8_t digest32[HASH], kms_contexts *contexts)
{
	GUARD_OPENSSL(EVP_DigestFinal_ex(contexts->sha256, digest32, NULL));
	return KMS_OK;
}

/* Keys longer than a block are hashed first. */
static kms_status mac_start(kms_contexts *contexts, const uint8_t *key, size_t len)
{
	uint8_t *pad = contexts->pad;
	memset(pad, 0, sizeof(contexts->pad));
	if (len > sizeof(contexts->pad)) {
		GUARD(digest_start(contexts));
		GUARD(mac_add(contexts, key, len));
		GUARD(digest_end(pad, contexts));
	} else {
		memcpy(pad, key, len);
	}
	for (size_t i = 0; i < sizeof(contexts->pad); i++)
		pad[i] ^= INNER_PAD;
	GUARD(digest_start(contexts));
	return mac_add(contexts, pad, sizeof(contexts->pad));
}

static kms_status mac_end(uint8_t mac32[HASH], kms_contexts *contexts)
{
	uint8_t *pad = contexts->pad;
	GUARD(digest_end(mac32, contexts));
	for (size_t i = 0; i < sizeof(contexts->pad); i++)
		pad[i] ^= INNER_PAD ^ OUTER_PAD;
	GUARD(digest_start(contexts));
	GUARD(mac_add(contexts, pad, sizeof(contexts->pad)));
	GUARD(mac_add(contexts, mac32, HASH));
	return digest_end(mac32, contexts);
}

static kms_status hmac(uint8_t mac32[HASH], kms_contexts *contexts, const uint8_t *key, size_t key_len,
		       const uint8_t *bytes, size_t len)
{
	GUARD(mac_start(contexts, key, key_len));
	GUARD(mac_add(contexts, bytes, len));
	return mac_end(mac32, contexts);
}

static kms_status hmac_spans(uint8_t mac32[HASH], kms_contexts *contexts, const kms_secret *key,
			     const kms_span *spans, size_t count)
{
	GUARD(mac_start(contexts, kms_secret_bytes(key), kms_secret_len(key)));
	for (size_t i = 0; i < count; i++)
		GUARD(mac_add(contexts, spans[i].bytes, spans[i].len));
	return mac_end(mac32, contexts);
}

kms_status kms_hmac_sha256_spans(uint8_t mac32[32], const kms_secret *key, const kms_span *spans,
				 size_t count)
{
	ENSURE_REF(mac32);
	memset(mac32, 0, HASH);
	ENSURE_REF(key);
	ENSURE(spans || count == 0, KMS_ERR_ARGUMENT);
	for (size_t i = 0; i < count; i++)
		ENSURE(spans[i].bytes || spans[i].len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_contexts *contexts = NULL;
	GUARD(kms_contexts_get(&contexts));
	kms_status status = hmac_spans(mac32, contexts, key, spans, count);
	if (status != KMS_OK) kms_wipe(mac32, HASH);
	return status;
}

kms_status kms_hmac_sha256(uint8_t mac32[32], const kms_secret *key, const uint8_t *bytes, size_t len)
{
	kms_span all = { bytes, len };
	return kms_hmac_sha256_spans(mac32, key, &all, 1);
}

/* ---- HKDF (RFC 5869) ---- */

/* T(n) = HMAC(PRK, T(n - 1) || info || n), in `block32` in place (section 2.3). */
static kms_status expand_block(uint8_t block32[HASH], kms_contexts *contexts, const uint8_t prk32[HASH],
			       const uint8_t *info, size_t info_len, uint8_t n)
{
	GUARD(mac_start(contexts, prk32, HASH));
	GUARD(mac_add(contexts, block32, n == 1 ? 0 : HASH));
	GUARD(mac_add(contexts, info, info_len));
	GUARD(mac_add(contexts, &n, 1));
	return mac_end(block32, contexts);
}

static kms_status hkdf(uint8_t *okm, size_t len, kms_contexts *contexts, const uint8_t *ikm, size_t ikm_len,
		       const uint8_t *salt, size_t salt_len, const uint8_t *info, size_t info_len)
{
	uint8_t *prk = contexts->scratch;
	uint8_t *block = contexts->scratch + HASH;
	/* An absent salt is HashLen zeros (section 2.2). */
	const uint8_t *key = salt_len ? salt : zero_key;
	GUARD(hmac(prk, contexts, key, salt_len ? salt_len : HASH, ikm, ikm_len));
	uint8_t n = 0;
	for (size_t done = 0; done < len; done += HASH) {
		size_t part = len - done < HASH ? len - done : HASH;
		GUARD(expand_block(block, contexts, prk, info, info_len, ++n));
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
