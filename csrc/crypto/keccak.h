/* Keccak-256 in pieces, for digests over a prefix and a message. */
#ifndef KMS_CRYPTO_KECCAK_H
#define KMS_CRYPTO_KECCAK_H

#include "kms/view.h"

#define KMS_KECCAK_RATE 136

typedef struct kms_keccak {
	uint64_t state[25];
	size_t filled; /* bytes of the current block already mixed in */
} kms_keccak;

static inline kms_keccak kms_keccak_start(void)
{
	return (kms_keccak){ { 0 }, 0 };
}

void kms_keccak_update(kms_keccak *hash, kms_span bytes);
/* Writes the digest and wipes the state. */
void kms_keccak_final(uint8_t digest32[32], kms_keccak *hash);

#endif
