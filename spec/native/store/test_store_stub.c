/* Stubs, which evicted records leave: in merges, and until they end. */
#include "store_kit.h"

typedef struct stubbed {
	kms_store *store;
	kms_clock_entry clock[2];
	uint8_t value[BIG];
	kms_record record; /* the version that was evicted: key "k", {2: 5} */
} stubbed;

static kms_merge merge_stubbed(stubbed *t)
{
	kms_merge outcome;
	if (kms_store_merge(&outcome, t->store, APP, &t->record, NOW) != KMS_OK) return KMS_MERGE_REJECTED;
	return outcome;
}

static void stubbed_make(int *failed_, stubbed *t)
{
	*t = (stubbed){ .store = quota_store(2 * BIG, 512u << 20, 100), .clock = { { { 2 }, 5 } } };
	memset(t->value, 0x55, sizeof(t->value));
	t->record = (kms_record){ .key = KMS_TEXT("k"),
				  .value = kms_span_of(t->value, BIG),
				  .clock = { t->clock, 1 },
				  .updated_at_ms = NOW };
	CHECK(merge_stubbed(t) == KMS_MERGE_INSERTED);
	CHECK_OK(put_big(t->store, "x", 1, NOW));
	CHECK_OK(put_big(t->store, "y", 1, NOW));
	CHECK(state_of(t->store, "k", NOW) == KMS_RECORD_STUB);
}

TEST(a_stub_stands_for_its_record)
{
	static stubbed t;
	CALL(stubbed_make, &t);
	uint64_t before = kms_store_sequence(t.store);
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	t.clock[0].counter = 4;
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION);
	CHECK(state_of(t.store, "k", NOW) == KMS_RECORD_STUB && kms_store_sequence(t.store) == before);
	t.clock[0].counter = 6;
	CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(kit_get(t.store, "k", NOW) == 0x55);
	kms_store_free(t.store);
}

/* Each of the first twelve bytes decides as it would against the whole ciphertext. */
TEST(a_stub_decides_ties_as_its_ciphertext_would)
{
	for (size_t i = 0; i < 12; i++) {
		static stubbed t;
		CALL(stubbed_make, &t);
		t.clock[0] = (kms_clock_entry){ { 3 }, 1 };
		CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK); /* the same write */
		t.value[i] = 0x54;
		CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
		t.value[i] = 0x56;
		CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
		kms_store_free(t.store);
	}
	static stubbed t;
	CALL(stubbed_make, &t);
	t.clock[0] = (kms_clock_entry){ { 3 }, 1 };
	t.record.state = KMS_RECORD_TOMBSTONE;
	t.record.value.bytes = NULL;
	t.record.value.len = 0;
	CHECK(merge_stubbed(&t) == KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK);
	t.record.updated_at_ms++;
	CHECK(merge_stubbed(&t) == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
	CHECK(state_of(t.store, "k", NOW) == KMS_RECORD_TOMBSTONE);
	kms_store_free(t.store);
}

/* ---- until they are dropped ---- */

TEST(a_stub_expires_like_its_record)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 100);
	uint64_t at_ms;
	CHECK_OK(kit_put_at(&at_ms, s, "t", 1, BIG, 50, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 1, NOW));
	CHECK(state_of(s, "t", NOW + 50) == KMS_RECORD_STUB);
	CHECK(kms_store_expire(s, NOW + 50, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 51, 10) == 1);
	CHECK(state_of(s, "t", NOW + 51) == KMS_RECORD_TOMBSTONE);
	CHECK(kit_stats(s).stubs == 0 && kit_stats(s).tombstones == 1);
	CHECK(kms_store_expire(s, NOW + 50 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 51 + RETENTION, 10) == 1);
	kms_store_free(s);
}

TEST(a_stub_leaves_after_the_retention_of_its_eviction)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 100);
	CHECK_OK(put_big(s, "old", 1, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(put_big(s, "b", 1, NOW + 1000));
	CHECK(kms_store_expire(s, NOW + 1000 + RETENTION, 10) == 0);
	CHECK(kms_store_expire(s, NOW + 1001 + RETENTION, 10) == 1);
	CHECK(kit_stats(s).stubs == 0 && kit_stats(s).live_keys == 2);
	kms_store_free(s);
}

/* A write that fails leaves the stub unchanged, and the time at which it is dropped. */
TEST(a_refused_write_does_not_prolong_a_stub)
{
	kms_store *s;
	kms_store_config config = kit_config(SELF);
	config.max_app_bytes = BIG;
	config.max_app_total = 5900; /* room for the namespace, one big record, and one dead record besides */
	CHECK_OK(kms_store_new(&s, &config));
	CHECK_OK(put_big(s, "old", 1, NOW));
	CHECK_OK(put_big(s, "a", 1, NOW));
	CHECK_OK(kit_delete(s, "a", NOW));
	CHECK_OK(kit_put(s, "b", 1, NOW));
	CHECK_OK(kit_delete(s, "b", NOW));
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "old", 1, NOW + 5000));
	CHECK(state_of(s, "old", NOW) == KMS_RECORD_STUB);
	CHECK(kms_store_expire(s, NOW + RETENTION + 10, 10000) > 0);
	CHECK(state_of(s, "old", NOW) == NO_RECORD);
	kms_store_free(s);
}

TEST(stubs_are_bounded_like_tombstones)
{
	kms_store *s = quota_store(2 * BIG, 512u << 20, 1);
	for (size_t i = 0; i < 12; i++)
		CHECK_OK(put_big(s, numbered(i), 1, NOW));
	CHECK(kit_stats(s).stubs == 10);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "x", 1, NOW));
	CHECK(kit_stats(s).stubs == 10 && kit_stats(s).live_keys == 2 && kit_stats(s).evictions == 10);
	CHECK_STATUS(KMS_ERR_TOMBSTONES, kit_delete(s, numbered(11), NOW));
	kms_store_set_acknowledged(s, 1);
	CHECK_STATUS(KMS_ERR_STORE_FULL, put_big(s, "x", 1, NOW));
	CHECK_OK(put_big(s, "x", 1, NOW + 1));
	CHECK(kit_stats(s).stubs == 10 && state_of(s, numbered(0), NOW) == NO_RECORD);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < 5; i++)
		CHECK_OK(put_big(s, numbered(20 + i), 1, NOW + 2 + i));
	CHECK(kit_stats(s).stubs == 1);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_stub_stands_for_its_record),
	  T(a_stub_decides_ties_as_its_ciphertext_would), T(a_stub_expires_like_its_record),
	  T(a_stub_leaves_after_the_retention_of_its_eviction), T(a_refused_write_does_not_prolong_a_stub),
	  T(stubs_are_bounded_like_tombstones))
