/* AES-256-GCM in pieces, with the context of the thread: what gcm.c and value_seal.c share. */
#ifndef KMS_CRYPTO_GCM_INTERNAL_H
#define KMS_CRYPTO_GCM_INTERNAL_H

#include <openssl/evp.h>

#include "kms/crypto.h"

/* Gives the thread's context a key; released, and the key wiped, with kms_gcm_end. */
kms_status kms_gcm_start(EVP_CIPHER_CTX **context, const uint8_t key32[32], const uint8_t iv12[12],
			 bool sealing);
/* The next in.len bytes. */
kms_status kms_gcm_update(uint8_t *out, EVP_CIPHER_CTX *context, kms_span in);
/* The tag of all that was sealed. */
kms_status kms_gcm_tag(uint8_t tag16[16], EVP_CIPHER_CTX *context);
/* ERR_DECRYPT unless the tag belongs to all that was opened. */
kms_status kms_gcm_verify(EVP_CIPHER_CTX *context, const uint8_t tag16[16]);
/* Wipes the key out of the context; NULL is fine. */
void kms_gcm_end(EVP_CIPHER_CTX **context);

#endif
