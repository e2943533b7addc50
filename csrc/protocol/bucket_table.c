#include "protocol/bucket_table_internal.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"

#define NONE UINT32_MAX
#define FORGET_EACH 4 /* full buckets that one call forgets at most */

kms_status kms_bucket_table_make(bucket_table *table, uint32_t max)
{
	uint32_t heads = 1;
	while (heads < max)
		heads *= 2;
	*table = (bucket_table){ .mask = heads - 1, .filled.position_offset = offsetof(bucket, position) };
	GUARD(kms_siphash_key_new(&table->hash_key));
	table->buckets = kms_heap_alloc(max, sizeof(*table->buckets));
	table->heads = kms_heap_alloc(heads, sizeof(*table->heads));
	ENSURE(table->buckets && table->heads, KMS_ERR_MEMORY);
	GUARD(kms_min_heap_reserve(&table->filled, max));
	memset(table->heads, 0xff, heads * sizeof(*table->heads));
	for (uint32_t i = 0; i < max; i++)
		table->buckets[i].next = i + 1 < max ? i + 1 : NONE;
	return KMS_OK;
}

void kms_bucket_table_clear(bucket_table *table)
{
	kms_heap_free(table->buckets);
	kms_heap_free(table->heads);
	kms_min_heap_free(&table->filled);
	*table = (bucket_table){ 0 };
}

size_t kms_bucket_table_count(const bucket_table *table)
{
	return table->filled.count;
}

/* The first millisecond in which a bucket is full; times beyond 64 bits are never reached. */
static uint64_t full_ms(const bucket *b)
{
	moment ms = (b->full_at + PS_PER_MS - 1) / PS_PER_MS;
	return ms < UINT64_MAX ? (uint64_t)ms : UINT64_MAX;
}

/* ---- buckets by id ---- */

static uint32_t *chain_of(bucket_table *t, uint64_t id)
{
	return &t->heads[id & t->mask];
}

static bucket *find(bucket_table *t, uint64_t id)
{
	for (uint32_t i = *chain_of(t, id); i != NONE; i = t->buckets[i].next)
		if (t->buckets[i].id == id) return &t->buckets[i];
	return NULL;
}

/* Forgets a bucket, which is full. */
static void forget(bucket_table *t, bucket *b)
{
	uint32_t index = (uint32_t)(b - t->buckets);
	uint32_t *link = chain_of(t, b->id);
	while (*link != index)
		link = &t->buckets[*link].next;
	*link = b->next;
	b->next = t->free;
	t->free = index;
	kms_min_heap_remove(&t->filled, b);
}

/* A full bucket for a new id, or NULL when every bucket is taken. */
static bucket *add(bucket_table *t, uint64_t id)
{
	ENSURE(t->free != NONE, NULL);
	uint32_t index = t->free, *head = chain_of(t, id);
	bucket *b = &t->buckets[index];
	t->free = b->next;
	*b = (bucket){ .full_at = t->now, .id = id, .next = *head, .position = KMS_MIN_HEAP_ABSENT };
	*head = index;
	return b;
}

/* ---- use ---- */

void kms_bucket_table_advance(bucket_table *table, uint64_t now_ms)
{
	uint64_t first_ms;
	if (now_ms * PS_PER_MS > table->now) table->now = now_ms * PS_PER_MS;
	for (int i = 0; i < FORGET_EACH; i++) {
		bucket *first = kms_min_heap_first(&first_ms, &table->filled);
		if (!first || first_ms * PS_PER_MS > table->now) return;
		forget(table, first);
	}
}

uint64_t kms_bucket_table_id(const bucket_table *table, kms_span key)
{
	return kms_siphash(&table->hash_key, key);
}

/* When a bucket is full again after one more token was taken. */
static moment full_after_one(moment full_at, moment now, token_rate rate)
{
	return (full_at > now ? full_at : now) + rate.interval;
}

static moment wait_until(moment after, moment now, token_rate rate)
{
	return after - now > rate.span ? after - now - rate.span : 0;
}

moment kms_bucket_draw(moment *full_at, moment now, token_rate rate)
{
	moment after = full_after_one(*full_at, now, rate);
	moment wait = wait_until(after, now, rate);
	if (wait == 0) *full_at = after;
	return wait;
}

moment kms_bucket_table_wait(bucket_table *table, uint64_t id, token_rate rate)
{
	const bucket *b = find(table, id);
	return b ? wait_until(full_after_one(b->full_at, table->now, rate), table->now, rate) : 0;
}

bool kms_bucket_table_take(moment *wait, bucket_table *table, uint64_t id, token_rate rate)
{
	*wait = 0;
	bucket *b = find(table, id);
	if (!b) b = add(table, id);
	ENSURE(b, false);
	*wait = kms_bucket_draw(&b->full_at, table->now, rate);
	kms_min_heap_set(&table->filled, b, full_ms(b));
	return true;
}
