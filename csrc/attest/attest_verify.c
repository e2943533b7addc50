/* Verifying a document: the checks of kms/attest.h, in their order. */
#include <string.h>

#include "attest/attest_internal.h"
#include "crypto/crypto.h"
#include "base/guarded.h"

/* The fingerprint that AWS publishes for aws.nitro-enclaves. */
const uint8_t kms_attest_aws_root32[32] = {
	0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef, 0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
	0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0, 0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b,
};

/* ---- names ------------------------------------------------------------------------------------- */

const char *kms_attest_failure_name(kms_attest_failure failure)
{
	switch (failure) {
#define FAILURE_NAME(name, text, sentence) \
	case KMS_ATTEST_##name:            \
		return text;
		KMS_ATTEST_FAILURE_LIST(FAILURE_NAME)
#undef FAILURE_NAME
	}
	return "unknown";
}

const char *kms_attest_failure_text(kms_attest_failure failure)
{
	switch (failure) {
#define FAILURE_TEXT(name, text, sentence) \
	case KMS_ATTEST_##name:            \
		return sentence;
		KMS_ATTEST_FAILURE_LIST(FAILURE_TEXT)
#undef FAILURE_TEXT
	}
	return "unknown";
}

/* ---- preparation --------------------------------------------------------------------------------- */

/*
 * Clears an earlier out-of-memory flag and makes this thread's contexts now, so that a failure
 * later on is about the document or about memory during this verification.
 */
static kms_status begin(void)
{
	kms_crypto_thread *thread;
	(void)kms_guarded_starved_openssl();
	return kms_crypto_thread_get(&thread);
}

static kms_status parse(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document)
{
	kms_status status = kms_attest_parse(facts, document);
	if (status == KMS_ERR_ATTEST) *failure = KMS_ATTEST_SHAPE;
	return status;
}

/* ---- checks ------------------------------------------------------------------------------------ */

static kms_status check_root(kms_attest_failure *failure, const kms_attest_facts *facts,
			     const kms_attest_policy *policy)
{
	uint8_t digest[32];
	GUARD(kms_sha256(digest, facts->der[0]));
	for (size_t i = 0; i < policy->root_count; i++)
		if (memcmp(digest, policy->roots[i], sizeof(digest)) == 0) return KMS_OK;
	*failure = KMS_ATTEST_ROOT;
	return KMS_ERR_ATTEST;
}

static kms_status check_signature(kms_attest_failure *failure, const kms_attest_facts *facts,
				  const kms_attest_chain *chain)
{
	EVP_PKEY *key;
	const X509 *leaf = chain->certificates[chain->count - 1];
	GUARD(kms_attest_certificate_key(&key, failure, KMS_ATTEST_SIGNATURE, leaf));
	return kms_es384_verify(failure, key, facts->payload, facts->signature96.bytes);
}

/* The name of the digest and the length of the registers both say SHA384. */
static bool is_sha384(const kms_attest_facts *facts)
{
	static const char name[] = "SHA384";
	if (facts->digest.len != sizeof(name) - 1 || memcmp(facts->digest.bytes, name, sizeof(name) - 1) != 0)
		return false;
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++)
		if (facts->pcrs[i].bytes && facts->pcrs[i].len != KMS_ATTEST_PCR_BYTES) return false;
	return true;
}

/* A document without PCR0 proves no more than one of an enclave in debug mode. */
static bool is_debug(const kms_attest_facts *facts)
{
	uint8_t any = 0;
	for (size_t i = 0; i < facts->pcrs[0].len; i++)
		any |= facts->pcrs[0].bytes[i];
	return any == 0;
}

/* Null and an empty byte string count as equal. */
static bool is_expected(const kms_span *want, kms_span got)
{
	if (!want) return true;
	return want->len == got.len && (got.len == 0 || memcmp(want->bytes, got.bytes, got.len) == 0);
}

static kms_status check_time(kms_attest_failure *failure, const kms_attest_facts *facts,
			     const kms_attest_policy *policy)
{
	uint64_t now = policy->now_ms, stamp = facts->timestamp_ms;
	ENSURE_ATTEST(stamp >= now || now - stamp <= policy->max_age_ms, KMS_ATTEST_STALE);
	ENSURE_ATTEST(stamp <= now || stamp - now <= policy->max_ahead_ms, KMS_ATTEST_FUTURE);
	return KMS_OK;
}

/* Whether the document has every register that the image names, with the same value. */
static bool is_image(const kms_attest_facts *facts, const kms_attest_pcrs *image)
{
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++) {
		if (!(image->named & 1u << i)) continue;
		kms_span pcr = facts->pcrs[i];
		if (pcr.len != KMS_ATTEST_PCR_BYTES || memcmp(pcr.bytes, image->values[i], pcr.len) != 0)
			return false;
	}
	return true;
}

static bool is_allowed(const kms_attest_facts *facts, const kms_attest_policy *policy)
{
	for (size_t i = 0; i < policy->image_count; i++)
		if (is_image(facts, &policy->images[i])) return true;
	return !policy->check_pcrs;
}

/* The checks of the signed content. */
static kms_status check_content(kms_attest_failure *failure, const kms_attest_facts *facts,
				const kms_attest_policy *policy)
{
	ENSURE_ATTEST(is_sha384(facts), KMS_ATTEST_DIGEST);
	ENSURE_ATTEST(policy->allow_debug || !is_debug(facts), KMS_ATTEST_DEBUG);
	ENSURE_ATTEST(is_expected(policy->nonce, facts->nonce), KMS_ATTEST_NONCE);
	GUARD(check_time(failure, facts, policy));
	ENSURE_ATTEST(is_allowed(facts, policy), KMS_ATTEST_PCR);
	ENSURE_ATTEST(is_expected(policy->user_data, facts->user_data), KMS_ATTEST_USER_DATA);
	ENSURE_ATTEST(is_expected(policy->public_key, facts->public_key), KMS_ATTEST_PUBLIC_KEY);
	return KMS_OK;
}

static kms_status check(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document,
			const kms_attest_policy *policy)
{
	DEFER(kms_attest_chain_free) kms_attest_chain chain = { 0 };
	GUARD(parse(facts, failure, document));
	GUARD(check_root(failure, facts, policy));
	GUARD(kms_attest_chain_load(&chain, failure, facts));
	GUARD(kms_attest_chain_constraints(failure, &chain));
	GUARD(kms_attest_chain_validity(failure, facts, policy->now_ms, policy->max_ahead_ms));
	GUARD(check_signature(failure, facts, &chain));
	return check_content(failure, facts, policy);
}

/* ---- public functions -------------------------------------------------------------------------- */

static kms_status check_policy(const kms_attest_policy *policy)
{
	ENSURE_REF(policy);
	ENSURE(policy->roots || policy->root_count == 0, KMS_ERR_ARGUMENT);
	ENSURE(policy->images || policy->image_count == 0, KMS_ERR_ARGUMENT);
	ENSURE(policy->check_pcrs || policy->image_count == 0, KMS_ERR_ARGUMENT);
	/* An image without registers would match every document. */
	for (size_t i = 0; i < policy->image_count; i++)
		ENSURE(policy->images[i].named != 0, KMS_ERR_ARGUMENT);
	return KMS_OK;
}

kms_status kms_attest_verify(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document,
			     const kms_attest_policy *policy)
{
	ENSURE(facts && failure, KMS_ERR_ARGUMENT);
	memset(facts, 0, sizeof(*facts));
	*failure = KMS_ATTEST_NONE;
	ENSURE_REF(document.bytes);
	GUARD(check_policy(policy));
	GUARD(begin());
	kms_status status = check(facts, failure, document, policy);
	/* OpenSSL may report success after it ran out of memory: that verified nothing. */
	if (status == KMS_OK && kms_guarded_starved_openssl()) status = KMS_ERR_LOCKED_MEMORY;
	if (status != KMS_OK) memset(facts, 0, sizeof(*facts));
	return status;
}

static kms_status read_certificate(kms_attest_certificate *shown, kms_span der)
{
	DEFER(x509_release) X509 *certificate = kms_attest_certificate_parse(der);
	if (certificate && kms_attest_certificate_show(shown, certificate, der)) return KMS_OK;
	/* Bytes that are no certificate are shown as such; only missing memory is a failure. */
	kms_attest_failure failure;
	kms_status status = kms_attest_refusal(&failure, KMS_ATTEST_CHAIN);
	return status == KMS_ERR_ATTEST ? KMS_OK : status;
}

static kms_status read(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document)
{
	GUARD(parse(facts, failure, document));
	for (size_t i = 0; i < facts->chain_len && i < KMS_ATTEST_MAX_CHAIN; i++)
		GUARD(read_certificate(&facts->chain[i], facts->der[i]));
	return KMS_OK;
}

kms_status kms_attest_read(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document)
{
	ENSURE(facts && failure, KMS_ERR_ARGUMENT);
	memset(facts, 0, sizeof(*facts));
	*failure = KMS_ATTEST_NONE;
	ENSURE_REF(document.bytes);
	GUARD(begin());
	kms_status status = read(facts, failure, document);
	if (status != KMS_OK) memset(facts, 0, sizeof(*facts));
	return status;
}
