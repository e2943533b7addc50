/* The hours of the hash tree: versions whose end is known. */
#include "store/store_tree_follow.h"
#include "tree_kit.h"

static const uint8_t no_digest[KMS_TREE_DIGEST];

TEST(versions_with_a_known_end_are_digested_by_the_hour_of_their_death)
{
	kms_store *s = tree_store(SELF);
	kms_tree_hour hours[4];
	size_t count;
	bool more;
	uint64_t at_ms;
	CHECK_OK(kit_put(s, "deleted", 1, NOW));
	CHECK_OK(kit_delete(s, "deleted", NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "passing", 1, MIN_VALUE, 5 * HOUR, NOW));
	CHECK_OK(kms_tree_hours(hours, &count, &more, s, 1, 4));
	CHECK(count == 2 && !more);
	CHECK(hours[0].hour == NOW / HOUR && hours[1].hour == NOW / HOUR + 5);
	kms_tree_root root = kit_root(s);
	CHECK_MEM(root.lasting, no_digest, KMS_TREE_DIGEST);
	CHECK_OK(kms_tree_hours(hours, &count, &more, s, 1, 1));
	CHECK(count == 1 && more);
	CHECK_OK(kms_tree_hours(hours, &count, &more, s, hours[0].hour + 1, 4));
	CHECK(count == 1 && hours[0].hour == NOW / HOUR + 5);
	kms_store_free(s);
}

/* One member drops a dead version at the end of its retention, the other a moment later: no difference. */
TEST(hours_that_are_forgotten_are_not_compared)
{
	kms_store *a = tree_store(SELF), *b = tree_store(SELF);
	kms_tree_root x, y;
	uint64_t end = NOW + RETENTION + 2;
	CHECK_OK(kit_put(a, "k", 1, NOW));
	CHECK_OK(kit_delete(a, "k", NOW));
	CHECK_OK(kit_put(b, "k", 1, NOW));
	CHECK_OK(kit_delete(b, "k", NOW));
	CHECK(kms_tree_first_hour(a, NOW) <= NOW / HOUR);
	CHECK(kms_store_expire(a, end, 10) == 1);
	CHECK(!same_root(a, b));
	uint32_t first = kms_tree_first_hour(b, end - 2 * SKEW);
	CHECK(first > NOW / HOUR);
	CHECK_OK(kms_tree_get_root(&x, a, first));
	CHECK_OK(kms_tree_get_root(&y, b, first));
	CHECK_MEM(&x, &y, sizeof(x));
	kms_store_free(a);
	kms_store_free(b);
}

TEST(a_named_hour_is_complete_for_ten_minutes)
{
	kms_store *s = tree_store(SELF);
	uint64_t start =
	    (NOW / HOUR + 1) * HOUR; /* of an hour whose first version leaves at start + RETENTION + 1 */
	CHECK(kms_tree_first_hour(s, start + RETENTION - 600001) == NOW / HOUR + 1);
	CHECK(kms_tree_first_hour(s, start + RETENTION - 600000) == NOW / HOUR + 2);
	CHECK(kms_tree_first_hour(s, 0) == 1);
	CHECK(kms_tree_first_hour(NULL, NOW) == UINT32_MAX);
	kms_store_free(s);
}

TEST(dead_versions_that_are_dropped_early_take_their_hour_along)
{
	kms_store *s = capped_store(1);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 3; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		CHECK_OK(kit_delete(s, numbered(i), NOW));
	}
	CHECK(kms_tree_first_hour(s, NOW) <= NOW / HOUR);
	CHECK_OK(kit_put(s, "trims", 1, NOW + 10));
	CHECK(kit_stats(s).tombstones == 1);
	CHECK(kms_tree_first_hour(s, NOW) == NOW / HOUR + 1);
	kms_store_free(s);
}

static bool settle(kms_store *s)
{
	kms_status status = KMS_OK;
	for (bool more = true; more && status == KMS_OK;)
		status = kms_tree_tidy(&more, s, 4096);
	return status == KMS_OK && kms_tree_is_settled(s);
}

TEST(a_tree_is_settled_once_it_has_all_changes_and_their_digests)
{
	kms_store *s = tree_store(SELF);
	CHECK(!kms_tree_is_settled(NULL));
	CHECK(kms_tree_is_settled(s)); /* empty */
	CHECK_OK(kit_put(s, "k", 1, NOW));
	CHECK(!kms_tree_is_settled(s));
	CHECK(kms_tree_follow(&(size_t){ 10 }, s)); /* it has the change, without a digest */
	CHECK(!kms_tree_is_settled(s));
	CHECK(settle(s));
	CHECK_OK(kit_delete(s, "k", NOW + 1));
	CHECK(!kms_tree_is_settled(s));
	CHECK(settle(s));
	kms_tree_lock(&s->tree); /* another thread works on it */
	CHECK(!kms_tree_is_settled(s));
	kms_tree_unlock(&s->tree);
	kms_tree_clear(&s->tree); /* to be built again */
	CHECK(!kms_tree_is_settled(s));
	kms_store_free(s);
}

/* Their digests are put together for each root: at the limit, and one past it. */
TEST(a_tree_of_very_many_hours_is_not_settled)
{
	kms_store *s = tree_store(SELF);
	uint64_t at_ms;
	for (size_t i = 1; i <= 256; i++)
		CHECK_OK(kit_put_at(&at_ms, s, numbered(i), 1, MIN_VALUE, i * HOUR, NOW));
	CHECK(settle(s) && s->tree.section_count == 256);
	CHECK_OK(kit_put_at(&at_ms, s, "last", 1, MIN_VALUE, 257 * HOUR, NOW));
	CHECK(!settle(s) && s->tree.section_count == 257);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(versions_with_a_known_end_are_digested_by_the_hour_of_their_death),
	  T(hours_that_are_forgotten_are_not_compared), T(a_named_hour_is_complete_for_ten_minutes),
	  T(dead_versions_that_are_dropped_early_take_their_hour_along),
	  T(a_tree_is_settled_once_it_has_all_changes_and_their_digests),
	  T(a_tree_of_very_many_hours_is_not_settled))
