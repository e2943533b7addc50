/* Values behind stubs that a member gave: their digests are equal, so an exchange asks for them by name. */
#include "digest_kit.h"

#define KEYS 5

/* A store of node `self` that has evicted the values of the first KEYS keys, which `full` holds. */
static kms_store *evicted_store(uint8_t self, kms_store *full)
{
	kms_store *made;
	kms_store_config config = kit_config(self);
	config.max_app_bytes = 2000;
	MUST(kms_store_new(&made, &config));
	kms_secret *master = hex_secret(MASTER);
	MUST(kms_tree_set_key(&(bool){ false }, made, master, SIZE_MAX));
	kms_secret_unref(master);
	(void)repair(full, made);
	for (size_t i = 0; i < 4; i++)
		put_sealed(made, APP, numbered(1000 + i), 1, 450, 0, NOW);
	for (size_t i = 0; i < KEYS; i++)
		if (state_of(made, numbered(i), NOW) != KMS_RECORD_STUB) abort();
	return made;
}

static size_t live_keys(kms_store *store)
{
	size_t live = 0;
	for (size_t i = 0; i < KEYS; i++)
		live += state_of(store, numbered(i), NOW) == KMS_RECORD_LIVE;
	return live;
}

/* One exchange that `a` begins and that seeks from `*since` on, which moves. */
static repair_run seek(uint64_t *since, kms_store *a, kms_store *b)
{
	repair_run run = { .now_ms = NOW };
	kms_digest *digest;
	tidy_tree(a);
	tidy_tree(b);
	MUST(kms_digest_new(&digest, a, NOW));
	MUST(kms_digest_seek(since, digest, *since));
	for (size_t i = 0; i < 1000 && kms_digest_get_state(digest) == KMS_DIGEST_ASKING && !run.failed; i++)
		run.failed = repair_round(&run, digest, a, b) != KMS_OK;
	run.state = kms_digest_get_state(digest);
	run.counts = kms_digest_get_counts(digest);
	kms_digest_free(digest);
	return run;
}

typedef struct three {
	kms_store *stubs;    /* has evicted the values */
	kms_store *holder;   /* holds them, and what `stubs` wrote since */
	kms_store *newcomer; /* got all from `stubs` */
} three;

static three make_three(void)
{
	three t = { .holder = digest_store(1), .newcomer = digest_store(3) };
	for (size_t i = 0; i < KEYS; i++)
		put_sealed(t.holder, APP, numbered(i), 1, 300, 0, NOW - 1000);
	t.stubs = evicted_store(2, t.holder);
	(void)repair(t.holder, t.stubs);
	(void)repair(t.newcomer, t.stubs);
	return t;
}

static void free_three(three *t)
{
	kms_store_free(t->stubs);
	kms_store_free(t->holder);
	kms_store_free(t->newcomer);
}

/* "A stub that repair gives makes trees equal, and hides that a third member holds the value." */
TEST(the_value_of_a_stub_that_a_member_gave_is_asked_of_the_others)
{
	three t = make_three();
	uint64_t since = 0;
	repair_run run = repair(t.newcomer, t.holder);
	CHECK(run.state == KMS_DIGEST_EQUAL && live_keys(t.newcomer) == 0);
	run = seek(&since, t.newcomer, t.holder);
	CHECK(!run.failed && run.state == KMS_DIGEST_EQUAL && run.counts.sought == KEYS);
	CHECK(run.counts.wanted == 0);
	CHECK(live_keys(t.newcomer) == KEYS);
	CHECK(repair(t.newcomer, t.holder).counts.questions == 1);
	free_three(&t);
}

TEST(a_value_that_nobody_has_is_asked_once)
{
	three t = make_three();
	uint64_t since = 0;
	repair_run run = seek(&since, t.newcomer, t.stubs);
	CHECK(!run.failed && run.state == KMS_DIGEST_EQUAL && run.counts.sought == KEYS);
	CHECK(live_keys(t.newcomer) == 0 && since == kms_store_sequence(t.newcomer));
	run = seek(&since, t.newcomer, t.stubs);
	CHECK(run.state == KMS_DIGEST_EQUAL && run.counts.sought == 0 && run.counts.questions == 1);
	free_three(&t);
}

/* Members evict different values: what was evicted here stays out. */
TEST(a_value_that_was_evicted_here_is_not_asked_for)
{
	three t = make_three();
	uint64_t since = 0;
	repair_run run = seek(&since, t.stubs, t.holder);
	CHECK(run.state == KMS_DIGEST_EQUAL && run.counts.sought == 0 && run.counts.questions == 1);
	CHECK(live_keys(t.stubs) == 0);
	free_three(&t);
}

TEST(an_exchange_that_differs_seeks_as_well)
{
	three t = make_three();
	uint64_t since = 0;
	for (size_t i = 0; i < 300; i++)
		put_sealed(t.holder, APP, numbered(5000 + i), 1, 10, 0, NOW);
	put_sealed(t.newcomer, APP, "mine", 1, 10, 0, NOW);
	repair_run run = seek(&since, t.newcomer, t.holder);
	CHECK(!run.failed && run.state == KMS_DIGEST_DONE);
	CHECK(run.counts.sought == KEYS && run.counts.wanted == 300 && run.counts.given == 1);
	CHECK(live_keys(t.newcomer) == KEYS);
	free_three(&t);
}

/* One exchange asks for a bounded number, the next one for the rest. */
TEST(more_than_one_exchange_asks_for_are_asked_for_by_the_next)
{
	kms_store *holder = digest_store(1), *newcomer = digest_store(3);
	kms_store_config config = kit_config(2);
	kms_store *stubs;
	uint64_t since = 0;
	config.max_app_bytes = 1000;
	config.max_app_total = 64u << 20;
	MUST(kms_store_new(&stubs, &config));
	kms_secret *master = hex_secret(MASTER);
	MUST(kms_tree_set_key(&(bool){ false }, stubs, master, SIZE_MAX));
	kms_secret_unref(master);
	for (size_t i = 0; i < KMS_DIGEST_SEEK_MAX + 100; i++)
		put_sealed(stubs, APP, numbered(i), 1, 10, 0, NOW);
	(void)repair(newcomer, stubs);
	repair_run run = seek(&since, newcomer, stubs);
	CHECK(!run.failed && run.counts.sought == KMS_DIGEST_SEEK_MAX &&
	      since < kms_store_sequence(newcomer));
	CHECK(run.longest <= KMS_DIGEST_MAX);
	run = seek(&since, newcomer, stubs);
	CHECK(!run.failed && run.counts.sought > 0 && run.counts.sought <= 100);
	CHECK(since == kms_store_sequence(newcomer));
	kms_store_free(stubs);
	kms_store_free(holder);
	kms_store_free(newcomer);
}

TEST(an_exchange_that_has_begun_seeks_no_more)
{
	uint64_t since = 7, records;
	kms_store *a = digest_store(1);
	kms_digest *digest;
	kms_buf question = new_text(), data = new_text();
	MUST(kms_digest_new(&digest, a, NOW));
	MUST(kms_digest_ask(&question, &data, &records, digest, PAGE, NOW));
	CHECK_STATUS(KMS_ERR_STATE, kms_digest_seek(&since, digest, 7));
	CHECK(since == 7);
	kms_digest_free(digest);
	kms_buf_free(&question);
	kms_buf_free(&data);
	kms_store_free(a);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(the_value_of_a_stub_that_a_member_gave_is_asked_of_the_others),
	  T(a_value_that_nobody_has_is_asked_once), T(a_value_that_was_evicted_here_is_not_asked_for),
	  T(an_exchange_that_differs_seeks_as_well),
	  T(more_than_one_exchange_asks_for_are_asked_for_by_the_next),
	  T(an_exchange_that_has_begun_seeks_no_more))
