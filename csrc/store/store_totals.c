#include "store/store_totals.h"

bool kms_store_charge(store_totals *totals, uint64_t more, uint64_t less)
{
	uint64_t held = atomic_load(&totals->bytes), next;
	do {
		next = held - less + more; /* `less` is part of `held`: no wrap */
		if (more > less && next > totals->max_bytes) return false;
	} while (!atomic_compare_exchange_weak(&totals->bytes, &held, next));
	return true;
}

static void count_add(uint64_t *own, atomic_uint_fast64_t *total, uint64_t more)
{
	*own += more;
	atomic_fetch_add_explicit(total, more, memory_order_relaxed);
}

static void count_subtract(uint64_t *own, atomic_uint_fast64_t *total, uint64_t less)
{
	*own -= less;
	atomic_fetch_sub_explicit(total, less, memory_order_relaxed);
}

void kms_totals_add(store_totals *totals, kms_store_stats *own, const store_record *record)
{
	own->total_bytes += kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_add(&own->tombstones, &totals->tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_add(&own->stubs, &totals->stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_add(&own->live_keys, &totals->live_keys, 1);
	count_add(&own->live_bytes, &totals->live_bytes, record->value_len);
}

void kms_totals_remove(store_totals *totals, kms_store_stats *own, const store_record *record)
{
	own->total_bytes -= kms_record_charge(record);
	if (record->state == KMS_RECORD_TOMBSTONE) count_subtract(&own->tombstones, &totals->tombstones, 1);
	if (record->state == KMS_RECORD_STUB) count_subtract(&own->stubs, &totals->stubs, 1);
	if (record->state != KMS_RECORD_LIVE) return;
	count_subtract(&own->live_keys, &totals->live_keys, 1);
	count_subtract(&own->live_bytes, &totals->live_bytes, record->value_len);
}

void kms_totals_add_eviction(store_totals *totals, kms_store_stats *own)
{
	count_add(&own->evictions, &totals->evictions, 1);
}
