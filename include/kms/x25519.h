/*
 * X25519 key pairs (RFC 7748): the ephemeral keys of a session's opening. The private half lives in
 * guarded memory.
 * Threads: any; a key never changes after creation.
 */
#ifndef KMS_X25519_H
#define KMS_X25519_H

#include "kms/secret.h"

#define KMS_X25519_BYTES 32

typedef struct kms_x25519 kms_x25519;

/*
 * A key of a private scalar, little-endian, which it copies.
 * Returns: KMS_OK; ERR_PRIVATE_KEY when the scalar is not 32 bytes long; ERR_ARGUMENT; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: key - owned by the caller, free with kms_x25519_free; NULL on failure.
 */
kms_status kms_x25519_new(kms_x25519 **key, const kms_secret *scalar32);

/*
 * A fresh key.
 * Returns, Out: as kms_x25519_new; ERR_SYSTEM.
 */
kms_status kms_x25519_generate(kms_x25519 **key);
void kms_x25519_free(kms_x25519 *key);
KMS_DEFINE_RELEASE(kms_x25519_release, kms_x25519, kms_x25519_free)

/* Its public half, 32 bytes: borrowed, valid as long as the key. */
const uint8_t *kms_x25519_public(const kms_x25519 *key);

/*
 * X25519 (RFC 7748 section 5). A peer's key of small order is refused, since it would fix the result; so is
 * one that is not the shortest spelling of its coordinate, which no generator makes.
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_ARGUMENT; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: shared32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_x25519_agree(kms_secret **shared32, const kms_x25519 *key, const uint8_t peer32[32]);

#endif
