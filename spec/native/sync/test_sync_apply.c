/* Merging the records of sync messages: each by itself, and none that is not authentic. */
#include "base/testing.h"
#include "sync_kit.h"

/* ---- outcomes ---- */

TEST(outcomes_are_counted)
{
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	record_copy r;
	kms_buf text = data_text();
	add_live(&text, "a", 1, WALLET, 2, NOW);
	add(&text, ",");
	add_live(&text, "a", 2, WALLET, 1, NOW);
	add(&text, ",");
	add_live(&text, "a", 3, WALLET, 2, NOW);
	add(&text, ",");
	add_live(&text, "a", 4, OWN, 1, NOW - 1);
	add(&text, ",");
	add_live(&text, "a", 5, OWN, 1, NOW + 1);
	add(&text, ",");
	add_live(&text, "a", 6, OWN, 1, NOW + 1); /* before the joined clock */
	add(&text, ",{\"key\":\"a\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET "\":3,\"" OWN
		   "\":1}}]}}");
	CHECK_OK(apply_text(&c, s, &text));
	CHECK(counts_are(&c, 7, 3, 4, 0, 0));
	CHECK(c.outcomes[KMS_MERGE_INSERTED] == 1 && c.outcomes[KMS_MERGE_REPLACED_BY_VERSION] == 1);
	CHECK(c.outcomes[KMS_MERGE_REPLACED_BY_CONCURRENT_LWW] == 1);
	CHECK(c.outcomes[KMS_MERGE_IGNORED_EQUAL_VERSION] == 1);
	CHECK(c.outcomes[KMS_MERGE_IGNORED_EXISTING_NEWER_VERSION] == 2);
	CHECK(c.outcomes[KMS_MERGE_IGNORED_CONCURRENT_TIE_BREAK] == 1 && c.stubs == 0);
	CHECK_OK(kit_peek(&r, s, "a", NOW));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && r.record.origin == ORIGIN);
	CHECK(kit_counter(&r, 1) == 1 && kit_counter(&r, 2) == 3);
	/* The same message again merges nothing. */
	CHECK_OK(apply_text(&c, s, &text));
	CHECK(counts_are(&c, 7, 0, 7, 0, 0));
	kms_buf_free(&text);
	kms_store_free(s);
}

TEST(a_message_without_records_changes_nothing)
{
	static const char *const texts[] = { "{}", "{\"data\":{}}", "{\"data\":{\"49\":[]}}" };
	kms_store *s = kit_store(1);
	for (size_t i = 0; i < KMS_ARRAY_LEN(texts); i++) {
		kms_sync_counts c;
		kms_buf text = wiped_copy(texts[i], strlen(texts[i]));
		CHECK_OK(apply_text(&c, s, &text));
		CHECK(counts_are(&c, 0, 0, 0, 0, 0) && kms_store_sequence(s) == 0);
		kms_buf_free(&text);
	}
	kms_store_free(s);
}

/* Records of several applications, of which some have none; and records that were refused. */
TEST(records_are_shown_and_refused)
{
	kms_sync *message;
	const char *field;
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	kms_record record;
	uint64_t app_id;
	kms_buf text = new_text();
	add(&text, "{\"data\":{\"1\":[],\"49\":[");
	add_live(&text, "a", 1, WALLET, 1, NOW);
	add(&text, ",5,");
	add_live(&text, "b", 1, WALLET, 1, NOW);
	add(&text,
	    "],\"50\":[],\"51\":[{\"key\":\"c\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET
	    "\":3}}],\"52\":[]}}");
	MUST(parse_bytes(&message, &field, (const char *)text.data, text.len));
	CHECK(kms_sync_record(&record, &app_id, message, 0) && app_id == 49 && record.key.text[0] == 'a');
	CHECK(record.state == KMS_RECORD_LIVE && record.value.len > 28 && record.updated_at_ms == NOW);
	CHECK(kms_sync_record(&record, &app_id, message, 1) && app_id == 49 && record.key.text[0] == 'b');
	CHECK(kms_sync_record(&record, &app_id, message, 2) && app_id == 51 && record.key.text[0] == 'c');
	CHECK(record.state == KMS_RECORD_TOMBSTONE && record.value.len == 0);
	CHECK(!kms_sync_record(&record, &app_id, message, 3));
	CHECK(!kms_sync_record(&record, &app_id, message, SIZE_MAX));
	CHECK(!kms_sync_record(NULL, &app_id, message, 0) && !kms_sync_record(&record, NULL, message, 0));
	CHECK(!kms_sync_record(&record, &app_id, NULL, 0));
	kms_sync_refuse(message, 0);
	kms_sync_refuse(message, 2);
	kms_sync_refuse(message, 3);
	kms_sync_refuse(NULL, 0);
	CHECK_OK(apply_message(&c, message, s));
	CHECK(counts_are(&c, 4, 1, 0, 3, 0) && c.refused == 2 && c.poisoned == 0);
	kms_buf_free(&text);
	kms_sync_free(message);
	kms_store_free(s);
}

/* ---- one record ---- */

typedef struct attempt {
	const char *key;
	uint64_t sealed_for;
	uint64_t sent_for; /* 0: the same */
	size_t plain_len;
	int spoil; /* changes this byte of the ciphertext, from 1; negative: from its end; 0: none */
	int cut;   /* removes bytes from its end */
	uint64_t counter;
	uint64_t at_ms;
	uint64_t ttl_ms;
	bool rejected;
	bool future;
} attempt;

static void try_one(int *failed_, const attempt *a)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	kms_sync_counts c;
	kms_buf text = new_text(), sealed = new_text();
	config.max_value = 9000;
	MUST(kms_store_new(&s, &config));
	add_sealed(&sealed, a->sealed_for, 1, a->plain_len);
	if (a->spoil > 0) sealed.data[a->spoil - 1] ^= 1;
	if (a->spoil < 0) sealed.data[sealed.len - (size_t)-a->spoil] ^= 1;
	addf(&text, "{\"data\":{\"%llu\":[{\"key\":\"%s\",\"ttl_ms\":%llu,\"value\":\"",
	     (unsigned long long)(a->sent_for ? a->sent_for : a->sealed_for), a->key,
	     (unsigned long long)a->ttl_ms);
	MUST(kms_buf_append_hex(&text, kms_span_of(sealed.data, sealed.len - (size_t)a->cut)));
	addf(&text, "\",\"updated_at_ms\":%llu,\"version\":{\"" WALLET "\":%llu}}]}}",
	     (unsigned long long)a->at_ms, (unsigned long long)a->counter);
	CHECK_OK(apply_text(&c, s, &text));
	CHECK(counts_are(&c, 1, !a->rejected, 0, a->rejected, a->future));
	/* Shorter than a ciphertext can be, it is malformed, not poisoned. */
	bool other = a->sent_for || a->spoil || (a->cut && a->plain_len > 0);
	CHECK(c.poisoned == other);
	kms_store_stats stats;
	kms_store_get_stats(&stats, s);
	CHECK(stats.live_keys == (a->rejected ? 0 : 1));
	kms_buf_free(&text);
	kms_buf_free(&sealed);
	kms_store_free(s);
}

TEST(only_what_is_right_is_merged)
{
	const attempt good = { "k", APP, 0, 100, 0, 0, 1, NOW, 0, false, false };
	attempt a;
#define TRY(...)                   \
	do {                       \
		a = good;          \
		__VA_ARGS__;       \
		CALL(try_one, &a); \
	} while (0)
	TRY((void)0);
	TRY(a.plain_len = 0);
	TRY(a.plain_len = 4096); /* the size of the pieces in which it is verified */
	TRY(a.plain_len = 4095);
	TRY(a.plain_len = 4097);
	TRY(a.plain_len = 8192);
	TRY(a.sent_for = APP + 1; a.rejected = true);
	for (int i = 1; i <= 128; i++)
		TRY(a.spoil = i; a.rejected = true);
	TRY(a.plain_len = 8500; a.spoil = 13; a.rejected = true);
	TRY(a.plain_len = 8500; a.spoil = 4096 + 13; a.rejected = true);
	TRY(a.plain_len = 8500; a.spoil = -17; a.rejected = true);
	TRY(a.plain_len = 8500; a.spoil = -1; a.rejected = true);
	TRY(a.cut = 1; a.rejected = true);
	TRY(a.plain_len = 0; a.cut = 1; a.rejected = true);
	TRY(a.plain_len = 9100); /* max_value and 128 */
	TRY(a.plain_len = 9101; a.rejected = true);
	TRY(a.key = ""; a.rejected = true);
	TRY(a.key = "a\\u0000b"; a.rejected = true);
	TRY(a.ttl_ms = KMS_STORE_MAX_TTL_MS);
	TRY(a.ttl_ms = KMS_STORE_MAX_TTL_MS + 1);
	TRY(a.ttl_ms = UINT64_MAX);
	TRY(a.counter = NOW + SKEW);
	TRY(a.counter = NOW + SKEW + 1; a.rejected = a.future = true);
	TRY(a.at_ms = NOW + SKEW);
	TRY(a.at_ms = NOW + SKEW + 1; a.rejected = a.future = true);
	TRY(a.at_ms = UINT64_MAX; a.rejected = a.future = true);
	/* It counts as future only when nothing else is wrong. */
	TRY(a.at_ms = NOW + SKEW + 1; a.spoil = 1; a.rejected = true);
	TRY(a.at_ms = NOW + SKEW + 1; a.key = ""; a.rejected = true);
	TRY(a.at_ms = NOW + SKEW + 1; a.counter = UINT64_MAX; a.rejected = true);
#undef TRY
}

TEST(one_wallet_twice_is_no_clock)
{
	kms_store *s = kit_store(1);
	kms_sync_counts c;
	kms_buf text = data_text();
	add(&text,
	    "{\"key\":\"k\",\"value\":null,\"tombstone\":true,\"version\":{"
	    "\"0xabcdefabcdefabcdefabcdefabcdefabcdefabcd\":1,\"ABCDEFabcdefabcdefabcdefabcdefabcdefabcd\":"
	    "2}}]}}");
	CHECK_OK(apply_text(&c, s, &text));
	CHECK(counts_are(&c, 1, 0, 0, 1, 0));
	kms_buf_free(&text);
	kms_store_free(s);
}

TEST(a_full_store_rejects_and_goes_on)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	kms_sync_counts c;
	config.max_namespaces = 1;
	config.max_total_bytes = 4096 + 5000;
	MUST(kms_store_new(&s, &config));
	kms_buf text = data_text();
	add_live(&text, "a", 1, WALLET, 1, NOW);
	add(&text, ",{\"key\":\"big\",\"version\":{\"" WALLET "\":1},\"value\":\"");
	add_sealed_hex(&text, APP, 1, 5000);
	add(&text, "\"},");
	add_live(&text, "b", 1, WALLET, 1, NOW);
	add(&text, "],\"50\":[");
	add(&text, "{\"key\":\"t\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET "\":1}}");
	add(&text, "]}}");
	CHECK_OK(apply_text(&c, s, &text));
	CHECK(counts_are(&c, 4, 2, 0, 2, 0));
	CHECK(kit_stats(s).live_keys == 2);
	kms_buf_free(&text);
	kms_store_free(s);
}

TEST(an_application_that_was_not_admitted_gets_no_namespace)
{
	kms_store *s = kit_store(1);
	kms_sync *m;
	kms_sync_counts c;
	const char *field;
	kms_secret *master = hex_secret(MASTER);
	CHECK_OK(kit_put(s, "x", 1, NOW)); /* APP has a namespace */
	kms_buf text = data_text();
	add_live(&text, "a", 1, WALLET, 1, NOW);
	add(&text, "],\"50\":[{\"key\":\"t\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET
		   "\":1}},{\"key\":\"s\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET
		   "\":1}}],\"51\":[{\"key\":\"u\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET
		   "\":1}}]}}");
	CHECK_OK(kms_sync_parse(&m, &field, &text));
	kms_sync_refuse(m, 2);
	kms_sync_app_walk walk = { .index = 0, .steps = 10 };
	CHECK(kms_sync_new_app(&walk, m, s) && walk.app_id == 50 && walk.index == 1);
	walk.index++;
	CHECK(kms_sync_new_app(&walk, m, s) && walk.app_id == 51 && walk.index == 2);
	walk.index++;
	CHECK(!kms_sync_new_app(&walk, m, s) && walk.index == kms_sync_apps(m));
	walk = (kms_sync_app_walk){ .index = 0, .steps = 1 };
	CHECK(!kms_sync_new_app(&walk, m, s) && walk.index == 1); /* where to go on */
	CHECK_OK(kms_sync_apply(&c, m, s, master, ORIGIN, NOW));
	CHECK(counts_are(&c, 4, 1, 0, 3, 0) && c.later == 2 && c.refused == 1);
	CHECK(!kms_store_has_app(s, 50) && kit_stats(s).live_keys == 2);
	kms_sync_admit(m, 1);
	CHECK_OK(kms_sync_apply(&c, m, s, master, ORIGIN, NOW));
	CHECK(c.merged == 1 && c.later == 1 && c.refused == 1);
	CHECK(kms_store_has_app(s, 50) && !kms_store_has_app(s, 51));
	kms_secret_unref(master);
	kms_sync_free(m);
	kms_store_free(s);
}

TEST(a_bad_end_keeps_all_out)
{
	static const char *const ends[] = { "]}",
					    "]}},",
					    "]}}}",
					    ",]}}",
					    ",{\"key\":}]}}",
					    "],\"49\":[]}}",
					    "]},\"app_id\":1}",
					    "]},\"pop\":5}",
					    "]},\"type\":\"delta\"}",
					    ",\"\xff\"]}}",
					    ",{\"a\":1,\"a\":1}]}}",
					    "]},\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}" };
	for (size_t i = 0; i < KMS_ARRAY_LEN(ends); i++) {
		kms_store *s = kit_store(1);
		kms_sync_counts c;
		kms_buf text = data_text();
		add_live(&text, "a", 1, WALLET, 1, NOW);
		add(&text, ends[i]);
		CHECK(apply_text(&c, s, &text) != KMS_OK);
		CHECK(kms_store_sequence(s) == 0);
		kms_buf_free(&text);
		kms_store_free(s);
	}
}

/* ---- failures ---- */

TEST(no_memory_is_no_records_fault)
{
	bool ended = false;
	kms_status status = KMS_ERR_MEMORY;
	for (unsigned long n = 1; n < 200 && !ended; n++) {
		kms_store *s = kit_store(1);
		kms_sync *message;
		const char *field;
		kms_sync_counts c;
		kms_secret *master = hex_secret(MASTER);
		kms_buf text = data_text();
		add_live(&text, "a", 1, WALLET, 1, NOW);
		add(&text, ",{},");
		add_live(&text, "b", 1, WALLET, 1, NOW);
		add(&text, "],\"50\":[{\"key\":\"c\",\"value\":\"");
		add_sealed_hex(&text, 50, 1, 1);
		add(&text, "\",\"version\":{\"" WALLET "\":1}}]}}");
		CHECK_OK(kms_sync_parse(&message, &field, &text));
		admit_all(message);
		kms_mem_fail_after(n);
		status = kms_sync_apply(&c, message, s, master, ORIGIN, NOW);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK(c.rejected == 1 &&
		      c.total == c.merged + 1); /* the records before the failure are merged */
		CHECK(status == KMS_OK ? c.merged == 3 : c.merged < 3);
		kms_store_stats stats;
		kms_store_get_stats(&stats, s);
		CHECK(stats.live_keys == c.merged);
		kms_secret_unref(master);
		kms_sync_free(message);
		kms_store_free(s);
	}
	CHECK(ended && status == KMS_OK);
}

TEST(misuse_is_refused)
{
	kms_store *s = kit_store(1);
	kms_sync *m;
	kms_sync_counts c = { .total = 5 };
	kms_buf text = data_text();
	kms_secret *master = hex_secret(MASTER), *half = hex_secret("0011");
	add_live(&text, "a", 1, WALLET, 1, NOW);
	add(&text, "]}}");
	const char *field;
	CHECK_OK(kms_sync_parse(&m, &field, &text));
	admit_all(m);
	kms_sync_admit(m, 1); /* there is no second one */
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_apply(&c, m, s, master, 0, NOW));
	CHECK(c.total == 0);
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_apply(&c, m, s, half, 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, kms_sync_apply(&c, m, s, master, 1, (1ull << 62) + 1));
	CHECK(c.total == 0 && kms_store_sequence(s) == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_apply(NULL, m, s, master, 1, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_apply(&c, NULL, s, master, 1, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_apply(&c, m, NULL, master, 1, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sync_apply(&c, m, s, NULL, 1, NOW));
	CHECK_OK(kms_sync_apply(&c, m, s, master, UINT32_MAX, NOW));
	record_copy r;
	CHECK_OK(kit_peek(&r, s, "a", NOW));
	CHECK(r.record.origin == UINT32_MAX);
	kms_secret_unref(master);
	kms_secret_unref(half);
	kms_sync_free(m);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(outcomes_are_counted), T(a_message_without_records_changes_nothing),
	  T(records_are_shown_and_refused), T(only_what_is_right_is_merged), T(one_wallet_twice_is_no_clock),
	  T(a_full_store_rejects_and_goes_on), T(an_application_that_was_not_admitted_gets_no_namespace),
	  T(a_bad_end_keeps_all_out), T(no_memory_is_no_records_fault), T(misuse_is_refused))
