#include "store/store_clock.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

static int compare_entries(const void *a, const void *b)
{
	return memcmp(((const kms_clock_entry *)a)->wallet20, ((const kms_clock_entry *)b)->wallet20, 20);
}

bool kms_clock_sort(clock_draft *sorted, kms_clock clock)
{
	sorted->len = clock.len;
	if (clock.len) memcpy(sorted->entries, clock.entries, clock.len * sizeof(*clock.entries));
	qsort(sorted->entries, clock.len, sizeof(*clock.entries), compare_entries);
	for (size_t i = 1; i < clock.len; i++)
		ENSURE(compare_entries(&sorted->entries[i - 1], &sorted->entries[i]) != 0, false);
	return true;
}

typedef struct clock_pair {
	const uint8_t *wallet20;
	uint64_t a;
	uint64_t b;
} clock_pair;

typedef struct clock_walk {
	const kms_clock_entry *a, *a_end, *b, *b_end;
} clock_walk;

static clock_walk walk_make(kms_clock a, kms_clock b)
{
	/* An empty clock may have no entries at all, and NULL + 0 is undefined. */
	static const kms_clock_entry none;
	const kms_clock_entry *from_a = a.len ? a.entries : &none, *from_b = b.len ? b.entries : &none;
	return (clock_walk){ from_a, from_a + a.len, from_b, from_b + b.len };
}

/* The next wallet of two clocks with both counters; false after the last. */
static bool walk_next(clock_pair *pair, clock_walk *walk)
{
	bool more_a = walk->a < walk->a_end, more_b = walk->b < walk->b_end;
	ENSURE(more_a || more_b, false);
	int side = !more_a ? 1 : !more_b ? -1 : compare_entries(walk->a, walk->b);
	*pair = (clock_pair){ side <= 0 ? walk->a->wallet20 : walk->b->wallet20, 0, 0 };
	if (side <= 0) pair->a = walk->a++->counter;
	if (side >= 0) pair->b = walk->b++->counter;
	return true;
}

clock_relation kms_clock_compare(kms_clock a, kms_clock b)
{
	clock_walk walk = walk_make(a, b);
	clock_pair pair;
	bool a_ahead = false, b_ahead = false;
	while (walk_next(&pair, &walk)) {
		a_ahead |= pair.a > pair.b;
		b_ahead |= pair.b > pair.a;
	}
	if (a_ahead && b_ahead) return KMS_CLOCK_CONCURRENT;
	if (a_ahead) return KMS_CLOCK_AFTER;
	return b_ahead ? KMS_CLOCK_BEFORE : KMS_CLOCK_EQUAL;
}

static void draft_add(clock_draft *draft, const uint8_t *wallet20, uint64_t counter)
{
	kms_clock_entry *entry = &draft->entries[draft->len++];
	*entry = (kms_clock_entry){ .counter = counter };
	memcpy(entry->wallet20, wallet20, 20);
}

void kms_clock_join(clock_draft *joined, kms_clock a, kms_clock b)
{
	clock_walk walk = walk_make(a, b);
	clock_pair pair;
	joined->len = 0;
	while (walk_next(&pair, &walk))
		draft_add(joined, pair.wallet20, pair.a > pair.b ? pair.a : pair.b);
}

uint64_t kms_clock_counter(kms_clock clock, const uint8_t wallet20[20])
{
	for (size_t i = 0; i < clock.len; i++) {
		if (memcmp(clock.entries[i].wallet20, wallet20, 20) == 0) return clock.entries[i].counter;
	}
	return 0;
}

/* The entry with the smallest counter that may be dropped; NULL: none. */
static kms_clock_entry *smallest(clock_draft *clock, const bool *keep)
{
	kms_clock_entry *found = NULL;
	for (size_t i = 0; i < clock->len; i++) {
		kms_clock_entry *entry = &clock->entries[i];
		if (!keep[i] && (!found || entry->counter < found->counter)) found = entry;
	}
	return found;
}

static void drop_smallest(clock_draft *clock, bool *keep, size_t limit)
{
	while (clock->len > limit) {
		kms_clock_entry *entry = smallest(clock, keep);
		if (!entry) return;
		size_t at = (size_t)(entry - clock->entries), after = clock->len - at - 1;
		memmove(entry, entry + 1, after * sizeof(*entry));
		memmove(keep + at, keep + at + 1, after * sizeof(*keep));
		clock->len--;
	}
}

void kms_clock_trim(clock_draft *clock, store_members *members, size_t limit)
{
	bool keep[KMS_CLOCK_DRAFT_MAX];
	if (clock->len <= limit) return;
	kms_members_mark(keep, members, kms_clock_of(clock));
	drop_smallest(clock, keep, limit);
	/* Still too long with entries of members alone: peers refuse such a clock. */
	for (size_t i = 0; i < clock->len; i++)
		keep[i] = kms_members_is_self(members, clock->entries[i].wallet20);
	drop_smallest(clock, keep, KMS_STORE_MAX_CLOCK);
}

void kms_clock_advance(clock_draft *next, store_members *members, kms_clock clock, uint64_t floor,
		       uint64_t least)
{
	uint64_t counter = kms_clock_counter(clock, members->self20);
	uint64_t above = (counter > floor ? counter : floor) + 1;
	kms_clock_entry own = { .counter = above > least ? above : least };
	memcpy(own.wallet20, members->self20, 20);
	kms_clock_join(next, clock, (kms_clock){ &own, 1 });
	if (clock.len > KMS_STORE_TRIM_CLOCK) kms_clock_trim(next, members, KMS_STORE_TRIM_CLOCK);
}
