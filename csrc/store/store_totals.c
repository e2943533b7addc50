#include "store/store_totals.h"

bool kms_store_charge(store_totals *totals, uint64_t more, uint64_t less)
{
	return kms_store_charge_within(totals, more, less, totals->max_bytes);
}

bool kms_store_charge_within(store_totals *totals, uint64_t more, uint64_t less, uint64_t max)
{
	uint64_t held = atomic_load(&totals->bytes), next;
	do {
		next = held - less + more; /* `less` is part of `held`: no wrap */
		if (more > less && next > max) return false;
	} while (!atomic_compare_exchange_weak(&totals->bytes, &held, next));
	return true;
}
