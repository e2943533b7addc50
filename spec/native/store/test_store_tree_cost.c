/* What one call may cost that reads the hash tree: it has a bound whatever others write. */
#include "store/store_internal.h"
#include "store/store_tree_digest.h"
#include "tree_kit.h"

#define LONG_KEY 65536u
#define STEP 256 /* leaves computed under one lock */

static kms_store *long_store(size_t records)
{
	kms_store *s = NULL;
	kms_store_config config = kit_config(SELF);
	config.max_key = LONG_KEY;
	if (kms_store_new(&s, &config) != KMS_OK) abort();
	kit_set_key(s, 7);
	char *key = malloc(LONG_KEY);
	if (!key) abort();
	memset(key, 'k', LONG_KEY);
	for (size_t i = 0; i < records; i++) {
		uint64_t at_ms;
		uint8_t value[MIN_VALUE] = { 1 };
		(void)snprintf(key, LONG_KEY, "%08u", (unsigned)i);
		key[8] = 'k';
		kms_text text = kms_text_of(key, LONG_KEY);
		if (kms_store_put(&at_ms, s, APP, text, KMS_SPAN(value), 0, NOW) != KMS_OK) abort();
	}
	free(key);
	return s;
}

TEST(a_step_hashes_few_long_keys)
{
	kms_store *s = long_store(20);
	bool more = true;
	size_t steps = 0;
	for (; more && steps < 100; steps++)
		CHECK_OK(kms_tree_tidy(&more, s, STEP));
	CHECK(!more && steps >= 20 && steps < 50);
	CHECK(root_is_right(s));
	kms_store_free(s);
}

TEST(more_changes_than_a_call_may_compute_are_left_to_tidying)
{
	kms_store *s = tree_store(SELF);
	kms_tree_root root;
	kms_tree_view view;
	const kms_tree_range all = { 0 };
	bool more = true;
	for (size_t i = 0; i < (size_t)3 * KMS_TREE_ROUNDS * STEP; i++)
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_get_root(&root, s, 1));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_look(&view, s, &all));
	for (size_t i = 0; more && i < 10000; i++)
		CHECK_OK(kms_tree_tidy(&more, s, STEP));
	CHECK(!more);
	CHECK_OK(kms_tree_get_root(&root, s, 1));
	CHECK_OK(kms_tree_look(&view, s, &all));
	kms_store_free(s);
}

/* Whoever holds the build lock builds the tree: nobody waits for that on a thread of the pool. */
TEST(a_tree_that_is_being_built_is_not_waited_for)
{
	kms_store *s = tree_store(SELF);
	kms_secret *same = kit_master(7), *other = kit_master(8);
	pthread_mutex_lock(&s->tree.build_lock);
	CHECK_OK(kms_tree_set_key(&(bool){ false }, s, same, SIZE_MAX));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_set_key(&(bool){ false }, s, other, SIZE_MAX));
	pthread_mutex_unlock(&s->tree.build_lock);
	CHECK_OK(kms_tree_set_key(&(bool){ false }, s, other, SIZE_MAX));
	kms_secret_unref(same);
	kms_secret_unref(other);
	kms_store_free(s);
}

/* It was one job, as long as the store is large. */
TEST(a_tree_is_built_in_steps_and_has_what_changes_meanwhile)
{
	kms_store *s = kit_store(SELF);
	kms_secret *master = kit_master(7), *other = kit_master(8);
	kms_tree_root root;
	bool more = true;
	size_t steps = 0;
	for (size_t i = 0; i < 3000; i++)
		CHECK_OK(kms_store_put(&(uint64_t){ 0 }, s, 1 + i % 3, kms_text_from(numbered(i)),
				       KMS_SPAN(((uint8_t[MIN_VALUE]){ 1 })), 0, NOW));
	CHECK_OK(kms_tree_set_key(&more, s, other, 500));
	CHECK(more);
	for (more = true; more && steps < 100; steps++) {
		CHECK_OK(kms_tree_set_key(&more, s, master, 500));
		if (more) CHECK_STATUS(KMS_ERR_STATE, kms_tree_get_root(&root, s, 1));
		/* New, replaced, and in a namespace that is new. */
		CHECK_OK(kms_store_put(&(uint64_t){ 0 }, s, 1 + steps % 5, kms_text_from(numbered(steps * 3)),
				       KMS_SPAN(((uint8_t[MIN_VALUE]){ 2 })), 0, NOW));
	}
	CHECK(!more && steps >= 5 && steps <= 10);
	CHECK(root_is_right(s));
	more = true;
	CHECK_OK(kms_tree_set_key(&more, s, master, 1));
	CHECK(!more);
	kms_secret_unref(master);
	kms_secret_unref(other);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_step_hashes_few_long_keys),
	  T(more_changes_than_a_call_may_compute_are_left_to_tidying),
	  T(a_tree_that_is_being_built_is_not_waited_for),
	  T(a_tree_is_built_in_steps_and_has_what_changes_meanwhile))
