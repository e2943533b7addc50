/*
 * Faults in rules of the store, each of which the simulation must find: FAULT= in the environment chooses
 * one. These functions take the place of the store's in a library for the simulation alone (-Wl,--wrap;
 * spec/simulate/faults.lua).
 */
#include <stdlib.h>
#include <string.h>

#include "store/store_clock.h"
#include "store/store_tie.h"

static bool is_planted(const char *name)
{
	const char *fault = getenv("FAULT");
	return fault && strcmp(fault, name) == 0;
}

void __real_kms_clock_advance(clock_draft *next, store_members *members, kms_clock clock, uint64_t floor,
			      uint64_t least);
void __wrap_kms_clock_advance(clock_draft *next, store_members *members, kms_clock clock, uint64_t floor,
			      uint64_t least);
/* counter: they begin at 1 after each restart. */
void __wrap_kms_clock_advance(clock_draft *next, store_members *members, kms_clock clock, uint64_t floor,
			      uint64_t least)
{
	__real_kms_clock_advance(next, members, clock, floor, is_planted("counter") ? 1 : least);
}

/* Whether the value is held of the version that a stub comes for. */
static bool is_stub_of(const store_record *held, const kms_record *incoming)
{
	return incoming->state == KMS_RECORD_STUB && held->state == KMS_RECORD_LIVE &&
	       incoming->updated_at_ms == held->updated_at_ms;
}

bool __real_kms_tie_equal(const store_record *held, const kms_record *incoming);
bool __wrap_kms_tie_equal(const store_record *held, const kms_record *incoming);
bool __real_kms_tie_won(const store_record *held, const kms_record *incoming);
bool __wrap_kms_tie_won(const store_record *held, const kms_record *incoming);

/* stub: it displaces the value of its version. */
bool __wrap_kms_tie_equal(const store_record *held, const kms_record *incoming)
{
	if (is_planted("stub") && is_stub_of(held, incoming)) return false;
	return __real_kms_tie_equal(held, incoming);
}

/* tie: of two writes with equal stamps a node keeps the one that it holds. */
bool __wrap_kms_tie_won(const store_record *held, const kms_record *incoming)
{
	if (is_planted("stub") && is_stub_of(held, incoming)) return true;
	if (is_planted("tie") && incoming->updated_at_ms == held->updated_at_ms) return false;
	return __real_kms_tie_won(held, incoming);
}
