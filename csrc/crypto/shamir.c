/*
 * Arithmetic of shares. Bytes that are secret are only added to each other and multiplied by public factors,
 * eight of them at a time in the lanes of a word.
 */
#include "crypto/shamir_internal.h"

#include "base/bits.h"

/* The low eight bits of the field's polynomial. */
#define REDUCTION 0x1b

/* Each lane times the element 2. */
static uint64_t doubled(uint64_t lanes)
{
	uint64_t carries = lanes & KMS_LANES(0x80);
	return (lanes & KMS_LANES(0x7f)) << 1 ^ kms_lanes_pick(carries, REDUCTION);
}

/* Adds factor * block to a sum. Public: factor. */
static void add_multiple(kms_shamir_block *sum, const kms_shamir_block *block, uint8_t factor)
{
	for (size_t i = 0; i < KMS_SHAMIR_LANES; i++) {
		uint64_t power = block->lanes[i];
		for (unsigned bits = factor; bits; bits >>= 1) {
			if (bits & 1) sum->lanes[i] ^= power;
			power = doubled(power);
		}
	}
}

/* The product of two public elements. */
static uint8_t product(uint8_t a, uint8_t b)
{
	unsigned power = a, sum = 0;
	for (unsigned bits = b; bits; bits >>= 1) {
		if (bits & 1) sum ^= power;
		power = power << 1 ^ (power & 0x80 ? 0x100 | REDUCTION : 0);
	}
	return (uint8_t)sum;
}

/* 1 / a for a public element that is not 0: a to the power 254. */
static uint8_t inverse(uint8_t a)
{
	uint8_t result = 1, square = a;
	for (int i = 0; i < 7; i++) {
		square = product(square, square);
		result = product(result, square);
	}
	return result;
}

void kms_shamir_value(kms_shamir_block *y, const kms_shamir_block *coefficients, size_t count, uint8_t x)
{
	uint8_t power = 1;
	*y = coefficients[0];
	for (size_t k = 1; k < count; k++) {
		power = product(power, x);
		add_multiple(y, &coefficients[k], power);
	}
}

/* The value at `at` of the polynomial that is 1 at xs[i] and 0 at the others (Lagrange). */
static uint8_t weight(const uint8_t *xs, size_t count, size_t i, uint8_t at)
{
	uint8_t above = 1, below = 1;
	for (size_t j = 0; j < count; j++) {
		if (j == i) continue;
		above = product(above, at ^ xs[j]);
		below = product(below, xs[i] ^ xs[j]);
	}
	return product(above, inverse(below));
}

void kms_shamir_through(kms_shamir_block *value, const uint8_t *xs, const kms_shamir_block *const *ys,
			size_t count, uint8_t at)
{
	*value = (kms_shamir_block){ { 0 } };
	for (size_t i = 0; i < count; i++)
		add_multiple(value, ys[i], weight(xs, count, i, at));
}
