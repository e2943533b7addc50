/*
 * Sync messages: every text lies within its bounds, each record is counted once, and what a store merged
 * is a message that another store merges.
 */
#include "lib/fuzz.h"
#include "sync_kit.h"

const unsigned fuzz_kinds = 4;

static void check_members(const kms_sync *message)
{
	uint64_t number, records = 0, app_id;
	bool complete;
	kms_record record;
	for (int i = 0; i < KMS_SYNC_TEXTS; i++) {
		kms_text text = kms_sync_text(message, (kms_sync_text_name)i);
		HOLDS(text.len <= (i == KMS_SYNC_ATTESTATION ? KMS_SYNC_MAX_ATTESTATION
				   : i == KMS_SYNC_DIGEST    ? KMS_SYNC_MAX_DIGEST
							     : KMS_SYNC_MAX_TEXT));
		HOLDS(text.len == 0 || kms_utf8_valid(text));
	}
	for (int i = 0; i < KMS_SYNC_NUMBERS; i++) {
		bool has = kms_sync_number(&number, message, (kms_sync_number_name)i);
		HOLDS(has ? number <= INT64_MAX : number == 0);
	}
	if (!kms_sync_complete(&complete, message)) HOLDS(!complete);
	for (size_t i = 0; kms_sync_feature(message, i).text; i++)
		HOLDS(i < KMS_SYNC_MAX_FEATURES);
	while (kms_sync_record(&record, &app_id, message, (size_t)records))
		records++;
	HOLDS(records <= kms_sync_records(message));
	if (!kms_sync_has_data(message)) HOLDS(kms_sync_records(message) == 0);
}

static void check_counts(const kms_sync_counts *counts, const kms_sync *message)
{
	HOLDS(counts->total == kms_sync_records(message));
	HOLDS(counts->total == counts->merged + counts->skipped + counts->rejected);
	HOLDS(counts->future + counts->poisoned + counts->refused <= counts->rejected);
	HOLDS(counts->stubs <= counts->skipped);
}

/* What `store` holds, as a message for an empty store. */
static void check_snapshot(kms_store *store)
{
	uint64_t records;
	kms_sync_counts counts;
	kms_store *other = kit_store(3);
	kms_buf text = new_text();
	add(&text, "{\"type\":\"delta\",\"data\":");
	HOLDS_OK(kms_sync_snapshot(&records, &text, store, 0));
	add(&text, "}");
	HOLDS_OK(apply_text(&counts, other, &text));
	HOLDS(counts.total == records && counts.merged == records);
	kms_store_free(other);
	kms_buf_free(&text);
}

/* Pages of any size are together what the store holds. */
static void check_pages(kms_store *store, const kms_sync *message)
{
	uint64_t records = 0, all, max_bytes;
	kms_delta page;
	kms_buf text = new_text();
	kms_delta_options options = { .max_records = 1, .max_record_bytes = SIZE_MAX, .stubs = true };
	HOLDS_OK(kms_sync_snapshot(&all, &text, store, true));
	kms_buf_free(&text);
	(void)!kms_sync_number(&max_bytes, message, KMS_SYNC_MAX_BYTES);
	options.max_records += max_bytes % 7;
	options.max_bytes = max_bytes % 1000 + 1;
	while (options.since < kms_store_sequence(store)) {
		HOLDS_OK(kms_sync_page(&page, &text, store, &options));
		HOLDS(page.until > options.since && page.until <= kms_store_sequence(store) &&
		      page.skipped == 0);
		records += page.records;
		options.since = page.until;
		kms_buf_free(&text);
	}
	HOLDS(records == all);
	/* Whatever a peer asks for. */
	if (kms_sync_number(&options.since, message, KMS_SYNC_SINCE)) {
		HOLDS_OK(kms_sync_page(&page, &text, store, &options));
		kms_buf_free(&text);
	}
}

typedef kms_status (*parser)(kms_sync **message, const char **field, kms_buf *plain);

/* Reads the input with values in hexadecimal or in base64. accepted: what the input has reached, if it is
 * parsed and if records of it are merged. */
static void check_input(kms_span input, parser parse, unsigned accepted)
{
	kms_sync *message;
	kms_sync_counts counts;
	const char *field;
	kms_buf copy = fuzz_copy(KMS_BUF_WIPED, input);
	kms_status status = parse(&message, &field, &copy);
	HOLDS(!copy.data && (status == KMS_OK) == (message != NULL));
	HOLDS(kms_status_category(status) != KMS_CATEGORY_USAGE);
	if (!message) return;
	fuzz_accept(accepted);
	check_members(message);
	if (kms_sync_records(message)) {
		kms_store *store = kit_store(SELF);
		HOLDS_OK(apply_message(&counts, message, store));
		check_counts(&counts, message);
		if (counts.merged) fuzz_accept(accepted + 1);
		if (counts.merged) check_snapshot(store);
		check_pages(store, message);
		kms_store_free(store);
	}
	kms_sync_free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_start();
	if (size > FUZZ_MAX_INPUT) return 0;
	check_input(kms_span_of(data, size), kms_sync_parse, 0);
	check_input(kms_span_of(data, size), kms_sync_parse_base64, 2);
	return 0;
}

/* The records of a message, with their values in base64. */
static void seed_base64(const kms_buf *hex)
{
	kms_delta delta;
	kms_sync_counts counts;
	kms_store *store = kit_store(3);
	kms_buf text = new_text();
	const kms_delta_options options = {
		.max_records = 10, .max_bytes = 10000, .max_record_bytes = SIZE_MAX, .base64 = true
	};
	MUST(apply_text(&counts, store, hex));
	add(&text, "{\"data\":");
	MUST(kms_sync_delta(&delta, &text, store, &options));
	add(&text, "}");
	fuzz_seed(kms_buf_span(&text));
	kms_buf_free(&text);
	kms_store_free(store);
}

void fuzz_seeds(void)
{
	kms_buf text = data_text();
	add_live(&text, "k", 1, WALLET, 1, NOW);
	add(&text, ",");
	add_live(&text, "k", 2, WALLET, 2, NOW);
	add(&text, ",{\"key\":\"gone\",\"value\":null,\"version\":{\"" WALLET
		   "\":3},\"updated_at_ms\":1700000000000,"
		   "\"tombstone\":true,\"ttl_ms\":0}");
	add(&text, "]}}");
	fuzz_seed(kms_buf_span(&text));
	seed_base64(&text);
	kms_buf_free(&text);
	FUZZ_SEED("{\"type\":\"master_secret_request\",\"sender_wallet\":\"" WALLET
		  "\",\"ecdh_pubkey\":\"04\"}");
	FUZZ_SEED("{\"status\":\"ok\",\"total\":3,\"merged\":1,\"skipped\":1,\"rejected\":1,\"future\":0,"
		  "\"complete\":true,\"features\":[\"a\",\"b\"],\"store\":\"x\"}");
	FUZZ_SEED("{\"sealed\":{\"ecdh_pubkey\":\"04\",\"encrypted_data\":\"00\",\"nonce\":\"00\"},"
		  "\"attestation\":\"AA==\"}");
	FUZZ_SEED("{\"type\":\"snapshot_request\",\"since\":1,\"max_bytes\":2,\"until\":3,\"sequence\":4}");
	FUZZ_SEED("{\"type\":\"delta\",\"app_id\":1}");
	FUZZ_SEED("{\"data\":{\"49\":[{}],\"0\":[1],\"x\":null}}");
}
