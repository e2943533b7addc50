/*
 * Keccak-f[1600] (FIPS 202 section 3.2) with the padding Ethereum uses (0x01, not SHA-3's 0x06).
 *
 * The 25 lanes are local variables, and two rounds are written out per turn of the loop, so that
 * compilers keep lanes in registers: this runs several times in each request.
 */
#include "crypto/keccak.h"

#include "base/bits.h"
#include "base/guarded.h"
#include "kms/crypto.h"

#define ROUNDS 24

/* Iota constants (FIPS 202 section 3.2.5). */
static const uint64_t round_constants[ROUNDS] = {
	0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
	0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
	0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
	0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
	0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

/* One row of rho, pi and chi: five lanes of `a`, mixed by theta's `d`, make row `y` of `e`. */
#define ROW(e, y, l0, l1, l2, l3, l4)      \
	do {                               \
		uint64_t b0 = (l0);        \
		uint64_t b1 = (l1);        \
		uint64_t b2 = (l2);        \
		uint64_t b3 = (l3);        \
		uint64_t b4 = (l4);        \
		e##0##y = b0 ^ (~b1 & b2); \
		e##1##y = b1 ^ (~b2 & b3); \
		e##2##y = b2 ^ (~b3 & b4); \
		e##3##y = b3 ^ (~b4 & b0); \
		e##4##y = b4 ^ (~b0 & b1); \
	} while (0)

/* Lane (x, y) after theta and rho. */
#define LANE(a, x, y, n) kms_rotl64(a##x##y ^ d##x, n)

/* A whole round from lanes a<x><y> to e<x><y>. */
#define ROUND(e, a, constant)                                                                         \
	do {                                                                                          \
		uint64_t c0 = a##00 ^ a##01 ^ a##02 ^ a##03 ^ a##04;                                  \
		uint64_t c1 = a##10 ^ a##11 ^ a##12 ^ a##13 ^ a##14;                                  \
		uint64_t c2 = a##20 ^ a##21 ^ a##22 ^ a##23 ^ a##24;                                  \
		uint64_t c3 = a##30 ^ a##31 ^ a##32 ^ a##33 ^ a##34;                                  \
		uint64_t c4 = a##40 ^ a##41 ^ a##42 ^ a##43 ^ a##44;                                  \
		uint64_t d0 = c4 ^ kms_rotl64(c1, 1);                                                 \
		uint64_t d1 = c0 ^ kms_rotl64(c2, 1);                                                 \
		uint64_t d2 = c1 ^ kms_rotl64(c3, 1);                                                 \
		uint64_t d3 = c2 ^ kms_rotl64(c4, 1);                                                 \
		uint64_t d4 = c3 ^ kms_rotl64(c0, 1);                                                 \
		ROW(e, 0, a##00 ^ d0, LANE(a, 1, 1, 44), LANE(a, 2, 2, 43), LANE(a, 3, 3, 21),        \
		    LANE(a, 4, 4, 14));                                                               \
		ROW(e, 1, LANE(a, 3, 0, 28), LANE(a, 4, 1, 20), LANE(a, 0, 2, 3), LANE(a, 1, 3, 45),  \
		    LANE(a, 2, 4, 61));                                                               \
		ROW(e, 2, LANE(a, 1, 0, 1), LANE(a, 2, 1, 6), LANE(a, 3, 2, 25), LANE(a, 4, 3, 8),    \
		    LANE(a, 0, 4, 18));                                                               \
		ROW(e, 3, LANE(a, 4, 0, 27), LANE(a, 0, 1, 36), LANE(a, 1, 2, 10), LANE(a, 2, 3, 15), \
		    LANE(a, 3, 4, 56));                                                               \
		ROW(e, 4, LANE(a, 2, 0, 62), LANE(a, 3, 1, 55), LANE(a, 4, 2, 39), LANE(a, 0, 3, 41), \
		    LANE(a, 1, 4, 2));                                                                \
		e##00 ^= (constant);                                                                  \
	} while (0)

/* clang-format off */
/* The lanes in the order of the state. */
#define EACH_LANE(X) \
	X(00, 0)  X(10, 1)  X(20, 2)  X(30, 3)  X(40, 4) \
	X(01, 5)  X(11, 6)  X(21, 7)  X(31, 8)  X(41, 9) \
	X(02, 10) X(12, 11) X(22, 12) X(32, 13) X(42, 14) \
	X(03, 15) X(13, 16) X(23, 17) X(33, 18) X(43, 19) \
	X(04, 20) X(14, 21) X(24, 22) X(34, 23) X(44, 24)

#define DECLARE(name, i) uint64_t a##name = s[i], e##name;
#define STORE(name, i) s[i] = a##name;
/* clang-format on */

static void permute(uint64_t s[25])
{
	EACH_LANE(DECLARE)
	for (int round = 0; round < ROUNDS; round += 2) {
		ROUND(e, a, round_constants[round]);
		ROUND(a, e, round_constants[round + 1]);
	}
	EACH_LANE(STORE)
}

/* Mixes bytes into the block at `at`; the caller keeps at + len within the rate. */
static void absorb(uint64_t s[25], size_t at, const uint8_t *bytes, size_t len)
{
	for (; len && at % 8; at++, bytes++, len--)
		s[at / 8] ^= (uint64_t)*bytes << (8 * (at % 8));
	for (; len >= 8; at += 8, bytes += 8, len -= 8)
		s[at / 8] ^= kms_load64_le(bytes);
	for (; len; at++, bytes++, len--)
		s[at / 8] ^= (uint64_t)*bytes << (8 * (at % 8));
}

void kms_keccak_update(kms_keccak *hash, kms_span bytes)
{
	const uint8_t *at = bytes.bytes;
	size_t len = bytes.len;
	while (len) {
		size_t room = KMS_KECCAK_RATE - hash->filled;
		size_t taken = len < room ? len : room;
		absorb(hash->state, hash->filled, at, taken);
		at += taken;
		len -= taken;
		hash->filled += taken;
		if (hash->filled < KMS_KECCAK_RATE) return;
		permute(hash->state);
		hash->filled = 0;
	}
}

void kms_keccak_final(uint8_t digest32[32], kms_keccak *hash)
{
	static const uint8_t first = 0x01, last = 0x80;
	absorb(hash->state, hash->filled, &first, 1);
	absorb(hash->state, KMS_KECCAK_RATE - 1, &last, 1);
	permute(hash->state);
	for (size_t i = 0; i < 4; i++)
		kms_store64_le(digest32 + 8 * i, hash->state[i]);
	kms_wipe(hash, sizeof(*hash));
}

void kms_keccak256(uint8_t digest32[32], kms_span bytes)
{
	kms_keccak hash = kms_keccak_start();
	kms_keccak_update(&hash, bytes);
	kms_keccak_final(digest32, &hash);
}

void kms_secret_keccak256(uint8_t digest32[32], const kms_secret *secret)
{
	kms_keccak256(digest32, kms_secret_span(secret));
	/* The permutation can be undone, and the compiler kept lanes of its state on the stack. */
	kms_wipe_stack();
}
