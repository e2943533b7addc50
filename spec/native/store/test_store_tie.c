/* Ties of concurrent writes: a value that expired or was evicted still decides as its ciphertext would. */
#include "merge_kit.h"

#define TTL 50
#define LATER (NOW + TTL + 1)

static void expect_at(int *failed_, kms_store *s, const incoming *in, uint64_t now_ms, kms_merge want)
{
	kms_merge outcome = KMS_MERGE_REJECTED;
	CHECK_OK(kms_store_merge(&outcome, s, APP, &in->record, now_ms));
	CHECK(outcome == want);
}

/* The fingerprint of the value that `live` makes. */
static kms_fingerprint fingerprint(uint8_t first)
{
	return (kms_fingerprint){ .iv12 = { first }, .len = MIN_VALUE };
}

/* A store in which the value 5 of "k" has expired. */
static kms_store *expired_store(void)
{
	kms_store *s = kit_store(SELF);
	incoming in;
	kms_merge outcome;
	tick(live(&in, 5, NOW), 2, 3)->record.ttl_ms = TTL;
	if (merge(&outcome, s, &in) != KMS_OK || kms_store_expire(s, LATER, 10) != 1) abort();
	return s;
}

TEST(an_expired_record_keeps_the_fingerprint_of_its_value)
{
	record_copy r;
	kms_fingerprint want = fingerprint(5);
	kms_store *s = expired_store();
	CHECK_OK(kit_peek(&r, s, "k", LATER));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE);
	CHECK(memcmp(&r.record.fingerprint, &want, sizeof(want)) == 0);
	kms_store_free(s);
}

/* Each node decides alike, whether it finds the value expired before the other write comes or after. */
TEST(an_expired_value_decides_ties_as_it_did)
{
	for (uint8_t first = 4; first <= 6; first++) {
		incoming in;
		kms_store *s = expired_store();
		CALL(expect_at, s, tick(live(&in, first, NOW), 3, 1), LATER,
		     first > 5 ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
			       : KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
		kms_store_free(s);
	}
}

TEST(an_incoming_expired_record_decides_by_its_fingerprint)
{
	for (uint8_t first = 4; first <= 6; first++) {
		incoming in;
		kms_store *s = kit_store(SELF);
		CALL(expect, s, tick(live(&in, 5, NOW), 2, 3), KMS_MERGE_INSERTED);
		tick(dead(&in, NOW), 3, 1)->record.ttl_ms = TTL;
		in.record.fingerprint = fingerprint(first);
		CALL(expect_at, s, &in, LATER,
		     first > 5 ? KMS_MERGE_REPLACED_BY_CONCURRENT_LWW
			       : KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
		kms_store_free(s);
	}
}

TEST(a_record_that_expired_on_its_way_keeps_its_fingerprint)
{
	incoming in;
	record_copy r;
	kms_fingerprint want = fingerprint(5);
	kms_store *s = kit_store(SELF);
	tick(live(&in, 5, NOW), 2, 3)->record.ttl_ms = TTL;
	CALL(expect_at, s, &in, LATER, KMS_MERGE_INSERTED);
	CHECK_OK(kit_peek(&r, s, "k", LATER));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE);
	CHECK(memcmp(&r.record.fingerprint, &want, sizeof(want)) == 0);
	kms_store_free(s);
}

/* A deletion has no value, and loses every tie as it does on existing nodes. */
TEST(a_deletion_loses_against_an_expired_value)
{
	incoming in;
	kms_store *s = expired_store();
	CALL(expect_at, s, tick(dead(&in, NOW), 3, 1), LATER, KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	kms_store_free(s);
	s = kit_store(SELF);
	CALL(expect, s, tick(dead(&in, NOW), 2, 3), KMS_MERGE_INSERTED);
	tick(dead(&in, NOW), 3, 1)->record.ttl_ms = TTL;
	in.record.fingerprint = fingerprint(0);
	CALL(expect_at, s, &in, LATER, KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	kms_store_free(s);
}

TEST(only_an_expired_record_may_bring_a_fingerprint)
{
	incoming in;
	kms_store *s = kit_store(SELF);
	tick(dead(&in, NOW), 2, 3)->record.fingerprint = fingerprint(5);
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	in.record.ttl_ms = TTL;
	in.record.fingerprint.len = MIN_VALUE - 1;
	CALL(expect_rejected, s, &in, KMS_ERR_RECORD);
	in.record.fingerprint.len = MIN_VALUE;
	CALL(expect, s, &in, KMS_MERGE_INSERTED);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(an_expired_record_keeps_the_fingerprint_of_its_value),
	  T(an_expired_value_decides_ties_as_it_did),
	  T(an_incoming_expired_record_decides_by_its_fingerprint),
	  T(a_record_that_expired_on_its_way_keeps_its_fingerprint),
	  T(a_deletion_loses_against_an_expired_value), T(only_an_expired_record_may_bring_a_fingerprint))
