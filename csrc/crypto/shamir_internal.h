/*
 * Shamir's sharing of 32 bytes over GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1, byte by byte
 * (docs/protocol.md section 16). No branch and no index depends on a shared byte; where shares lie (x) is
 * public.
 */
#ifndef KMS_CRYPTO_SHAMIR_INTERNAL_H
#define KMS_CRYPTO_SHAMIR_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define KMS_SHAMIR_LANES 4 /* words of eight elements: 32 bytes */

/* 32 elements of the field; guarded memory wherever they are shared or secret. */
typedef struct kms_shamir_block {
	uint64_t lanes[KMS_SHAMIR_LANES];
} kms_shamir_block;

/*
 * The polynomial's value at x.
 * Out: y - may not be one of the coefficients.
 * In: coefficients - `count` of them, at least one, the constant (the secret) first. x - not 0.
 */
void kms_shamir_value(kms_shamir_block *y, const kms_shamir_block *coefficients, size_t count, uint8_t x);

/*
 * The value at `at` of the polynomial through the points; at 0 it is the secret.
 * Out: value - may not be one of the points' values.
 * In: xs - different ones. ys - borrowed.
 */
void kms_shamir_through(kms_shamir_block *value, const uint8_t *xs, const kms_shamir_block *const *ys,
			size_t count, uint8_t at);

#endif
