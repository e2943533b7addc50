/* Known answers: the sealed master secret, stored values and merges, each also inside a sync message. */
#include "crypto/testing.h"
#include "kms/eth_text.h"
#include "kms/kdf.h"
#include "kms/sealed.h"
#include "kms/sync.h"
#include "kms/value_seal.h"
#include "store/testing.h"
#include "store_config.h"
#include "vectors_kit.h"

/* The message {"<name>": <value>}, or within more of it. */
static kms_sync *message_of(const char *before, const kms_buf *value, const char *after)
{
	kms_sync *message;
	const char *field;
	kms_buf text = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	MUST(kms_buf_append_text(&text, before));
	MUST(kms_buf_append(&text, kms_buf_span(value)));
	MUST(kms_buf_append_text(&text, after));
	MUST(kms_sync_parse(&message, &field, &text));
	return message;
}

static kms_secret *unseal_message(const vectors *v, const kms_json_value *sealed, const kms_p384 *requester)
{
	kms_secret *opened;
	kms_buf value = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	MUST(kms_json_canonical(&value, &v->json, sealed));
	kms_sync *message = message_of("{\"status\":\"ok\",\"sealed\":", &value, "}");
	MUST(kms_sync_unseal(&opened, message, requester));
	kms_sync_free(message);
	kms_buf_free(&value);
	return opened;
}

static kms_store *vector_store(void)
{
	kms_store *store;
	kms_store_config config = kit_config(1);
	MUST(kms_store_new(&store, &config));
	return store;
}

/* How many of one record are merged that has this ciphertext. */
static uint64_t merge_message(const char *app_id, const kms_json_value *record, const kms_secret *master)
{
	kms_sync_counts counts;
	kms_store *store = vector_store();
	kms_buf value = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	MUST(kms_buf_append_text(&value, app_id));
	MUST(kms_buf_append_text(&value, "\":[{\"key\":\"k\",\"version\":{\"0x0100000000000000000000000000"
					 "000000000000\":1},\"value\":\""));
	MUST(kms_buf_append(&value, kms_text_span(kms_json_text(record))));
	kms_sync *message = message_of("{\"data\":{\"", &value, "\"}]}}");
	kms_sync_admit(message, 0);
	MUST(kms_sync_apply(&counts, message, store, master, 1, 1000));
	kms_sync_free(message);
	kms_buf_free(&value);
	kms_store_free(store);
	return counts.merged;
}

static void check_sealed(int *failed_, const vectors *v)
{
	uint8_t der[120], point[97], iv[12];
	kms_sealed sealed;
	kms_secret *master = secret(text(v, "master_secret")), *opened;
	kms_p384 *requester = p384(text(v, "requester_priv")), *ephemeral = p384(text(v, "ephemeral_priv"));
	const kms_json_value *want = text(v, "sealed");
	fixed(der, sizeof(der), text(v, "ecdh_pubkey"));
	CHECK_OK(kms_p384_point_parse(point, KMS_SPAN(der)));
	CHECK_MEM(point, kms_p384_public(requester), 97);
	fixed(iv, sizeof(iv), member(v, want, "nonce"));
	CHECK_OK(kms_master_seal_with(&sealed, master, point, ephemeral, iv));
	CHECK(bytes_are(sealed.data48, 48, member(v, want, "encrypted_data")));
	kms_p384_der(der, sealed.ephemeral_point97);
	CHECK(bytes_are(der, sizeof(der), member(v, want, "ephemeral_pubkey")));
	CHECK_OK(kms_master_unseal(&opened, &sealed, requester));
	CHECK(kms_secret_equal(opened, master));
	kms_secret_unref(opened);
	opened = unseal_message(v, want, requester);
	CHECK(kms_secret_equal(opened, master));
	kms_secret_unref(opened);
	kms_secret_unref(master);
	kms_p384_free(requester);
	kms_p384_free(ephemeral);
}

static void check_record(int *failed_, const vectors *v)
{
	size_t record_len, plain_len;
	uint8_t iv[12];
	uint8_t *record = bytes_of(&record_len, text(v, "record"));
	uint8_t *plain = bytes_of(&plain_len, text(v, "plaintext"));
	uint8_t *sealed = malloc(plain_len + 16);
	kms_secret *master = secret(text(v, "master_secret")), *key;
	kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 20);
	CHECK(sealed && record_len == plain_len + KMS_VALUE_SEAL_OVERHEAD);
	CHECK_OK(kms_data_key(&key, master, number(v, "app_id")));
	CHECK(bytes_are(kms_secret_bytes(key), 32, text(v, "data_key")));
	CHECK_OK(kms_value_open(&opened, key, kms_span_of(record, record_len)));
	CHECK(opened.len == plain_len && (!plain_len || memcmp(opened.data, plain, plain_len) == 0));
	fixed(iv, 12, text(v, "nonce"));
	CHECK_MEM(record, iv, 12);
	CHECK_OK(kms_gcm_seal(sealed, kms_secret_bytes(key), iv, kms_span_of(plain, plain_len)));
	CHECK_MEM(record + 12, sealed, plain_len + 16);
	char app_id[24] = { 0 };
	memcpy(app_id, text(v, "app_id")->text, text(v, "app_id")->len);
	CHECK(merge_message(app_id, text(v, "record"), master) == 1);
	CHECK(merge_message("2", text(v, "record"), master) == 0);
	free(record);
	free(plain);
	free(sealed);
	kms_buf_free(&opened);
	kms_secret_unref(master);
	kms_secret_unref(key);
}

/* ---- merge ---- */

#define MERGE_NOW 10000u
#define MERGE_VALUE 30 /* two bytes, sealed with the file's two in front of the IV: in the same order */
#define MERGE_MASTER "4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d"
#define MERGE_CLOCK 8

/* A record of the file and what it borrows. */
typedef struct merge_record {
	kms_record record;
	uint8_t value[MERGE_VALUE];
	kms_clock_entry clock[MERGE_CLOCK];
} merge_record;

static void seal_merge_value(uint8_t value[MERGE_VALUE], const kms_json_value *hex)
{
	static const uint8_t plain[2] = { 1, 2 };
	kms_secret *master = hex_secret(MERGE_MASTER), *key;
	MUST(kms_data_key(&key, master, 1));
	memset(value, 0, 12);
	fixed(value, hex->len / 2, hex);
	MUST(kms_gcm_seal(value + 12, kms_secret_bytes(key), value, KMS_SPAN(plain)));
	kms_secret_unref(key);
	kms_secret_unref(master);
}

static void read_merge_record(merge_record *r, const vectors *v, const kms_json_value *object)
{
	const kms_json_value *key = member(v, object, "key"), *value = member(v, object, "value");
	const kms_json_value *version = member(v, object, "version");
	const kms_json_value *name = kms_json_first(&v->json, version);
	bool tombstone = member(v, object, "tombstone")->type == KMS_JSON_TRUE;
	if (version->count > MERGE_CLOCK) exit(2);
	memset(r, 0, sizeof(*r));
	r->record =
	    (kms_record){ .key = kms_text_of(key->text, key->len),
			  .value = kms_span_of(tombstone ? NULL : r->value, tombstone ? 0 : sizeof(r->value)),
			  .clock = { r->clock, version->count },
			  .updated_at_ms = member(v, object, "updated_at_ms")->number,
			  .ttl_ms = member(v, object, "ttl_ms")->number,
			  .state = tombstone ? KMS_RECORD_TOMBSTONE : KMS_RECORD_LIVE };
	if (!tombstone) seal_merge_value(r->value, value);
	for (uint32_t i = 0; i < version->count; i++, name = kms_json_next(&v->json, name + 1)) {
		/* The file's nodes are "a", "b" and "c". */
		memset(r->clock[i].wallet20, name->text[0], 20);
		r->clock[i].counter = name[1].number;
	}
}

/* An absent entry is a zero. */
static uint64_t counter_of(const kms_record *record, const uint8_t wallet20[20])
{
	for (size_t i = 0; i < record->clock.len; i++)
		if (memcmp(record->clock.entries[i].wallet20, wallet20, 20) == 0)
			return record->clock.entries[i].counter;
	return 0;
}

static bool clock_covers(const kms_record *a, const kms_record *b)
{
	for (size_t i = 0; i < b->clock.len; i++)
		if (counter_of(a, b->clock.entries[i].wallet20) != b->clock.entries[i].counter) return false;
	return true;
}

/* KMS_OK when the record in the store is the one expected. */
static kms_status compare_record(void *context, const kms_record *held)
{
	const kms_record *want = context;
	bool same =
	    held->state == want->state && held->updated_at_ms == want->updated_at_ms &&
	    held->ttl_ms == want->ttl_ms && held->value.len == want->value.len &&
	    (!want->value.len || memcmp(held->value.bytes, want->value.bytes, want->value.len) == 0) &&
	    clock_covers(held, want) && clock_covers(want, held);
	return same ? KMS_OK : KMS_ERR_RECORD;
}

/* Sends a record as a peer does; the outcome that was counted. */
static const char *send_merge_record(kms_store *store, const kms_record *record)
{
	char digits[2 * MERGE_VALUE + 1] = { 0 }, entry[80];
	kms_buf text = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	kms_sync_counts counts;
	kms_secret *master = hex_secret(MERGE_MASTER);
	MUST(kms_buf_append_json(&text, record->key));
	MUST(kms_buf_append_text(&text, record->value.bytes ? ",\"value\":\""
							    : ",\"tombstone\":true,\"value\":null"));
	if (record->value.bytes) kms_hex_encode(digits, record->value);
	MUST(kms_buf_append_text(&text, digits));
	MUST(kms_buf_append_text(&text, record->value.bytes ? "\",\"version\":{" : ",\"version\":{"));
	for (size_t i = 0; i < record->clock.len; i++) {
		char wallet[KMS_ADDRESS_TEXT];
		kms_address_format(wallet, record->clock.entries[i].wallet20);
		snprintf(entry, sizeof(entry), "%s\"%.42s\":%llu", i ? "," : "", wallet,
			 (unsigned long long)record->clock.entries[i].counter);
		MUST(kms_buf_append_text(&text, entry));
	}
	snprintf(entry, sizeof(entry), "},\"updated_at_ms\":%llu,\"ttl_ms\":%llu",
		 (unsigned long long)record->updated_at_ms, (unsigned long long)record->ttl_ms);
	MUST(kms_buf_append_text(&text, entry));
	kms_sync *message = message_of("{\"data\":{\"1\":[{\"key\":", &text, "}]}}");
	kms_sync_admit(message, 0);
	MUST(kms_sync_apply(&counts, message, store, master, 1, MERGE_NOW));
	kms_sync_free(message);
	kms_buf_free(&text);
	kms_secret_unref(master);
	kms_merge outcome = KMS_MERGE_REJECTED;
	for (int i = 0; i < KMS_MERGE_OUTCOMES; i++)
		if (counts.outcomes[i]) outcome = (kms_merge)i;
	return kms_merge_name(outcome);
}

static void check_merge(int *failed_, const vectors *v)
{
	kms_store *store;
	kms_merge outcome;
	merge_record existing, incoming, result;
	read_merge_record(&existing, v, text(v, "existing"));
	read_merge_record(&incoming, v, text(v, "incoming"));
	read_merge_record(&result, v, text(v, "result"));
	store = vector_store();
	CHECK_OK(kms_store_merge(&outcome, store, 1, &existing.record, MERGE_NOW));
	CHECK(outcome == KMS_MERGE_INSERTED);
	CHECK_OK(kms_store_merge(&outcome, store, 1, &incoming.record, MERGE_NOW));
	const char *name = kms_merge_name(outcome);
	CHECK(text_is(name, strlen(name), text(v, "outcome")));
	CHECK_OK(kms_store_peek(store, 1, result.record.key, MERGE_NOW, compare_record, &result.record));
	kms_store_free(store);
	store = vector_store();
	CHECK(strcmp(send_merge_record(store, &existing.record), "inserted") == 0);
	name = send_merge_record(store, &incoming.record);
	CHECK(text_is(name, strlen(name), text(v, "outcome")));
	CHECK_OK(kms_store_peek(store, 1, result.record.key, MERGE_NOW, compare_record, &result.record));
	kms_store_free(store);
}

TEST(sealed)
{
	each(failed_, "sealed", check_sealed);
}

TEST(record)
{
	each(failed_, "record", check_record);
}

TEST(merge)
{
	each(failed_, "merge", check_merge);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(sealed), T(record), T(merge))
