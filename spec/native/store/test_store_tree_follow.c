/* How the hash tree catches up with changes that do not touch it. */
#include "store/store_tree_follow.h"
#include "tree_kit.h"

#define BLOCK \
	(sizeof(store_record) + 2 * sizeof(kms_clock_entry) + KMS_BLOCK_OVERHEAD) /* at most, short key */

static kms_status put_to(kms_store *s, uint64_t app_id, const char *key, uint8_t fill)
{
	uint8_t value[MIN_VALUE];
	memset(value, fill, sizeof(value));
	return kms_store_put(&(uint64_t){ 0 }, s, app_id, kms_text_from(key), KMS_SPAN(value), 0, NOW);
}

static store_namespace *space(kms_store *s, uint64_t app_id)
{
	return kms_namespace_find(s, app_id);
}

static size_t gone_in(kms_store *s, uint64_t app_id)
{
	size_t count = 0;
	for (const store_record *record = space(s, app_id)->gone; record; record = record->next_change)
		count++;
	return count;
}

TEST(a_record_waits_once_however_often_its_key_is_written)
{
	kms_store *s = tree_store(SELF);
	CHECK_OK(put_to(s, APP, "k", 1));
	CHECK_OK(put_to(s, APP, "k", 2));
	CHECK(gone_in(s, APP) == 0 && atomic_load(&s->tree.behind) == 1); /* the tree never had it */
	(void)kit_root(s);
	CHECK(atomic_load(&s->tree.behind) == 0);
	for (uint8_t fill = 3; fill < 10; fill++)
		CHECK_OK(put_to(s, APP, "k", fill));
	CHECK(gone_in(s, APP) == 1);
	CHECK(!space(s, APP)->gone->value && space(s, APP)->gone_bytes <= BLOCK);
	CHECK(root_is_right(s));
	CHECK(gone_in(s, APP) == 0 && space(s, APP)->gone_bytes == 0);
	kms_store_free(s);
}

TEST(records_that_wait_are_freed_with_the_store)
{
	kms_store *s = tree_store(SELF);
	CHECK_OK(put_to(s, APP, "k", 1));
	(void)kit_root(s);
	CHECK_OK(put_to(s, APP, "k", 2));
	CHECK(gone_in(s, APP) == 1);
	kms_store_free(s);
}

/* At the limit and one past it. */
TEST(what_waits_is_bounded)
{
	kms_store *s = tree_store(SELF);
	const size_t keys = 3000;
	for (size_t i = 0; i < keys; i++)
		CHECK_OK(put_to(s, APP, numbered(i), 1));
	(void)kit_root(s);
	size_t most = 0, before = 0;
	bool shed = false;
	for (size_t i = 0; i < keys; i++) {
		CHECK_OK(put_to(s, APP, numbered(i), 2));
		size_t bytes = space(s, APP)->gone_bytes;
		CHECK(bytes <= 4096 + space(s, APP)->stats.total_bytes / 8);
		shed = shed || bytes < before;
		before = bytes;
		if (bytes > most) most = bytes;
	}
	CHECK(shed && most + BLOCK > 4096 + space(s, APP)->stats.total_bytes / 8);
	CHECK(root_is_right(s));
	kms_store_free(s);
}

/* What waits under another master secret, or before the tree is built again, is let go of too. */
TEST(a_tree_that_was_emptied_has_what_its_records_say_they_are_in)
{
	kms_store *s = tree_store(SELF);
	for (size_t i = 0; i < 500; i++)
		CHECK_OK(put_to(s, APP, numbered(i), 1));
	(void)kit_root(s);
	CHECK_OK(put_to(s, APP, numbered(3), 2));
	kit_set_key(s, 8);
	CHECK_OK(put_to(s, APP, numbered(4), 2));
	CHECK_OK(put_to(s, APP, "new", 2));
	CHECK(root_is_right_under(s, 8));
	CHECK(gone_in(s, APP) == 0);
	kms_store_free(s);
}

/* A namespace that holds nothing is given back with its records still waiting, and another application's. */
TEST(a_namespace_changes_hands_while_its_records_wait)
{
	kms_store_config config = kit_config(SELF);
	config.max_namespaces = 1;
	config.tombstone_retention_ms = 1;
	kms_store *s = NULL;
	CHECK_OK(kms_store_new(&s, &config));
	kit_set_key(s, 7);
	for (size_t i = 0; i < 50; i++)
		CHECK_OK(put_to(s, APP, numbered(i), 1));
	(void)kit_root(s);
	for (size_t i = 0; i < 50; i++)
		CHECK_OK(kms_store_delete(&(uint64_t){ 0 }, s, APP, kms_text_from(numbered(i)), NOW));
	kms_store_set_acknowledged(s, UINT64_MAX);
	(void)kms_store_expire(s, NOW + 100000, SIZE_MAX);
	CHECK(kms_namespace_count(s) == 0);
	CHECK_OK(put_to(s, 2, numbered(1), 9));
	CHECK(gone_in(s, 2) > 0);
	CHECK(root_is_right(s));
	CHECK(gone_in(s, 2) == 0);
	kms_store_free(s);
}

TEST(a_step_takes_a_part_and_the_next_one_goes_on)
{
	kms_store *s = tree_store(SELF);
	const size_t changes = 2 * KMS_TREE_FOLLOW_STEP + 1;
	size_t steps = 2;
	for (size_t i = 0; i < changes; i++)
		CHECK_OK(put_to(s, 1 + i % 2, numbered(i), 1));
	CHECK(!kms_tree_follow(&steps, s) && steps == 0);
	steps = 10;
	CHECK(kms_tree_follow(&steps, s) && steps >= 7);
	CHECK(kms_tree_follow(&(size_t){ 0 }, s)); /* nothing is left */
	CHECK(root_is_right(s));
	kms_store_free(s);
}

/* Between two steps no reader sees a key in neither version. */
TEST(a_version_takes_the_place_of_the_one_before_at_once)
{
	kms_store *s = tree_store(SELF);
	for (size_t i = 0; i < 300; i++)
		CHECK_OK(put_to(s, APP, numbered(i), 1));
	(void)kit_root(s);
	for (size_t i = 0; i < 20; i++)
		CHECK_OK(put_to(s, APP, numbered(i), 2));
	for (size_t i = 20; i < 40; i++)
		CHECK_OK(kms_store_delete(&(uint64_t){ 0 }, s, APP, kms_text_from(numbered(i)), NOW));
	store_namespace *ns = space(s, APP);
	kms_namespace_lock(ns);
	for (const store_record *record = ns->first_change; record; record = record->next_change)
		CHECK(record->in_tree == (record->sequence <= 300));
	(void)kms_tree_follow_some(ns);
	uint64_t versions = 0;
	for (size_t i = 0; i < s->tree.section_count; i++)
		versions += s->tree.sections[i]->top.count;
	kms_namespace_unlock(ns);
	CHECK(versions == 300);
	CHECK(root_is_right(s));
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_record_waits_once_however_often_its_key_is_written),
	  T(records_that_wait_are_freed_with_the_store), T(what_waits_is_bounded),
	  T(a_tree_that_was_emptied_has_what_its_records_say_they_are_in),
	  T(a_namespace_changes_hands_while_its_records_wait),
	  T(a_step_takes_a_part_and_the_next_one_goes_on),
	  T(a_version_takes_the_place_of_the_one_before_at_once))
