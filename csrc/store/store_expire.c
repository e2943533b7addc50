/* What time does to records: expired ones become tombstones, those past retention leave. */
#include "base/ensure.h"
#include "store/store_internal.h"

#define TURN 32 /* records that one namespace handles before the next has its turn */

bool kms_due_handle(uint64_t *freed, kms_store *store, store_space *space, uint64_t now_ms)
{
	uint64_t due;
	store_record *record = kms_order_first(&due, &space->due);
	ENSURE(record && due <= now_ms, false);
	bool ends = record->state != KMS_RECORD_TOMBSTONE && kms_record_expired(record, now_ms);
	*freed +=
	    ends ? kms_record_expire(store, space, record, now_ms) : kms_record_drop(store, space, record);
	return true;
}

static size_t take_turn(kms_store *store, store_space *space, uint64_t now_ms, size_t max)
{
	size_t handled = 0;
	uint64_t freed = 0;
	kms_space_lock(space);
	while (handled < max && kms_due_handle(&freed, store, space, now_ms))
		handled++;
	kms_dead_trim(store, space, now_ms);
	(void)kms_total_exchange(store, 0, freed);
	kms_space_unlock(store, space);
	return handled;
}

/* One round over all namespaces that have something due; returns how many were handled. */
static size_t take_round(kms_store *store, size_t spaces, uint64_t now_ms, size_t max)
{
	size_t handled = 0, from = atomic_load(&store->expire_from);
	for (size_t i = 0; i < spaces && handled < max; i++) {
		size_t index = (from + i) % spaces;
		atomic_store(&store->expire_from, index + 1);
		if (atomic_load_explicit(&store->notices[index].due_ms, memory_order_relaxed) > now_ms)
			continue;
		store_space *space = atomic_load_explicit(&store->spaces[index], memory_order_acquire);
		size_t left = max - handled;
		handled += take_turn(store, space, now_ms, left < TURN ? left : TURN);
	}
	return handled;
}

size_t kms_store_expire(kms_store *store, uint64_t now_ms, size_t max)
{
	ENSURE(store, 0);
	size_t spaces = atomic_load_explicit(&store->space_count, memory_order_acquire), handled = 0;
	while (handled < max) {
		size_t round = take_round(store, spaces, now_ms, max - handled);
		if (round == 0) break;
		handled += round;
	}
	return handled;
}
