/* Shares of the master secret: made, written, read. */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "base/guarded.h"
#include "crypto/shamir_internal.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/share.h"

#define SALT "nova-kms:recovery"
#define BLOCK 32
/* Where a share has what, after the magic. */
#define SET_AT 4
#define THRESHOLD_AT 20
#define COUNT_AT 21
#define X_AT 22
#define DAY_AT 23
#define HASH_AT 27
#define Y_AT (KMS_SHARE_BYTES - BLOCK)

static const uint8_t magic[4] = { 'N', 'K', 'R', '1' };

_Static_assert(HASH_AT + KMS_SHARE_HASH == Y_AT, "a share has no gap");
_Static_assert(sizeof(kms_shamir_block) == BLOCK, "a block is a share's secret part");

static bool is_place(uint8_t threshold, uint8_t count, uint8_t x)
{
	return threshold >= KMS_SHARE_LEAST && threshold <= count && count <= KMS_SHARE_CUSTODIANS &&
	       x >= 1 && x <= count;
}

/* The polynomial: the secret, and coefficients that follow from it. */
static kms_status coefficients_of(kms_shamir_block *blocks, const kms_secret *master32,
				  const kms_share_set *set)
{
	memcpy(&blocks[0], kms_secret_bytes(master32), BLOCK);
	return kms_hkdf_sha256(kms_out_of(&blocks[1], (size_t)BLOCK * (set->threshold - 1u)),
			       kms_secret_span(master32), KMS_BYTES(SALT), KMS_SPAN(set->id32));
}

kms_status kms_share_y(kms_secret **y32, const kms_secret *master32, const kms_share_set *set, uint8_t x)
{
	ENSURE_REF(y32);
	*y32 = NULL;
	ENSURE_REF(master32);
	ENSURE_REF(set);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
	ENSURE(is_place(set->threshold, set->count, x), KMS_ERR_RANGE);
	/* The last block takes the value. */
	DEFER(kms_guarded_release)
	uint8_t *memory = kms_guarded_alloc((KMS_SHARE_CUSTODIANS + 1) * sizeof(kms_shamir_block));
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	kms_shamir_block *blocks = (kms_shamir_block *)(void *)memory;
	GUARD(coefficients_of(blocks, master32, set));
	kms_shamir_block *value = &blocks[KMS_SHARE_CUSTODIANS];
	kms_shamir_value(value, blocks, set->threshold, x);
	kms_wipe_stack();
	return kms_secret_new(y32, kms_span_of(value, BLOCK));
}

static void write_head(uint8_t *share, const kms_share_head *head)
{
	memcpy(share, magic, sizeof(magic));
	memcpy(share + SET_AT, head->set16, KMS_SHARE_SET);
	share[THRESHOLD_AT] = head->threshold;
	share[COUNT_AT] = head->count;
	share[X_AT] = head->x;
	kms_store32_be(share + DAY_AT, head->day);
	memcpy(share + HASH_AT, head->hash24, KMS_SHARE_HASH);
}

kms_status kms_share_make(kms_buf *share, const kms_secret *master32, const kms_share_set *set, uint8_t x,
			  uint32_t day)
{
	uint8_t hash[32];
	DEFER(kms_secret_release) kms_secret *y = NULL;
	ENSURE_REF(share);
	ENSURE(share->kind == KMS_BUF_GUARDED, KMS_ERR_ARGUMENT);
	GUARD(kms_share_y(&y, master32, set, x));
	GUARD(kms_buf_reserve(share, KMS_SHARE_BYTES));
	kms_secret_keccak256(hash, master32);
	kms_share_head head = { .threshold = set->threshold, .count = set->count, .x = x, .day = day };
	memcpy(head.set16, set->id32, sizeof(head.set16));
	memcpy(head.hash24, hash, sizeof(head.hash24));
	write_head(share->data + share->len, &head);
	memcpy(share->data + share->len + Y_AT, kms_secret_bytes(y), BLOCK);
	share->len += KMS_SHARE_BYTES;
	return KMS_OK;
}

kms_status kms_share_read(kms_share_head *head, kms_secret **y32, kms_span share)
{
	ENSURE_REF(head);
	ENSURE_REF(y32);
	*y32 = NULL;
	*head = (kms_share_head){ 0 };
	ENSURE(share.bytes || share.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(share.len == KMS_SHARE_BYTES && kms_equal_ct(share.bytes, magic, sizeof(magic)),
	       KMS_ERR_SHARE);
	const uint8_t *at = share.bytes;
	ENSURE(is_place(at[THRESHOLD_AT], at[COUNT_AT], at[X_AT]), KMS_ERR_SHARE);
	GUARD(kms_secret_new(y32, kms_span_of(at + Y_AT, BLOCK)));
	head->threshold = at[THRESHOLD_AT];
	head->count = at[COUNT_AT];
	head->x = at[X_AT];
	head->day = kms_load32_be(at + DAY_AT);
	memcpy(head->set16, at + SET_AT, sizeof(head->set16));
	memcpy(head->hash24, at + HASH_AT, sizeof(head->hash24));
	return KMS_OK;
}
