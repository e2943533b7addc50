/*
 * One-time nonces that cost no memory each (docs/protocol.md section 3).
 *
 * A nonce is one AES-256 block under a random key of this process: the monotonic second of its
 * issue, a counter, zeros. Consuming a nonce decrypts the block, checks the zeros and the age, and
 * sets one bit in a ring of 2^24 bits. No client can fill a table or evict another's nonce, and no
 * nonce outlives the process or is valid on another node.
 *
 * Times are monotonic seconds; a time before that of an earlier call counts as the earlier call's.
 *
 * Threads: any; objects may be shared.
 */
#ifndef KMS_NONCE_H
#define KMS_NONCE_H

#include "kms/view.h"

#define KMS_NONCE_TEXT 24 /* base64 of 16 bytes */
#define KMS_NONCE_RING (1u << 24)

typedef struct kms_nonces kms_nonces;

/*
 * Makes an issuer of nonces with a key of its own.
 * Returns: KMS_OK; ERR_RANGE; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_SYSTEM; ERR_CRYPTO.
 * Out: nonces - free with kms_nonces_free.
 * In: lifetime_s - seconds for which a nonce is valid, 1 to 3600.
 */
kms_status kms_nonces_new(kms_nonces **nonces, unsigned lifetime_s);
void kms_nonces_free(kms_nonces *nonces);

/*
 * Issues a nonce.
 * Returns: KMS_OK; ERR_NONCES_OUT when 2^24 were issued within the lifetime; ERR_CRYPTO.
 * Out: text24 - canonical base64, no NUL.
 */
kms_status kms_nonces_issue(char text24[KMS_NONCE_TEXT], kms_nonces *nonces, uint64_t now_s);

/*
 * Consumes a nonce: succeeds once for each nonce that this object issued within its lifetime.
 * Returns: KMS_OK; ERR_POP_NONCE_USED for one that was consumed within its lifetime; ERR_POP_NONCE for any
 * other text, another spelling of a valid nonce included; ERR_CRYPTO.
 */
kms_status kms_nonces_consume(kms_nonces *nonces, kms_text text, uint64_t now_s);

/* Returns: nonces issued within the lifetime, consumed or not; 0 for NULL. */
uint64_t kms_nonces_out(kms_nonces *nonces, uint64_t now_s);
/* Returns: nonces issued since the object was made; 0 for NULL. */
uint64_t kms_nonces_issued(kms_nonces *nonces);

#endif
