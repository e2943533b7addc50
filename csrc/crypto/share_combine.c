/* The master secret from its shares, where some of them may be wrong. */
#include <string.h>

#include "base/ensure.h"
#include "base/guarded.h"
#include "crypto/shamir_internal.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/share.h"

/* The shares that are tried together: indexes into `parts`, ascending. */
typedef struct attempt {
	const kms_share_part *parts;
	size_t count;
	size_t threshold;
	size_t chosen[KMS_SHARE_CUSTODIANS];
	uint8_t xs[KMS_SHARE_CUSTODIANS];
	/* Copies in guarded memory: `count` values, then one of the attempt. */
	kms_shamir_block *values;
} attempt;

static kms_status check_parts(const kms_share_part *parts, size_t count)
{
	uint32_t seen = 0;
	for (size_t i = 0; i < count; i++) {
		ENSURE_REF(parts[i].y32);
		ENSURE(kms_secret_len(parts[i].y32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
		ENSURE(parts[i].x >= 1 && parts[i].x <= KMS_SHARE_CUSTODIANS, KMS_ERR_RANGE);
		ENSURE(!(seen >> parts[i].x & 1), KMS_ERR_RANGE);
		seen |= 1u << parts[i].x;
	}
	return KMS_OK;
}

/* The value at `at` of the polynomial through the chosen shares. */
static void value_at(kms_shamir_block *value, attempt *try, uint8_t at)
{
	const kms_shamir_block *ys[KMS_SHARE_CUSTODIANS];
	for (size_t i = 0; i < try->threshold; i++) {
		try->xs[i] = try->parts[try->chosen[i]].x;
		ys[i] = &try->values[try->chosen[i]];
	}
	kms_shamir_through(value, try->xs, ys, try->threshold, at);
}

/* The next subset in order. Returns: false after the last one. */
static bool advance(attempt *try)
{
	for (size_t i = try->threshold; i-- > 0;) {
		if (try->chosen[i] + (try->threshold - i) >= try->count) continue;
		size_t next = try->chosen[i];
		for (; i < try->threshold; i++)
			try->chosen[i] = ++next;
		return true;
	}
	return false;
}

/* Returns: KMS_OK; ERR_SHARES when the chosen shares do not give the secret of the hash. */
static kms_status try_chosen(kms_secret **master32, attempt *try, const uint8_t hash32[32])
{
	uint8_t hash[32];
	DEFER(kms_secret_release) kms_secret *candidate = NULL;
	kms_shamir_block *value = &try->values[try->count];
	value_at(value, try, 0);
	GUARD(kms_secret_new(&candidate, kms_span_of(value, sizeof(*value))));
	kms_secret_keccak256(hash, candidate);
	ENSURE(kms_equal_ct(hash, hash32, sizeof(hash)), KMS_ERR_SHARES);
	*master32 = candidate;
	candidate = NULL;
	return KMS_OK;
}

/* Bit x for each share that is not where the chosen ones put it. */
static uint32_t misfits(attempt *try)
{
	uint32_t wrong = 0;
	kms_shamir_block *value = &try->values[try->count];
	for (size_t i = 0; i < try->count; i++) {
		value_at(value, try, try->parts[i].x);
		if (!kms_equal_ct(value, &try->values[i], sizeof(*value))) wrong |= 1u << try->parts[i].x;
	}
	return wrong;
}

static kms_status search(kms_secret **master32, uint32_t *wrong, attempt *try, const uint8_t hash32[32])
{
	kms_status status;
	for (size_t i = 0; i < try->count; i++)
		memcpy(&try->values[i], kms_secret_bytes(try->parts[i].y32), sizeof(try->values[i]));
	for (size_t i = 0; i < try->threshold; i++)
		try->chosen[i] = i;
	do
		status = try_chosen(master32, try, hash32);
	while (status == KMS_ERR_SHARES && advance(try));
	if (status == KMS_OK) *wrong = misfits(try);
	return status;
}

kms_status kms_share_combine(kms_secret **master32, uint32_t *wrong, const kms_share_part *parts,
			     size_t count, uint8_t threshold, const uint8_t hash32[32])
{
	ENSURE_REF(master32);
	ENSURE_REF(wrong);
	*master32 = NULL;
	*wrong = 0;
	ENSURE_REF(parts);
	ENSURE_REF(hash32);
	ENSURE(threshold >= KMS_SHARE_LEAST && threshold <= count && count <= KMS_SHARE_CUSTODIANS,
	       KMS_ERR_RANGE);
	GUARD(check_parts(parts, count));
	DEFER(kms_guarded_release)
	uint8_t *memory = kms_guarded_alloc((count + 1) * sizeof(kms_shamir_block));
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	attempt try = { .parts = parts,
			.count = count,
			.threshold = threshold,
			.values = (kms_shamir_block *)(void *)memory };
	kms_status status = search(master32, wrong, &try, hash32);
	kms_wipe_stack();
	return status;
}
