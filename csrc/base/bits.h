/*
 * Loads and stores in a given byte order, rotations, and arithmetic on the eight bytes of a word
 * ("lanes"). The lane functions have no branch and no table, so their time does not depend on
 * the bytes: codecs of secrets are built from them.
 */
#ifndef KMS_BASE_BITS_H
#define KMS_BASE_BITS_H

#include <stdint.h>

static inline uint64_t kms_load64_le(const uint8_t *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Written out, not as loops, so that compilers emit one instruction. */
static inline void kms_store32_le(uint8_t *p, uint32_t x)
{
	p[0] = (uint8_t)x;
	p[1] = (uint8_t)(x >> 8);
	p[2] = (uint8_t)(x >> 16);
	p[3] = (uint8_t)(x >> 24);
}

static inline void kms_store64_le(uint8_t *p, uint64_t x)
{
	p[0] = (uint8_t)x;
	p[1] = (uint8_t)(x >> 8);
	p[2] = (uint8_t)(x >> 16);
	p[3] = (uint8_t)(x >> 24);
	p[4] = (uint8_t)(x >> 32);
	p[5] = (uint8_t)(x >> 40);
	p[6] = (uint8_t)(x >> 48);
	p[7] = (uint8_t)(x >> 56);
}

static inline uint32_t kms_load32_le(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t kms_load32_be(const uint8_t *p)
{
	return __builtin_bswap32(kms_load32_le(p));
}

static inline void kms_store32_be(uint8_t *p, uint32_t x)
{
	kms_store32_le(p, __builtin_bswap32(x));
}

static inline uint64_t kms_load64_be(const uint8_t *p)
{
	return __builtin_bswap64(kms_load64_le(p));
}

static inline void kms_store64_be(uint8_t *p, uint64_t x)
{
	kms_store64_le(p, __builtin_bswap64(x));
}

static inline uint64_t kms_rotl64(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

#define KMS_LANES(byte) ((uint64_t)(byte)*0x0101010101010101u)

/* 0x80 in each lane that is at least `n`; lanes must be below 0x80, n from 1 to 0x80. */
static inline uint64_t kms_lanes_ge(uint64_t x, unsigned n)
{
	return (x + KMS_LANES(0x80 - n)) & KMS_LANES(0x80);
}

/* 0x80 in each lane from `first` to `last`. */
static inline uint64_t kms_lanes_in(uint64_t x, unsigned first, unsigned last)
{
	return kms_lanes_ge(x, first) & ~kms_lanes_ge(x, last + 1);
}

/* `byte` in each lane that `flags` marks with 0x80. */
static inline uint64_t kms_lanes_pick(uint64_t flags, unsigned byte)
{
	return (flags >> 7) * byte;
}

#endif
