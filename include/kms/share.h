/*
 * Shares of the master secret (docs/protocol.md section 16): any `threshold` of a set of custodians have it
 * together, fewer know nothing of it. Every node makes the same shares for the same set. Threads: any.
 */
#ifndef KMS_SHARE_H
#define KMS_SHARE_H

#include "kms/buf.h"
#include "kms/secret.h"

#define KMS_SHARE_BYTES 83
#define KMS_SHARE_CUSTODIANS 16 /* most in a set; a custodian's number x is 1 to their count */
#define KMS_SHARE_LEAST 2       /* least threshold */
#define KMS_SHARE_SET 16        /* bytes of a set's id in a share */
#define KMS_SHARE_HASH 24       /* bytes of the secret's hash in a share */

/* A set of custodians. */
typedef struct kms_share_set {
	uint8_t id32[32];
	uint8_t threshold; /* KMS_SHARE_LEAST to count */
	uint8_t count;     /* to KMS_SHARE_CUSTODIANS */
} kms_share_set;

/* What is public of a share. */
typedef struct kms_share_head {
	uint8_t set16[KMS_SHARE_SET];
	uint8_t threshold, count, x;
	uint32_t day; /* Unix day on which it was made, for people */
	uint8_t hash24[KMS_SHARE_HASH];
} kms_share_head;

/* A share that takes part in kms_share_combine. */
typedef struct kms_share_part {
	uint8_t x;
	const kms_secret *y32;
} kms_share_part;

/*
 * The secret part of custodian x's share.
 * Returns: KMS_OK; ERR_RANGE when the set, x or the master secret's length is out of range; ERR_ARGUMENT;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: y32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_share_y(kms_secret **y32, const kms_secret *master32, const kms_share_set *set, uint8_t x);

/*
 * Makes custodian x's share.
 * Returns: as kms_share_y; ERR_ARGUMENT when the buffer is not guarded.
 * Out: share - KMS_SHARE_BYTES are appended; nothing on failure.
 */
kms_status kms_share_make(kms_buf *share, const kms_secret *master32, const kms_share_set *set, uint8_t x,
			  uint32_t day);

/*
 * Reads a share.
 * Returns: KMS_OK; ERR_SHARE; ERR_ARGUMENT; ERR_LOCKED_MEMORY.
 * Out: head - zeroed on failure. y32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_share_read(kms_share_head *head, kms_secret **y32, kms_span share);

/*
 * Finds the master secret of a hash in the shares of one set. Where there are more than `threshold`, some of
 * them may be wrong: every subset is tried, 12,870 at most.
 * Returns: KMS_OK; ERR_SHARES when no subset gives the secret; ERR_RANGE when there are fewer than
 * `threshold` or more than KMS_SHARE_CUSTODIANS, or an x is 0 or occurs twice; ERR_ARGUMENT;
 * ERR_LOCKED_MEMORY. Out: master32 - one reference, released with kms_secret_unref; NULL on failure. wrong -
 * on success, bit x for each share that does not fit the others; 0 on failure. In: hash32 - Keccak-256 of the
 * secret.
 */
kms_status kms_share_combine(kms_secret **master32, uint32_t *wrong, const kms_share_part *parts,
			     size_t count, uint8_t threshold, const uint8_t hash32[32]);

#endif
