/* Vector clocks. Clocks in the store are sorted by wallet, so that two of them are walked together. */
#ifndef KMS_STORE_STORE_CLOCK_H
#define KMS_STORE_STORE_CLOCK_H

#include "store/store_members.h"

#define KMS_CLOCK_DRAFT_MAX (2 * KMS_STORE_MAX_CLOCK + 1)

/* A sorted clock under construction. */
typedef struct clock_draft {
	size_t len;
	kms_clock_entry entries[KMS_CLOCK_DRAFT_MAX];
} clock_draft;

static inline kms_clock kms_clock_of(const clock_draft *draft)
{
	return (kms_clock){ draft->entries, draft->len };
}

typedef enum clock_relation {
	KMS_CLOCK_EQUAL,
	KMS_CLOCK_BEFORE,
	KMS_CLOCK_AFTER,
	KMS_CLOCK_CONCURRENT,
} clock_relation;

/* A sorted copy of up to KMS_STORE_MAX_CLOCK entries; false when a wallet is there twice. */
bool kms_clock_sort(clock_draft *sorted, kms_clock clock);
/* How `a` relates to `b`; a missing wallet counts as 0. */
clock_relation kms_clock_compare(kms_clock a, kms_clock b);
/* The larger counter of each wallet, of two clocks of up to KMS_STORE_MAX_CLOCK entries. */
void kms_clock_join(clock_draft *joined, kms_clock a, kms_clock b);
/* The counter of a wallet, 0 when it is missing. */
uint64_t kms_clock_counter(kms_clock clock, const uint8_t wallet20[20]);
/*
 * The clock of a write by this node over `clock` (may be empty). The own counter exceeds the one before and
 * `floor`, and is at least `least`.
 */
void kms_clock_advance(clock_draft *next, store_members *members, kms_clock clock, uint64_t floor,
		       uint64_t least);
/*
 * Drops the entries with the smallest counters beyond `limit`, except members'; beyond
 * KMS_STORE_MAX_CLOCK members' too. Never drops this node's own entry.
 */
void kms_clock_trim(clock_draft *clock, store_members *members, size_t limit);

#endif
