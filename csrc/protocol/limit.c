#include "kms/limit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "base/siphash.h"

#define MAX_PER_MINUTE 1000000000u
#define MAX_KEYS 1000000u
#define NONE UINT32_MAX
#define NS_PER_MS 1000000ull
#define NS_PER_MINUTE (60000 * NS_PER_MS)
#define MAX_NOW_MS 10000000000000ull                          /* 317 years of uptime: sums below never wrap */
#define MAX_SPAN_NS (100ull * 365 * 86400 * 1000 * NS_PER_MS) /* a century to fill a bucket */
#define FORGET_EACH 4                                         /* full buckets that one call forgets at most */

/*
 * A bucket is the moment at which it will be full again: a token moves that moment on by one
 * interval, and it may not be further away than the burst allows. A heap on that moment
 * finds the full buckets, which carry no information and make room for others.
 */
typedef struct bucket {
	uint64_t full_ns;
	uint32_t next;  /* in the chain of its hash, or of free buckets */
	uint32_t place; /* in the heap */
	uint8_t key_len;
	uint8_t key[KMS_LIMIT_KEY];
} bucket;

struct kms_limiter {
	pthread_mutex_t lock;
	kms_siphash_key hash_key;
	uint64_t interval_ns; /* between two tokens */
	uint64_t span_ns;     /* from empty to full */
	uint64_t now_ns;
	uint64_t shared_full_ns; /* the bucket of those that found no place */
	bucket *buckets;
	uint32_t *heads;
	uint32_t *heap;
	uint32_t max_keys;
	uint32_t mask;
	uint32_t count;
	uint32_t free;
};

DEFINE_DEFER(limiter_release, kms_limiter, kms_limiter_free)

static kms_status tables_new(kms_limiter *l, uint32_t max_keys)
{
	uint32_t heads = 1;
	while (heads < max_keys)
		heads *= 2;
	l->max_keys = max_keys;
	l->mask = heads - 1;
	l->buckets = kms_heap_alloc(max_keys, sizeof(*l->buckets));
	l->heads = kms_heap_alloc(heads, sizeof(*l->heads));
	l->heap = kms_heap_alloc(max_keys, sizeof(*l->heap));
	ENSURE(l->buckets && l->heads && l->heap, KMS_ERR_MEMORY);
	memset(l->heads, 0xff, heads * sizeof(*l->heads));
	for (uint32_t i = 0; i < max_keys; i++)
		l->buckets[i].next = i + 1 < max_keys ? i + 1 : NONE;
	return KMS_OK;
}

kms_status kms_limiter_new(kms_limiter **limiter, uint32_t per_minute, uint32_t burst, size_t max_keys)
{
	ENSURE_REF(limiter);
	*limiter = NULL;
	ENSURE(per_minute >= 1 && per_minute <= MAX_PER_MINUTE && burst >= 1, KMS_ERR_RANGE);
	ENSURE(max_keys >= 1 && max_keys <= MAX_KEYS, KMS_ERR_RANGE);
	uint64_t span;
	ENSURE(KMS_MUL(&span, NS_PER_MINUTE / per_minute, (uint64_t)burst) && span <= MAX_SPAN_NS,
	       KMS_ERR_RANGE);
	DEFER(limiter_release) kms_limiter *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	made->interval_ns = NS_PER_MINUTE / per_minute;
	made->span_ns = span;
	GUARD(kms_siphash_key_new(&made->hash_key));
	GUARD(tables_new(made, (uint32_t)max_keys));
	*limiter = made;
	made = NULL;
	return KMS_OK;
}

void kms_limiter_free(kms_limiter *limiter)
{
	if (!limiter) return;
	kms_heap_free(limiter->buckets);
	kms_heap_free(limiter->heads);
	kms_heap_free(limiter->heap);
	pthread_mutex_destroy(&limiter->lock);
	kms_heap_free(limiter);
}

static void heap_set(kms_limiter *l, uint32_t place, uint32_t index)
{
	l->heap[place] = index;
	l->buckets[index].place = place;
}

static uint64_t heap_key(const kms_limiter *l, uint32_t place)
{
	return l->buckets[l->heap[place]].full_ns;
}

static void heap_up(kms_limiter *l, uint32_t place)
{
	uint32_t index = l->heap[place];
	for (; place > 0; place = (place - 1) / 2) {
		uint32_t parent = (place - 1) / 2;
		if (heap_key(l, parent) <= l->buckets[index].full_ns) break;
		heap_set(l, place, l->heap[parent]);
	}
	heap_set(l, place, index);
}

static void heap_down(kms_limiter *l, uint32_t place)
{
	uint32_t index = l->heap[place];
	for (;;) {
		uint32_t child = 2 * place + 1;
		if (child >= l->count) break;
		if (child + 1 < l->count && heap_key(l, child + 1) < heap_key(l, child)) child++;
		if (heap_key(l, child) >= l->buckets[index].full_ns) break;
		heap_set(l, place, l->heap[child]);
		place = child;
	}
	heap_set(l, place, index);
}

static uint32_t *chain_of(kms_limiter *l, const void *key, size_t len)
{
	return &l->heads[kms_siphash(&l->hash_key, key, len) & l->mask];
}

static bucket *find(kms_limiter *l, const void *key, size_t len)
{
	for (uint32_t i = *chain_of(l, key, len); i != NONE; i = l->buckets[i].next) {
		bucket *b = &l->buckets[i];
		if (b->key_len == len && memcmp(b->key, key, len) == 0) return b;
	}
	return NULL;
}

/* Forgets the bucket on top of the heap, which is full. */
static void forget_top(kms_limiter *l)
{
	uint32_t index = l->heap[0];
	bucket *b = &l->buckets[index];
	uint32_t *link = chain_of(l, b->key, b->key_len);
	while (*link != index)
		link = &l->buckets[*link].next;
	*link = b->next;
	b->next = l->free;
	l->free = index;
	uint32_t last = l->heap[--l->count];
	if (last == index) return;
	heap_set(l, 0, last);
	heap_down(l, 0);
}

static void forget_full(kms_limiter *l)
{
	for (int i = 0; i < FORGET_EACH && l->count > 0 && heap_key(l, 0) <= l->now_ns; i++)
		forget_top(l);
}

/* A full bucket for a new key, or NULL when every place is taken. */
static bucket *add(kms_limiter *l, const void *key, size_t len)
{
	ENSURE(l->count < l->max_keys, NULL);
	uint32_t index = l->free, *head = chain_of(l, key, len);
	bucket *b = &l->buckets[index];
	l->free = b->next;
	b->next = *head;
	*head = index;
	b->full_ns = l->now_ns;
	b->key_len = (uint8_t)len;
	memcpy(b->key, key, len);
	heap_set(l, l->count, index);
	heap_up(l, l->count++);
	return b;
}

/* Moves the moment on by a token; returns nanoseconds to wait instead when there is none. */
static uint64_t draw(uint64_t *full_ns, const kms_limiter *l)
{
	uint64_t from = *full_ns > l->now_ns ? *full_ns : l->now_ns;
	uint64_t after = from + l->interval_ns;
	if (after - l->now_ns > l->span_ns) return after - l->now_ns - l->span_ns;
	*full_ns = after;
	return 0;
}

static uint64_t take(kms_limiter *l, const void *key, size_t len, uint64_t now_ns)
{
	if (now_ns > l->now_ns) l->now_ns = now_ns;
	forget_full(l);
	bucket *b = find(l, key, len);
	if (!b) b = add(l, key, len);
	if (!b) return draw(&l->shared_full_ns, l);
	uint64_t wait_ns = draw(&b->full_ns, l);
	heap_down(l, b->place);
	return wait_ns;
}

kms_status kms_limiter_take(uint64_t *retry_after_ms, kms_limiter *limiter, const void *key, size_t key_len,
			    uint64_t now_ms)
{
	if (retry_after_ms) *retry_after_ms = 0;
	ENSURE_REF(limiter);
	ENSURE_REF(key);
	ENSURE(key_len >= 1 && key_len <= KMS_LIMIT_KEY && now_ms <= MAX_NOW_MS, KMS_ERR_RANGE);
	pthread_mutex_lock(&limiter->lock);
	uint64_t wait_ns = take(limiter, key, key_len, now_ms * NS_PER_MS);
	pthread_mutex_unlock(&limiter->lock);
	if (retry_after_ms) *retry_after_ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
	return wait_ns == 0 ? KMS_OK : KMS_ERR_RATE;
}

size_t kms_limiter_count(kms_limiter *limiter)
{
	ENSURE(limiter, 0);
	pthread_mutex_lock(&limiter->lock);
	size_t count = limiter->count;
	pthread_mutex_unlock(&limiter->lock);
	return count;
}

kms_status kms_address_limit_key(uint8_t key8[8], size_t *key_len, const char *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	ENSURE_REF(key8);
	ENSURE_REF(key_len);
	memset(key8, 0, 8);
	*key_len = 0;
	ENSURE_REF(address);
	uint8_t bytes[16];
	if (inet_pton(AF_INET, address, bytes) == 1) {
		memcpy(key8, bytes, 4);
		*key_len = 4;
		return KMS_OK;
	}
	ENSURE(inet_pton(AF_INET6, address, bytes) == 1, KMS_ERR_ARGUMENT);
	bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;
	*key_len = is_mapped ? 4 : 8;
	memcpy(key8, is_mapped ? bytes + 12 : bytes, *key_len);
	return KMS_OK;
}
