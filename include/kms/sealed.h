/*
 * The master secret on its way to a new node, sealed to that node's ephemeral P-384 key
 * (docs/protocol.md section 9).
 * Threads: any.
 */
#ifndef KMS_SEALED_H
#define KMS_SEALED_H

#include "kms/kdf.h"
#include "kms/p384.h"

/* A sealed master secret in binary. */
typedef struct kms_sealed {
	uint8_t ephemeral_point97[97];
	uint8_t iv12[12];
	uint8_t data48[48]; /* 32 bytes of ciphertext and the tag */
} kms_sealed;

/*
 * Seals to a requester's ephemeral key with a fresh key and IV.
 * Returns: KMS_OK; ERR_PEER_KEY when the point is not on the curve; ERR_RANGE when the master
 * secret is not 32 bytes long; ERR_ARGUMENT; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_SYSTEM.
 */
kms_status kms_master_seal(kms_sealed *sealed, const kms_secret *master32,
			   const uint8_t requester_point97[97]);

/*
 * Opens with the requester's ephemeral key.
 * Returns: KMS_OK; ERR_SEALED when it was changed or sealed to another key; ERR_PEER_KEY;
 * ERR_ARGUMENT; ERR_LOCKED_MEMORY.
 * Out: master32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_master_unseal(kms_secret **master32, const kms_sealed *sealed, const kms_p384 *requester);

#endif
