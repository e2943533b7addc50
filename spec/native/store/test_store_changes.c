/* The changes of a namespace, as sync reads them. */
#include "store_kit.h"

typedef struct seen {
	uint64_t numbers[64];
	size_t count;
} seen;

static kms_status collect_change(void *context, const kms_record *record)
{
	seen *s = context;
	if (s->count == KMS_ARRAY_LEN(s->numbers)) return KMS_ERR_RANGE;
	s->numbers[s->count++] = record->sequence;
	return KMS_OK;
}

TEST(numbers_every_change_over_the_whole_store)
{
	kms_store *s = kit_store(1);
	uint64_t *ids, at_ms;
	size_t count;
	uint8_t v[MIN_VALUE] = { 0 };
	CHECK(kms_store_sequence(s) == 0);
	CHECK_OK(kms_store_changed_apps(&ids, &count, s, 0));
	CHECK(count == 0 && !ids);
	CHECK_OK(kit_put(s, "a", 1, NOW));                                               /* 1 */
	CHECK_OK(kms_store_put(&at_ms, s, APP + 1, KMS_TEXT("a"), KMS_SPAN(v), 0, NOW)); /* 2 */
	CHECK_OK(kit_put(s, "b", 1, NOW));                                               /* 3 */
	CHECK_OK(kit_put(s, "a", 2, NOW));                                               /* 4, no longer 1 */
	CHECK_OK(kit_delete(s, "b", NOW));                                               /* 5, no longer 3 */
	CHECK(kms_store_sequence(s) == 5);
	seen all = { .count = 0 };
	CHECK_OK(kms_store_changes(s, APP, 0, 0, collect_change, &all));
	CHECK(all.count == 2 && all.numbers[0] == 4 && all.numbers[1] == 5);
	all.count = 0;
	CHECK_OK(kms_store_changes(s, APP, 5, 0, collect_change, &all));
	CHECK(all.count == 0);
	CHECK_OK(kms_store_changes(s, APP + 2, 0, 0, collect_change, &all));
	CHECK(all.count == 0);
	CHECK_OK(kms_store_changed_apps(&ids, &count, s, 0));
	CHECK(count == 2 && ids[0] == APP && ids[1] == APP + 1);
	kms_store_ids_free(ids);
	CHECK_OK(kms_store_changed_apps(&ids, &count, s, 2));
	CHECK(count == 1 && ids[0] == APP);
	kms_store_ids_free(ids);
	CHECK_OK(kms_store_changed_apps(&ids, &count, s, 5));
	CHECK(count == 0 && !ids);
	/* Neither expiry nor eviction is a change. */
	CHECK_OK(kit_put_at(&at_ms, s, "c", 1, MIN_VALUE, 1, NOW));
	CHECK(kms_store_expire(s, NOW + 5, 10) == 1);
	CHECK(kms_store_sequence(s) == 6);
	kms_store_free(s);
}

/* Any `since`, in any order, while records change and so move to the newest end. */
TEST(finds_the_first_change_above_any_number)
{
	enum { KEYS = 40 };
	kms_store *s = kit_store(1);
	uint64_t seed = 7, newest[KEYS] = { 0 };
	for (int step = 0; step < 3000; step++) {
		size_t k = kit_random(&seed, KEYS);
		if (kit_random(&seed, 2)) {
			CHECK_OK(kit_put(s, numbered(k), 1, NOW));
			newest[k] = kms_store_sequence(s);
		}
		uint64_t since = kit_random(&seed, kms_store_sequence(s) + 2);
		size_t max = kit_random(&seed, KEYS), want = 0;
		seen got = { .count = 0 };
		for (size_t i = 0; i < KEYS; i++)
			want += newest[i] > since;
		if (max && want > max) want = max;
		CHECK_OK(kms_store_changes(s, APP, since, max, collect_change, &got));
		CHECK(got.count == want);
		for (size_t i = 0; i < got.count; i++) {
			size_t lower = 0;
			for (size_t j = 0; j < KEYS; j++)
				lower += newest[j] > since && newest[j] < got.numbers[i];
			CHECK(lower == i && got.numbers[i] > since);
		}
	}
	kms_store_free(s);
}

static kms_status refuse(void *context, const kms_record *record)
{
	(void)record;
	++*(int *)context;
	return KMS_ERR_BUSY;
}

TEST(a_failing_visitor_ends_the_walk)
{
	kms_store *s = kit_store(1);
	int calls = 0;
	CHECK_OK(kit_put(s, "a", 1, NOW));
	CHECK_OK(kit_put(s, "b", 1, NOW));
	CHECK_STATUS(KMS_ERR_BUSY, kms_store_changes(s, APP, 0, 0, refuse, &calls));
	CHECK_STATUS(KMS_ERR_BUSY, kms_store_peek(s, APP, KMS_TEXT("a"), NOW, refuse, &calls));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_peek(s, APP, KMS_TEXT("c"), NOW, refuse, &calls));
	CHECK(calls == 2);
	kms_store_free(s);
}

/* ---- walks in steps ---- */

typedef struct reading {
	uint64_t seen[64];
	size_t count;
	size_t stop_after;
} reading;

static bool read_one(void *context, const kms_record *record)
{
	reading *r = context;
	r->seen[r->count++ % 64] = record->sequence;
	return r->count < r->stop_after;
}

static bool step(reading *r, kms_store *s, uint64_t *since, uint64_t until, size_t max, size_t stop_after)
{
	kms_changes_walk walk = { APP, *since, until, max, KMS_CHANGES_CHOOSE };
	*r = (reading){ .stop_after = stop_after };
	bool more = kms_store_changes_step(&walk, s, read_one, r);
	*since = walk.since;
	return more;
}

TEST(steps_go_on_where_they_ended)
{
	kms_store *s = capped_store(10);
	reading r;
	uint64_t at = 0;
	CHECK(!step(&r, s, &at, UINT64_MAX, 5, 5) && r.count == 0 && at == 0); /* no namespace */
	for (int i = 0; i < 10; i++) {
		const char key[2] = { (char)('a' + i), 0 };
		CHECK_OK(kit_put(s, key, 1, NOW));
	}
	CHECK(step(&r, s, &at, UINT64_MAX, 3, 100) && r.count == 3 && at == 3);
	CHECK(step(&r, s, &at, UINT64_MAX, 3, 2) && r.count == 2 && at == 5); /* the visitor stops */
	CHECK_OK(kit_put(s, "e", 1, NOW)); /* change 5, where the walk is, becomes 11 */
	CHECK_OK(kit_put(s, "f", 1, NOW)); /* and 6 becomes 12 */
	CHECK(step(&r, s, &at, 10, 2, 100) && r.count == 2 && r.seen[0] == 7 && at == 8);
	CHECK(!step(&r, s, &at, 10, 2, 100) && r.count == 2 && at == 10);
	CHECK(!step(&r, s, &at, 10, 2, 100) && r.count == 0 && at == 10);
	CHECK(step(&r, s, &at, 11, 0, 100) && r.count == 0 && at == 10);
	CHECK(!step(&r, s, &at, 11, 1, 100) && r.seen[0] == 11 && at == 11);
	CHECK(!step(&r, s, &at, UINT64_MAX, 9, 100) && r.count == 1 && at == 12);
	at = 0; /* again from the start */
	CHECK(!step(&r, s, &at, UINT64_MAX, 64, 100) && r.count == 10 && at == 12);
	kms_store_free(s);
}

/* Two readers at random changes of a namespace that changes: each visits what a plain walk visits. */
typedef struct plain {
	uint64_t next[4];
	size_t count;
} plain;

static kms_status plain_one(void *context, const kms_record *record)
{
	plain *p = context;
	p->next[p->count++] = record->sequence;
	return KMS_OK;
}

TEST(hints_never_mislead)
{
	kms_store *s = capped_store(3);
	uint64_t seed = 77, at[2] = { 0 };
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (int i = 0; i < 20000; i++) {
		const char key[3] = { (char)('a' + kit_random(&seed, 8)), (char)('a' + kit_random(&seed, 8)),
				      0 };
		if (kit_random(&seed, 3))
			CHECK_OK(kit_put(s, key, 1, NOW + (uint64_t)i));
		else
			(void)!kit_delete(s, key, NOW + (uint64_t)i);
		size_t who = kit_random(&seed, 2), max = 1 + kit_random(&seed, 4);
		if (kit_random(&seed, 50) == 0) at[who] = kit_random(&seed, kms_store_sequence(s) + 1);
		reading r = { .stop_after = 100 };
		plain p = { .count = 0 };
		CHECK_OK(kms_store_changes(s, APP, at[who], max, plain_one, &p));
		kms_changes_walk walk = { APP, at[who], UINT64_MAX, max, (kms_changes_reader)who };
		(void)kms_store_changes_step(&walk, s, read_one, &r);
		at[who] = walk.since;
		CHECK(r.count == p.count);
		CHECK_MEM(r.seen, p.next, p.count * sizeof(p.next[0]));
	}
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(numbers_every_change_over_the_whole_store),
	  T(finds_the_first_change_above_any_number), T(a_failing_visitor_ends_the_walk),
	  T(steps_go_on_where_they_ended), T(hints_never_mislead))
