/* When sessions end: unused, at the end of their life, when their wallet asks. */
#include "session_table_kit.h"
#define IDLE (TTL / 4)

TEST(expired_sessions_make_room_first)
{
	kms_sessions *t = kit_table(2, 2, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	CHECK_OK(kit_add(t, 2, peer(2), KIT_NOW));
	CHECK_OK(kit_add(t, 3, app(3), KIT_NOW + IDLE));
	CHECK(count(t) == 1 && kit_is_open(t, 3, KIT_NOW + IDLE));
	kms_sessions_free(t);
}

TEST(sessions_end_after_their_life_and_a_quarter_of_it_unused)
{
	kms_sessions *t = kit_table(10, 4, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	CHECK(kit_is_open(t, 1, KIT_NOW + IDLE - 1));
	CHECK(!kit_is_open(t, 1, KIT_NOW + IDLE) && count(t) == 0);

	uint64_t opened = KIT_NOW + IDLE;
	CHECK_OK(kit_add(t, 2, app(1), opened));
	for (uint64_t at = opened; at < opened + TTL; at += IDLE - 1)
		use(t, 2, at);
	CHECK(kit_is_open(t, 2, opened + TTL - 1));
	CHECK(!kit_is_open(t, 2, opened + TTL) && count(t) == 0);
	kms_sessions_free(t);
}

TEST(time_does_not_go_back)
{
	kms_sessions *t = kit_table(10, 4, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	CHECK(!kit_is_open(t, 9, KIT_NOW + IDLE - 1));
	CHECK_OK(kit_add(t, 2, app(1), 1)); /* opened now, whatever the clock says */
	use(t, 1, 1);
	CHECK(kit_is_open(t, 1, KIT_NOW + IDLE) && kit_is_open(t, 2, KIT_NOW + IDLE));
	kms_sessions_free(t);
}

TEST(a_sweep_ends_what_is_expired_and_no_more)
{
	kms_sessions *t = kit_table(1000, 4, TTL);
	size_t before = kms_guarded_used();
	for (unsigned sid = 0; sid < 600; sid++)
		CHECK_OK(kit_add(t, sid, app(sid), KIT_NOW));
	CHECK_OK(kit_add(t, 1000, app(1000), KIT_NOW + 10));
	use(t, 5, KIT_NOW + 20);
	CHECK(kms_sessions_expire(t, KIT_NOW + IDLE - 1) == 0);
	CHECK(kms_sessions_expire(t, KIT_NOW + IDLE) == 256);
	CHECK(kms_sessions_expire(t, KIT_NOW + IDLE) == 256);
	CHECK(kms_sessions_expire(t, KIT_NOW + IDLE) == 87 && count(t) == 2);
	CHECK(kit_is_open(t, 5, KIT_NOW + IDLE) && kit_is_open(t, 1000, KIT_NOW + IDLE));
	CHECK(kms_sessions_expire(t, UINT64_MAX) == 2 && kms_sessions_expire(t, UINT64_MAX) == 0);
	CHECK(kms_guarded_used() == before && kms_sessions_expire(NULL, 0) == 0);
	kms_sessions_free(t);
}

TEST(a_used_session_expires_in_its_turn)
{
	/* In the ring by use it is the newest, in the one by opening the oldest. */
	kms_sessions *t = kit_table(10, 4, TTL);
	CHECK_OK(kit_add(t, 1, app(1), KIT_NOW));
	for (uint64_t at = KIT_NOW; at < KIT_NOW + TTL; at += IDLE - 1)
		use(t, 1, at);
	CHECK_OK(kit_add(t, 2, app(2), KIT_NOW + TTL - 1));
	CHECK(kms_sessions_expire(t, KIT_NOW + TTL - 1) == 0);
	CHECK(kms_sessions_expire(t, KIT_NOW + TTL) == 1 && count(t) == 1);
	CHECK(kit_is_open(t, 2, KIT_NOW + TTL));
	kms_sessions_free(t);
}

TEST(sessions_end_when_their_wallet_asks)
{
	uint8_t sid16[16];
	kms_sessions *t = kit_table(10, 4, TTL);
	for (unsigned sid = 1; sid <= 3; sid++)
		CHECK_OK(kit_add(t, sid, app(1), KIT_NOW));
	CHECK_OK(kit_add(t, 4, app(2), KIT_NOW));
	CHECK_OK(kit_add(t, 5, peer(1), KIT_NOW));
	kit_sid(sid16, 4);
	CHECK(kms_sessions_end_one(t, KMS_SESSION_APP, app(1).wallet20, sid16) == 0 && is_open(t, 4));
	CHECK(kms_sessions_end_one(t, KMS_SESSION_PEER, app(2).wallet20, sid16) == 0 && is_open(t, 4));
	CHECK(kms_sessions_end_one(t, KMS_SESSION_APP, app(2).wallet20, sid16) == 1 && !is_open(t, 4));
	CHECK(kms_sessions_end_one(t, KMS_SESSION_APP, app(2).wallet20, sid16) == 0);
	CHECK(kms_sessions_end_wallet(t, KMS_SESSION_APP, app(1).wallet20) == 3);
	CHECK(kms_sessions_end_wallet(t, KMS_SESSION_APP, app(1).wallet20) == 0);
	CHECK(count(t) == 1 && is_open(t, 5));
	CHECK(kms_sessions_end_wallet(t, KMS_SESSION_PEER, app(1).wallet20) == 1 && count(t) == 0);
	CHECK(kms_sessions_end_wallet(NULL, KMS_SESSION_APP, app(1).wallet20) == 0);
	CHECK(kms_sessions_end_one(NULL, KMS_SESSION_APP, app(1).wallet20, sid16) == 0);
	kms_session_end(NULL);
	kms_sessions_free(t);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(expired_sessions_make_room_first),
	  T(sessions_end_after_their_life_and_a_quarter_of_it_unused), T(time_does_not_go_back),
	  T(a_sweep_ends_what_is_expired_and_no_more), T(a_used_session_expires_in_its_turn),
	  T(sessions_end_when_their_wallet_asks))
