/*
 * Rate limits: token buckets by key, in tables of fixed size that are allocated once. A bucket
 * starts full; buckets that are full again are forgotten and make room for others.
 * Keys are kept as a hash under a random key, so that nobody can choose keys that collide.
 *
 * Times are monotonic milliseconds, at most 10^13 (ERR_RANGE beyond); a time before that of an
 * earlier call counts as the earlier call's.
 *
 * Threads: any; objects may be shared.
 */
#ifndef KMS_LIMIT_H
#define KMS_LIMIT_H

#include "kms/view.h"

/* ---- one rate for all keys ---- */

typedef struct kms_limiter kms_limiter;

#define KMS_LIMIT_KEY 32 /* bytes of the longest key */

/*
 * Makes a limiter.
 * Returns: KMS_OK; ERR_RANGE when a number is out of range; ERR_MEMORY; ERR_SYSTEM.
 * Out: limiter - free with kms_limiter_free.
 * In: per_minute - tokens that a bucket gains in a minute, 1 to 10^9. burst - tokens that it holds
 * at most, 1 to what it gains in a century. max_keys - buckets, 1 to 10^6.
 */
kms_status kms_limiter_new(kms_limiter **limiter, uint32_t per_minute, uint32_t burst, size_t max_keys);
void kms_limiter_free(kms_limiter *limiter);

/*
 * Takes one token of a key's bucket. While all buckets are taken by other keys and none of them is
 * full, new keys share one more bucket.
 * Returns: KMS_OK; ERR_RATE when there is no token; ERR_RANGE for a key or time out of range.
 * Out: retry_after_ms - time until there is a token, 0 unless ERR_RATE; may be NULL.
 * In: key - 1 to KMS_LIMIT_KEY bytes.
 */
kms_status kms_limiter_take(uint64_t *retry_after_ms, kms_limiter *limiter, kms_span key, uint64_t now_ms);

/* Returns: buckets in use; 0 for NULL. */
size_t kms_limiter_count(kms_limiter *limiter);

/*
 * The keys by which client addresses are told apart: an IPv4 address, or the /64 of an IPv6 address
 * and, wider, the /48 that it lies in, which is what one site has.
 * Returns: KMS_OK; ERR_ARGUMENT when the text is not an address.
 * Out: key8 - 4 bytes of an IPv4 address (a mapped one too) or 8 of an IPv6, padded with zeros.
 * key_len - 4 or 8. network_len - how many of these bytes are the network's: 4, or 6 of an IPv6.
 */
kms_status kms_address_limit_key(uint8_t key8[8], size_t *key_len, size_t *network_len, const char *address);

#define KMS_LIMIT_NETWORK_SHARE 16 /* addresses that a /48 counts as at most */

/*
 * Takes one token for a client address: of the bucket of its key, and of one of its network that
 * gains and holds as much as those of KMS_LIMIT_NETWORK_SHARE addresses, so that one site
 * neither takes all buckets nor has 65 536 times the rate. Otherwise as kms_limiter_take.
 * Returns: also ERR_ARGUMENT when the text is not an address.
 */
kms_status kms_limiter_take_address(uint64_t *retry_after_ms, kms_limiter *limiter, const char *address,
				    uint64_t now_ms);

/* ---- a rate with each call: what a policy limits by ---- */

typedef struct kms_buckets kms_buckets;

/*
 * Makes a table of `max` buckets, 8 to 10^6.
 * Returns: KMS_OK; ERR_RANGE; ERR_MEMORY; ERR_SYSTEM.
 * Out: buckets - free with kms_buckets_free.
 */
kms_status kms_buckets_new(kms_buckets **buckets, size_t max);
void kms_buckets_free(kms_buckets *buckets);

/*
 * Takes one token of the bucket that key, rate and burst name together.
 * Returns: KMS_OK; ERR_RATE when there is no token, or when the bucket is new and all others are
 * taken and not full; ERR_RANGE.
 * In: key - any bytes, may be empty. rate - tokens a second, above 0 and at most 10^9. burst - tokens
 * that the bucket holds at most, 1 to 10^12.
 */
kms_status kms_buckets_take(kms_buckets *buckets, kms_span key, double rate, double burst, uint64_t now_ms);

#endif
