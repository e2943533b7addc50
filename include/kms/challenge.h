/*
 * How custodians show a node that lost its master secret who they are (docs/protocol.md section 16): each
 * gets, in an age file that only its key opens, 32 bytes that the node makes again when it sees what they
 * sign. Threads: any.
 */
#ifndef KMS_CHALLENGE_H
#define KMS_CHALLENGE_H

#include "kms/buf.h"
#include "kms/secret.h"

#define KMS_CHALLENGE_BYTES 57

/*
 * The 32 bytes of custodian x in an hour: HMAC-SHA256(key, x || hour (8, big-endian) || set).
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: c32 - one reference, released with kms_secret_unref; NULL on failure.
 * In: set - empty for the set in force, the id of an earlier one.
 */
kms_status kms_challenge_secret(kms_secret **c32, const kms_secret *key, uint8_t x, uint64_t hour,
				kms_span set);

/*
 * Writes a challenge: "NKRC" || node's wallet || x || c.
 * Returns: as appending (kms/buf.h); ERR_ARGUMENT when the buffer is not guarded.
 * Out: challenge - KMS_CHALLENGE_BYTES are appended; nothing on failure.
 */
kms_status kms_challenge_write(kms_buf *challenge, const uint8_t wallet20[20], uint8_t x,
			       const kms_secret *c32);

/*
 * Reads a challenge that must be this node's, for this custodian.
 * Returns: KMS_OK; ERR_CHALLENGE; ERR_ARGUMENT; ERR_LOCKED_MEMORY.
 * Out: c32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_challenge_read(kms_secret **c32, kms_span challenge, const uint8_t wallet20[20], uint8_t x);

/*
 * What a custodian sends with a body: HMAC-SHA256(c, SHA-256(body)).
 * Returns: as kms_hmac_sha256.
 */
kms_status kms_challenge_answer(uint8_t mac32[32], const kms_secret *c32, kms_span body);

#endif
