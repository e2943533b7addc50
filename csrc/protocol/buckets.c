#include "kms/buckets.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "base/siphash.h"

#define MAX_BUCKETS 1000000u
#define WAYS 8 /* places that a key can have */
#define MAX_RATE 1e9
#define MAX_BURST 1e12
#define MAX_NOW_MS 10000000000000ull

typedef struct bucket {
	uint64_t id;    /* keyed hash of key, rate and burst; 0: free */
	double tokens;  /* at since_ms */
	double rate_ms; /* tokens a millisecond */
	double burst;
	uint64_t since_ms;
} bucket;

struct kms_buckets {
	pthread_mutex_t lock;
	kms_siphash_key hash_key;
	uint64_t now_ms;
	size_t mask; /* of sets */
	bucket *places;
};

kms_status kms_buckets_new(kms_buckets **buckets, size_t max)
{
	ENSURE_REF(buckets);
	*buckets = NULL;
	ENSURE(max >= WAYS && max <= MAX_BUCKETS, KMS_ERR_RANGE);
	size_t sets = 1;
	while (sets * WAYS < max)
		sets *= 2;
	kms_siphash_key hash_key;
	GUARD(kms_siphash_key_new(&hash_key));
	kms_buckets *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->places = kms_heap_alloc(sets * WAYS, sizeof(*made->places));
	if (!made->places) {
		kms_heap_free(made);
		return KMS_ERR_MEMORY;
	}
	pthread_mutex_init(&made->lock, NULL);
	made->hash_key = hash_key;
	made->mask = sets - 1;
	*buckets = made;
	return KMS_OK;
}

void kms_buckets_free(kms_buckets *buckets)
{
	if (!buckets) return;
	pthread_mutex_destroy(&buckets->lock);
	kms_heap_free(buckets->places);
	kms_heap_free(buckets);
}

static double tokens_at(const bucket *b, uint64_t now_ms)
{
	double tokens = b->tokens + (double)(now_ms - b->since_ms) * b->rate_ms;
	return tokens < b->burst ? tokens : b->burst;
}

/* The bucket of `id`, or a place for it: free, or of a bucket that is full and says nothing. */
static bucket *find_place(kms_buckets *buckets, uint64_t id)
{
	bucket *set = &buckets->places[(id & buckets->mask) * WAYS];
	bucket *room = NULL;
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].id == id) return &set[i];
		if (!room && (set[i].id == 0 || tokens_at(&set[i], buckets->now_ms) >= set[i].burst))
			room = &set[i];
	}
	return room;
}

static kms_status take_locked(kms_buckets *buckets, uint64_t id, double rate, double burst)
{
	bucket *b = find_place(buckets, id);
	ENSURE(b, KMS_ERR_RATE);
	double tokens = b->id == id ? tokens_at(b, buckets->now_ms) : burst;
	*b = (bucket){ id, tokens, rate / 1000, burst, buckets->now_ms };
	ENSURE(tokens >= 1, KMS_ERR_RATE);
	b->tokens -= 1;
	return KMS_OK;
}

kms_status kms_buckets_take(kms_buckets *buckets, const void *key, size_t key_len, double rate, double burst,
			    uint64_t now_ms)
{
	ENSURE(buckets && (key || key_len == 0), KMS_ERR_ARGUMENT);
	/* Written so that NaN fails. */
	ENSURE(rate > 0 && rate <= MAX_RATE && burst >= 1 && burst <= MAX_BURST, KMS_ERR_RANGE);
	ENSURE(now_ms <= MAX_NOW_MS, KMS_ERR_RANGE);
	struct {
		uint64_t key;
		double rate, burst;
	} name = { kms_siphash(&buckets->hash_key, key, key_len), rate, burst };
	uint64_t id = kms_siphash(&buckets->hash_key, &name, sizeof(name)) | 1;
	pthread_mutex_lock(&buckets->lock);
	if (now_ms > buckets->now_ms) buckets->now_ms = now_ms;
	kms_status status = take_locked(buckets, id, rate, burst);
	pthread_mutex_unlock(&buckets->lock);
	return status;
}
