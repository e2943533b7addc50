/*
 * Attestation documents and the statements in them: what is read lies within the document, and what is
 * verified is read the same way. The document's own first certificate is the trusted root, so that all checks
 * are reached.
 */
#include "attest_kit.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

static void check_facts(const kms_attest_facts *facts, kms_span document)
{
	HOLDS(facts->module_id.len >= 1 && facts->module_id.len <= KMS_ATTEST_MAX_MODULE_ID);
	HOLDS(fuzz_within(facts->module_id, document) && fuzz_within(facts->digest, document));
	HOLDS(fuzz_within(facts->public_key, document) && fuzz_within(facts->user_data, document));
	HOLDS(facts->user_data.len <= KMS_ATTEST_MAX_DATA && facts->nonce.len <= KMS_ATTEST_MAX_DATA);
	HOLDS(facts->public_key.len <= KMS_ATTEST_MAX_PUBLIC_KEY && fuzz_within(facts->nonce, document));
	HOLDS(fuzz_within(facts->payload, document) && facts->signature96.len == 96);
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++)
		HOLDS(fuzz_within(facts->pcrs[i], document) && facts->pcrs[i].len <= 64);
	for (size_t i = 0; i < facts->chain_len && i < KMS_ATTEST_MAX_CHAIN; i++)
		HOLDS(fuzz_within(facts->der[i], document));
}

static void verify(const kms_attest_facts *read, kms_span document)
{
	static const kms_attest_facts nothing;
	kms_attest_facts facts;
	kms_attest_failure failure;
	uint8_t root32[1][32];
	HOLDS_OK(kms_sha256(root32[0], read->der[0]));
	kms_attest_policy policy = { .roots = (const uint8_t(*)[32])root32,
				     .root_count = 1,
				     .now_ms = KIT_NOW_MS,
				     .max_age_ms = KMS_ATTEST_ANY_AGE,
				     .allow_debug = true };
	kms_status status = kms_attest_verify(&facts, &failure, document, &policy);
	HOLDS(status == KMS_OK || status == KMS_ERR_ATTEST);
	HOLDS((status == KMS_OK) == (failure == KMS_ATTEST_NONE));
	if (status == KMS_OK) {
		fuzz_accept(0);
		HOLDS(facts.timestamp_ms == read->timestamp_ms && facts.chain_len == read->chain_len);
		HOLDS(facts.payload.bytes == read->payload.bytes && facts.payload.len == read->payload.len);
	} else {
		HOLDS(memcmp(&facts, &nothing, sizeof(facts)) == 0);
	}
}

static void check_statement(kms_span user_data)
{
	kms_attest_statement statement;
	if (kms_attest_statement_read(&statement, user_data) == KMS_OK)
		fuzz_accept(1);
	else
		HOLDS(!statement.has_policy && statement.purpose == KMS_ATTEST_PUBLIC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	fuzz_start();
	kms_span document = kms_span_of(data, size);
	kms_status status = kms_attest_read(&facts, &failure, document);
	HOLDS(status == KMS_OK || (status == KMS_ERR_ATTEST && failure == KMS_ATTEST_SHAPE));
	check_statement(document);
	if (status != KMS_OK) return 0;
	check_facts(&facts, document);
	check_statement(facts.user_data);
	if (facts.chain_len) verify(&facts, document);
	return 0;
}

void fuzz_seeds(void)
{
	static doc d;
	honest(&d, 2);
	fuzz_seed(out_of(&d));
	d.indefinite = true;
	assemble(&d);
	fuzz_seed(out_of(&d));
	FUZZ_SEED("{\"eth_addr\":\"0x00112233445566778899aAbBcCdDeEfF00112233\",\"kms\":{\"v\":1,\"purpose\":"
		  "\"secret\"}}");
	FUZZ_SEED("\xd2\x84\x44\xa1\x01\x38\x22\xa0\x40\x40");
}
