/* AES-256-GCM in pieces: what gcm.c and gcm_hex.c share. */
#ifndef KMS_CRYPTO_GCM_H
#define KMS_CRYPTO_GCM_H

#include <openssl/evp.h>

#include "kms/crypto.h"

/* Keys this thread's context; to be released (and the key wiped) with kms_gcm_end. */
kms_status kms_gcm_start(EVP_CIPHER_CTX **context, const uint8_t key32[32], const uint8_t iv12[12],
			 bool sealing);
kms_status kms_gcm_update(uint8_t *out, EVP_CIPHER_CTX *context, const uint8_t *in, size_t len);
/* The tag of all that was sealed. */
kms_status kms_gcm_tag(uint8_t tag16[16], EVP_CIPHER_CTX *context);
/* ERR_DECRYPT unless the tag belongs to all that was opened. */
kms_status kms_gcm_verify(EVP_CIPHER_CTX *context, const uint8_t tag16[16]);
/* Wipes the key out of the context; nothing when it is NULL. */
void kms_gcm_end(EVP_CIPHER_CTX **context);

#endif
