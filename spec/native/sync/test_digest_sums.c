/* Questions about ranges of few versions by one sum each. */
#include "digest_kit.h"
#include "sync/sync_digest.h"

/* Two stores that hold the same `records` versions. */
static void fill_both(kms_store *s[2], size_t records)
{
	for (size_t i = 0; i < 2; i++)
		s[i] = digest_store((uint8_t)(i + 1));
	for (size_t i = 0; i < records; i++)
		put_sealed(s[0], APP, numbered(i), 1, 10, 0, NOW - 10);
	if (repair(s[0], s[1]).failed) abort();
}

static void free_both(kms_store *s[2])
{
	kms_store_free(s[0]);
	kms_store_free(s[1]);
}

/* `asker` asks. The roots, the sums and the move are a question each. */
static void repair_both(int *failed_, repair_run *run, kms_store *s[2], size_t asker)
{
	*run = repair(s[asker], s[!asker]);
	CHECK(!run->failed && run->state == KMS_DIGEST_DONE);
	CHECK(repair(s[0], s[1]).state == KMS_DIGEST_EQUAL);
}

TEST(one_version_more_on_either_side_is_found_by_the_sums_alone)
{
	for (size_t asker = 0; asker < 2; asker++) {
		kms_store *s[2];
		fill_both(s, 20);
		put_sealed(s[0], APP, "one more", 1, 10, 0, NOW);
		repair_run run;
		CALL(repair_both, &run, s, asker);
		CHECK(run.counts.questions == 3);
		CHECK(run.counts.given == !asker && run.counts.wanted == asker);
		CHECK(run.digest_bytes < 250); /* the list of 20 versions takes 100 more */
		free_both(s);
	}
}

TEST(other_differences_are_found_where_the_sums_do_not_tell)
{
	static const struct {
		size_t more[2]; /* versions that one side has and the other has not */
	} cases[] = { { { 1, 1 } }, { { 2, 1 } }, { { 1, 2 } }, { { 3, 0 } },
		      { { 0, 3 } }, { { 4, 3 } }, { { 3, 5 } } };
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		kms_store *s[2];
		fill_both(s, 20);
		for (size_t side = 0; side < 2; side++) {
			for (size_t k = 0; k < cases[i].more[side]; k++)
				put_sealed(s[side], APP, numbered(1000 * (side + 1) + k), 1, 10, 0, NOW);
		}
		repair_run run;
		CALL(repair_both, &run, s, 0);
		CHECK(run.counts.given == cases[i].more[0] && run.counts.wanted == cases[i].more[1]);
		free_both(s);
	}
}

TEST(a_range_that_only_one_side_has_divided_is_repaired)
{
	for (size_t asker = 0; asker < 2; asker++) {
		kms_store *s[2];
		fill_both(s, KMS_TREE_BUCKET);
		put_sealed(s[0], APP, "one more", 1, 10, 0, NOW);
		repair_run run;
		CALL(repair_both, &run, s, asker);
		CHECK(run.counts.given == !asker && run.counts.wanted == asker);
		free_both(s);
	}
}

/* ---- answers of liars ---- */

/* An exchange that has asked about all versions of a store of `records`. */
static kms_digest *ask_sums(kms_store *s, bool plainly)
{
	uint64_t records;
	kms_digest *digest;
	kms_buf text = new_text(), data = new_text(), answer = new_text();
	kms_tree_root root;
	MUST(kms_digest_new(&digest, s, NOW));
	if (!plainly) kms_digest_be_brief(digest);
	MUST(kms_digest_ask(&text, &data, &records, digest, PAGE, NOW));
	MUST(kms_tree_get_root(&root, s, kms_tree_first_hour(s, NOW)));
	root.lasting[0] ^= 1;
	MUST(kms_digest_write_head(&answer, DIGEST_ROOT, root.key_id));
	MUST(kms_digest_write_root(&answer, kms_tree_first_hour(s, NOW), &root));
	MUST(kms_digest_take(digest, kms_buf_span(&answer)));
	MUST(kms_digest_ask(&text, &data, &records, digest, PAGE, NOW));
	kms_buf_free(&text);
	kms_buf_free(&data);
	kms_buf_free(&answer);
	return digest;
}

/* Answers with as many versions as given, and a sum of all ones, to each of `items` questions. */
static kms_status answer_with_sums(kms_digest *digest, kms_store *s, size_t items, uint32_t versions)
{
	kms_tree_root root;
	kms_buf answer = new_text();
	MUST(kms_tree_get_root(&root, s, 1));
	MUST(kms_digest_write_head(&answer, DIGEST_COMPARE, root.key_id));
	for (size_t i = 0; i < items; i++) {
		static const digest_short ones = { 1, 1, 1, 1, 1 };
		MUST(kms_digest_write_number(&answer, DIGEST_SUM, 1));
		MUST(kms_digest_write_number(&answer, versions, 1));
		MUST(kms_buf_append(&answer, KMS_SPAN(ones)));
	}
	kms_status status = kms_digest_take(digest, kms_buf_span(&answer));
	kms_buf_free(&answer);
	return status;
}

TEST(a_sum_answers_only_a_sum_of_one_version_more)
{
	static const struct {
		bool plainly;
		uint32_t versions;
		kms_status status;
	} cases[] = { { false, 19, KMS_OK },
		      { false, 20, KMS_ERR_RECORD },
		      { false, 18, KMS_ERR_RECORD },
		      { false, 33, KMS_ERR_RECORD },
		      { true, 19, KMS_ERR_RECORD } };
	kms_store *s[2];
	fill_both(s, 20);
	for (size_t i = 0; i < KMS_ARRAY_LEN(cases); i++) {
		kms_digest *digest = ask_sums(s[0], cases[i].plainly);
		CHECK_STATUS(cases[i].status, answer_with_sums(digest, s[0], 1, cases[i].versions));
		kms_digest_free(digest);
	}
	free_both(s);
}

/* Reads the only item of a question. */
static void read_only_item(digest_item *item, const kms_buf *question)
{
	digest_kind kind;
	kms_siphash_key salt;
	uint8_t key_id[KMS_TREE_KEY_ID];
	kms_reader reader = kms_reader_make(kms_buf_span(question));
	MUST(kms_digest_read_head(&kind, key_id, &reader));
	MUST(kms_digest_read_salt(&salt, &reader));
	MUST(kms_digest_read_item(item, &reader));
	if (kind != DIGEST_COMPARE || kms_reader_left(&reader) > 0) abort();
}

TEST(a_sum_that_fits_nothing_leads_to_a_list)
{
	uint64_t records;
	digest_item item;
	kms_store *s[2];
	kms_buf question = new_text(), data = new_text();
	fill_both(s, 20);
	kms_digest *digest = ask_sums(s[0], false);
	CHECK_OK(answer_with_sums(digest, s[0], 1, 19));
	CHECK(kms_digest_get_state(digest) == KMS_DIGEST_ASKING);
	CHECK_OK(kms_digest_ask(&question, &data, &records, digest, PAGE, NOW));
	read_only_item(&item, &question);
	CHECK(item.form == DIGEST_LEAVES && item.count == 20);
	kms_buf_free(&question);
	kms_buf_free(&data);
	kms_digest_free(digest);
	free_both(s);
}

TEST(a_question_with_a_sum_of_too_many_versions_is_refused)
{
	for (uint32_t more = 0; more < 2; more++) {
		static const uint8_t salt[DIGEST_SALT];
		static const digest_short sum;
		const kms_tree_range all = { 0 };
		uint64_t records;
		kms_tree_root root;
		kms_store *s = digest_store(1);
		kms_buf question = new_text(), answer = new_text(), data = new_text();
		MUST(kms_tree_get_root(&root, s, 1));
		MUST(kms_digest_write_head(&question, DIGEST_COMPARE, root.key_id));
		MUST(kms_buf_append(&question, KMS_SPAN(salt)));
		MUST(kms_digest_write_range(&question, DIGEST_SUM, &all));
		MUST(kms_digest_write_number(&question, KMS_TREE_BUCKET + more, 1));
		MUST(kms_buf_append(&question, KMS_SPAN(sum)));
		CHECK_STATUS(more ? KMS_ERR_RECORD : KMS_OK,
			     kms_digest_answer(&answer, &data, &records, s, kms_buf_span(&question), PAGE,
					       false, NOW));
		kms_buf_free(&question);
		kms_buf_free(&answer);
		kms_buf_free(&data);
		kms_store_free(s);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(one_version_more_on_either_side_is_found_by_the_sums_alone),
	  T(other_differences_are_found_where_the_sums_do_not_tell),
	  T(a_range_that_only_one_side_has_divided_is_repaired),
	  T(a_sum_answers_only_a_sum_of_one_version_more), T(a_sum_that_fits_nothing_leads_to_a_list),
	  T(a_question_with_a_sum_of_too_many_versions_is_refused))
