/* The hash tree over a store's versions. */
#include "base/bits.h"
#include "base/testing.h"
#include "kms/kdf.h"
#include "tree_kit.h"

static const uint8_t no_digest[KMS_TREE_DIGEST];

static bool is_empty(const kms_tree_root *root)
{
	return memcmp(root->lasting, no_digest, KMS_TREE_DIGEST) == 0 &&
	       memcmp(root->ending, no_digest, KMS_TREE_DIGEST) == 0;
}

/* ---- keys ---- */

TEST(a_tree_has_no_root_before_it_has_a_key)
{
	kms_store *s = kit_store(SELF);
	kms_tree_root root;
	kms_tree_view view;
	const kms_tree_range all = { 0 };
	CHECK_OK(kit_put(s, "a", 1, NOW));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_get_root(&root, s, 1));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_look(&view, s, &all));
	kit_set_key(s, 7);
	CHECK_OK(kms_tree_get_root(&root, s, 1));
	CHECK(!is_empty(&root));
	kms_store_free(s);
}

TEST(what_was_there_before_the_key_is_in_the_tree)
{
	kms_store *before = kit_store(SELF), *after = tree_store(SELF);
	for (size_t i = 0; i < 1000; i++) {
		CHECK_OK(kit_put(before, numbered(i), 1, NOW));
		CHECK_OK(kit_put(after, numbered(i), 1, NOW));
	}
	kit_set_key(before, 7);
	CHECK(same_root(before, after));
	kms_store_free(before);
	kms_store_free(after);
}

TEST(another_master_secret_gives_another_key_id_and_root)
{
	kms_store *s = tree_store(SELF);
	CHECK_OK(kit_put(s, "a", 1, NOW));
	kms_tree_root old = kit_root(s);
	kit_set_key(s, 8);
	kms_tree_root changed = kit_root(s);
	CHECK(memcmp(old.key_id, changed.key_id, KMS_TREE_KEY_ID) != 0);
	CHECK(memcmp(old.lasting, changed.lasting, KMS_TREE_DIGEST) != 0);
	kms_store_free(s);
}

/* ---- digests ---- */

/* docs/protocol.md section 9, for a store with one record. */
TEST(the_root_of_one_record_is_the_documented_hash)
{
	kms_store *s = tree_store(SELF);
	kms_secret *master = kit_master(7), *key;
	uint8_t leaf32[32], root32[32], message[1 + 24 + 32 + 1] = { 1 };
	CHECK_OK(kit_put(s, "k", 5, NOW));
	kms_store64_be(message + 1, APP);
	kms_store64_be(message + 9, NOW);
	message[28] = 0;
	kms_store32_le(message + 25, MIN_VALUE);
	memset(message + 29, 0x11, 28);
	message[29] = 5;
	message[57] = 'k';
	CHECK_OK(kms_digest_key(&key, master));
	CHECK_OK(kms_hmac_sha256(leaf32, key, KMS_SPAN(message)));
	uint8_t bucket[1 + KMS_TREE_DIGEST] = { 2 };
	memcpy(bucket + 1, leaf32, KMS_TREE_DIGEST);
	CHECK_OK(kms_hmac_sha256(root32, key, KMS_SPAN(bucket)));
	kms_tree_root root = kit_root(s);
	CHECK_MEM(root.lasting, root32, KMS_TREE_DIGEST);
	CHECK_MEM(root.ending, no_digest, KMS_TREE_DIGEST);
	kms_secret_unref(key);
	kms_secret_unref(master);
	kms_store_free(s);
}

TEST(digests_can_be_computed_step_by_step)
{
	kms_store *s = tree_store(SELF), *same = tree_store(SELF), *bare = kit_store(SELF);
	bool more = true;
	size_t steps = 0;
	for (size_t i = 0; i < 5000; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		CHECK_OK(kit_put(same, numbered(i), 1, NOW));
	}
	for (; more && steps < 100; steps++)
		CHECK_OK(kms_tree_tidy(&more, s, 500));
	CHECK(steps > 5 && steps < 15);
	CHECK(same_root(s, same));
	CHECK_OK(kms_tree_tidy(&more, s, 500));
	CHECK(!more);
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_tidy(&more, bare, 500));
	kms_store_free(s);
	kms_store_free(same);
	kms_store_free(bare);
}

/* What outsiders see: HMAC-SHA256(key, 5 || hour || roots || nonce). */
TEST(what_outsiders_see_is_a_mac_of_the_roots_and_their_nonce)
{
	kms_store *a = tree_store(SELF), *b = tree_store(2), *bare = kit_store(3);
	uint8_t nonce[64] = { 9 }, x[32], y[32], want[32], message[5 + 32 + 16] = { 5, 0, 0, 0, 7, [37] = 9 };
	kms_secret *master = kit_master(7), *key;
	CHECK_OK(kms_digest_key(&key, master));
	CHECK_OK(kms_tree_show(x, a, 7, kms_span_of(nonce, 16)));
	CHECK_OK(kms_hmac_sha256(want, key, KMS_SPAN(message)));
	CHECK_MEM(x, want, 32);
	CHECK_OK(kms_tree_show(y, b, 7, kms_span_of(nonce, 16)));
	CHECK_MEM(x, y, 32);
	CHECK_OK(kit_put(b, "k", 1, NOW));
	CHECK_OK(kms_tree_show(y, b, 7, kms_span_of(nonce, 16)));
	CHECK(memcmp(x, y, 32) != 0);
	nonce[0]++;
	CHECK_OK(kms_tree_show(y, a, 7, kms_span_of(nonce, 16)));
	CHECK(memcmp(x, y, 32) != 0);
	CHECK_OK(kms_tree_show(y, a, 7, kms_span_of(nonce, 64)));
	CHECK_STATUS(KMS_ERR_RANGE, kms_tree_show(y, a, 7, kms_span_of(nonce, 15)));
	CHECK_STATUS(KMS_ERR_STATE, kms_tree_show(y, bare, 7, kms_span_of(nonce, 16)));
	kms_secret_unref(key);
	kms_secret_unref(master);
	kms_store_free(a);
	kms_store_free(b);
	kms_store_free(bare);
}

TEST(every_part_of_a_version_is_in_its_leaf)
{
	uint8_t value[MIN_VALUE + 1] = { 1 };
	kms_record versions[8];
	kms_tree_root roots[KMS_ARRAY_LEN(versions)];
	for (size_t i = 0; i < KMS_ARRAY_LEN(versions); i++)
		versions[i] = kit_live("k", value, MIN_VALUE, 0);
	versions[1].key = KMS_TEXT("l");
	versions[2].updated_at_ms++;
	versions[3].ttl_ms = HOUR;
	versions[4].ttl_ms = HOUR + 1;
	versions[5].value.len++;
	uint8_t other_iv[MIN_VALUE] = { 2 }, other_tag[MIN_VALUE] = { 1 };
	other_tag[MIN_VALUE - 1] = 1;
	versions[6].value.bytes = other_iv;
	versions[7].value.bytes = other_tag;
	for (size_t i = 0; i < KMS_ARRAY_LEN(versions); i++) {
		kms_store *s = tree_store(SELF);
		CHECK_OK(kit_merge_record(s, versions[i], 1, NOW));
		roots[i] = kit_root(s);
		for (size_t k = 0; k < i; k++)
			CHECK(memcmp(&roots[k], &roots[i], sizeof(roots[i])) != 0);
		kms_store_free(s);
	}
}

TEST(an_application_is_in_its_leaves)
{
	kms_store *a = tree_store(SELF), *b = tree_store(SELF);
	uint64_t at_ms;
	uint8_t value[MIN_VALUE] = { 1 };
	CHECK_OK(kms_store_put(&at_ms, a, 1, KMS_TEXT("k"), KMS_SPAN(value), 0, NOW));
	CHECK_OK(kms_store_put(&at_ms, b, 2, KMS_TEXT("k"), KMS_SPAN(value), 0, NOW));
	CHECK(!same_root(a, b));
	kms_store_free(a);
	kms_store_free(b);
}

TEST(clocks_and_origins_are_not_in_the_leaves)
{
	kms_store *a = tree_store(SELF), *b = tree_store(2);
	uint8_t value[MIN_VALUE] = { 1 };
	CHECK_OK(kit_merge_record(a, kit_live("k", value, MIN_VALUE, 0), 1, NOW));
	CHECK_OK(kit_merge_record(b, kit_live("k", value, MIN_VALUE, 0), 2, NOW));
	CHECK(same_root(a, b));
	kms_store_free(a);
	kms_store_free(b);
}

TEST(an_evicted_value_stays_the_same_version)
{
	kms_store *full = quota_store(2 * BIG, 512u << 20, 1000), *other = tree_store(SELF);
	kit_set_key(full, 7);
	for (size_t i = 0; i < 3; i++) {
		CHECK_OK(put_big(full, numbered(i), (uint8_t)i, NOW));
		CHECK_OK(put_big(other, numbered(i), (uint8_t)i, NOW));
	}
	CHECK(state_of(full, numbered(0), NOW) == KMS_RECORD_STUB);
	CHECK(same_root(full, other));
	kms_store_free(full);
	kms_store_free(other);
}

TEST(an_expired_value_stays_the_same_version)
{
	kms_store *a = tree_store(SELF), *b = tree_store(SELF);
	uint64_t at_ms, later = NOW + 1001;
	CHECK_OK(kit_put_at(&at_ms, a, "k", 1, MIN_VALUE, 1000, NOW));
	CHECK_OK(kit_put_at(&at_ms, b, "k", 1, MIN_VALUE, 1000, NOW));
	CHECK(kms_store_expire(a, later, 10) == 1);
	CHECK(state_of(a, "k", later) == KMS_RECORD_TOMBSTONE);
	CHECK(same_root(a, b));
	kms_store_free(a);
	kms_store_free(b);
}

/* ---- structure ---- */

/* Every kind of change, with the tree compared to one that is built anew. */
TEST(the_tree_after_any_changes_is_the_one_built_from_scratch)
{
	for (uint64_t round = 1; round <= 20; round++) {
		uint64_t seed = round * 0x9e3779b97f4a7c15ull, now = NOW, at_ms;
		kms_store *s = quota_store(400 * BIG, 512u << 20, 50);
		kit_set_key(s, 7);
		kms_store_set_acknowledged(s, UINT64_MAX);
		size_t keys = round * 40;
		for (size_t i = 0; i < 3000; i++) {
			const char *key = numbered(kit_random(&seed, keys));
			now += kit_random(&seed, 100);
			uint64_t what = kit_random(&seed, 10), ttl = kit_random(&seed, 3) ? 0 : 20000;
			if (what < 6)
				CHECK_OK(kit_put_at(&at_ms, s, key, (uint8_t)i, BIG, ttl, now));
			else if (what < 9)
				(void)kit_delete(s, key, now);
			else
				(void)kms_store_expire(s, now, 10);
			if (i % 1000 == 0) CHECK(root_is_right(s));
		}
		CHECK(root_is_right(s));
		(void)kms_store_expire(s, now + 2 * RETENTION, 100000);
		CHECK(root_is_right(s));
		kms_store_free(s);
	}
}

TEST(a_store_that_has_forgotten_everything_has_an_empty_root)
{
	kms_store *s = tree_store(SELF);
	for (size_t i = 0; i < 500; i++) {
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		CHECK_OK(kit_delete(s, numbered(i), NOW));
	}
	CHECK(kms_store_expire(s, NOW + RETENTION + 10, 1000) == 500);
	kms_tree_root root = kit_root(s);
	CHECK(is_empty(&root));
	kms_store_free(s);
}

/* Counts the versions below a range by descending. */
static uint64_t count_below(kms_store *s, kms_tree_range range)
{
	kms_tree_view view;
	if (kms_tree_look(&view, s, &range) != KMS_OK) abort();
	if (!view.has_children) return view.versions;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < KMS_TREE_CHILDREN; i++) {
		kms_tree_range child = { range.hour, (uint8_t)(range.depth + 4),
					 range.place | i << (60 - range.depth) };
		sum += count_below(s, child);
	}
	return sum == view.versions ? sum : 0;
}

TEST(descending_finds_every_version_once)
{
	static const size_t sizes[] = { 1, 32, 33, 100, 512, 513, 5000 };
	for (size_t i = 0; i < KMS_ARRAY_LEN(sizes); i++) {
		kms_store *s = tree_store(SELF);
		for (size_t k = 0; k < sizes[i]; k++)
			CHECK_OK(kit_put(s, numbered(k), 1, NOW));
		CHECK(count_below(s, (kms_tree_range){ 0 }) == sizes[i]);
		kms_store_free(s);
	}
}

/* A child's digest is the same whether its records lie in a node of their own or together with others'. */
TEST(digests_do_not_depend_on_what_else_a_store_holds)
{
	kms_store *a = tree_store(SELF), *b = tree_store(SELF);
	kms_tree_view x, y;
	size_t equal = 0, records = 900;
	for (size_t i = 0; i < records; i++) {
		CHECK_OK(kit_put(a, numbered(i), 1, NOW));
		CHECK_OK(kit_put(b, numbered(i), 1, NOW));
	}
	CHECK_OK(kit_put(b, "one more", 1, NOW));
	for (uint64_t i = 0; i < 256; i++) {
		kms_tree_range range = { 0, 8, i << 56 };
		CHECK_OK(kms_tree_look(&x, a, &range));
		CHECK_OK(kms_tree_look(&y, b, &range));
		equal += x.count == y.count && memcmp(x.digests, y.digests, sizeof(x.digests)) == 0;
	}
	CHECK(equal == 255);
	kms_store_free(a);
	kms_store_free(b);
}

typedef struct seen {
	size_t count;
	char key[16];
} seen;

static bool note_key(void *context, uint64_t app_id, kms_text key, const uint8_t leaf[KMS_TREE_DIGEST])
{
	seen *s = context;
	(void)leaf;
	if (app_id != APP || key.len >= sizeof(s->key)) abort();
	memcpy(s->key, key.text, key.len);
	s->key[key.len] = 0;
	s->count++;
	return true;
}

TEST(a_visit_names_the_versions_of_a_range)
{
	kms_store *s = tree_store(SELF);
	seen found = { 0 };
	const kms_tree_range all = { 0 };
	CHECK_OK(kit_put(s, "only", 1, NOW));
	CHECK_OK(kms_tree_visit(s, &all, note_key, &found));
	CHECK(found.count == 1 && strcmp(found.key, "only") == 0);
	for (size_t i = 0; i < 40; i++)
		CHECK_OK(kit_put(s, numbered(i), 1, NOW));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_tree_visit(s, &all, note_key, &found));
	found.count = 0;
	for (uint64_t i = 0; i < 16; i++) {
		kms_tree_range range = { 0, 4, i << 60 };
		CHECK_OK(kms_tree_visit(s, &range, note_key, &found));
	}
	CHECK(found.count == 41);
	kms_store_free(s);
}

TEST(ranges_that_cannot_be_are_refused)
{
	static const kms_tree_range bad[] = {
		{ 0, 3, 0 }, { 0, 65, 0 }, { 0, 68, 0 }, { 0, 0, 1 }, { 0, 4, 1 }
	};
	kms_store *s = tree_store(SELF);
	kms_tree_view view;
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		CHECK_STATUS(KMS_ERR_RANGE, kms_tree_look(&view, s, &bad[i]));
		CHECK_STATUS(KMS_ERR_RANGE, kms_tree_visit(s, &bad[i], note_key, NULL));
	}
	const kms_tree_range deepest = { 0, 64, 1 };
	CHECK_OK(kms_tree_look(&view, s, &deepest));
	CHECK(view.versions == 0 && !view.has_children);
	kms_store_free(s);
}

/* No change fails for the tree, which catches up when it is read; it is built again when there is memory. */
TEST(a_tree_without_memory_is_dropped_and_built_again)
{
	kms_tree_root root;
	size_t dropped = 0;
	for (unsigned long after = 1; after < 16; after++) {
		kms_store *s = tree_store(SELF);
		for (size_t i = 0; i < 32; i++)
			CHECK_OK(kit_put(s, numbered(i), 1, NOW));
		(void)kit_root(s);
		CHECK_OK(kit_put(s, "splits", 1, NOW));
		CHECK_OK(kit_put(s, numbered(0), 2, NOW));
		kms_mem_fail_after(after);
		kms_status got = kms_tree_get_root(&root, s, 1);
		kms_mem_fail_after(0);
		CHECK(got == KMS_OK || got == KMS_ERR_STATE || got == KMS_ERR_MEMORY ||
		      got == KMS_ERR_LOCKED_MEMORY);
		dropped += got == KMS_ERR_STATE;
		CHECK_OK(kit_put(s, numbered(1), 2, NOW));
		kit_set_key(s, 7);
		CHECK(root_is_right(s));
		kms_store_free(s);
	}
	CHECK(dropped > 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_tree_has_no_root_before_it_has_a_key),
	  T(what_was_there_before_the_key_is_in_the_tree),
	  T(another_master_secret_gives_another_key_id_and_root),
	  T(the_root_of_one_record_is_the_documented_hash),
	  T(what_outsiders_see_is_a_mac_of_the_roots_and_their_nonce),
	  T(every_part_of_a_version_is_in_its_leaf), T(digests_can_be_computed_step_by_step),
	  T(an_application_is_in_its_leaves), T(clocks_and_origins_are_not_in_the_leaves),
	  T(an_evicted_value_stays_the_same_version), T(an_expired_value_stays_the_same_version),
	  T(the_tree_after_any_changes_is_the_one_built_from_scratch),
	  T(a_store_that_has_forgotten_everything_has_an_empty_root), T(descending_finds_every_version_once),
	  T(digests_do_not_depend_on_what_else_a_store_holds), T(a_visit_names_the_versions_of_a_range),
	  T(ranges_that_cannot_be_are_refused), T(a_tree_without_memory_is_dropped_and_built_again))
