/* Expiry, and how long tombstones are kept. */
#include "merge_kit.h"

/* ---- tombstones ---- */

TEST(keeps_every_tombstone_until_members_acknowledge)
{
	kms_store *s = quota_store(1u << 20, 512u << 20, 10);
	for (size_t i = 0; i < 100; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		CHECK_OK(kit_delete(s, numbered(i), NOW));
	}
	CHECK(kit_stats(s).tombstones == 100);
	CHECK_OK(kit_put(s, "x", 1, NOW));
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW)); /* ten times max_tombstones */
	CHECK(kit_get(s, "x", NOW) == 1);
	/* When the oldest tombstone, change 2, is acknowledged, it is dropped and one more record may be
	 * deleted. */
	kms_store_set_acknowledged(s, 1);
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW));
	kms_store_set_acknowledged(s, 2);
	/* It is stamped NOW + 1: it stays while a new write could be stamped no later. */
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, "x", NOW + 1));
	CHECK_OK(kit_delete(s, "x", NOW + 2));
	CHECK(state_of(s, numbered(0), NOW) == NO_RECORD);
	CHECK(state_of(s, numbered(1), NOW) == KMS_RECORD_TOMBSTONE && kit_stats(s).tombstones == 100);
	/* All are acknowledged: they are dropped, oldest first, down to max_tombstones. */
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 20; i++)
		CHECK_OK(kit_put(s, "y", 1, NOW + 5));
	CHECK(kit_stats(s).tombstones == 10);
	CHECK(state_of(s, numbered(90), NOW) == NO_RECORD);
	CHECK(state_of(s, numbered(91), NOW) == KMS_RECORD_TOMBSTONE);
	CHECK(state_of(s, "x", NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(s);
}

TEST(keeps_up_to_the_cap_whatever_is_acknowledged)
{
	kms_store *s = quota_store(1u << 20, 512u << 20, 10);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 11; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW + 2 * i));
		CHECK_OK(kit_delete(s, numbered(i), NOW + 2 * i));
		CHECK(kit_stats(s).tombstones == (i < 10 ? i + 1 : 10));
	}
	CHECK(state_of(s, numbered(0), NOW) == NO_RECORD);
	CHECK(state_of(s, numbered(1), NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(s);
}

/* The retention of a tombstone with a TTL counts from its stamp, or from its expiry if that has passed. */
TEST(keeps_tombstones_from_their_death_on)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	tick(dead(&in, NOW), 2, 1)->record.ttl_ms = KMS_STORE_MAX_TTL_MS;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	CHECK(kms_store_expire(s, NOW + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + RETENTION + 1, 10) == 1);
	tick(dead(&in, NOW - 1000), 2, 1)->record.ttl_ms = 500;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	CHECK(kms_store_expire(s, NOW - 500 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW - 499 + RETENTION, 10) == 1);
	kms_store_free(s);
}

/* ---- expiry ---- */

TEST(expires_at_its_millisecond)
{
	kms_store *s = kit_store(SELF);
	record_copy r;
	uint64_t at_ms;
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 100, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "l", 1, MIN_VALUE, 100, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "never", 1, MIN_VALUE, 0, NOW));
	CHECK(kit_get(s, "k", NOW + 100) == 1);
	CHECK(kit_get(s, "k", NOW + 101) == -1); /* without kms_store_expire */
	CHECK(kms_store_expire(s, NOW + 100, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 101, 10) == 1);
	CHECK(kms_store_expire(s, NOW + 101, 10) == 0);
	CHECK_OK(kit_peek(&r, s, "l", NOW));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && r.record.updated_at_ms == NOW);
	CHECK(kit_counter(&r, SELF) == NOW && r.record.ttl_ms == 100 && r.record.sequence == 2);
	CHECK(kms_store_expire(s, NOW + 100 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 101 + RETENTION, 10) == 2);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_peek(&r, s, "l", NOW));
	CHECK(kit_get(s, "never", NOW + 1000 * RETENTION) == 1);
	kms_store_stats stats = kit_stats(s);
	CHECK(stats.live_keys == 1 && stats.tombstones == 0 && stats.live_bytes == MIN_VALUE);
	kms_store_free(s);
}

TEST(expires_in_bounded_steps_and_in_turns)
{
	enum { APPS = 5, EACH = 200, STEP = 100 };
	kms_store *s = kit_store(SELF);
	kms_store_stats stats;
	uint64_t at_ms;
	uint8_t v[28] = { 0 };
	for (uint64_t app = 0; app < APPS; app++) {
		for (size_t i = 0; i < EACH; i++)
			CHECK_OK(kms_store_put(&at_ms, s, APP + app, kms_text_from(numbered(i)), KMS_SPAN(v),
					       1 + i, NOW));
	}
	CHECK(kms_store_expire(s, NOW + EACH + 1, 0) == 0);
	/* Two calls of 100 reach every namespace, and none uses up a call. */
	CHECK(kms_store_expire(s, NOW + EACH + 1, STEP) == STEP);
	CHECK(kms_store_expire(s, NOW + EACH + 1, STEP) == STEP);
	for (uint64_t app = 0; app < APPS; app++) {
		kms_store_get_app_stats(&stats, s, APP + app);
		CHECK(stats.tombstones > 0 && stats.tombstones < STEP);
	}
	size_t handled = 2 * STEP, more;
	while ((more = kms_store_expire(s, NOW + EACH + 1, STEP)) > 0) {
		CHECK(more <= STEP);
		handled += more;
	}
	CHECK(handled == APPS * EACH);
	kms_store_get_stats(&stats, s);
	CHECK(stats.live_keys == 0 && stats.tombstones == APPS * EACH);
	kms_store_free(s);
}

/* In the order of their times, whatever order they were written in. */
TEST(expires_the_due_ones_and_no_other)
{
	enum { KEYS = 500 };
	kms_store *s = kit_store(SELF);
	uint64_t seed = 3, ends[KEYS], at_ms;
	for (size_t i = 0; i < KEYS; i++) {
		ends[i] = 1 + kit_random(&seed, 1000);
		CHECK_OK(kit_put_at(&at_ms, s, numbered(i), 1, MIN_VALUE, ends[i], NOW));
		if (i % 3 == 0) CHECK_OK(kit_put_at(&at_ms, s, numbered(i), 1, MIN_VALUE, --ends[i], NOW));
		if (i % 3 == 0) ends[i]++; /* the second write is stamped a millisecond later */
		if (ends[i] == 1 && i % 3 == 0) ends[i] = UINT64_MAX / 2;
	}
	for (uint64_t t = 0; t <= 1001; t += 7) {
		uint64_t live = 0;
		while (kms_store_expire(s, NOW + t, 3) > 0)
			;
		for (size_t i = 0; i < KEYS; i++)
			live += ends[i] >= t;
		CHECK(kit_stats(s).live_keys == live);
	}
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keeps_every_tombstone_until_members_acknowledge),
	  T(keeps_up_to_the_cap_whatever_is_acknowledged), T(keeps_tombstones_from_their_death_on),
	  T(expires_at_its_millisecond), T(expires_in_bounded_steps_and_in_turns),
	  T(expires_the_due_ones_and_no_other))
