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
