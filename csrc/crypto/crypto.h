/* Fetched algorithms, contexts of each thread and errors of OpenSSL, for crypto and attest. */
#ifndef KMS_CRYPTO_CRYPTO_H
#define KMS_CRYPTO_CRYPTO_H

#include <openssl/evp.h>
#include <secp256k1.h>

#include "base/ensure.h"

/* What all threads share; constant after kms_crypto_init. */
typedef struct kms_crypto_shared {
	EVP_MD *sha256;
	EVP_MD *sha384;
	EVP_CIPHER *aes_gcm;
	EVP_CIPHER *aes_ecb;
	EVP_CIPHER *chacha;           /* ChaCha20-Poly1305 */
	secp256k1_context *secp256k1; /* blinded at the start, then only read */
} kms_crypto_shared;

/* What each thread keeps, in guarded memory, until it ends. */
typedef struct kms_crypto_thread {
	EVP_MD_CTX *sha256;
	EVP_CIPHER_CTX *gcm;
	uint8_t scratch[64]; /* for intermediate keys; the user wipes it */
	uint8_t pad[64];     /* HMAC's padded key; the user wipes it */
} kms_crypto_thread;

/* NULL before kms_crypto_init. */
const kms_crypto_shared *kms_crypto_shared_get(void);

/*
 * This thread's contexts, made at its first call.
 * Returns: KMS_OK; ERR_STATE before kms_crypto_init; ERR_LOCKED_MEMORY; ERR_MEMORY; ERR_CRYPTO.
 */
kms_status kms_crypto_thread_get(kms_crypto_thread **contexts);

/*
 * The status for a failed OpenSSL call: ERR_LOCKED_MEMORY when the arena had no room, else
 * ERR_CRYPTO. Empties OpenSSL's error queue.
 */
kms_status kms_openssl_failure(void);

/* Ensures that an OpenSSL call returned 1. */
#define GUARD_OPENSSL(call) ENSURE((call) == 1, kms_openssl_failure())

#endif
