/*
 * One version under different clocks: members that met different losers of a tie have joined different clocks
 * to the same winner. Its stub must not take the place of its value, or the last value could be lost.
 */
#include "store_kit.h"

#include "store/store_record.h"

typedef struct version {
	kms_store *store;
	kms_clock_entry small[2]; /* {2: 5} */
	kms_clock_entry large[2]; /* {2: 5, 3: 4} */
	kms_clock_entry other[2]; /* {2: 5, 4: 4} */
	uint8_t value[BIG];
} version;

static void version_make(version *v)
{
	*v = (version){ .store = kit_store(1),
			.small = { { { 2 }, 5 } },
			.large = { { { 2 }, 5 }, { { 3 }, 4 } },
			.other = { { { 2 }, 5 }, { { 4 }, 4 } } };
	memset(v->value, 0x55, sizeof(v->value));
}

static kms_merge merge_live(const version *v, const kms_clock_entry *clock, size_t len)
{
	kms_merge outcome;
	kms_record record = { .key = KMS_TEXT("k"),
			      .value = kms_span_of(v->value, BIG),
			      .clock = { clock, len },
			      .updated_at_ms = NOW,
			      .origin = 1 };
	(void)!kms_store_merge(&outcome, v->store, APP, &record, NOW);
	return outcome;
}

static kms_merge merge_stub(const version *v, const kms_clock_entry *clock, size_t len)
{
	kms_merge outcome;
	kms_record record = { .key = KMS_TEXT("k"),
			      .clock = { clock, len },
			      .updated_at_ms = NOW,
			      .state = KMS_RECORD_STUB,
			      .fingerprint = kms_fingerprint_of(kms_span_of(v->value, BIG)),
			      .origin = 2 };
	(void)!kms_store_merge(&outcome, v->store, APP, &record, NOW);
	return outcome;
}

TEST(a_stub_takes_no_value_away_whatever_its_clock)
{
	static version v;
	version_make(&v);
	CHECK(merge_live(&v, v.small, 1) == KMS_MERGE_INSERTED);
	CHECK(merge_stub(&v, v.large, 2) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK(merge_stub(&v, v.small, 1) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK(kit_get(v.store, "k", NOW) == 0x55);
	kms_store_free(v.store);
	version_make(&v);
	CHECK(merge_live(&v, v.other, 2) == KMS_MERGE_INSERTED);
	CHECK(merge_stub(&v, v.large, 2) == KMS_MERGE_IGNORED_EQUAL_VERSION);
	CHECK(kit_get(v.store, "k", NOW) == 0x55);
	kms_store_free(v.store);
}

TEST(a_peers_stub_is_filled_whatever_the_clock_of_its_value)
{
	for (int order = 0; order < 3; order++) {
		static version v;
		version_make(&v);
		CHECK(merge_stub(&v, v.large, 2) == KMS_MERGE_INSERTED);
		CHECK(kit_get(v.store, "k", NOW) < 0);
		kms_merge outcome = order == 0   ? merge_live(&v, v.small, 1)
				    : order == 1 ? merge_live(&v, v.other, 2)
						 : merge_live(&v, v.large, 2);
		CHECK(outcome == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW ||
		      (order == 2 && outcome == KMS_MERGE_REPLACED_BY_VERSION));
		CHECK(kit_get(v.store, "k", NOW) == 0x55);
		record_copy copy;
		CHECK_OK(kit_peek(&copy, v.store, "k", NOW));
		CHECK(kit_counter(&copy, 2) == 5 && kit_counter(&copy, 3) == 4);
		CHECK(kit_counter(&copy, 4) == (order == 1 ? 4u : 0u));
		kms_store_free(v.store);
	}
}

TEST(a_stub_of_a_newer_version_takes_the_place_of_an_older_value)
{
	static version v;
	version_make(&v);
	CHECK(merge_live(&v, v.small, 1) == KMS_MERGE_INSERTED);
	v.value[0] = 0x56; /* another version with the same stamp, and larger */
	CHECK(merge_stub(&v, v.large, 2) == KMS_MERGE_REPLACED_BY_VERSION);
	CHECK(kit_get(v.store, "k", NOW) < 0);
	kms_store_free(v.store);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_stub_takes_no_value_away_whatever_its_clock),
	  T(a_peers_stub_is_filled_whatever_the_clock_of_its_value),
	  T(a_stub_of_a_newer_version_takes_the_place_of_an_older_value))
