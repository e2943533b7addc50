#include "protocol/bucket_table_internal.h"

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
	*table = (bucket_table){ .max = max, .mask = heads - 1 };
	GUARD(kms_siphash_key_new(&table->hash_key));
	table->buckets = kms_heap_alloc(max, sizeof(*table->buckets));
	table->heads = kms_heap_alloc(heads, sizeof(*table->heads));
	table->heap = kms_heap_alloc(max, sizeof(*table->heap));
	ENSURE(table->buckets && table->heads && table->heap, KMS_ERR_MEMORY);
	memset(table->heads, 0xff, heads * sizeof(*table->heads));
	for (uint32_t i = 0; i < max; i++)
		table->buckets[i].next = i + 1 < max ? i + 1 : NONE;
	return KMS_OK;
}

void kms_bucket_table_clear(bucket_table *table)
{
	kms_heap_free(table->buckets);
	kms_heap_free(table->heads);
	kms_heap_free(table->heap);
	*table = (bucket_table){ 0 };
}

/* ---- the heap ---- */

static void heap_set(bucket_table *t, uint32_t place, uint32_t index)
{
	t->heap[place] = index;
	t->buckets[index].place = place;
}

static moment heap_key(const bucket_table *t, uint32_t place)
{
	return t->buckets[t->heap[place]].full_at;
}

static void heap_up(bucket_table *t, uint32_t place)
{
	uint32_t index = t->heap[place];
	for (; place > 0; place = (place - 1) / 2) {
		uint32_t parent = (place - 1) / 2;
		if (heap_key(t, parent) <= t->buckets[index].full_at) break;
		heap_set(t, place, t->heap[parent]);
	}
	heap_set(t, place, index);
}

static void heap_down(bucket_table *t, uint32_t place)
{
	uint32_t index = t->heap[place];
	for (;;) {
		uint32_t child = 2 * place + 1;
		if (child >= t->count) break;
		if (child + 1 < t->count && heap_key(t, child + 1) < heap_key(t, child)) child++;
		if (heap_key(t, child) >= t->buckets[index].full_at) break;
		heap_set(t, place, t->heap[child]);
		place = child;
	}
	heap_set(t, place, index);
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

/* Forgets the bucket on top of the heap, which is full. */
static void forget_top(bucket_table *t)
{
	uint32_t index = t->heap[0];
	bucket *b = &t->buckets[index];
	uint32_t *link = chain_of(t, b->id);
	while (*link != index)
		link = &t->buckets[*link].next;
	*link = b->next;
	b->next = t->free;
	t->free = index;
	uint32_t last = t->heap[--t->count];
	if (last == index) return;
	heap_set(t, 0, last);
	heap_down(t, 0);
}

/* A full bucket for a new id, or NULL when every bucket is taken. */
static bucket *add(bucket_table *t, uint64_t id)
{
	ENSURE(t->count < t->max, NULL);
	uint32_t index = t->free, *head = chain_of(t, id);
	bucket *b = &t->buckets[index];
	t->free = b->next;
	*b = (bucket){ .full_at = t->now, .id = id, .next = *head };
	*head = index;
	heap_set(t, t->count, index);
	heap_up(t, t->count++);
	return b;
}

/* ---- use ---- */

void kms_bucket_table_advance(bucket_table *table, uint64_t now_ms)
{
	if (now_ms * PS_PER_MS > table->now) table->now = now_ms * PS_PER_MS;
	for (int i = 0; i < FORGET_EACH && table->count > 0 && heap_key(table, 0) <= table->now; i++)
		forget_top(table);
}

uint64_t kms_bucket_table_id(const bucket_table *table, kms_span key)
{
	return kms_siphash(&table->hash_key, key.bytes, key.len);
}

moment kms_bucket_draw(moment *full_at, moment now, token_rate rate)
{
	moment from = *full_at > now ? *full_at : now;
	moment after = from + rate.interval;
	if (after - now > rate.span) return after - now - rate.span;
	*full_at = after;
	return 0;
}

bool kms_bucket_table_take(moment *wait, bucket_table *table, uint64_t id, token_rate rate)
{
	*wait = 0;
	bucket *b = find(table, id);
	if (!b) b = add(table, id);
	ENSURE(b, false);
	*wait = kms_bucket_draw(&b->full_at, table->now, rate);
	heap_down(table, b->place);
	return true;
}
