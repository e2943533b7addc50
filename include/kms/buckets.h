/*
 * Token buckets whose rate and size come with each call: what a policy limits by. A fixed
 * number of them; safe to share between threads.
 */
#ifndef KMS_BUCKETS_H
#define KMS_BUCKETS_H

#include "kms/kms.h"

typedef struct kms_buckets kms_buckets;

/* In: max - buckets, 8 to 1 000 000, rounded up to a power of two. ERR_RANGE, ERR_MEMORY. */
kms_status kms_buckets_new(kms_buckets **buckets, size_t max);
void kms_buckets_free(kms_buckets *buckets);

/*
 * Takes one token of the bucket that (key, rate, burst) names.
 * In: key - any bytes, kept as a keyed hash; rate - tokens a second, above 0 and at most 10^9;
 * burst - tokens that the bucket holds at the most and at first, 1 to 10^12; now_ms - monotonic,
 * up to 10^13 (ERR_RANGE); earlier than an earlier call counts as that call's.
 * Returns: KMS_OK; ERR_RATE where the bucket is empty, or where it is new and the places that
 * its key can have are all taken by buckets that are not full.
 */
kms_status kms_buckets_take(kms_buckets *buckets, const void *key, size_t key_len, double rate, double burst,
			    uint64_t now_ms);

#endif
