/*
 * Hashes, MACs, key derivation and authenticated encryption.
 *
 * Algorithms are fetched once, contexts are kept per thread, so that a call costs the
 * primitive and no more. Any thread. kms_crypto_init comes after kms_guarded_init.
 */
#ifndef KMS_CRYPTO_H
#define KMS_CRYPTO_H

#include "kms/buf.h"
#include "kms/secret.h"
#include "kms/view.h"

#define KMS_GCM_IV 12
#define KMS_GCM_TAG 16

/* Fetches algorithms, seeds the secp256k1 context. Again: KMS_OK, nothing done. */
kms_status kms_crypto_init(void);

/* Bytes from the kernel's generator (getrandom). On failure ERR_SYSTEM, output zeroed. */
kms_status kms_random(uint8_t *bytes, size_t len);

/* Keccak-256 with the original padding (Ethereum), not SHA3-256. Wipes its state. */
void kms_keccak256(uint8_t digest32[32], const uint8_t *bytes, size_t len);

/* SHA-256 (FIPS 180-4). */
kms_status kms_sha256(uint8_t digest32[32], const uint8_t *bytes, size_t len);

/* HMAC-SHA256 (RFC 2104), key of 1 to 64 bytes; the second form reads several spans as one text. */
kms_status kms_hmac_sha256(uint8_t mac32[32], const kms_secret *key, const uint8_t *bytes, size_t len);
kms_status kms_hmac_sha256_spans(uint8_t mac32[32], const kms_secret *key, const kms_span *spans,
				 size_t count);

/*
 * HKDF-SHA256 (RFC 5869), extract and expand.
 * Out: okm - `len` bytes, 1 to 8160; where it is secret, the caller passes guarded memory.
 * In: salt and info may be empty (NULL with length 0).
 */
kms_status kms_hkdf_sha256(uint8_t *okm, size_t len, const uint8_t *ikm, size_t ikm_len, const uint8_t *salt,
			   size_t salt_len, const uint8_t *info, size_t info_len);

/*
 * AES-256-GCM (SP 800-38D), 12-byte IV, no AAD.
 * seal: writes len + 16 bytes (ciphertext || tag) to `sealed`; may not overlap `plain`.
 * open: writes len - 16 bytes to `plain` (guarded memory where it matters); ERR_DECRYPT and
 *       a zeroed output when the tag differs or len < 16.
 */
kms_status kms_gcm_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12],
			const uint8_t *plain, size_t len);
kms_status kms_gcm_open(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12],
			const uint8_t *sealed, size_t len);

/*
 * The same with the ciphertext in hexadecimal, in pieces through a small stack buffer, so
 * that a large body needs no second copy. seal_hex appends 2 * (len + 16) digits to `hex`;
 * open_hex reads `hex_len` digits of any case without 0x (ERR_HEX).
 */
kms_status kms_gcm_seal_hex(kms_buf *hex, const uint8_t key32[32], const uint8_t iv12[12],
			    const uint8_t *plain, size_t len);
kms_status kms_gcm_open_hex(kms_buf *plain, const uint8_t key32[32], const uint8_t iv12[12], const char *hex,
			    size_t hex_len);

/* One AES-256 block under a key that a caller holds: what nonces are made of (nonce.h). */
typedef struct kms_block_cipher kms_block_cipher;
kms_status kms_block_cipher_new(kms_block_cipher **cipher, const kms_secret *key32);
void kms_block_cipher_free(kms_block_cipher *cipher);
/* Both are safe on one cipher from several threads. */
kms_status kms_block_encrypt(uint8_t out16[16], kms_block_cipher *cipher, const uint8_t in16[16]);
kms_status kms_block_decrypt(uint8_t out16[16], kms_block_cipher *cipher, const uint8_t in16[16]);

#endif
