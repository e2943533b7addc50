/* ChaCha20-Poly1305 (RFC 8439), for age files. */
#ifndef KMS_CRYPTO_CHACHA_INTERNAL_H
#define KMS_CRYPTO_CHACHA_INTERNAL_H

#include "kms/view.h"

#define KMS_CHACHA_TAG 16

/*
 * Encrypts without additional data.
 * Returns: KMS_OK; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: sealed - plain.len + KMS_CHACHA_TAG bytes; wiped on failure.
 */
kms_status kms_chacha_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t nonce12[12],
			   kms_span plain);

/*
 * Decrypts what kms_chacha_seal made.
 * Returns: KMS_OK; ERR_DECRYPT; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: plain - sealed.len - KMS_CHACHA_TAG bytes in guarded memory; wiped on failure.
 */
kms_status kms_chacha_open(uint8_t *plain, const uint8_t key32[32], const uint8_t nonce12[12],
			   kms_span sealed);

#endif
