/*
 * One-time nonces that cost no memory each (docs/protocol.md section 3).
 *
 * A nonce is one AES-256 block under a random key of this process: the second of issue
 * (monotonic), a counter, zeros. Consuming it decrypts the block, looks at zeros and age, and
 * sets one bit in a ring of 2^24 bits. Nobody can fill or flush anything, and no nonce
 * outlives the process or works on another node. Safe to share between threads.
 */
#ifndef KMS_NONCE_H
#define KMS_NONCE_H

#include "kms/kms.h"

#define KMS_NONCE_TEXT 24 /* base64 of 16 bytes */
#define KMS_NONCE_RING (1u << 24)

typedef struct kms_nonces kms_nonces;

/* In: lifetime_s - seconds a nonce is valid, 1 to 3600 (ERR_RANGE). */
kms_status kms_nonces_new(kms_nonces **nonces, unsigned lifetime_s);
void kms_nonces_free(kms_nonces *nonces);

/*
 * A fresh nonce as canonical base64, no NUL.
 * In: now_s - monotonic seconds; earlier than an earlier call counts as that call's.
 * Returns: KMS_OK, or ERR_NONCES_OUT while 2^24 are out within the lifetime.
 */
kms_status kms_nonces_issue(char text24[KMS_NONCE_TEXT], kms_nonces *nonces, uint64_t now_s);

/*
 * Consumes a nonce: true once for each nonce issued by this object within its lifetime; every
 * other text, an alias of a valid one included, is ERR_POP_NONCE.
 */
kms_status kms_nonces_consume(kms_nonces *nonces, const char *text, size_t len, uint64_t now_s);

/* Nonces issued within the lifetime, consumed or not. */
uint64_t kms_nonces_out(kms_nonces *nonces, uint64_t now_s);
/* Nonces issued since the start. */
uint64_t kms_nonces_issued(kms_nonces *nonces);

#endif
