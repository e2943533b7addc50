/*
 * Records and what they turn into. Each step takes a record out of all the structures that its
 * old state had it in and enters it into those of the new one, and keeps the counts.
 */
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "store/store_internal.h"
#include "kms/crypto.h"

/* What an allocation costs beyond its bytes, and a record's share of table and heaps. */
#define BLOCK_OVERHEAD 16
#define INDEX_SHARE 128 /* table slots at their sparsest (85), two heap entries */

DEFINE_DEFER(record_release, store_record, kms_record_free)

/* Bytes from the record to its clock. */
static size_t clock_offset(size_t key_len)
{
	size_t align = _Alignof(kms_clock_entry), end = sizeof(store_record) + key_len;
	return (end + align - 1) / align * align;
}

static kms_clock_entry *clock_of(store_record *record)
{
	return (kms_clock_entry *)(void *)((uint8_t *)record + clock_offset(record->key_len));
}

const kms_clock_entry *kms_record_clock(const store_record *record)
{
	return (const kms_clock_entry *)(const void *)((const uint8_t *)record +
						       clock_offset(record->key_len));
}

static kms_status value_copy(store_record *record, const kms_record *source)
{
	if (source->state != KMS_RECORD_LIVE) return KMS_OK;
	record->value = kms_heap_alloc(1, source->value_len);
	ENSURE(record->value, KMS_ERR_MEMORY);
	memcpy(record->value, source->value, source->value_len);
	record->value_len = (uint32_t)source->value_len;
	return KMS_OK;
}

kms_status kms_record_new(store_record **record, const kms_record *source, uint64_t hash,
			  const clock_draft *clock)
{
	*record = NULL;
	size_t clock_bytes = clock->len * sizeof(kms_clock_entry);
	DEFER(record_release)
	store_record *made = kms_heap_alloc(1, clock_offset(source->key_len) + clock_bytes);
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(value_copy(made, source));
	made->hash = hash;
	made->key_len = (uint32_t)source->key_len;
	made->origin = source->origin;
	made->clock_len = (uint16_t)clock->len;
	made->state = (uint8_t)source->state;
	made->updated_at_ms = source->updated_at_ms;
	made->ttl_ms = source->ttl_ms;
	made->places[KMS_ORDER_DUE] = made->places[KMS_ORDER_DEAD] = KMS_ORDER_NONE;
	memcpy(made->key, source->key, source->key_len);
	memcpy(clock_of(made), clock->entries, clock_bytes);
	*record = made;
	made = NULL;
	return KMS_OK;
}

void kms_record_free(store_record *record)
{
	if (!record) return;
	kms_heap_free(record->value);
	kms_heap_free(record);
}

void kms_fingerprint(uint8_t fingerprint[KMS_FINGERPRINT], const uint8_t *ciphertext, size_t len)
{
	memcpy(fingerprint, ciphertext, KMS_GCM_IV);
	memcpy(fingerprint + KMS_GCM_IV, ciphertext + len - KMS_GCM_TAG, KMS_GCM_TAG);
}

void kms_record_view(kms_record *view, const store_record *record)
{
	*view = (kms_record){
		.key = record->key,
		.key_len = record->key_len,
		.value = record->value,
		.value_len = record->value_len,
		.clock = kms_record_clock(record),
		.clock_len = record->clock_len,
		.updated_at_ms = record->updated_at_ms,
		.ttl_ms = record->ttl_ms,
		.state = (kms_record_state)record->state,
		.sequence = record->sequence,
		.origin = record->origin,
	};
}

uint64_t kms_record_live_bytes(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? record->value_len : 0;
}

uint64_t kms_record_value_charge(const store_record *record)
{
	return record->state == KMS_RECORD_LIVE ? (uint64_t)record->value_len + BLOCK_OVERHEAD : 0;
}

uint64_t kms_record_charge(const store_record *record)
{
	return clock_offset(record->key_len) + record->clock_len * sizeof(kms_clock_entry) + BLOCK_OVERHEAD +
	       INDEX_SHARE + kms_record_value_charge(record);
}

bool kms_record_expired(const store_record *record, uint64_t now_ms)
{
	return record->ttl_ms > 0 && now_ms > record->updated_at_ms + record->ttl_ms;
}

bool kms_record_may_leave(kms_store *store, const store_record *record, uint64_t now_ms)
{
	uint64_t acknowledged = atomic_load(&store->acknowledged);
	ENSURE(record->updated_at_ms < now_ms, false);
	return acknowledged == UINT64_MAX || (record->origin == 0 && record->sequence <= acknowledged);
}

uint64_t kms_record_dead_key(const store_record *record)
{
	return record->origin == 0 ? record->sequence : record->sequence | 1ull << 63;
}

/* ---- counts ---- */

static void count_add(uint64_t *own, atomic_uint_fast64_t *total, uint64_t more)
{
	*own += more;
	atomic_fetch_add_explicit(total, more, memory_order_relaxed);
}

static void count_sub(uint64_t *own, atomic_uint_fast64_t *total, uint64_t less)
{
	*own -= less;
	atomic_fetch_sub_explicit(total, less, memory_order_relaxed);
}

/* The total's bytes are exchanged by the caller; all else is counted here. */
static void count_in(kms_store *store, store_space *space, const store_record *record)
{
	kms_store_stats *own = &space->stats;
	own->total_bytes += kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_add(&own->tombstones, &store->totals.tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_add(&own->stubs, &store->totals.stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_add(&own->live_keys, &store->totals.live_keys, 1);
	count_add(&own->live_bytes, &store->totals.live_bytes, record->value_len);
}

static void count_out(kms_store *store, store_space *space, const store_record *record)
{
	kms_store_stats *own = &space->stats;
	own->total_bytes -= kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_sub(&own->tombstones, &store->totals.tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_sub(&own->stubs, &store->totals.stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_sub(&own->live_keys, &store->totals.live_keys, 1);
	count_sub(&own->live_bytes, &store->totals.live_bytes, record->value_len);
}

/* ---- lists ---- */

static void lru_enter(store_space *space, store_record *record)
{
	record->newer = NULL;
	record->older = space->newest;
	if (space->newest)
		space->newest->newer = record;
	else
		space->oldest = record;
	space->newest = record;
}

static void lru_leave(store_space *space, store_record *record)
{
	if (record->newer)
		record->newer->older = record->older;
	else
		space->newest = record->older;
	if (record->older)
		record->older->newer = record->newer;
	else
		space->oldest = record->newer;
	record->newer = record->older = NULL;
}

void kms_record_use(store_space *space, store_record *record)
{
	if (space->newest == record) return;
	lru_leave(space, record);
	lru_enter(space, record);
}

static void change_leave(store_space *space, store_record *record)
{
	for (size_t i = 0; i < KMS_CHANGE_HINTS; i++) {
		if (space->change_hints[i] == record) space->change_hints[i] = record->previous_change;
	}
	if (record->next_change)
		record->next_change->previous_change = record->previous_change;
	else
		space->last_change = record->previous_change;
	if (record->previous_change)
		record->previous_change->next_change = record->next_change;
	else
		space->first_change = record->next_change;
}

/*
 * Numbers a change. The number becomes visible only after the space is marked as changed:
 * whoever has read kms_store_sequence finds every change up to it.
 */
static void change_enter(kms_store *store, store_space *space, store_record *record)
{
	pthread_mutex_lock(&store->sequence_lock);
	record->sequence = atomic_load(&store->sequence) + 1;
	atomic_store(&store->notices[space->index].changed, record->sequence);
	atomic_store(&store->sequence, record->sequence);
	pthread_mutex_unlock(&store->sequence_lock);
	record->next_change = NULL;
	record->previous_change = space->last_change;
	if (space->last_change)
		space->last_change->next_change = record;
	else
		space->first_change = record;
	space->last_change = record;
}

/* ---- states ---- */

/* First millisecond at which something happens to a record; 0: never. */
static uint64_t due_time(const kms_store *store, const store_record *record, uint64_t now_ms)
{
	uint64_t expiry = record->ttl_ms ? record->updated_at_ms + record->ttl_ms + 1 : 0;
	uint64_t retention = store->config.tombstone_retention_ms;
	if (record->state == KMS_RECORD_LIVE) return expiry;
	if (record->state == KMS_RECORD_TOMBSTONE)
		return retention + (kms_record_expired(record, now_ms) ? expiry : record->updated_at_ms + 1);
	uint64_t forgotten = now_ms + retention + 1;
	return expiry && expiry < forgotten ? expiry : forgotten;
}

static void schedule(const kms_store *store, store_space *space, store_record *record, uint64_t now_ms)
{
	uint64_t due = due_time(store, record, now_ms);
	if (due) kms_order_set(&space->due, record, due);
	if (record->state != KMS_RECORD_LIVE)
		kms_order_set(&space->dead, record, kms_record_dead_key(record));
}

static void state_enter(kms_store *store, store_space *space, store_record *record, uint64_t now_ms)
{
	count_in(store, space, record);
	if (record->state == KMS_RECORD_LIVE) lru_enter(space, record);
	schedule(store, space, record, now_ms);
}

static void state_leave(kms_store *store, store_space *space, store_record *record)
{
	count_out(store, space, record);
	if (record->state == KMS_RECORD_LIVE) lru_leave(space, record);
	kms_order_remove(&space->due, record);
	kms_order_remove(&space->dead, record);
}

/* Turns a record into one without a value. */
static uint64_t state_change(kms_store *store, store_space *space, store_record *record,
			     kms_record_state state, uint64_t now_ms)
{
	uint64_t before = kms_record_charge(record);
	state_leave(store, space, record);
	kms_heap_free(record->value);
	record->value = NULL;
	record->value_len = 0;
	record->state = (uint8_t)state;
	state_enter(store, space, record, now_ms);
	return before - kms_record_charge(record);
}

kms_status kms_space_reserve(store_space *space)
{
	size_t count = kms_map_count(&space->map) + 1;
	GUARD(kms_map_reserve(&space->map));
	GUARD(kms_order_reserve(&space->due, count));
	GUARD(kms_order_reserve(&space->dead, count));
	return KMS_OK;
}

void kms_record_commit(kms_store *store, store_space *space, store_record *existing, store_record *record,
		       uint64_t now_ms)
{
	if (existing) {
		state_leave(store, space, existing);
		change_leave(space, existing);
		kms_map_replace(&space->map, existing, record);
		kms_record_free(existing);
	} else {
		kms_map_insert(&space->map, record);
	}
	change_enter(store, space, record);
	state_enter(store, space, record, now_ms);
}

uint64_t kms_record_evict(kms_store *store, store_space *space, store_record *record, uint64_t now_ms)
{
	kms_fingerprint(record->fingerprint, record->value, record->value_len);
	count_add(&space->stats.evictions, &store->totals.evictions, 1);
	return state_change(store, space, record, KMS_RECORD_STUB, now_ms);
}

uint64_t kms_record_expire(kms_store *store, store_space *space, store_record *record, uint64_t now_ms)
{
	return state_change(store, space, record, KMS_RECORD_TOMBSTONE, now_ms);
}

uint64_t kms_record_drop(kms_store *store, store_space *space, store_record *record)
{
	uint64_t freed = kms_record_charge(record);
	uint64_t own = kms_clock_counter(kms_record_clock(record), record->clock_len, store->config.self20);
	if (own > space->floor) space->floor = own;
	state_leave(store, space, record);
	change_leave(space, record);
	kms_map_remove(&space->map, record);
	kms_record_free(record);
	kms_order_trim(&space->due, kms_map_count(&space->map));
	kms_order_trim(&space->dead, kms_map_count(&space->map));
	return freed;
}

store_record *kms_record_current(kms_store *store, store_space *space, uint64_t hash, const char *key,
				 size_t key_len, uint64_t now_ms)
{
	store_record *record = kms_map_find(&space->map, hash, key, key_len);
	ENSURE(record, NULL);
	if (record->state == KMS_RECORD_TOMBSTONE || !kms_record_expired(record, now_ms)) return record;
	(void)kms_total_exchange(store, 0, kms_record_expire(store, space, record, now_ms));
	return record;
}
