#include "base/siphash.h"

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/secret.h"

kms_status kms_siphash_key_new(kms_siphash_key *key)
{
	uint8_t bytes[16];
	GUARD(kms_random(KMS_OUT(bytes)));
	key->k0 = kms_load64_le(bytes);
	key->k1 = kms_load64_le(bytes + 8);
	kms_wipe(bytes, sizeof(bytes));
	return KMS_OK;
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = kms_rotl64(v[1], 13) ^ v[0];
	v[3] = kms_rotl64(v[3], 16) ^ v[2];
	v[0] = kms_rotl64(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = kms_rotl64(v[1], 17) ^ v[2];
	v[3] = kms_rotl64(v[3], 21) ^ v[0];
	v[2] = kms_rotl64(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

static inline void sip_start(uint64_t v[4], const kms_siphash_key *key)
{
	/* The constants spell "somepseudorandomlygeneratedbytes". */
	v[0] = key->k0 ^ 0x736f6d6570736575u;
	v[1] = key->k1 ^ 0x646f72616e646f6du;
	v[2] = key->k0 ^ 0x6c7967656e657261u;
	v[3] = key->k1 ^ 0x7465646279746573u;
}

/* Hashes what follows the `before` bytes that are hashed already, a multiple of 8. */
static inline uint64_t sip_end(uint64_t v[4], size_t before, kms_span bytes)
{
	const uint8_t *at = bytes.bytes;
	size_t len = bytes.len;
	uint64_t last = (uint64_t)(before + len) << 56;
	for (; len >= 8; at += 8, len -= 8)
		sip_word(v, kms_load64_le(at));
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)at[i] << (8 * i);
	sip_word(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t kms_siphash(const kms_siphash_key *key, kms_span bytes)
{
	uint64_t v[4];
	sip_start(v, key);
	return sip_end(v, 0, bytes);
}

uint64_t kms_siphash_tagged(const kms_siphash_key *key, uint64_t tag, kms_span bytes)
{
	uint64_t v[4];
	sip_start(v, key);
	sip_word(v, tag);
	return sip_end(v, sizeof(tag), bytes);
}
