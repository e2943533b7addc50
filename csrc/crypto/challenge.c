/* Challenges to custodians. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/challenge.h"
#include "kms/crypto.h"

#define SECRET 32
#define WALLET 20
#define X_AT (sizeof(magic) + WALLET)
#define SECRET_AT (X_AT + 1)

static const uint8_t magic[4] = { 'N', 'K', 'R', 'C' };

_Static_assert(SECRET_AT + SECRET == KMS_CHALLENGE_BYTES, "the parts of a challenge");

kms_status kms_challenge_secret(kms_secret **c32, const kms_secret *key, uint8_t x, uint64_t hour,
				kms_span set)
{
	uint8_t hour8[8];
	ENSURE_REF(c32);
	*c32 = NULL;
	DEFER(kms_guarded_release) uint8_t *mac = kms_guarded_alloc(SECRET);
	ENSURE(mac, KMS_ERR_LOCKED_MEMORY);
	kms_store64_be(hour8, hour);
	const kms_span parts[] = { { &x, 1 }, KMS_SPAN(hour8), set };
	GUARD(kms_hmac_sha256_spans(mac, key, parts, KMS_ARRAY_LEN(parts)));
	return kms_secret_new(c32, kms_span_of(mac, SECRET));
}

kms_status kms_challenge_write(kms_buf *challenge, const uint8_t wallet20[20], uint8_t x,
			       const kms_secret *c32)
{
	ENSURE_REF(challenge);
	ENSURE_REF(wallet20);
	ENSURE_REF(c32);
	ENSURE(challenge->kind == KMS_BUF_GUARDED && kms_secret_len(c32) == SECRET, KMS_ERR_ARGUMENT);
	GUARD(kms_buf_reserve(challenge, KMS_CHALLENGE_BYTES));
	GUARD(kms_buf_append(challenge, KMS_SPAN(magic)));
	GUARD(kms_buf_append(challenge, kms_span_of(wallet20, WALLET)));
	GUARD(kms_buf_append(challenge, kms_span_of(&x, 1)));
	return kms_buf_append(challenge, kms_secret_span(c32));
}

kms_status kms_challenge_read(kms_secret **c32, kms_span challenge, const uint8_t wallet20[20], uint8_t x)
{
	ENSURE_REF(c32);
	*c32 = NULL;
	ENSURE(challenge.bytes || challenge.len == 0, KMS_ERR_ARGUMENT);
	ENSURE_REF(wallet20);
	ENSURE(challenge.len == KMS_CHALLENGE_BYTES, KMS_ERR_CHALLENGE);
	ENSURE(kms_equal_ct(challenge.bytes, magic, sizeof(magic)), KMS_ERR_CHALLENGE);
	ENSURE(kms_equal_ct(challenge.bytes + sizeof(magic), wallet20, WALLET), KMS_ERR_CHALLENGE);
	ENSURE(challenge.bytes[X_AT] == x, KMS_ERR_CHALLENGE);
	return kms_secret_new(c32, kms_span_of(challenge.bytes + SECRET_AT, SECRET));
}

kms_status kms_challenge_answer(uint8_t mac32[32], const kms_secret *c32, kms_span body)
{
	uint8_t digest[32];
	ENSURE_REF(mac32);
	memset(mac32, 0, 32);
	GUARD(kms_sha256(digest, body));
	return kms_hmac_sha256(mac32, c32, KMS_SPAN(digest));
}
