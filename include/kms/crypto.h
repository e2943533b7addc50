/*
 * Random bytes, hashes, MACs, key derivation and authenticated encryption.
 *
 * Algorithms are fetched once and contexts are kept per thread, so that a call costs the
 * primitive and no more. Before kms_crypto_init the functions that return a status return
 * ERR_STATE. Each of them may also return ERR_LOCKED_MEMORY (the arena is full) and ERR_CRYPTO
 * (the library failed).
 * Threads: any, except where a function says otherwise.
 */
#ifndef KMS_CRYPTO_H
#define KMS_CRYPTO_H

#include "kms/buf.h"
#include "kms/secret.h"
#include "kms/view.h"

#define KMS_GCM_IV 12
#define KMS_GCM_TAG 16

/*
 * Fetches the algorithms and seeds the secp256k1 context. Later calls do nothing.
 * Returns: KMS_OK; ERR_STATE before kms_guarded_init; ERR_SYSTEM.
 */
kms_status kms_crypto_init(void);

/*
 * Known answers of every primitive (FIPS 180-2, FIPS 197, RFC 4231, RFC 5869, RFC 6979, EIP-191,
 * RFC 7748, NIST CAVP). To be called after kms_crypto_init and before a socket opens.
 * Returns: KMS_OK; ERR_SELFTEST.
 * Out: failed - name of the primitive that failed, a static string; NULL on success.
 */
kms_status kms_selftest(const char **failed);

/* Keccak-256 with the original padding, as Ethereum uses it; not SHA3-256. Wipes its state. */
void kms_keccak256(uint8_t digest32[32], kms_span bytes);

/*
 * Keccak-256 of a secret: what KMSRegistry publishes as masterSecretHash. Also wipes the stack
 * that the computation used.
 */
void kms_secret_keccak256(uint8_t digest32[32], const kms_secret *secret);

/*
 * SHA-256 (FIPS 180-4). The second form reads `count` spans as one text.
 * Returns: KMS_OK; ERR_ARGUMENT.
 */
kms_status kms_sha256(uint8_t digest32[32], kms_span bytes);
kms_status kms_sha256_spans(uint8_t digest32[32], const kms_span *spans, size_t count);

/*
 * HMAC-SHA256 (RFC 2104). The second form reads `count` spans as one text.
 * Returns: KMS_OK; ERR_ARGUMENT.
 */
kms_status kms_hmac_sha256(uint8_t mac32[32], const kms_secret *key, kms_span bytes);
kms_status kms_hmac_sha256_spans(uint8_t mac32[32], const kms_secret *key, const kms_span *spans,
				 size_t count);

/*
 * HMAC-SHA256 (RFC 2104) under one key many times, for half of the time that the functions above take.
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_STATE before kms_crypto_init; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: key - free with kms_hmac_key_free; NULL on failure. mac32 - zeroed on failure. What the key has
 * computed last stays in guarded memory until it computes again, or is freed. Threads: one at a time uses a
 * key.
 */
typedef struct kms_hmac_key kms_hmac_key;
kms_status kms_hmac_key_new(kms_hmac_key **key, const kms_secret *secret);
kms_status kms_hmac_key_mac(uint8_t mac32[32], kms_hmac_key *key, const kms_span *spans, size_t count);
void kms_hmac_key_free(kms_hmac_key *key); /* NULL is fine */

/*
 * HKDF-SHA256, extract and expand (RFC 5869).
 * Returns: KMS_OK; ERR_RANGE when the length of `okm` is not 1 to 8160; ERR_ARGUMENT.
 * Out: okm - guarded memory of the caller where the result is secret.
 * In: salt, info - may be empty.
 */
kms_status kms_hkdf_sha256(kms_out okm, kms_span ikm, kms_span salt, kms_span info);

/*
 * The two steps of HKDF (RFC 5869 sections 2.2 and 2.3), for several keys that share the first one.
 * Returns: as kms_hkdf_sha256; ERR_RANGE for a prk that is not 32 bytes long; ERR_LOCKED_MEMORY.
 * Out: prk32 - one reference; NULL on failure.
 */
kms_status kms_hkdf_sha256_extract(kms_secret **prk32, kms_span ikm, kms_span salt);
kms_status kms_hkdf_sha256_expand(kms_out okm, const kms_secret *prk32, kms_span info);

/*
 * Encrypts with AES-256-GCM (SP 800-38D): 12-byte IV, no additional data.
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_RANGE.
 * Out: sealed - plain.len + 16 bytes, ciphertext and tag; must not overlap `plain`.
 */
kms_status kms_gcm_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12], kms_span plain);

/*
 * Decrypts what kms_gcm_seal made.
 * Returns: KMS_OK; ERR_DECRYPT when the tag differs or `sealed` is shorter than a tag; ERR_ARGUMENT.
 * Out: plain - sealed.len - 16 bytes; guarded memory where it is secret.
 */
kms_status kms_gcm_open(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12], kms_span sealed);

/*
 * Encrypts where the text stands, with additional data.
 * Returns: KMS_OK; ERR_ARGUMENT.
 * Out: tag16. In-out: bytes - the ciphertext; zeroed on failure.
 * In: aad - authenticated, not encrypted; may be empty.
 */
kms_status kms_gcm_seal_in_place(uint8_t tag16[16], kms_out bytes, const uint8_t key32[32],
				 const uint8_t iv12[12], kms_span aad);

/*
 * Decrypts what kms_gcm_seal_in_place made.
 * Returns: KMS_OK; ERR_DECRYPT; ERR_ARGUMENT.
 * In-out: bytes - the plaintext; zeroed on failure.
 */
kms_status kms_gcm_open_in_place(kms_out bytes, const uint8_t key32[32], const uint8_t iv12[12], kms_span aad,
				 const uint8_t tag16[16]);

/*
 * The same as kms_gcm_seal and kms_gcm_open with the ciphertext in hexadecimal, a piece at a time through a
 * small stack buffer, so that a large body needs no second copy. Returns: as kms_gcm_seal and kms_gcm_open;
 * ERR_HEX; what kms_buf_reserve returns. Out: hex - 2 * (plain.len + 16) digits are appended; nothing on
 * failure. plain - the plaintext is appended; nothing on failure. In: hex - digits of any case, without 0x.
 */
kms_status kms_gcm_seal_hex(kms_buf *hex, const uint8_t key32[32], const uint8_t iv12[12], kms_span plain);
kms_status kms_gcm_open_hex(kms_buf *plain, const uint8_t key32[32], const uint8_t iv12[12], kms_text hex);

/* AES-256 on single blocks under one key (FIPS 197): nonces are made with it (nonce.h). */
typedef struct kms_aes_block kms_aes_block;

/*
 * A cipher for a 32-byte key, which it copies.
 * Returns: KMS_OK; ERR_RANGE when the key has another length; ERR_MEMORY; ERR_ARGUMENT.
 * Out: cipher - owned by the caller, free with kms_aes_block_free; NULL on failure.
 */
kms_status kms_aes_block_new(kms_aes_block **cipher, const kms_secret *key32);
void kms_aes_block_free(kms_aes_block *cipher);
KMS_DEFINE_RELEASE(kms_aes_block_release, kms_aes_block, kms_aes_block_free)

/*
 * One block; several threads may use one cipher.
 * Returns: KMS_OK; ERR_ARGUMENT.
 * Out: out16 - may be the same memory as in16.
 */
kms_status kms_aes_block_encrypt(uint8_t out16[16], kms_aes_block *cipher, const uint8_t in16[16]);
kms_status kms_aes_block_decrypt(uint8_t out16[16], kms_aes_block *cipher, const uint8_t in16[16]);

#endif
