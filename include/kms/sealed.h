/*
 * The master secret sealed to a new node: ECIES to its ephemeral P-384 key (docs/protocol.md section 9).
 * Stateless; any thread.
 */
#ifndef KMS_SEALED_H
#define KMS_SEALED_H

#include "kms/kdf.h"
#include "kms/p384.h"

/* The sealed master secret of a master_secret_request, in binary. */
typedef struct kms_sealed {
	uint8_t ephemeral_point97[97];
	uint8_t iv12[12];
	uint8_t data48[48]; /* 32 bytes of ciphertext and the tag */
} kms_sealed;

/* Seals to a requester's ephemeral key with a fresh key of our own. */
kms_status kms_master_seal(kms_sealed *sealed, const kms_secret *master32,
			   const uint8_t requester_point97[97]);
/* The same with a given key and IV: for known answers only. */
kms_status kms_master_seal_with(kms_sealed *sealed, const kms_secret *master32,
				const uint8_t requester_point97[97], const kms_p384 *ephemeral,
				const uint8_t iv12[12]);
/* Opens with the requester's ephemeral key; ERR_SEALED when it was not made for it, ERR_PEER_KEY. */
kms_status kms_master_unseal(kms_secret **master32, const kms_sealed *sealed, const kms_p384 *requester);

#endif
