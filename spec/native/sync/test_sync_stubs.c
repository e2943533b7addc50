/* Stubs in sync messages. */
#include "sync_kit.h"

static void send_stub(int *failed_, kms_store *s, const char *app, const char *members, kms_sync_counts *c)
{
	kms_buf text = new_text();
	addf(&text, "{\"data\":{\"%s\":[{\"value\":null,%s}]}}", app, members);
	CHECK_OK(apply_text(c, s, &text));
	kms_buf_free(&text);
}

static uint64_t next_counter(kms_store *s, const char *key)
{
	record_copy r;
	MUST(kit_put(s, key, 1, NOW));
	MUST(kit_peek(&r, s, key, NOW));
	if (r.record.origin != 0) abort();
	return kit_counter(&r, 1);
}

TEST(stubs_only_raise_the_floor)
{
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	record_copy r;
	/* A clock without an own entry does not even create a namespace. */
	CALL(send_stub, s, "49", "\"key\":\"a\",\"version\":{\"" WALLET "\":9}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0) && c.stubs == 1);
	kms_store_stats stats;
	kms_store_get_stats(&stats, s);
	CHECK(stats.namespaces == 0);
	CALL(send_stub, s, "49",
	     "\"key\":\"a\",\"tombstone\":false,\"version\":{\"" OWN "\":9,\"" WALLET "\":1}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0) && kms_store_sequence(s) == 0);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_peek(&r, s, "a", NOW));
	CHECK(next_counter(s, "a") == 10);
	CHECK(next_counter(s, "b") == 10);
	CHECK(next_counter(s, "b") == 11);
	/* A counter that is held already does not raise the floor. */
	CALL(send_stub, s, "49", "\"key\":\"b\",\"version\":{\"" OWN "\":11}", &c);
	CHECK(next_counter(s, "c") == 10);
	CALL(send_stub, s, "49", "\"key\":\"b\",\"version\":{\"" OWN "\":12}", &c);
	CHECK(next_counter(s, "d") == 13);
	kms_store_free(s);
}

TEST(stubs_are_checked_like_records)
{
	static const struct {
		const char *members;
		uint64_t future;
	} bad[] = {
		{ "\"key\":\"\",\"version\":{\"" OWN "\":9}", 0 },
		{ "\"key\":\"a\\u0000\",\"version\":{\"" OWN "\":9}", 0 },
		{ "\"key\":\"a\",\"version\":{\"" OWN "\":1700000015001}", 0 },
		{ "\"key\":\"a\",\"updated_at_ms\":1700000015001,\"version\":{\"" OWN "\":9}", 1 },
	};
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	for (size_t i = 0; i < KMS_ARRAY_LEN(bad); i++) {
		CALL(send_stub, s, "49", bad[i].members, &c);
		CHECK(counts_are(&c, 1, 0, 0, 1, bad[i].future) && c.stubs == 0);
	}
	CHECK(next_counter(s, "a") == 1);
	CALL(send_stub, s, "49",
	     "\"key\":\"z\",\"updated_at_ms\":1700000015000,\"version\":{\"" OWN "\":1700000015000}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0));
	const kms_record no_stub = { .key = KMS_TEXT("k"), .state = KMS_RECORD_TOMBSTONE };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_note_stub(s, APP, &no_stub, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_note_stub(s, APP, NULL, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_note_stub(NULL, APP, &no_stub, NOW));
	kms_store_free(s);
}

TEST(a_stub_needs_no_namespace)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	kms_sync_counts c;
	config.max_namespaces = 1;
	MUST(kms_store_new(&s, &config));
	CALL(send_stub, s, "1", "\"key\":\"a\",\"version\":{\"" OWN "\":9}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0));
	CALL(send_stub, s, "2", "\"key\":\"a\",\"version\":{\"" OWN "\":9}", &c);
	CHECK(counts_are(&c, 1, 0, 1, 0, 0));
	CHECK(!kms_store_has_app(s, 1) && !kms_store_has_app(s, 2));
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(stubs_only_raise_the_floor), T(stubs_are_checked_like_records),
	  T(a_stub_needs_no_namespace))
