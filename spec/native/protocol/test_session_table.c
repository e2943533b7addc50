/* The table of sessions: which one makes room, what they cost. */
#include <pthread.h>
#include <time.h>

#include "session_table_kit.h"

/* ---- which one makes room ---- */

TEST(one_more_of_a_wallet_replaces_its_least_recently_used)
{
	kms_sessions *t = kit_table(100, 8, TTL);
	for (unsigned sid = 1; sid <= 8; sid++)
		CHECK_OK(kit_add(t, sid, app(1), KIT_NOW));
	CHECK_OK(kit_add(t, 100, app(2), KIT_NOW)); /* another wallet's, the oldest but for those */
	CHECK(count(t) == 9 && is_open(t, 1));      /* to look one up is no use of it */
	use(t, 2, KIT_NOW);
	CHECK_OK(kit_add(t, 9, app(1), KIT_NOW));
	CHECK(count(t) == 9 && !is_open(t, 1) && is_open(t, 2));
	CHECK_OK(kit_add(t, 10, app(1), KIT_NOW));
	CHECK(!is_open(t, 3) && is_open(t, 2) && is_open(t, 100));
	/* The same wallet as a member has a share of its own. */
	CHECK_OK(kit_add(t, 11, peer(1), KIT_NOW));
	CHECK(count(t) == 10 && is_open(t, 4) && kms_sessions_count(t, KMS_SESSION_PEER) == 1);
	kms_sessions_free(t);
}

TEST(a_full_table_takes_from_the_wallet_with_the_most)
{
	kms_sessions *t = kit_table(6, 4, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW)); /* the oldest of all, and the only one of its wallet */
	for (unsigned sid = 2; sid <= 4; sid++)
		CHECK_OK(kit_add(t, sid, app(2), KIT_NOW));
	CHECK_OK(kit_add(t, 5, app(3), KIT_NOW));
	CHECK_OK(kit_add(t, 6, app(3), KIT_NOW));
	use(t, 2, KIT_NOW);
	CHECK_OK(kit_add(t, 7, app(4), KIT_NOW)); /* wallet 2 has three: its least recently used */
	CHECK(count(t) == 6 && !is_open(t, 3) && is_open(t, 1) && is_open(t, 2));
	/* Now 2 and 3 have two; 3 was idle longer. */
	CHECK_OK(kit_add(t, 8, app(5), KIT_NOW));
	CHECK(!is_open(t, 5) && is_open(t, 6) && is_open(t, 4));
	CHECK_OK(kit_add(t, 9, app(6), KIT_NOW));
	CHECK(!is_open(t, 4) && is_open(t, 2));
	/* All have one: the one that was idle longest. */
	CHECK_OK(kit_add(t, 10, app(7), KIT_NOW));
	CHECK(count(t) == 6 && !is_open(t, 1) && is_open(t, 6));
	kms_sessions_free(t);
}

TEST(a_members_session_never_makes_room_for_an_application)
{
	kms_sessions *t = kit_table(4, 4, TTL);
	for (unsigned sid = 1; sid <= 3; sid++)
		CHECK_OK(kit_add(t, sid, peer(1), KIT_NOW));
	CHECK_OK(kit_add(t, 4, app(2), KIT_NOW));
	CHECK_OK(kit_add(t, 5, app(3), KIT_NOW));
	CHECK(!is_open(t, 4) && is_open(t, 1) && is_open(t, 5));
	/* For a member's, the wallet with the most does, whatever it is. */
	CHECK_OK(kit_add(t, 6, peer(4), KIT_NOW));
	CHECK(!is_open(t, 1) && is_open(t, 5) && kms_sessions_count(t, KMS_SESSION_PEER) == 3);
	/* With as many, an application's goes first. */
	CHECK_OK(kit_add(t, 7, peer(5), KIT_NOW));
	CHECK(!is_open(t, 2) && is_open(t, 3));
	CHECK_OK(kit_add(t, 8, peer(6), KIT_NOW));
	CHECK(!is_open(t, 5) && kms_sessions_count(t, KMS_SESSION_APP) == 0);
	/* Nothing but members: an application waits. */
	CHECK_STATUS(KMS_ERR_BUSY, kit_add(t, 9, app(7), KIT_NOW));
	CHECK(kms_sessions_count(t, KMS_SESSION_PEER) == 4 && !is_open(t, 9));
	CHECK_OK(kit_add(t, 9, peer(7), KIT_NOW));
	kms_sessions_free(t);
}

TEST(a_wallet_that_fills_its_share_takes_from_nobody_else)
{
	kms_sessions *t = kit_table(4, 2, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	CHECK_OK(kit_add(t, 2, app(1), KIT_NOW));
	CHECK_OK(kit_add(t, 3, app(2), KIT_NOW));
	CHECK_OK(kit_add(t, 4, app(2), KIT_NOW));
	use(t, 1, KIT_NOW);
	CHECK_OK(kit_add(t, 5, app(2), KIT_NOW)); /* wallet 2 is not the idlest, and full */
	CHECK(count(t) == 4 && is_open(t, 1) && is_open(t, 2) && !is_open(t, 3));
	kms_sessions_free(t);
}

/* ---- what they cost ---- */

TEST(a_session_takes_a_kilobyte_and_an_ended_one_nothing)
{
	enum { SESSIONS = 4000 };
	kms_sessions *t = kit_table(KMS_SESSIONS_MAX, 8, TTL);
	size_t before = kms_guarded_used();
	for (unsigned sid = 0; sid < SESSIONS; sid++)
		CHECK_OK(kit_add(t, sid, app(sid), KIT_NOW));
	CHECK(kms_guarded_used() - before <= (size_t)SESSIONS * KMS_SESSION_BYTES);
	for (unsigned sid = 0; sid < SESSIONS; sid++)
		CHECK(kms_sessions_end_wallet(t, KMS_SESSION_APP, app(sid).wallet20) == 1);
	CHECK(kms_guarded_used() == before);
	kms_sessions_free(t);
}

TEST(sixteen_thousand_openings_by_one_wallet_leave_its_share)
{
	kms_sessions *t = kit_table(KMS_SESSIONS_MAX, 8, TTL);
	size_t before = kms_guarded_used();
	CHECK_OK(kit_add(t, 0, app(2), KIT_NOW));
	for (unsigned sid = 1; sid <= 16000; sid++) {
		CHECK_OK(kit_add(t, sid, app(1), KIT_NOW));
		CHECK(count(t) <= 9);
	}
	CHECK(count(t) == 9 && is_open(t, 0) && is_open(t, 15993) && !is_open(t, 15992));
	CHECK(kms_guarded_used() - before <= 9u * KMS_SESSION_BYTES);
	kms_sessions_free(t);
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The least time in which 500 sessions of one wallet are opened, found and used: of some rounds, the
 * quietest. */
static uint64_t cost(kms_sessions *t, unsigned first)
{
	uint64_t least = UINT64_MAX;
	for (int round = 0; round < 7; round++) {
		uint64_t start = now_ns();
		for (unsigned i = 0; i < 500; i++) {
			MUST(kit_add(t, first, app(1), KIT_NOW));
			use(t, first++, KIT_NOW);
		}
		uint64_t took = now_ns() - start;
		if (took < least) least = took;
	}
	return least;
}

TEST(an_opening_and_a_message_cost_the_same_among_many)
{
	kms_sessions *few = kit_table(KMS_SESSIONS_MAX, 8, TTL), *many = kit_table(9000, 8, TTL);
	for (unsigned sid = 0; sid < 9000; sid++)
		CHECK_OK(kit_add(many, sid, app(1000 + sid / 3), KIT_NOW));
	CHECK(count(many) == 9000);
	uint64_t alone = cost(few, 100000), among = cost(many, 100000);
	CHECK(count(many) == 9000 && count(few) == 8);
	/* A search of the table would take a thousand times as long. */
	CHECK(among < 20 * alone);
	kms_sessions_free(few);
	kms_sessions_free(many);
}

/* ---- bounds, misuse, failures, threads ---- */

TEST(bounds_and_misuse)
{
	static const struct {
		kms_sessions_config config;
		kms_status want;
	} cases[] = {
		{ { 1, 1, 4 }, KMS_OK },
		{ { KMS_SESSIONS_MAX, KMS_SESSIONS_PER_WALLET, KMS_SESSIONS_TTL_MAX }, KMS_OK },
		{ { 0, 1, 4 }, KMS_ERR_RANGE },
		{ { KMS_SESSIONS_MAX + 1, 1, 4 }, KMS_ERR_RANGE },
		{ { 1, 0, 4 }, KMS_ERR_RANGE },
		{ { 1, KMS_SESSIONS_PER_WALLET + 1, 4 }, KMS_ERR_RANGE },
		{ { 1, 1, 3 }, KMS_ERR_RANGE },
		{ { 1, 1, KMS_SESSIONS_TTL_MAX + 1 }, KMS_ERR_RANGE },
	};
	kms_sessions *t = NULL;
	kms_session *session;
	uint8_t sid16[16] = { 0 };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_STATUS(cases[i].want, kms_sessions_new(&t, &cases[i].config));
		CHECK((t != NULL) == (cases[i].want == KMS_OK));
		kms_sessions_free(t);
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_new(NULL, &cases[0].config));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_new(&t, NULL));
	t = kit_table(4, 2, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	CHECK_STATUS(KMS_ERR_STATE, kit_add(t, 1, app(2), KIT_NOW));
	CHECK(count(t) == 1);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_find(NULL, t, sid16, KIT_NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_find(&session, NULL, sid16, KIT_NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sessions_find(&session, t, NULL, KIT_NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_sessions_find(&session, t, sid16, KIT_NOW));
	CHECK(!session && kms_sessions_count(NULL, KMS_SESSION_APP) == 0);
	CHECK(!kms_session_ref(NULL));
	kms_session_unref(NULL);
	kms_sessions_free(NULL);
	kms_sessions_free(t);
}

TEST(failing_allocations_of_the_table_leave_nothing)
{
	const kms_sessions_config config = { .max = 4, .per_wallet = 2, .ttl_s = TTL };
	size_t used = kms_guarded_used();
	bool ended = false;
	for (unsigned long n = 1; n < 50 && !ended; n++) {
		kms_sessions *t;
		kms_mem_fail_after(n);
		kms_status status = kms_sessions_new(&t, &config);
		bool made = status == KMS_OK;
		CHECK((t != NULL) == made);
		if (made) status = kit_add(t, 1, app(1), KIT_NOW);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY);
		if (made) CHECK(count(t) == (status == KMS_OK ? 1 : 0));
		if (made) CHECK_OK(kit_add(t, 2, app(1), KIT_NOW));
		kms_sessions_free(t);
		CHECK(kms_guarded_used() == used);
	}
	CHECK(ended);
}

typedef struct worker {
	pthread_t thread;
	kms_sessions *sessions;
	unsigned first;
	int wrong;
} worker;

/* Opens, uses and ends sessions of few wallets, so that threads end each other's. */
static void *churn(void *opaque)
{
	worker *w = opaque;
	for (unsigned i = 0; i < 2000; i++) {
		unsigned sid = w->first + i;
		uint8_t sid16[16];
		kms_session *session = NULL;
		kms_status status = kit_add(w->sessions, sid, app(i % 3), KIT_NOW);
		kit_sid(sid16, sid);
		w->wrong += status != KMS_OK;
		if (kms_sessions_find(&session, w->sessions, sid16, KIT_NOW) != KMS_OK) continue;
		status = kms_session_mark(session, 1, KIT_NOW);
		w->wrong += status != KMS_OK && status != KMS_ERR_NOT_FOUND;
		w->wrong += kms_session_salt_of(session)[0] != 0;
		w->wrong += kms_session_owner_of(session)->app_id != 49;
		if (i % 4 == 0) kms_session_end(session);
		if (i % 16 == 0) (void)kms_sessions_end_wallet(w->sessions, KMS_SESSION_APP, app(1).wallet20);
		kms_session_unref(session);
	}
	return NULL;
}

TEST(threads_share_a_table_while_sessions_come_and_go)
{
	enum { THREADS = 4 };
	worker workers[THREADS];
	size_t before = kms_guarded_used();
	kms_sessions *t = kit_table(8, 4, TTL);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (worker){ .sessions = t, .first = i * 100000 };
		CHECK(pthread_create(&workers[i].thread, NULL, churn, &workers[i]) == 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0);
	for (size_t i = 0; i < THREADS; i++)
		CHECK(workers[i].wrong == 0);
	CHECK(count(t) <= 8);
	kms_sessions_free(t);
	CHECK(kms_guarded_used() == before);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(one_more_of_a_wallet_replaces_its_least_recently_used),
	  T(a_full_table_takes_from_the_wallet_with_the_most),
	  T(a_members_session_never_makes_room_for_an_application),
	  T(a_wallet_that_fills_its_share_takes_from_nobody_else),

	  T(a_session_takes_a_kilobyte_and_an_ended_one_nothing),
	  T(sixteen_thousand_openings_by_one_wallet_leave_its_share),
	  T(an_opening_and_a_message_cost_the_same_among_many), T(bounds_and_misuse),
	  T(failing_allocations_of_the_table_leave_nothing),
	  T(threads_share_a_table_while_sessions_come_and_go))
