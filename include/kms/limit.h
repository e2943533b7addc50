/*
 * Token buckets by key, in a table of fixed size. Safe to share between threads.
 */
#ifndef KMS_LIMIT_H
#define KMS_LIMIT_H

#include "kms/kms.h"

typedef struct kms_limiter kms_limiter;

#define KMS_LIMIT_KEY 32 /* longest key in bytes */

/*
 * In: per_minute - tokens that flow in each minute, 1 to 1 000 000 000; burst - tokens a
 * bucket holds at the most and at first, at least 1 and no more than flow in in a century;
 * max_keys - buckets, 1 to 1 000 000. Keys hash under
 * a random key, so that nobody can aim at one chain. ERR_RANGE, ERR_MEMORY.
 */
kms_status kms_limiter_new(kms_limiter **limiter, uint32_t per_minute, uint32_t burst, size_t max_keys);
void kms_limiter_free(kms_limiter *limiter);

/*
 * Takes one token of a key's bucket.
 * Out: retry_after_ms - until a token is there (0 on KMS_OK). May be NULL.
 * In: key - 1 to KMS_LIMIT_KEY bytes; now_ms - monotonic, up to 10^13 (ERR_RANGE); earlier
 * than an earlier call counts as that call's.
 * Returns: KMS_OK or ERR_RATE. Full buckets are forgotten; when all places are taken by
 * others that are not full, unknown keys share one bucket, so the table never grows.
 */
kms_status kms_limiter_take(uint64_t *retry_after_ms, kms_limiter *limiter, const void *key, size_t key_len,
			    uint64_t now_ms);

/* Buckets in use. */
size_t kms_limiter_count(kms_limiter *limiter);

/*
 * The key of a peer address: 4 bytes of an IPv4 (mapped ones too), 8 bytes (/64) of an IPv6.
 * Out: key8 - zero-padded; key_len. ERR_ARGUMENT when the text is no address.
 */
kms_status kms_address_limit_key(uint8_t key8[8], size_t *key_len, const char *address);

#endif
