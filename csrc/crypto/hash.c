/* SHA-256, HMAC-SHA256 and HKDF-SHA256. */
#include <string.h>

#include "crypto/crypto.h"
#include "base/ensure.h"
#include "kms/crypto.h"

#define HASH 32
#define MAX_BLOCKS 255

static kms_status digest_start(kms_crypto_thread *thread)
{
	GUARD_OPENSSL(EVP_DigestInit_ex2(thread->sha256, kms_crypto_shared_get()->sha256, NULL));
	return KMS_OK;
}

static kms_status digest_add(kms_crypto_thread *thread, kms_span bytes)
{
	if (bytes.len) GUARD_OPENSSL(EVP_DigestUpdate(thread->sha256, bytes.bytes, bytes.len));
	return KMS_OK;
}

static kms_status digest_end(uint8_t digest32[HASH], kms_crypto_thread *thread)
{
	GUARD_OPENSSL(EVP_DigestFinal_ex(thread->sha256, digest32, NULL));
	return KMS_OK;
}

kms_status kms_sha256_spans(uint8_t digest32[32], const kms_span *spans, size_t count)
{
	ENSURE_REF(digest32);
	memset(digest32, 0, HASH);
	ENSURE(spans || count == 0, KMS_ERR_ARGUMENT);
	for (size_t i = 0; i < count; i++)
		ENSURE(spans[i].bytes || spans[i].len == 0, KMS_ERR_ARGUMENT);
	kms_crypto_thread *thread;
	GUARD(kms_crypto_thread_get(&thread));
	GUARD(digest_start(thread));
	for (size_t i = 0; i < count; i++)
		GUARD(digest_add(thread, spans[i]));
	return digest_end(digest32, thread);
}

kms_status kms_sha256(uint8_t digest32[32], kms_span bytes)
{
	return kms_sha256_spans(digest32, &bytes, 1);
}

/* ---- HMAC (RFC 2104) on the thread's digest ---- */

/*
 * OpenSSL's own HMAC object copies digest contexts and allocates at each key, which costs four
 * times as much as the digests themselves, and every derived key takes three of them.
 */
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

/* Neither a key nor its result may stay until the thread's next use, perhaps days later. */
static void forget_key(kms_crypto_thread **thread)
{
	if (!*thread) return;
	kms_wipe((*thread)->scratch, sizeof((*thread)->scratch));
	kms_wipe((*thread)->pad, sizeof((*thread)->pad));
	/* A new start clears the digest's state; where it fails, OpenSSL has cleared that already. */
	if (EVP_DigestInit_ex2((*thread)->sha256, kms_crypto_shared_get()->sha256, NULL) != 1)
		(void)kms_openssl_failure();
}

/* Keys longer than a block are hashed first. */
static kms_status mac_start(kms_crypto_thread *thread, kms_span key)
{
	uint8_t *pad = thread->pad;
	memset(pad, 0, sizeof(thread->pad));
	if (key.len > sizeof(thread->pad)) {
		GUARD(digest_start(thread));
		GUARD(digest_add(thread, key));
		GUARD(digest_end(pad, thread));
	} else if (key.len) {
		memcpy(pad, key.bytes, key.len);
	}
	for (size_t i = 0; i < sizeof(thread->pad); i++)
		pad[i] ^= INNER_PAD;
	GUARD(digest_start(thread));
	return digest_add(thread, KMS_SPAN(thread->pad));
}

static kms_status mac_end(uint8_t mac32[HASH], kms_crypto_thread *thread)
{
	GUARD(digest_end(mac32, thread));
	for (size_t i = 0; i < sizeof(thread->pad); i++)
		thread->pad[i] ^= INNER_PAD ^ OUTER_PAD;
	GUARD(digest_start(thread));
	GUARD(digest_add(thread, KMS_SPAN(thread->pad)));
	GUARD(digest_add(thread, kms_span_of(mac32, HASH)));
	return digest_end(mac32, thread);
}

static kms_status hmac(uint8_t mac32[HASH], kms_crypto_thread *thread, kms_span key, const kms_span *spans,
		       size_t count)
{
	GUARD(mac_start(thread, key));
	for (size_t i = 0; i < count; i++)
		GUARD(digest_add(thread, spans[i]));
	return mac_end(mac32, thread);
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
	DEFER(forget_key) kms_crypto_thread *thread = NULL;
	GUARD(kms_crypto_thread_get(&thread));
	kms_status status = hmac(mac32, thread, kms_secret_span(key), spans, count);
	if (status != KMS_OK) kms_wipe(mac32, HASH);
	return status;
}

kms_status kms_hmac_sha256(uint8_t mac32[32], const kms_secret *key, kms_span bytes)
{
	return kms_hmac_sha256_spans(mac32, key, &bytes, 1);
}

/* ---- HKDF (RFC 5869) ---- */

/* T(n) = HMAC(PRK, T(n - 1) || info || n), in `block32` in place (section 2.3). */
static kms_status expand_block(uint8_t block32[HASH], kms_crypto_thread *thread, const uint8_t prk32[HASH],
			       kms_span info, uint8_t n)
{
	const kms_span parts[] = { { block32, n == 1 ? 0 : HASH }, info, { &n, 1 } };
	return hmac(block32, thread, kms_span_of(prk32, HASH), parts, KMS_ARRAY_LEN(parts));
}

/* Into the thread's scratch. */
static kms_status extract(uint8_t **prk32, kms_crypto_thread *thread, kms_span ikm, kms_span salt)
{
	static const uint8_t no_salt[HASH]; /* an absent salt is HashLen zeros (section 2.2) */
	*prk32 = thread->scratch;
	return hmac(*prk32, thread, salt.len ? salt : KMS_SPAN(no_salt), &ikm, 1);
}

static kms_status expand(kms_out okm, kms_crypto_thread *thread, const uint8_t prk32[HASH], kms_span info)
{
	uint8_t *block = thread->scratch + HASH;
	uint8_t n = 0;
	for (size_t done = 0; done < okm.len; done += HASH) {
		size_t part = okm.len - done < HASH ? okm.len - done : HASH;
		GUARD(expand_block(block, thread, prk32, info, ++n));
		memcpy(okm.bytes + done, block, part);
	}
	return KMS_OK;
}

kms_status kms_hkdf_sha256(kms_out okm, kms_span ikm, kms_span salt, kms_span info)
{
	ENSURE_REF(okm.bytes);
	ENSURE(okm.len >= 1 && okm.len <= (size_t)HASH * MAX_BLOCKS, KMS_ERR_RANGE);
	memset(okm.bytes, 0, okm.len);
	ENSURE(ikm.bytes || ikm.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(salt.bytes || salt.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(info.bytes || info.len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_crypto_thread *thread = NULL;
	GUARD(kms_crypto_thread_get(&thread));
	uint8_t *prk;
	kms_status status = extract(&prk, thread, ikm, salt);
	if (status == KMS_OK) status = expand(okm, thread, prk, info);
	if (status != KMS_OK) kms_wipe(okm.bytes, okm.len);
	return status;
}

kms_status kms_hkdf_sha256_extract(kms_secret **prk32, kms_span ikm, kms_span salt)
{
	ENSURE_REF(prk32);
	*prk32 = NULL;
	ENSURE(ikm.bytes || ikm.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(salt.bytes || salt.len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_crypto_thread *thread = NULL;
	GUARD(kms_crypto_thread_get(&thread));
	uint8_t *prk;
	GUARD(extract(&prk, thread, ikm, salt));
	return kms_secret_new(prk32, kms_span_of(prk, HASH));
}

kms_status kms_hkdf_sha256_expand(kms_out okm, const kms_secret *prk32, kms_span info)
{
	ENSURE_REF(okm.bytes);
	ENSURE(okm.len >= 1 && okm.len <= (size_t)HASH * MAX_BLOCKS, KMS_ERR_RANGE);
	memset(okm.bytes, 0, okm.len);
	ENSURE_REF(prk32);
	ENSURE(kms_secret_len(prk32) == HASH, KMS_ERR_RANGE);
	ENSURE(info.bytes || info.len == 0, KMS_ERR_ARGUMENT);
	DEFER(forget_key) kms_crypto_thread *thread = NULL;
	GUARD(kms_crypto_thread_get(&thread));
	kms_status status = expand(okm, thread, kms_secret_bytes(prk32), info);
	if (status != KMS_OK) kms_wipe(okm.bytes, okm.len);
	return status;
}
