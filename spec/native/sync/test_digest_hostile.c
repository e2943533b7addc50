/* Peers that lie in repair: what they can make a member do is bounded. */
#include <time.h>

#include "base/bits.h"
#include "digest_kit.h"
#include "sync/sync_digest.h"

/* An answer's head under the right key. */
static void add_head(kms_buf *out, kms_store *store, digest_kind kind)
{
	kms_tree_root root;
	MUST(kms_tree_get_root(&root, store, 1));
	MUST(kms_digest_write_head(out, kind, root.key_id));
}

static kms_store *filled_store(size_t records)
{
	kms_store *s = digest_store(1);
	for (size_t i = 0; i < records; i++)
		put_sealed(s, APP, numbered(i), 1, 4, 0, NOW);
	return s;
}

typedef struct asked {
	kms_buf question;
	kms_buf data;
	uint64_t records;
} asked;

static kms_status ask(asked *a, kms_digest *d)
{
	a->question.len = a->data.len = 0;
	return kms_digest_ask(&a->question, &a->data, &a->records, d, PAGE, NOW);
}

/* Begins an exchange in which the peer claims to hold something else everywhere. */
static kms_digest *begin(asked *a, kms_store *s)
{
	kms_digest *d;
	kms_tree_root other = { { 0 }, { 1 }, { 1 } };
	kms_buf answer = new_text();
	*a = (asked){ new_text(), new_text(), 0 };
	MUST(kms_digest_new(&d, s, NOW));
	MUST(ask(a, d));
	add_head(&answer, s, DIGEST_ROOT);
	MUST(kms_digest_write_root(&answer, kms_tree_first_hour(s, NOW), &other));
	MUST(kms_digest_take(d, kms_buf_span(&answer)));
	kms_buf_free(&answer);
	return d;
}

static void end(asked *a, kms_digest *d)
{
	kms_buf_free(&a->question);
	kms_buf_free(&a->data);
	kms_digest_free(d);
}

/* How many items a question has. */
static size_t count_items(const kms_buf *question)
{
	digest_item item;
	kms_reader reader = kms_reader_make(kms_buf_span(question));
	const uint8_t *skipped;
	size_t count = 0;
	MUST(kms_reader_take(&skipped, &reader, 2 + KMS_TREE_KEY_ID + DIGEST_SALT));
	while (kms_reader_left(&reader) > 0) {
		MUST(kms_digest_read_item(&item, &reader));
		count++;
	}
	return count;
}

/* "Everything differs", for ever. */
TEST(an_endless_descent_stays_within_bounds)
{
	asked a;
	kms_store *s = filled_store(2000);
	kms_digest *d = begin(&a, s);
	for (size_t round = 0; round < 300 && kms_digest_get_state(d) == KMS_DIGEST_ASKING; round++) {
		kms_buf answer = new_text();
		CHECK_OK(ask(&a, d));
		CHECK(a.question.len <= KMS_DIGEST_MAX && count_items(&a.question) <= DIGEST_ITEMS);
		CHECK(a.records == 0);
		add_head(&answer, s, DIGEST_COMPARE);
		size_t items = count_items(&a.question);
		if (round == 0) {
			/* The hours come first. */
			CHECK(items == 2);
			CHECK_OK(kms_digest_write_number(&answer, DIGEST_HOURS_FORM, 1));
			CHECK_OK(kms_digest_write_number(&answer, 0, 2));
			items--;
		}
		for (size_t i = 0; i < items; i++) {
			CHECK_OK(kms_digest_write_number(&answer, DIGEST_CHILDREN, 1));
			CHECK_OK(kms_digest_write_number(&answer, 0xffff, 2));
		}
		CHECK_OK(kms_digest_take(d, kms_buf_span(&answer)));
		kms_buf_free(&answer);
	}
	end(&a, d);
	kms_store_free(s);
}

/* The peer claims to lack every leaf and to have 32 others: 32 at a time are asked for, once. */
TEST(versions_that_do_not_exist_are_asked_for_once)
{
	asked a;
	kms_store *s = filled_store(10);
	kms_digest *d = begin(&a, s);
	kms_buf answer = new_text();
	CHECK_OK(ask(&a, d));
	add_head(&answer, s, DIGEST_COMPARE);
	CHECK_OK(kms_digest_write_number(&answer, DIGEST_HOURS_FORM, 1));
	CHECK_OK(kms_digest_write_number(&answer, 0, 2));
	CHECK_OK(kms_digest_write_number(&answer, DIGEST_LACKS, 1));
	CHECK_OK(kms_digest_write_number(&answer, 0x3ff, 4));
	digest_short names[KMS_TREE_BUCKET];
	memset(names, 9, sizeof(names));
	CHECK_OK(kms_digest_write_shorts(&answer, (const digest_short *)names, KMS_TREE_BUCKET));
	CHECK_OK(kms_digest_take(d, kms_buf_span(&answer)));
	CHECK_OK(ask(&a, d));
	CHECK(a.records == 10 && count_items(&a.question) == 1);
	answer.len = 0;
	add_head(&answer, s, DIGEST_MOVE);
	CHECK_OK(kms_digest_write_number(&answer, 0, 2)); /* looked up none of them */
	CHECK_OK(kms_digest_take(d, kms_buf_span(&answer)));
	CHECK(kms_digest_get_state(d) == KMS_DIGEST_DONE);
	kms_buf_free(&answer);
	end(&a, d);
	kms_store_free(s);
}

/* Answers that do not fit their question end the exchange; the last one fits, with all hours of an item. */
TEST(answers_to_other_questions_end_the_exchange)
{
	for (int wrong = 0; wrong <= 8; wrong++) {
		asked a;
		kms_store *s = filled_store(10);
		kms_digest *d = begin(&a, s);
		kms_buf answer = new_text();
		CHECK_OK(ask(&a, d));
		add_head(&answer, s, wrong == 0 ? DIGEST_MOVE : DIGEST_COMPARE);
		if (wrong == 0) CHECK_OK(kms_digest_write_number(&answer, 0, 2));
		if (wrong >= 1) {
			unsigned form = wrong == 6 ? DIGEST_CHILDREN : DIGEST_HOURS_FORM;
			CHECK_OK(kms_digest_write_number(&answer, form, 1));
		}
		size_t hours = wrong >= 7 ? DIGEST_HOURS : 0;
		if (wrong == 7) hours++; /* more than an item has */
		if (wrong >= 2) CHECK_OK(kms_digest_write_number(&answer, (uint32_t)hours, 2));
		for (uint32_t i = 0, first = kms_tree_first_hour(s, NOW); i < hours; i++)
			CHECK_OK(kms_digest_write_number(&answer, first + i, 4));
		if (wrong == 3) {
			CHECK_OK(kms_digest_write_number(&answer, DIGEST_LEAVES, 1)); /* it had leaves */
			CHECK_OK(kms_digest_write_number(&answer, 0, 1));
		}
		if (wrong == 4) {
			CHECK_OK(kms_digest_write_number(&answer, DIGEST_LACKS, 1));
			CHECK_OK(kms_digest_write_number(&answer, 0x7ff, 4)); /* there were ten */
			CHECK_OK(kms_digest_write_number(&answer, 0, 1));
		}
		if (wrong >= 5) {
			CHECK_OK(kms_digest_write_number(&answer, DIGEST_CHILDREN, 1));
			CHECK_OK(kms_digest_write_number(&answer, 0, 2));
		}
		if (wrong == 5) CHECK_OK(kms_digest_write_number(&answer, 0, 1)); /* trailing */
		CHECK_STATUS(wrong < 8 ? KMS_ERR_RECORD : KMS_OK, kms_digest_take(d, kms_buf_span(&answer)));
		CHECK(kms_digest_get_state(d) == (wrong < 8 ? KMS_DIGEST_DONE : KMS_DIGEST_ASKING));
		if (wrong < 8) CHECK_STATUS(KMS_ERR_STATE, kms_digest_take(d, kms_buf_span(&answer)));
		kms_buf_free(&answer);
		end(&a, d);
		kms_store_free(s);
	}
}

/* An earlier first hour than the asker's would make forgotten hours a difference. */
TEST(hours_that_the_asker_does_not_name_are_refused)
{
	kms_digest *d;
	kms_store *s = filled_store(1);
	asked a = { new_text(), new_text(), 0 };
	kms_tree_root root;
	kms_buf answer = new_text();
	MUST(kms_digest_new(&d, s, NOW));
	MUST(ask(&a, d));
	MUST(kms_tree_get_root(&root, s, 1));
	add_head(&answer, s, DIGEST_ROOT);
	CHECK_OK(kms_digest_write_root(&answer, kms_tree_first_hour(s, NOW) - 1, &root));
	CHECK_STATUS(KMS_ERR_RECORD, kms_digest_take(d, kms_buf_span(&answer)));
	kms_buf_free(&answer);
	end(&a, d);
	kms_store_free(s);
}

static kms_status answer_to(kms_store *s, const kms_buf *question)
{
	uint64_t records;
	kms_buf answer = kms_buf_make(KMS_BUF_PLAIN, KMS_DIGEST_MAX), data = new_text();
	kms_status status =
	    kms_digest_answer(&answer, &data, &records, s, kms_buf_span(question), PAGE, false, NOW);
	kms_buf_free(&answer);
	kms_buf_free(&data);
	return status;
}

static kms_buf compare_question(kms_store *s, size_t items)
{
	static const uint8_t salt[DIGEST_SALT];
	const kms_tree_range all = { 0 };
	kms_buf question = new_text();
	add_head(&question, s, DIGEST_COMPARE);
	MUST(kms_buf_append(&question, KMS_SPAN(salt)));
	for (size_t i = 0; i < items; i++) {
		MUST(kms_digest_write_range(&question, DIGEST_LEAVES, &all));
		MUST(kms_digest_write_number(&question, 0, 1));
	}
	return question;
}

TEST(a_question_has_a_bounded_number_of_items)
{
	kms_store *s = filled_store(100);
	kms_buf most = compare_question(s, DIGEST_ITEMS), more = compare_question(s, DIGEST_ITEMS + 1);
	CHECK_OK(answer_to(s, &most));
	CHECK_STATUS(KMS_ERR_RECORD, answer_to(s, &more));
	kms_buf_free(&most);
	kms_buf_free(&more);
	kms_store_free(s);
}

/* Each is answered from all hours that there are, of which one application can make ten years' worth. */
TEST(a_question_asks_about_hours_a_bounded_number_of_times)
{
	for (size_t more = 0; more < 2; more++) {
		static const uint8_t salt[DIGEST_SALT];
		kms_store *s = filled_store(1);
		kms_buf question = new_text();
		add_head(&question, s, DIGEST_COMPARE);
		MUST(kms_buf_append(&question, KMS_SPAN(salt)));
		for (size_t i = 0; i < DIGEST_HOUR_ITEMS + more; i++) {
			MUST(kms_digest_write_number(&question, DIGEST_HOURS_FORM, 1));
			MUST(kms_digest_write_number(&question, 1, 4));
			MUST(kms_digest_write_number(&question, UINT32_MAX, 4));
			MUST(kms_digest_write_number(&question, 0, 2));
		}
		CHECK_STATUS(more ? KMS_ERR_RECORD : KMS_OK, answer_to(s, &question));
		kms_buf_free(&question);
		kms_store_free(s);
	}
}

/* Wants the same 1024 versions, and one more. */
TEST(a_question_wants_a_bounded_number_of_versions)
{
	for (size_t more = 0; more < 2; more++) {
		static const uint8_t salt[DIGEST_SALT];
		const digest_short names[KMS_TREE_BUCKET] = { { 1 } };
		const kms_tree_range all = { 0 };
		kms_store *s = filled_store(1);
		kms_buf question = new_text();
		add_head(&question, s, DIGEST_MOVE);
		MUST(kms_buf_append(&question, KMS_SPAN(salt)));
		for (size_t i = 0; i < KMS_DIGEST_MOVE_MAX / KMS_TREE_BUCKET + more; i++) {
			MUST(kms_digest_write_range(&question, DIGEST_LEAVES, &all));
			MUST(kms_digest_write_shorts(&question, names, i == 32 ? 1 : KMS_TREE_BUCKET));
		}
		CHECK_STATUS(more ? KMS_ERR_RECORD : KMS_OK, answer_to(s, &question));
		kms_buf_free(&question);
		kms_store_free(s);
	}
}

/* A store of 600 keys, of up to 64 KiB. */
static kms_store *store_of_keys(size_t len)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(1);
	kms_secret *master = hex_secret(MASTER);
	kms_buf value = new_text();
	config.max_key = 65536;
	char *key = malloc(len);
	if (!key) abort();
	memset(key, 'k', len);
	MUST(kms_store_new(&store, &config));
	MUST(kms_tree_set_key(&(bool){ false }, store, master, SIZE_MAX));
	kms_secret_unref(master);
	add_sealed(&value, APP, 1, 4);
	for (size_t i = 0; i < 600; i++) {
		uint64_t at_ms;
		for (size_t k = 0; k < 4; k++)
			key[k] = (char)('a' + (i >> 4 * k & 15));
		MUST(kms_store_put(&at_ms, store, APP, kms_text_of(key, len), kms_buf_span(&value), 0, NOW));
	}
	tidy_tree(store);
	kms_buf_free(&value);
	free(key);
	return store;
}

static uint64_t cpu_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The CPU time of the answers to the largest questions of both kinds, once the digests are computed. */
static uint64_t cost_of_answers(kms_store *s)
{
	static const uint8_t salt[DIGEST_SALT];
	const digest_short names[KMS_TREE_BUCKET] = { { 1 } };
	kms_buf compare = compare_question(s, 0), move = new_text();
	add_head(&move, s, DIGEST_MOVE);
	MUST(kms_buf_append(&move, KMS_SPAN(salt)));
	for (uint64_t i = 0; i < DIGEST_ITEMS; i++) {
		const kms_tree_range part = { 0, 4, (i & 15) << 60 }, deep = { 0, 8, (i & 255) << 56 };
		MUST(kms_digest_write_range(&compare, DIGEST_LEAVES, &part));
		MUST(kms_digest_write_number(&compare, 0, 1));
		if (i >= KMS_DIGEST_MOVE_MAX / KMS_TREE_BUCKET) continue;
		MUST(kms_digest_write_range(&move, DIGEST_LEAVES, &deep));
		MUST(kms_digest_write_shorts(&move, (const digest_short *)names, KMS_TREE_BUCKET));
	}
	uint64_t start = cpu_ns();
	for (size_t i = 0; i < 3; i++) {
		MUST(answer_to(s, &compare));
		MUST(answer_to(s, &move));
	}
	uint64_t spent = cpu_ns() - start;
	kms_buf_free(&compare);
	kms_buf_free(&move);
	return spent;
}

TEST(an_answer_costs_the_same_whatever_the_length_of_keys)
{
	kms_store *brief = store_of_keys(8), *lengthy = store_of_keys(65536);
	uint64_t least = cost_of_answers(brief), most = cost_of_answers(lengthy);
	CHECK(most < 10 * least + 1000000);
	kms_store_free(brief);
	kms_store_free(lengthy);
}

TEST(malformed_questions_are_refused)
{
	kms_store *s = filled_store(10);
	kms_buf question = compare_question(s, 1);
	CHECK_OK(answer_to(s, &question));
	for (size_t len = 0; len < question.len; len++) {
		kms_buf cut = new_text();
		MUST(kms_buf_append(&cut, kms_span_of(question.data, len)));
		/* A question without items compares nothing. */
		kms_status want = len == 2 + KMS_TREE_KEY_ID + DIGEST_SALT ? KMS_OK : KMS_ERR_RECORD;
		CHECK_STATUS(want, answer_to(s, &cut));
		kms_buf_free(&cut);
	}
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = { { 0, 2 }, { 1, 0 }, { 1, 5 }, { 1, DIGEST_OTHER_KEY }, { 26, 9 }, { 31, 3 }, { 31, 68 } };
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		kms_buf changed = compare_question(s, 1);
		changed.data[bad[i].at] = bad[i].byte;
		CHECK_STATUS(KMS_ERR_RECORD, answer_to(s, &changed));
		kms_buf_free(&changed);
	}
	kms_buf_free(&question);
	kms_store_free(s);
}

TEST(a_member_whose_tree_is_not_built_says_so)
{
	kms_store *s = filled_store(1), *bare = kit_store(2);
	kms_digest *d;
	kms_buf question = compare_question(s, 1);
	CHECK_STATUS(KMS_ERR_STATE, answer_to(bare, &question));
	CHECK_STATUS(KMS_ERR_STATE, kms_digest_new(&d, bare, NOW));
	CHECK(!d);
	kms_buf_free(&question);
	kms_store_free(s);
	kms_store_free(bare);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(an_endless_descent_stays_within_bounds),
	  T(versions_that_do_not_exist_are_asked_for_once), T(answers_to_other_questions_end_the_exchange),
	  T(hours_that_the_asker_does_not_name_are_refused), T(a_question_has_a_bounded_number_of_items),
	  T(a_question_asks_about_hours_a_bounded_number_of_times),
	  T(a_question_wants_a_bounded_number_of_versions),
	  T(an_answer_costs_the_same_whatever_the_length_of_keys), T(malformed_questions_are_refused),
	  T(a_member_whose_tree_is_not_built_says_so))
