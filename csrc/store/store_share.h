/*
 * Shares of the store. The share of a namespace is what a write may use of the store's total, divided by the
 * number of namespaces. When the whole store is short, those namespaces give records up that hold more than
 * their share, the one with the largest excess first, until it holds its share. The last record that it gives
 * up can take it below by part of that record.
 */
#ifndef KMS_STORE_STORE_SHARE_H
#define KMS_STORE_STORE_SHARE_H

#include "store/store_namespace.h"

/* The namespaces above their share, but for one. */
typedef struct share_survey {
	size_t payer;    /* index of the one that is furthest above; SIZE_MAX: none */
	uint64_t excess; /* how far */
	uint64_t all;    /* how far all of them are above, together */
} share_survey;

static inline uint64_t kms_share_excess(uint64_t held, uint64_t share)
{
	return held > share ? held - share : 0;
}

/* What a namespace holds, as it was last unlocked. */
static inline uint64_t kms_share_held(const store_namespace *ns)
{
	return atomic_load_explicit(&kms_namespace_summary(ns)->held, memory_order_relaxed);
}

/* For a record of this origin, as of now. */
store_allowance kms_share_allowance(kms_store *store, uint32_t origin);

/* The share of each namespace, with `more` of them than there are. */
uint64_t kms_share_of(kms_store *store, const store_allowance *allowance, size_t more);

/* Looks at all namespaces but the one of index `self` (SIZE_MAX: none). No lock needed. */
share_survey kms_share_survey(kms_store *store, size_t self, uint64_t share);

/*
 * Whether this namespace, which is to hold `wanted` bytes, must make room for them itself: no other one is
 * further above this share.
 */
bool kms_share_pays(const store_namespace *ns, uint64_t wanted, uint64_t share);

#endif
