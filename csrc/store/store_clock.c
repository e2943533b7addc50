/* Vector clocks. A clock inside the store is sorted by wallet, so that two are walked together. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "store/store_internal.h"

static int compare_entries(const void *a, const void *b)
{
	return memcmp(((const kms_clock_entry *)a)->wallet20, ((const kms_clock_entry *)b)->wallet20, 20);
}

bool kms_clock_sort(clock_draft *sorted, const kms_clock_entry *clock, size_t len)
{
	sorted->len = len;
	memcpy(sorted->entries, clock, len * sizeof(*clock));
	qsort(sorted->entries, len, sizeof(*clock), compare_entries);
	for (size_t i = 1; i < len; i++)
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

clock_relation kms_clock_compare(const kms_clock_entry *a, size_t a_len, const kms_clock_entry *b,
				 size_t b_len)
{
	clock_walk walk = { a, a + a_len, b, b + b_len };
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

void kms_clock_join(clock_draft *joined, const kms_clock_entry *a, size_t a_len, const kms_clock_entry *b,
		    size_t b_len)
{
	clock_walk walk = { a, a + a_len, b, b + b_len };
	clock_pair pair;
	joined->len = 0;
	while (walk_next(&pair, &walk))
		draft_add(joined, pair.wallet20, pair.a > pair.b ? pair.a : pair.b);
}

uint64_t kms_clock_counter(const kms_clock_entry *clock, size_t len, const uint8_t wallet20[20])
{
	for (size_t i = 0; i < len; i++) {
		if (memcmp(clock[i].wallet20, wallet20, 20) == 0) return clock[i].counter;
	}
	return 0;
}

static int compare_wallets(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

/* The smallest entry that may go; NULL: none. `kept` marks those that may not. */
static kms_clock_entry *smallest(clock_draft *clock, const bool *kept)
{
	kms_clock_entry *found = NULL;
	for (size_t i = 0; i < clock->len; i++) {
		kms_clock_entry *entry = &clock->entries[i];
		if (!kept[i] && (!found || entry->counter < found->counter)) found = entry;
	}
	return found;
}

static void drop_smallest(clock_draft *clock, bool *kept, size_t limit)
{
	while (clock->len > limit) {
		kms_clock_entry *entry = smallest(clock, kept);
		if (!entry) return;
		size_t at = (size_t)(entry - clock->entries), after = clock->len - at - 1;
		memmove(entry, entry + 1, after * sizeof(*entry));
		memmove(kept + at, kept + at + 1, after * sizeof(*kept));
		clock->len--;
	}
}

void kms_clock_trim(clock_draft *clock, kms_store *store, size_t limit)
{
	bool own[KMS_DRAFT_CLOCK], kept[KMS_DRAFT_CLOCK];
	if (clock->len <= limit) return;
	pthread_mutex_lock(&store->members_lock);
	for (size_t i = 0; i < clock->len; i++) {
		const uint8_t *wallet20 = clock->entries[i].wallet20;
		kept[i] = memcmp(wallet20, store->config.self20, 20) == 0;
		if (store->member_count > 0)
			kept[i] |= bsearch(wallet20, store->members, store->member_count, 20,
					   compare_wallets) != NULL;
	}
	pthread_mutex_unlock(&store->members_lock);
	drop_smallest(clock, kept, limit);
	/* More members than that: a clock that peers refuse to take is of no use to anybody. */
	for (size_t i = 0; i < clock->len; i++)
		own[i] = memcmp(clock->entries[i].wallet20, store->config.self20, 20) == 0;
	drop_smallest(clock, own, KMS_STORE_MAX_CLOCK);
}

void kms_clock_advance(clock_draft *next, kms_store *store, const kms_clock_entry *clock, size_t len,
		       uint64_t floor)
{
	uint64_t counter = kms_clock_counter(clock, len, store->config.self20);
	kms_clock_entry own = { .counter = (counter > floor ? counter : floor) + 1 };
	memcpy(own.wallet20, store->config.self20, 20);
	kms_clock_join(next, clock, len, &own, 1);
	if (len > KMS_STORE_TRIM_CLOCK) kms_clock_trim(next, store, KMS_STORE_TRIM_CLOCK);
}
