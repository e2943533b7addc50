/* Stubs and fingerprints in sync messages. */
#include "sync_kit.h"

/* IV, tag, length 28 of the value that kit_put makes with first byte 5. */
#define FINGERPRINT                                                  \
	"0511111111111111111111111111111111111111111111111111111100" \
	"00001c"

static void send_record(int *failed_, kms_store *s, const char *members, kms_sync_counts *c)
{
	kms_buf text = new_text();
	addf(&text, "{\"data\":{\"49\":[{\"value\":null,%s}]}}", members);
	CHECK_OK(apply_text(c, s, &text));
	kms_buf_free(&text);
}

static kms_buf sealed(void)
{
	kms_buf value = new_text();
	add_sealed(&value, APP, 1, 1);
	return value;
}

static void put(kms_store *s, const char *key, const kms_buf *value, uint64_t ttl_ms, uint64_t at_ms)
{
	MUST(kms_store_put(&at_ms, s, APP, kms_text_from(key), kms_buf_span(value), ttl_ms, at_ms));
}

/* A store of node 1 in which this value of "k" was evicted. */
static kms_store *evicted_store(const kms_buf *value)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	config.max_app_bytes = 2 * value->len;
	MUST(kms_store_new(&s, &config));
	put(s, "k", value, 0, NOW);
	put(s, "a", value, 0, NOW);
	put(s, "b", value, 0, NOW);
	if (state_of(s, "k", NOW) != KMS_RECORD_STUB) abort();
	return s;
}

TEST(a_stub_without_a_fingerprint_says_nothing)
{
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	record_copy r;
	CALL(send_record, s, "\"key\":\"a\",\"version\":{\"" OWN "\":9,\"" WALLET "\":9}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0) && c.stubs == 1);
	CHECK(kms_store_sequence(s) == 0);
	/* Nor does it move the counters of this node. */
	MUST(kit_put(s, "a", 1, NOW));
	MUST(kit_peek(&r, s, "a", NOW));
	CHECK(kit_counter(&r, 1) == NOW && r.record.clock.len == 1);
	kms_store_free(s);
}

TEST(a_newer_stub_displaces_an_older_value)
{
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	record_copy r;
	CALL(send_record, s,
	     "\"key\":\"k\",\"fingerprint\":\"" FINGERPRINT "\",\"version\":{\"" WALLET
	     "\":1},\"updated_at_ms\":1699999999999",
	     &c);
	CHECK(counts_are(&c, 1, 1, 0, 0, 0) && kit_stats(s).stubs == 1);
	MUST(kit_put(s, "k", 9, NOW));
	CHECK(kit_get(s, "k", NOW) == 9);
	CALL(send_record, s,
	     "\"key\":\"k\",\"fingerprint\":\"" FINGERPRINT "\",\"version\":{\"" OWN
	     "\":1700000000000,\"" WALLET "\":2}",
	     &c);
	CHECK(counts_are(&c, 1, 1, 0, 0, 0) && kit_get(s, "k", NOW) == -1);
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.state == KMS_RECORD_STUB && r.record.fingerprint.len == MIN_VALUE);
	CHECK(r.record.fingerprint.iv12[0] == 5 && r.record.fingerprint.tag16[15] == 0x11);
	kms_store_free(s);
}

TEST(malformed_fingerprints_are_malformed_records)
{
	static const char *const bad[] = {
		"1", "null", "\"\"", "\"05\"", "\"" FINGERPRINT "00\"", "\"zz" FINGERPRINT "\""
	};
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		char members[200];
		(void)snprintf(members, sizeof(members),
			       "\"key\":\"k\",\"fingerprint\":%s,\"version\":{\"" WALLET "\":1}", bad[i]);
		CALL(send_record, s, members, &c);
		CHECK(counts_are(&c, 1, 0, 0, 1, 0) && kms_store_sequence(s) == 0);
	}
	kms_store_free(s);
}

/* A delta and a snapshot with fingerprints carry evicted and expired records to a store that gets the same.
 */
static void expect_carried(int *failed_, kms_store *from, bool delta)
{
	kms_store *to = kit_store(2);
	kms_delta_options o = all_changes;
	kms_delta d;
	kms_sync_counts c;
	uint64_t records;
	kms_buf text = new_text();
	o.fingerprints = true;
	add(&text, "{\"data\":");
	if (delta)
		CHECK_OK(kms_sync_delta(&d, &text, from, &o));
	else
		CHECK_OK(kms_sync_snapshot(&records, &text, from, KMS_SYNC_STUBS | KMS_SYNC_FINGERPRINTS));
	add(&text, "}");
	CHECK_OK(apply_text(&c, to, &text));
	CHECK(c.rejected == 0 && c.merged == c.total && c.total == 4);
	kms_buf_free(&text);
	CHECK_OK(kms_sync_snapshot(&records, &text, to, KMS_SYNC_STUBS | KMS_SYNC_FINGERPRINTS));
	kms_buf before = new_text();
	CHECK_OK(kms_sync_snapshot(&records, &before, from, KMS_SYNC_STUBS | KMS_SYNC_FINGERPRINTS));
	CHECK(same_bytes(&text, &before));
	kms_buf_free(&text);
	kms_buf_free(&before);
	kms_store_free(to);
}

TEST(stubs_and_expired_records_travel_with_their_fingerprints)
{
	kms_buf value = sealed();
	kms_store *s = evicted_store(&value);
	CHECK_OK(kit_delete(s, "b", NOW));
	put(s, "t", &value, 1, NOW - 1000);
	CHECK(kms_store_expire(s, NOW, 10) == 1);
	CALL(expect_carried, s, true);
	CALL(expect_carried, s, false);
	/* Peers that do not know fingerprints get neither them nor, in a delta, stubs. */
	kms_delta d;
	kms_buf text = new_text();
	CHECK_OK(kms_sync_delta(&d, &text, s, &all_changes));
	CHECK(d.records == 3);
	text.data[text.len - 1] = 0;
	CHECK(!strstr((const char *)text.data, "fingerprint"));
	kms_buf_free(&text);
	kms_buf_free(&value);
	kms_store_free(s);
}

/* Another member's stub gives way to the value of the same version; a value that was evicted here stays away.
 */
TEST(only_a_peers_stub_is_filled)
{
	kms_buf value = sealed();
	kms_store *holder = kit_store(1), *to = kit_store(2), *evicted = evicted_store(&value);
	kms_sync_counts c;
	uint64_t records;
	put(holder, "k", &value, 0, NOW);
	kms_buf live = new_text(), stubs = new_text();
	add(&live, "{\"data\":");
	CHECK_OK(kms_sync_snapshot(&records, &live, holder, 0));
	add(&live, "}");
	add(&stubs, "{\"data\":");
	CHECK_OK(kms_sync_snapshot(&records, &stubs, evicted, KMS_SYNC_STUBS | KMS_SYNC_FINGERPRINTS));
	add(&stubs, "}");
	CHECK_OK(apply_text(&c, to, &stubs));
	CHECK(c.merged == 3 && state_of(to, "k", NOW) == KMS_RECORD_STUB);
	CHECK_OK(apply_text(&c, to, &live));
	CHECK(c.merged == 1 && state_of(to, "k", NOW) == KMS_RECORD_LIVE);
	CHECK_OK(apply_text(&c, to, &stubs));
	CHECK(c.merged == 0 && state_of(to, "k", NOW) == KMS_RECORD_LIVE);
	CHECK_OK(apply_text(&c, evicted, &live));
	CHECK(c.merged == 0 && state_of(evicted, "k", NOW) == KMS_RECORD_STUB);
	kms_buf_free(&value);
	kms_buf_free(&live);
	kms_buf_free(&stubs);
	kms_store_free(holder);
	kms_store_free(to);
	kms_store_free(evicted);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_stub_without_a_fingerprint_says_nothing),
	  T(a_newer_stub_displaces_an_older_value), T(malformed_fingerprints_are_malformed_records),
	  T(stubs_and_expired_records_travel_with_their_fingerprints), T(only_a_peers_stub_is_filled))
