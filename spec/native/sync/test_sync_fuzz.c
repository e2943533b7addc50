/* Mutated sync messages: whatever is merged is authentic. */
#include "store/store_clock.h"
#include "sync_kit.h"

typedef struct audit {
	kms_secret *key;
	uint64_t records;
	bool bad;
} audit;

static kms_status audit_record(void *context, const kms_record *record)
{
	audit *a = context;
	clock_draft clock;
	a->records++;
	a->bad |= record->origin != ORIGIN || record->key.len == 0 || record->clock.len == 0;
	a->bad |= !kms_clock_sort(&clock, record->clock);
	if (record->state == KMS_RECORD_LIVE) a->bad |= kms_value_verify(a->key, record->value) != KMS_OK;
	return KMS_OK;
}

/* Checks that all records are authentic. */
static void check_store(int *failed_, kms_store *s, uint64_t *records)
{
	uint64_t *ids;
	size_t count;
	CHECK_OK(kms_store_changed_apps(&ids, &count, s, 0));
	for (size_t i = 0; i < count; i++) {
		audit a = { .key = data_key(ids[i]) };
		CHECK_OK(kms_store_changes(s, ids[i], 0, 0, audit_record, &a));
		CHECK(!a.bad);
		*records += a.records;
		kms_secret_unref(a.key);
	}
	kms_store_ids_free(ids);
}

static kms_buf seed_message(void)
{
	kms_buf text = data_text();
	add_live(&text, "a", 1, WALLET, 2, NOW);
	add(&text, ",{\"key\":\"b\",\"value\":null,\"tombstone\":true,\"version\":{\"" WALLET
		   "\":3},\"ttl_ms\":7},");
	add_live(&text, "c\\u00e9\\\\", 2, OWN, 9, NOW + 5);
	add(&text, "],\"50\":[{\"version\":{\"" WALLET "\":1,\"" OWN "\":2},\"key\":\"d\",\"value\":\"");
	add_sealed_hex(&text, 50, 9, 3);
	add(&text, "\",\"updated_at_ms\":1699999999999},{\"key\":\"s\",\"value\":null,\"version\":{\"" OWN
		   "\":4}}]},\"features\":[\"pop\"],\"complete\":true,\"total\":3}");
	return text;
}

static void mutate(kms_buf *text, uint64_t *seed)
{
	static const char likely[] = "\"\\{}[]:,0e-.u\xc3\x80 fx1";
	for (uint64_t edits = kit_random(seed, 4) + 1; edits; edits--) {
		size_t at = kit_random(seed, text->len), run = 1 + kit_random(seed, 40);
		if (run > text->len - at) run = text->len - at;
		switch (kit_random(seed, 6)) {
		case 0:
			text->data[at] = (uint8_t)kit_random(seed, 256);
			break;
		case 1:
		case 2:
			text->data[at] = (uint8_t)likely[kit_random(seed, sizeof(likely) - 1)];
			break;
		case 3: /* removes a piece */
			memmove(text->data + at, text->data + at + run, text->len - at - run);
			text->len -= text->len > run ? run : 0;
			break;
		case 4: /* copies a piece over another */
			memmove(text->data + kit_random(seed, text->len - run + 1), text->data + at, run);
			break;
		default:
			text->data[at] ^= (uint8_t)(1u << kit_random(seed, 8));
			break;
		}
	}
}

TEST(mutated_messages_do_no_harm)
{
	kms_buf seed_text = seed_message();
	kms_store *s = kit_store(1);
	uint64_t seed = 0x6b6d732d73796e63ull, records = 0, parsed = 0, merged = 0, rejected = 0;
	for (int i = 1; i <= 20000; i++) {
		kms_sync_counts c;
		kms_buf text = wiped_copy((const char *)seed_text.data, seed_text.len);
		mutate(&text, &seed);
		kms_status status = apply_text(&c, s, &text);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_INPUT);
		CHECK(c.total == c.merged + c.skipped + c.rejected && c.future <= c.rejected);
		parsed += status == KMS_OK;
		merged += c.merged;
		rejected += c.rejected;
		kms_buf_free(&text);
		if (i % 20) continue;
		CALL(check_store, s, &records);
		kms_store_free(s);
		s = kit_store(1);
	}
	/* Enough messages were accepted, and enough refused. */
	CHECK(parsed > 2000 && parsed < 18000 && merged > 2000 && rejected > 500 && records > 1000);
	kms_buf_free(&seed_text);
	kms_store_free(s);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(mutated_messages_do_no_harm))
