/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys come from
 * outside, so that an attacker cannot aim at one bucket.
 */
#ifndef KMS_BASE_SIPHASH_H
#define KMS_BASE_SIPHASH_H

#include "kms/view.h"

typedef struct kms_siphash_key {
	uint64_t k0;
	uint64_t k1;
} kms_siphash_key;

/* A key from the kernel's generator. */
kms_status kms_siphash_key_new(kms_siphash_key *key);

/* The hash of some bytes. */
uint64_t kms_siphash(const kms_siphash_key *key, kms_span bytes);
/* The hash of a number, as eight bytes in little-endian order, and the bytes after it. */
uint64_t kms_siphash_tagged(const kms_siphash_key *key, uint64_t tag, kms_span bytes);

#endif
