/*
 * The table of token buckets behind kms/limit.h: a fixed number of buckets, found by a 64-bit id.
 *
 * A bucket is the moment at which it will be full again. Taking a token moves that moment on by
 * one interval, and it may not lie further ahead than the burst allows. A bucket whose moment has
 * passed is full and holds no information, so it can make room for another one.
 */
#ifndef KMS_PROTOCOL_BUCKET_TABLE_INTERNAL_H
#define KMS_PROTOCOL_BUCKET_TABLE_INTERNAL_H

#include "kms/view.h"
#include "base/min_heap.h"
#include "base/siphash.h"

/*
 * A time or a span of time in picoseconds. At the highest rate, 10^9 tokens a second, an interval
 * is then exact to 0.1 %; 128 bits hold 10^12 intervals of the lowest rate.
 */
typedef unsigned __int128 moment;

#define PS_PER_MS ((moment)1000000000)
#define PS_PER_S (1000 * PS_PER_MS)

/* How fast tokens come: the time between two of them, and the time from empty to full. */
typedef struct token_rate {
	moment interval;
	moment span;
} token_rate;

typedef struct bucket {
	moment full_at;
	uint64_t id;
	uint32_t next;     /* in the chain of its hash, or of free buckets */
	uint32_t position; /* in the heap */
} bucket;

typedef struct bucket_table {
	kms_siphash_key hash_key;
	moment now;
	bucket *buckets;
	uint32_t *heads;     /* of the chains */
	uint32_t mask;       /* of heads */
	uint32_t free;       /* first of the chain of free buckets */
	kms_min_heap filled; /* buckets in use, by the millisecond in which they are full */
} bucket_table;

/* Makes a table of `max` buckets, at least 1. Release with kms_bucket_table_clear, also after a failure. */
kms_status kms_bucket_table_make(bucket_table *table, uint32_t max);
void kms_bucket_table_clear(bucket_table *table);
/* Buckets in use. */
size_t kms_bucket_table_count(const bucket_table *table);

/* Moves the table's clock on, never back, and forgets some buckets that have become full. */
void kms_bucket_table_advance(bucket_table *table, uint64_t now_ms);

/* A keyed hash, so that nobody can choose keys that share a bucket or a chain. */
uint64_t kms_bucket_table_id(const bucket_table *table, kms_span key);

/*
 * Takes a token of the bucket `id`, which is added (full) when the table does not have it.
 * Out: wait - time until there is a token, 0 when one was taken.
 * Returns: false when the bucket is new and all buckets are taken by others that are not full.
 */
bool kms_bucket_table_take(moment *wait, bucket_table *table, uint64_t id, token_rate rate);

/* Time until the bucket `id` has a token; 0 when it has one, also when the table does not have the bucket. */
moment kms_bucket_table_wait(bucket_table *table, uint64_t id, token_rate rate);

/* Takes a token of a bucket outside the table. Returns: the time to wait, 0 when one was taken. */
moment kms_bucket_draw(moment *full_at, moment now, token_rate rate);

#endif
