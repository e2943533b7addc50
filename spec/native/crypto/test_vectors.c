/*
 * The known answers of spec/vectors, recomputed by the core. A missing file fails. KMS_VECTORS names another
 * folder of the same files, such as another implementation's.
 */
#include "crypto/testing.h"
#include "material.h"

#include <sys/stat.h>

#include "kms/abi.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/kdf.h"
#include "kms/p384.h"
#include "kms/sealed.h"
#include "kms/sync.h"
#include "kms/tx.h"
#include "kms/value_seal.h"
#include "kms/wallet.h"
#include "store/testing.h"

/* A parsed file: an array of cases. */
typedef struct vectors {
	char *text;
	kms_json json;
	const kms_json_value *item; /* the case looked at */
} vectors;

static const char *folder(void)
{
	const char *set = getenv("KMS_VECTORS");
	return set ? set : "spec/vectors";
}

static void vectors_open(vectors *v, const char *name)
{
	char path[1024];
	*v = (vectors){ 0 };
	snprintf(path, sizeof(path), "%s/%s.json", folder(), name);
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (!f || fstat(fileno(f), &st) != 0) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	size_t len = (size_t)st.st_size;
	v->text = malloc(len + 1);
	if (!v->text || fread(v->text, 1, len, f) != len) exit(2);
	fclose(f);
	MUST(kms_json_parse(&v->json, v->text, len, 1000000));
	v->item = kms_json_first(&v->json, v->json.values);
	if (!v->item) exit(2);
}

static void vectors_close(vectors *v)
{
	kms_json_free(&v->json);
	free(v->text);
}

/* Whether there is another case; it is then the one looked at. */
static bool vectors_next(vectors *v)
{
	v->item = kms_json_next(&v->json, v->item);
	return v->item;
}

static const kms_json_value *member(const vectors *v, const kms_json_value *object, const char *name)
{
	const kms_json_value *value = kms_json_get(&v->json, object, name);
	if (value) return value;
	fprintf(stderr, "no member %s\n", name);
	exit(2);
}

/* A string member of the case. */
static const kms_json_value *text(const vectors *v, const char *name)
{
	return member(v, v->item, name);
}

static uint64_t number(const vectors *v, const char *name)
{
	uint64_t value;
	const kms_json_value *digits = text(v, name);
	MUST(kms_decimal_parse(&value, kms_json_text(digits)));
	return value;
}

/* Bytes of a hexadecimal string, owned by the caller. */
static uint8_t *bytes_of(size_t *len, const kms_json_value *hex)
{
	kms_text digits = kms_hex_strip(kms_json_text(hex));
	*len = digits.len / 2;
	uint8_t *bytes = malloc(*len ? *len : 1);
	if (!bytes) exit(2);
	MUST(kms_hex_decode(kms_out_of(bytes, *len), digits));
	return bytes;
}

static void fixed(uint8_t *bytes, size_t len, const kms_json_value *hex)
{
	MUST(kms_hex_decode(kms_out_of(bytes, len), kms_json_text(hex)));
}

static kms_secret *secret(const kms_json_value *hex)
{
	kms_secret *made;
	MUST(kms_secret_from_hex(&made, kms_json_text(hex), hex->len / 2));
	return made;
}

static kms_p384 *p384(const kms_json_value *hex)
{
	kms_p384 *made;
	kms_secret *scalar = secret(hex);
	MUST(kms_p384_new(&made, scalar));
	kms_secret_unref(scalar);
	return made;
}

static kms_wallet *wallet(const kms_json_value *hex)
{
	kms_wallet *made;
	kms_secret *key = secret(hex);
	MUST(kms_wallet_new(&made, key));
	kms_secret_unref(key);
	return made;
}

static bool bytes_are(const uint8_t *bytes, size_t len, const kms_json_value *hex)
{
	size_t want_len;
	uint8_t *want = bytes_of(&want_len, hex);
	bool same = len == want_len && (!len || memcmp(bytes, want, len) == 0);
	free(want);
	return same;
}

static bool text_is(const char *chars, size_t len, const kms_json_value *want)
{
	return len == want->len && (!len || memcmp(chars, want->text, len) == 0);
}

/* Runs a check on every case of a file. */
static void each(int *failed_, const char *name, void (*check)(int *failed_, const vectors *v))
{
	vectors v;
	int count = 0;
	vectors_open(&v, name);
	do {
		count++;
		check(failed_, &v);
		if (*failed_) fprintf(stderr, "%s.json, case %d\n", name, count);
	} while (!*failed_ && vectors_next(&v));
	vectors_close(&v);
}

static void check_keccak256(int *failed_, const vectors *v)
{
	size_t len;
	uint8_t digest[32], *data = bytes_of(&len, text(v, "data"));
	kms_keccak256(digest, kms_span_of(data, len));
	free(data);
	CHECK(bytes_are(digest, 32, text(v, "hash")));
}

static void check_eip191(int *failed_, const vectors *v)
{
	uint8_t digest[32], address[20], signer[20], sig[65], parsed[65];
	char address_text[KMS_ADDRESS_TEXT], sig_text[KMS_SIGNATURE_TEXT];
	const kms_json_value *m = text(v, "message"), *s = text(v, "signature"), *high = text(v, "high_s");
	kms_wallet *w = wallet(text(v, "priv"));
	kms_wallet_address(address, w);
	kms_address_format(address_text, address);
	CHECK(text_is(address_text, sizeof(address_text), text(v, "address")));
	CHECK_OK(kms_eip191_digest(digest, kms_text_span(kms_json_text(m))));
	CHECK(bytes_are(digest, 32, text(v, "digest")));
	CHECK_OK(kms_wallet_sign_message(sig, w, kms_text_span(kms_json_text(m))));
	kms_signature_format(sig_text, sig);
	CHECK(text_is(sig_text, sizeof(sig_text), text(v, "signature_v27")));
	CHECK_OK(kms_signature_parse(parsed, kms_json_text(s)));
	CHECK_MEM(parsed, sig, 65);
	CHECK_OK(kms_message_recover(signer, kms_text_span(kms_json_text(m)), parsed));
	CHECK_MEM(signer, address, 20);
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_signature_parse(parsed, kms_json_text(high)));
	kms_wallet_free(w);
}

static void check_derive(int *failed_, const vectors *v)
{
	uint8_t key[KMS_DERIVE_MAX];
	const kms_json_value *path = text(v, "path"), *context = text(v, "context");
	size_t len = text(v, "length")->number;
	uint64_t app_id = number(v, "app_id");
	kms_secret *master = secret(text(v, "master_secret")), *reserved = NULL;
	CHECK(len <= sizeof(key));
	if (app_id == 0) {
		/* The one derivation that no application reaches. */
		CHECK(text_is("sync_hmac_key", 13, path) && len == 32);
		CHECK_OK(kms_sync_key(&reserved, master));
		memcpy(key, kms_secret_bytes(reserved), 32);
	} else {
		CHECK_OK(kms_derive(kms_out_of(key, len), master, app_id, kms_json_text(path),
				    kms_json_text(context)));
	}
	CHECK(bytes_are(key, len, text(v, "key")));
	kms_secret_unref(reserved);
	kms_secret_unref(master);
}

/* Both sides: the receiver opens it; with our length of nonce, the sender writes the same. */
static void check_envelope(int *failed_, const vectors *v)
{
	uint8_t der[120], nonce[32];
	kms_channels *channels;
	kms_secret *x, *key;
	kms_envelope envelope;
	kms_p384 *sender = p384(text(v, "sender_priv")), *receiver = p384(text(v, "receiver_priv"));
	const kms_json_value *plain = text(v, "plaintext"), *want = text(v, "envelope");
	const kms_json_value *nonce_hex = member(v, want, "nonce");
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), written = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_buf opened = kms_buf_make(KMS_BUF_GUARDED, 1 << 16);

	kms_p384_der(der, kms_p384_public(receiver));
	CHECK(bytes_are(der, sizeof(der), text(v, "receiver_tee_pubkey")));
	CHECK_OK(kms_p384_ecdh(&x, sender, kms_p384_public(receiver)));
	CHECK(bytes_are(kms_secret_bytes(x), 48, text(v, "shared_secret")));
	CHECK_OK(kms_channels_new(&channels, 2));
	CHECK_OK(kms_channels_get(&key, channels, receiver, kms_p384_public(sender)));
	CHECK_OK(kms_json_canonical(&body, &v->json, want));
	if (nonce_hex->len == 64) {
		fixed(nonce, 32, nonce_hex);
		CHECK_OK(kms_envelope_seal_with(&written, key, kms_p384_public(sender), nonce,
						kms_span_of((const uint8_t *)plain->text, plain->len)));
		CHECK(written.len == body.len);
		CHECK_MEM(written.data, body.data, body.len);
	}
	CHECK_OK(kms_envelope_parse(&envelope, (char *)body.data, body.len));
	CHECK_OK(kms_envelope_check_sender(&envelope, kms_p384_public(sender)));
	CHECK_OK(kms_envelope_open(&opened, &envelope, key));
	CHECK(text_is((char *)opened.data, opened.len, plain));
	kms_buf_free(&body);
	kms_buf_free(&written);
	kms_buf_free(&opened);
	kms_channels_free(channels);
	kms_secret_unref(x);
	kms_secret_unref(key);
	kms_p384_free(sender);
	kms_p384_free(receiver);
}

/* ---- the same inside of a sync message ---- */

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
	kms_store_config config = { .self20 = { 1 },
				    .max_key = 4096,
				    .max_value = 1 << 20,
				    .max_app_bytes = 10 << 20,
				    .max_total_bytes = 64 << 20,
				    .max_namespaces = 10,
				    .max_tombstones = 1000,
				    .tombstone_retention_ms = 86400000,
				    .max_clock_skew_ms = 15000 };
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

static void check_canonical(int *failed_, const vectors *v)
{
	uint8_t mac[32];
	kms_json json;
	const kms_json_value *source = text(v, "json");
	kms_secret *key = secret(text(v, "hmac_key"));
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	CHECK_OK(kms_json_parse(&json, source->text, source->len, 10000));
	CHECK_OK(kms_json_canonical(&out, &json, json.values));
	CHECK(text_is((char *)out.data, out.len, text(v, "canonical")));
	CHECK_OK(kms_hmac_sha256(mac, key, kms_buf_span(&out)));
	CHECK(bytes_are(mac, 32, text(v, "hmac")));
	kms_json_free(&json);
	kms_buf_free(&out);
	kms_secret_unref(key);
}

static void check_tx1559(int *failed_, const vectors *v)
{
	size_t data_len;
	uint8_t address[20], hash[32], *data = bytes_of(&data_len, text(v, "data"));
	char from[KMS_ADDRESS_TEXT];
	kms_wallet *w = wallet(text(v, "priv"));
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_tx tx = { .chain_id = number(v, "chainId"),
		      .nonce = number(v, "nonce"),
		      .max_priority_fee_per_gas = number(v, "maxPriorityFeePerGas"),
		      .max_fee_per_gas = number(v, "maxFeePerGas"),
		      .gas_limit = number(v, "gasLimit"),
		      .value = number(v, "value"),
		      .data = { data, data_len } };
	fixed(tx.to20, 20, text(v, "to"));
	kms_wallet_address(address, w);
	kms_address_format(from, address);
	CHECK(text_is(from, sizeof(from), text(v, "from")));
	CHECK_OK(kms_tx_sign(hash, &raw, &tx, w));
	CHECK(bytes_are(raw.data, raw.len, text(v, "raw_transaction")));
	CHECK(bytes_are(hash, 32, text(v, "transaction_hash")));
	free(data);
	kms_buf_free(&raw);
	kms_wallet_free(w);
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

/* ---- contract calls: arguments and results are texts, decimal or with 0x ------------------ */

static uint64_t decimal(const kms_json_value *digits)
{
	uint64_t value;
	MUST(kms_decimal_parse(&value, kms_json_text(digits)));
	return value;
}

/* Element `index` of an array of texts. */
static const kms_json_value *element(const vectors *v, const kms_json_value *array, size_t index)
{
	const kms_json_value *at = kms_json_first(&v->json, array);
	for (; at && index; index--)
		at = kms_json_next(&v->json, at);
	if (!at) exit(2);
	return at;
}

static const kms_abi_function *function_of(const vectors *v)
{
	char name[64];
	const kms_json_value *signature = text(v, "signature");
	const char *end = memchr(signature->text, '(', signature->len);
	if (!end || (size_t)(end - signature->text) >= sizeof(name)) exit(2);
	memcpy(name, signature->text, (size_t)(end - signature->text));
	name[end - signature->text] = '\0';
	return kms_abi_find(name);
}

static void argument(uint8_t word[KMS_ABI_WORD], char type, const kms_json_value *value)
{
	uint8_t address[20];
	if (type == 'u') {
		kms_abi_word_number(word, decimal(value));
		return;
	}
	if (type == 'b') {
		fixed(word, KMS_ABI_WORD, value);
		return;
	}
	fixed(address, sizeof(address), value);
	kms_abi_word_address(word, address);
}

static void check_struct(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	kms_abi_app app;
	kms_abi_version version;
	kms_abi_instance i;
	if (kind == KMS_ABI_APP) {
		CHECK_OK(kms_abi_decode_app(&app, data));
		CHECK(app.id == decimal(element(v, want, 0)) && app.status == decimal(element(v, want, 7)));
		return;
	}
	if (kind == KMS_ABI_VERSION) {
		CHECK_OK(kms_abi_decode_version(&version, data));
		CHECK(version.id == decimal(element(v, want, 0)) &&
		      version.status == decimal(element(v, want, 7)));
		return;
	}
	CHECK_OK(kms_abi_decode_instance(&i, data));
	CHECK(i.id == decimal(element(v, want, 0)) && i.app_id == decimal(element(v, want, 1)));
	CHECK(i.version_id == decimal(element(v, want, 2)));
	CHECK(bytes_are(i.operator20, 20, element(v, want, 3)));
	CHECK(text_is(i.url.text, i.url.len, element(v, want, 4)));
	CHECK(bytes_are((const uint8_t *)i.tee_pubkey.text, i.tee_pubkey.len, element(v, want, 5)));
	CHECK(bytes_are(i.wallet20, 20, element(v, want, 6)));
	CHECK(i.zk_verified == (element(v, want, 7)->type == KMS_JSON_TRUE));
	CHECK(i.status == decimal(element(v, want, 8)));
	CHECK(i.registered_at_s == decimal(element(v, want, 9)));
}

static void check_list(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	kms_abi_list list;
	bool addresses = kind == KMS_ABI_ADDRESSES;
	CHECK_OK(addresses ? kms_abi_decode_addresses(&list, data) : kms_abi_decode_numbers(&list, data));
	CHECK(list.count == want->count);
	for (size_t i = 0; i < list.count; i++) {
		const kms_json_value *one = element(v, want, i);
		CHECK(addresses ? bytes_are(kms_abi_list_address20(&list, i), 20, one)
				: kms_abi_list_number(&list, i) == decimal(one));
	}
}

static void check_word(int *failed_, const vectors *v, kms_abi_result kind, kms_span data)
{
	const kms_json_value *want = text(v, "result");
	uint64_t number;
	uint8_t bytes[32];
	bool truth;
	if (kind == KMS_ABI_NUMBER) {
		CHECK_OK(kms_abi_decode_number(&number, data));
		CHECK(number == decimal(want));
	} else if (kind == KMS_ABI_ADDRESS) {
		CHECK_OK(kms_abi_decode_address(bytes, data));
		CHECK(bytes_are(bytes, 20, want));
	} else if (kind == KMS_ABI_BYTES32) {
		CHECK_OK(kms_abi_decode_bytes32(bytes, data));
		CHECK(bytes_are(bytes, 32, want));
	} else {
		CHECK(kind == KMS_ABI_BOOL);
		CHECK_OK(kms_abi_decode_bool(&truth, data));
		CHECK(truth == (want->type == KMS_JSON_TRUE));
	}
}

static void check_abi(int *failed_, const vectors *v)
{
	uint8_t words[KMS_ABI_MAX_ARGUMENTS][KMS_ABI_WORD];
	kms_buf call = kms_buf_make(KMS_BUF_PLAIN, 1000);
	const kms_abi_function *f = function_of(v);
	CHECK(f);
	CHECK(text_is(f->signature, strlen(f->signature), text(v, "signature")));
	for (size_t i = 0; f->arguments[i]; i++)
		argument(words[i], f->arguments[i], element(v, text(v, "args"), i));
	CHECK_OK(kms_abi_encode(&call, f, (const uint8_t(*)[KMS_ABI_WORD])words));
	CHECK(bytes_are(call.data, call.len, text(v, "calldata")));
	kms_buf_free(&call);
	if (f->result == KMS_ABI_NOTHING) return;
	size_t len;
	uint8_t *data = bytes_of(&len, text(v, "data"));
	if (f->result == KMS_ABI_APP || f->result == KMS_ABI_VERSION || f->result == KMS_ABI_INSTANCE)
		check_struct(failed_, v, f->result, kms_span_of(data, len));
	else if (f->result == KMS_ABI_ADDRESSES || f->result == KMS_ABI_NUMBERS)
		check_list(failed_, v, f->result, kms_span_of(data, len));
	else
		check_word(failed_, v, f->result, kms_span_of(data, len));
	free(data);
}

TEST(keccak256)
{
	each(failed_, "keccak256", check_keccak256);
}

TEST(eip191)
{
	each(failed_, "eip191", check_eip191);
}

TEST(derive)
{
	each(failed_, "derive", check_derive);
}

TEST(envelope)
{
	each(failed_, "envelope", check_envelope);
}

TEST(sealed)
{
	each(failed_, "sealed", check_sealed);
}

TEST(record)
{
	each(failed_, "record", check_record);
}

TEST(canonical)
{
	each(failed_, "canonical", check_canonical);
}

TEST(tx1559)
{
	each(failed_, "tx1559", check_tx1559);
}

TEST(abi)
{
	each(failed_, "abi", check_abi);
}

TEST(merge)
{
	each(failed_, "merge", check_merge);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(keccak256), T(eip191), T(derive), T(envelope), T(sealed), T(record),
	  T(canonical), T(tx1559), T(abi), T(merge))
