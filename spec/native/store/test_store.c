/* The store as an application sees it: keys, values, listings. */
#include "base/testing.h"
#include "store_kit.h"

TEST(keeps_what_was_put)
{
	kms_store *s = kit_store(1);
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 1000);
	uint64_t at_ms = 1, put_at_ms;
	uint8_t value[40];
	memset(value, 7, sizeof(value));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_get(&at_ms, &buf, s, APP, KMS_TEXT("k"), NOW));
	CHECK(at_ms == 0 && buf.len == 0);
	CHECK_OK(kms_store_put(&put_at_ms, s, APP, KMS_TEXT("k"), KMS_SPAN(value), 0, NOW));
	CHECK(put_at_ms == NOW);
	CHECK_OK(kms_store_get(&at_ms, &buf, s, APP, KMS_TEXT("k"), NOW));
	CHECK(at_ms == NOW && buf.len == sizeof(value));
	CHECK_MEM(buf.data, value, sizeof(value));
	CHECK_OK(kms_store_get(&at_ms, &buf, s, APP, KMS_TEXT("k"), NOW)); /* appends */
	CHECK(buf.len == 2 * sizeof(value));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_get(&at_ms, &buf, s, APP + 1, KMS_TEXT("k"), NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_get(&at_ms, &buf, s, APP, KMS_TEXT("kk"), NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_get(&at_ms, &buf, s, APP, KMS_TEXT(""), NOW));
	kms_buf_free(&buf);
	kms_store_free(s);
}

TEST(stamps_never_stand_still)
{
	kms_store *s = kit_store(1);
	record_copy r;
	uint64_t at_ms;
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 0, NOW));
	CHECK(at_ms == NOW);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 2, MIN_VALUE, 0, NOW)); /* same millisecond */
	CHECK(at_ms == NOW + 1);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 3, MIN_VALUE, 0, NOW - 5000)); /* clock went back */
	CHECK(at_ms == NOW + 2);
	CHECK_OK(kms_store_delete(&at_ms, s, APP, KMS_TEXT("k"), NOW - 5000));
	CHECK(at_ms == NOW + 3);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 4, MIN_VALUE, 0, NOW)); /* over a tombstone too */
	CHECK(at_ms == NOW + 4);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 5, MIN_VALUE, 0, NOW + 5));
	CHECK(at_ms == NOW + 5);
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == 1 && kit_counter(&r, 1) == NOW + 5);
	CHECK(kit_get(s, "k", NOW) == 5);
	kms_store_free(s);
}

TEST(tells_the_sizes_of_the_largest_namespaces)
{
	kms_store *s = kit_store(1);
	uint64_t at_ms, sizes[5];
	uint8_t value[900] = { 0 };
	CHECK(kms_store_largest(sizes, 5, s) == 0);
	static const size_t LENGTHS[] = { 300, 900, 100, 700 };
	for (size_t i = 0; i < 4; i++) {
		kms_span part = kms_span_of(value, LENGTHS[i]);
		CHECK_OK(kms_store_put(&at_ms, s, APP + i, KMS_TEXT("k"), part, 0, NOW));
	}
	CHECK(kms_store_largest(sizes, 5, s) == 4);
	for (size_t i = 1; i < 4; i++)
		CHECK(sizes[i - 1] > sizes[i]);
	CHECK(sizes[0] - sizes[3] == 900 - 100);
	uint64_t largest = sizes[0], second = sizes[1];
	memset(sizes, 0, sizeof(sizes));
	CHECK(kms_store_largest(sizes, 2, s) == 2);
	CHECK(sizes[0] == largest && sizes[1] == second && sizes[2] == 0);
	CHECK(kms_store_largest(sizes, 0, s) == 0 && kms_store_largest(sizes, 5, NULL) == 0);
	kms_store_free(s);
}

TEST(deletes_live_records_only)
{
	kms_store *s = kit_store(1);
	record_copy r;
	uint64_t at_ms = 9;
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_store_delete(&at_ms, s, APP, KMS_TEXT("k"), NOW));
	CHECK(at_ms == 0);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 500, NOW));
	CHECK_OK(kms_store_delete(&at_ms, s, APP, KMS_TEXT("k"), NOW + 10));
	CHECK(at_ms == NOW + 10);
	CHECK(kit_get(s, "k", NOW + 10) == -1);
	CHECK_OK(kit_peek(&r, s, "k", NOW + 10));
	CHECK(r.record.state == KMS_RECORD_TOMBSTONE && !r.record.value.bytes && r.record.value.len == 0);
	CHECK(kit_counter(&r, 1) == NOW + 10 && r.record.ttl_ms == 0 && r.record.updated_at_ms == NOW + 10);
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "k", NOW + 11));
	CHECK_OK(kit_put_at(&at_ms, s, "e", 1, MIN_VALUE, 5, NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "e", NOW + 6)); /* expired */
	kms_store_free(s);
}

TEST(checks_keys)
{
	static char key[4097];
	kms_store *s = kit_store(1);
	uint64_t at_ms;
	uint8_t value[MIN_VALUE] = { 0 };
	memset(key, 'k', sizeof(key));
	CHECK_OK(kms_store_put(&at_ms, s, APP, kms_text_of(key, 4096), KMS_SPAN(value), 0, NOW));
	CHECK_STATUS(KMS_ERR_KEY_SIZE,
		     kms_store_put(&at_ms, s, APP, kms_text_of(key, 4097), KMS_SPAN(value), 0, NOW));
	CHECK(at_ms == 0);
	CHECK_STATUS(KMS_ERR_KEY_SIZE,
		     kms_store_put(&at_ms, s, APP, kms_text_of(key, 0), KMS_SPAN(value), 0, NOW));
	CHECK_OK(kms_store_put(&at_ms, s, APP, kms_text_of(key, 1), KMS_SPAN(value), 0, NOW));
	CHECK_STATUS(KMS_ERR_UTF8, kms_store_put(&at_ms, s, APP, KMS_TEXT("a\0b"), KMS_SPAN(value), 0, NOW));
	CHECK_STATUS(KMS_ERR_UTF8, kms_store_put(&at_ms, s, APP, KMS_TEXT("\xc3"), KMS_SPAN(value), 0, NOW));
	CHECK_STATUS(KMS_ERR_UTF8,
		     kms_store_put(&at_ms, s, APP, KMS_TEXT("\xed\xa0\x80"), KMS_SPAN(value), 0, NOW));
	CHECK_OK(kms_store_put(&at_ms, s, APP, KMS_TEXT("\xc3\xa9/x"), KMS_SPAN(value), 0, NOW));
	CHECK(kit_stats(s).live_keys == 3);
	kms_store_free(s);
}

TEST(checks_values_ttl_and_time)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	uint64_t at_ms;
	config.max_value = 100;
	CHECK_OK(kms_store_new(&s, &config));
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, 128, 0, NOW));
	CHECK_STATUS(KMS_ERR_VALUE_SIZE, kit_put_at(&at_ms, s, "k", 2, 129, 0, NOW));
	CHECK_STATUS(KMS_ERR_VALUE_SIZE, kit_put_at(&at_ms, s, "k", 2, 27, 0, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "k", 3, 28, KMS_STORE_MAX_TTL_MS, NOW));
	CHECK_STATUS(KMS_ERR_TTL, kit_put_at(&at_ms, s, "k", 4, 28, KMS_STORE_MAX_TTL_MS + 1, NOW));
	CHECK_STATUS(KMS_ERR_RANGE, kit_put_at(&at_ms, s, "k", 4, 28, 0, (1ull << 62) + 1));
	CHECK(kit_get(s, "k", NOW) == 3);
	CHECK_OK(kit_put_at(&at_ms, s, "k", 5, 28, KMS_STORE_MAX_TTL_MS, 1ull << 62)); /* nothing wraps */
	CHECK_OK(kit_put_at(&at_ms, s, "k", 6, 28, KMS_STORE_MAX_TTL_MS, 1ull << 62));
	CHECK(at_ms == (1ull << 62) + 1);
	CHECK(kit_get(s, "k", 1ull << 62) == 6);
	CHECK_STATUS(KMS_ERR_RANGE, kit_delete(s, "k", (1ull << 62) + 1));
	kms_store_free(s);
}

TEST(checks_every_bound_of_its_configuration)
{
	const kms_store_config good = kit_config(1);
	static const struct {
		size_t at;
		uint64_t min, max;
	} bounds[] = {
		{ offsetof(kms_store_config, max_key), 1, KMS_STORE_MAX_PEER_KEY },
		{ offsetof(kms_store_config, max_value), 1, 1u << 30 },
		{ offsetof(kms_store_config, max_app_bytes), 28, SIZE_MAX / 4 },
		{ offsetof(kms_store_config, max_total_bytes), 1, SIZE_MAX / 4 },
		{ offsetof(kms_store_config, max_namespaces), 1, 1000000 },
		{ offsetof(kms_store_config, max_tombstones), 1, 100000000 },
		{ offsetof(kms_store_config, tombstone_retention_ms), 0, KMS_STORE_MAX_TTL_MS },
		{ offsetof(kms_store_config, max_clock_skew_ms), 0, KMS_STORE_MAX_TTL_MS },
	};
	kms_store *s;
	for (size_t i = 0; i < KMS_ARRAY_LEN(bounds); i++) {
		const uint64_t tried[] = { bounds[i].min, bounds[i].max, bounds[i].max + 1,
					   bounds[i].min - 1 };
		for (size_t j = 0; j < (bounds[i].min ? 4 : 3); j++) {
			kms_store_config config = good;
			memcpy((uint8_t *)&config + bounds[i].at, &tried[j], sizeof(tried[j]));
			CHECK_STATUS(j < 2 ? KMS_OK : KMS_ERR_RANGE, kms_store_new(&s, &config));
			CHECK(!s == (j >= 2));
			kms_store_free(s);
		}
	}
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_new(&s, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_new(NULL, &good));
	kms_store_free(NULL);
}

TEST(refuses_null)
{
	kms_store *s = kit_store(1);
	kms_buf buf = kms_buf_make(KMS_BUF_PLAIN, 100);
	uint64_t at_ms, *ids;
	uint8_t v[MIN_VALUE] = { 0 };
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_put(NULL, s, APP, KMS_TEXT("k"), KMS_SPAN(v), 0, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_put(&at_ms, NULL, APP, KMS_TEXT("k"), KMS_SPAN(v), 0, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_store_put(&at_ms, s, APP, kms_text_from(NULL), KMS_SPAN(v), 0, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT,
		     kms_store_put(&at_ms, s, APP, KMS_TEXT("k"), (kms_span){ NULL, sizeof(v) }, 0, NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_get(&at_ms, NULL, s, APP, KMS_TEXT("k"), NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_get(&at_ms, &buf, s, APP, kms_text_from(NULL), NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_delete(&at_ms, s, APP, kms_text_from(NULL), NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kit_list(s, NOW, NULL, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_peek(s, APP, KMS_TEXT("k"), NOW, NULL, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_changes(s, APP, 0, 0, NULL, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_changed_apps(&ids, NULL, s, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_set_members(s, NULL, 1));
	CHECK_OK(kms_store_set_members(s, NULL, 0));
	CHECK(kms_store_expire(NULL, NOW, 1) == 0 && kms_store_sequence(NULL) == 0);
	kms_store_free(s);
}

/* ---- listing ---- */

typedef struct names {
	char text[400];
	size_t count;
	size_t stop_at; /* 0: never */
} names;

static kms_status collect_name(void *context, kms_text key)
{
	names *n = context;
	if (++n->count == n->stop_at) return KMS_ERR_TOO_LARGE;
	size_t at = strlen(n->text);
	snprintf(n->text + at, sizeof(n->text) - at, "%.*s ", (int)key.len, key.text);
	return KMS_OK;
}

TEST(lists_live_names_in_bytewise_order)
{
	static const char *const keys[] = {
		"b",         "a",        "ab", "prefix-long-2", "prefix-long-10", "prefix-l",
		"prefix-lo", "\xc3\xa9", "Z",  "deleted",       "prefix-long",    "expiring"
	};
	kms_store *s = kit_store(1);
	names n = { .stop_at = 0 };
	uint64_t at_ms;
	CHECK_OK(kit_list(s, NOW, collect_name, &n));
	CHECK(n.count == 0);
	for (size_t i = 0; i < KMS_ARRAY_LEN(keys); i++)
		CHECK_OK(kit_put(s, keys[i], 1, NOW));
	CHECK_OK(kit_put_at(&at_ms, s, "expiring", 1, MIN_VALUE, 10, NOW));
	CHECK_OK(kit_delete(s, "deleted", NOW));
	CHECK_OK(kit_list(s, at_ms + 11, collect_name, &n));
	CHECK(strcmp(n.text,
		     "Z a ab b prefix-l prefix-lo prefix-long prefix-long-10 prefix-long-2 \xc3\xa9 ") == 0);
	n = (names){ .stop_at = 3 };
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kit_list(s, NOW, collect_name, &n));
	CHECK(strcmp(n.text, "Z a ") == 0);
	kms_store_free(s);
}

/* ---- many keys: growth and shrinking of the table ---- */

TEST(finds_every_key_while_its_table_grows_and_shrinks)
{
	enum { MANY = 30000 }; /* enough for the cache of recent records */
	kms_store *s = kit_store(1);
	kms_store_set_acknowledged(s, UINT64_MAX);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_OK(kit_put(s, numbered(i), (uint8_t)i, NOW));
		CHECK(kit_get(s, numbered(i / 2), NOW) == (uint8_t)(i / 2));
	}
	for (size_t i = 0; i < MANY; i++) {
		CHECK(kit_get(s, numbered(i), NOW) == (uint8_t)i);
		CHECK_OK(kit_put(s, numbered(i), (uint8_t)(i + 1), NOW));
		CHECK(kit_get(s, numbered(i), NOW) == (uint8_t)(i + 1));
	}
	CHECK(kit_stats(s).live_keys == MANY);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_OK(kit_delete(s, numbered(i), NOW + 10 + i));
		CHECK(kit_get(s, numbered(i), NOW) == -1);
		if (i + 1 < MANY) CHECK(kit_get(s, numbered(i + (MANY - i) / 2), NOW) >= 0);
	}
	while (kms_store_expire(s, NOW + 2 * RETENTION, 100) > 0)
		CHECK(kit_get(s, "0", NOW) == -1);
	kms_store_stats stats = kit_stats(s);
	CHECK(stats.live_keys == 0 && stats.tombstones == 0);
	kms_store_free(s);
}

/* ---- allocation failures ---- */

static kms_status one_of_each(kms_store *s)
{
	static const char *const keys[] = { "a", "b", "c", "d", "e", "f", "g",
					    "h", "i", "j", "k", "l", "m", "n" };
	const uint8_t wallet[20] = { 9 };
	kms_clock_entry clock = { { 9 }, 4 };
	uint8_t v[64] = { 0 };
	uint64_t *ids = NULL;
	size_t count;
	kms_merge outcome;
	names n = { .stop_at = 0 };
	for (size_t i = 0; i < KMS_ARRAY_LEN(keys); i++) /* the table grows meanwhile */
		GUARD(kit_put(s, keys[i], 2, NOW));
	GUARD(kit_delete(s, "b", NOW));
	kms_record r = {
		.key = KMS_TEXT("x"), .value = KMS_SPAN(v), .clock = { &clock, 1 }, .updated_at_ms = NOW
	};
	GUARD(kms_store_merge(&outcome, s, APP, &r, NOW));
	GUARD(kit_list(s, NOW, collect_name, &n));
	GUARD(kms_store_set_members(s, &wallet, 1));
	GUARD(kms_store_changed_apps(&ids, &count, s, 0));
	kms_store_ids_free(ids);
	return KMS_OK;
}

TEST(survives_failing_allocations)
{
	for (unsigned long fail = 1;; fail++) {
		kms_store *s = kit_store(1);
		CHECK_OK(kit_put(s, "a", 1, NOW));
		CHECK_OK(kit_put(s, "old", 1, NOW));
		kms_store_stats total;
		kms_mem_fail_after(fail);
		kms_status status = one_of_each(s);
		kms_mem_fail_after(0);
		CHECK(status == KMS_OK || status == KMS_ERR_MEMORY);
		int a = kit_get(s, "a", NOW);
		CHECK(a == 2 || (a == 1 && status == KMS_ERR_MEMORY));
		CHECK(kit_get(s, "old", NOW) == 1);
		CHECK_OK(one_of_each(s)); /* the store still works */
		kms_store_get_stats(&total, s);
		CHECK(total.live_keys == 15 && total.tombstones == 1);
		CHECK(total.total_bytes == kit_stats(s).total_bytes);
		kms_store_free(s);
		if (status == KMS_OK) break;
	}
	for (unsigned long fail = 1; fail <= 5; fail++) {
		kms_store *s = (kms_store *)1;
		kms_store_config config = kit_config(1);
		kms_mem_fail_after(fail);
		kms_status status = kms_store_new(&s, &config);
		kms_mem_fail_after(0);
		CHECK(status == (fail < 5 ? KMS_ERR_MEMORY : KMS_OK));
		CHECK(!s == (fail < 5));
		kms_store_free(s);
	}
}

TEST(takes_no_record_before_it_knows_its_wallet)
{
	kms_store *s;
	kms_store_config config = kit_config(1);
	record_copy r = { 0 };
	kms_merge outcome;
	uint64_t at_ms = 9;
	const uint8_t none20[20] = { 0 };
	uint8_t own20[20];
	memcpy(own20, config.self20, sizeof(own20));
	memset(config.self20, 0, sizeof(config.self20));
	CHECK_OK(kms_store_new(&s, &config));
	CHECK_STATUS(KMS_ERR_STATE, kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 0, NOW));
	CHECK(at_ms == 0);
	CHECK_STATUS(KMS_ERR_STATE, kms_store_merge(&outcome, s, APP, &r.record, NOW));
	CHECK(outcome == KMS_MERGE_REJECTED);
	CHECK_STATUS(KMS_ERR_STATE, kms_store_settle(&outcome, s, APP, &r.record, NOW));
	CHECK_STATUS(KMS_ERR_NOT_FOUND, kit_delete(s, "k", NOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_store_set_self(s, none20));
	CHECK_OK(kms_store_set_self(s, own20));
	CHECK_STATUS(KMS_ERR_STATE, kms_store_set_self(s, own20));
	CHECK_OK(kit_put_at(&at_ms, s, "k", 1, MIN_VALUE, 0, NOW));
	CHECK_OK(kit_peek(&r, s, "k", NOW));
	CHECK(r.record.clock.len == 1 && kit_counter(&r, 1) == NOW);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keeps_what_was_put), T(tells_the_sizes_of_the_largest_namespaces),
	  T(stamps_never_stand_still), T(deletes_live_records_only), T(checks_keys),
	  T(checks_values_ttl_and_time), T(checks_every_bound_of_its_configuration), T(refuses_null),
	  T(lists_live_names_in_bytewise_order), T(finds_every_key_while_its_table_grows_and_shrinks),
	  T(survives_failing_allocations), T(takes_no_record_before_it_knows_its_wallet))
