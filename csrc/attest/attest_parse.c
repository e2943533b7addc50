/* Parsing a document (kms/attest.h): every field bounded. */
#include <string.h>

#include "attest/attest_internal.h"
#include "codec/cbor.h"

#define SIGN1_TAG 18
#define MIN_PCR 32 /* SHA-256 */
#define MAX_PCR 64 /* SHA-512 */
#define MAX_DIGEST 16

const uint8_t kms_cose_es384_header[5] = { 0x44, 0xa1, 0x01, 0x38, 0x22 };

/* Members of the payload that this version does not know. */
#define MAX_UNKNOWN 16
#define MAX_UNKNOWN_DEPTH 8
#define MAX_NAME 64

/* What is left of an array or map: a number of elements or pairs, or those before a break. */
typedef struct sequence {
	size_t left;
	bool indefinite;
} sequence;

/* `head`: the first byte that an indefinite one has; it says whether an array or a map is wanted. */
static kms_status begin(sequence *s, kms_reader *reader, uint8_t head, size_t min, size_t max)
{
	s->left = max;
	s->indefinite = kms_cbor_skip(reader, head);
	if (s->indefinite) return KMS_OK;
	return head == KMS_CBOR_INDEFINITE_MAP ? kms_cbor_map(&s->left, reader, min, max)
					       : kms_cbor_array(&s->left, reader, min, max);
}

/* Whether another element or pair follows; more than the maximum is ERR_FIELD_VALUE. */
static kms_status next(bool *more, sequence *s, kms_reader *reader)
{
	*more = s->indefinite ? !kms_cbor_skip(reader, KMS_CBOR_BREAK) : s->left > 0;
	if (!*more) return KMS_OK;
	ENSURE(s->left, KMS_ERR_FIELD_VALUE);
	s->left--;
	return KMS_OK;
}

/* ---- fields of the payload --------------------------------------------------------------------- */

static kms_status read_module_id(kms_attest_facts *facts, kms_reader *reader)
{
	return kms_cbor_text(&facts->module_id, reader, 1, KMS_ATTEST_MAX_MODULE_ID);
}

static kms_status read_digest(kms_attest_facts *facts, kms_reader *reader)
{
	return kms_cbor_text(&facts->digest, reader, 1, MAX_DIGEST);
}

static kms_status read_timestamp(kms_attest_facts *facts, kms_reader *reader)
{
	return kms_cbor_uint(&facts->timestamp_ms, reader, 1, KMS_ATTEST_MAX_TIME_MS);
}

static kms_status read_pcr(kms_attest_facts *facts, kms_reader *reader)
{
	uint64_t index;
	kms_span pcr;
	GUARD(kms_cbor_uint(&index, reader, 0, KMS_ATTEST_PCR_COUNT - 1));
	GUARD(kms_cbor_bytes(&pcr, reader, MIN_PCR, MAX_PCR));
	ENSURE(pcr.len == MIN_PCR || pcr.len == KMS_ATTEST_PCR_BYTES || pcr.len == MAX_PCR,
	       KMS_ERR_FIELD_VALUE);
	ENSURE(!facts->pcrs[index].bytes, KMS_ERR_FIELD_VALUE); /* a duplicate */
	facts->pcrs[index] = pcr;
	return KMS_OK;
}

static kms_status read_pcrs(kms_attest_facts *facts, kms_reader *reader)
{
	sequence s;
	bool more;
	size_t count = 0;
	GUARD(begin(&s, reader, KMS_CBOR_INDEFINITE_MAP, 1, KMS_ATTEST_PCR_COUNT));
	GUARD(next(&more, &s, reader));
	while (more) {
		count++;
		GUARD(read_pcr(facts, reader));
		GUARD(next(&more, &s, reader));
	}
	return count ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

/* Keeps the leaf in the last place until the length of the chain is known. */
static kms_status read_certificate(kms_attest_facts *facts, kms_reader *reader)
{
	return kms_cbor_bytes(&facts->der[KMS_ATTEST_MAX_CHAIN - 1], reader, 1, KMS_ATTEST_MAX_CERTIFICATE);
}

/* Counts excess certificates without keeping them: too many is a CHAIN failure, not SHAPE. */
static kms_status read_cabundle(kms_attest_facts *facts, kms_reader *reader)
{
	sequence s;
	bool more;
	GUARD(begin(&s, reader, KMS_CBOR_INDEFINITE_ARRAY, 1, KMS_ATTEST_MAX_DOCUMENT));
	GUARD(next(&more, &s, reader));
	while (more) {
		kms_span der;
		GUARD(kms_cbor_bytes(&der, reader, 1, KMS_ATTEST_MAX_CERTIFICATE));
		if (facts->chain_len < KMS_ATTEST_MAX_CHAIN - 1) facts->der[facts->chain_len] = der;
		facts->chain_len++;
		GUARD(next(&more, &s, reader));
	}
	return facts->chain_len ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status read_optional(kms_span *bytes, kms_reader *reader, size_t min, size_t max)
{
	if (kms_cbor_skip(reader, KMS_CBOR_NULL)) return KMS_OK;
	return kms_cbor_bytes(bytes, reader, min, max);
}

static kms_status read_public_key(kms_attest_facts *facts, kms_reader *reader)
{
	return read_optional(&facts->public_key, reader, 1, KMS_ATTEST_MAX_PUBLIC_KEY);
}

static kms_status read_user_data(kms_attest_facts *facts, kms_reader *reader)
{
	return read_optional(&facts->user_data, reader, 0, KMS_ATTEST_MAX_DATA);
}

static kms_status read_nonce(kms_attest_facts *facts, kms_reader *reader)
{
	return read_optional(&facts->nonce, reader, 0, KMS_ATTEST_MAX_DATA);
}

typedef struct field {
	const char *name;
	kms_status (*read)(kms_attest_facts *facts, kms_reader *reader);
} field;

static const field fields[] = {
	{ "module_id", read_module_id },
	{ "digest", read_digest },
	{ "timestamp", read_timestamp },
	{ "pcrs", read_pcrs },
	{ "certificate", read_certificate },
	{ "cabundle", read_cabundle },
	{ "public_key", read_public_key },
	{ "user_data", read_user_data },
	{ "nonce", read_nonce },
};

#define FIELDS KMS_ARRAY_LEN(fields)

/* Reads one field, or passes over one that is not known; `seen` has a bit for each field read so far. */
static kms_status read_field(kms_attest_facts *facts, unsigned *seen, kms_reader *reader)
{
	kms_span name;
	size_t i = 0;
	GUARD(kms_cbor_text(&name, reader, 1, MAX_NAME));
	while (i < FIELDS &&
	       (strlen(fields[i].name) != name.len || memcmp(fields[i].name, name.bytes, name.len) != 0))
		i++;
	if (i == FIELDS) return kms_cbor_pass(reader, MAX_UNKNOWN_DEPTH);
	ENSURE(!(*seen & 1u << i), KMS_ERR_FIELD_VALUE);
	*seen |= 1u << i;
	return fields[i].read(facts, reader);
}

/* Moves the leaf behind the other certificates. */
static void place_leaf(kms_attest_facts *facts)
{
	kms_span leaf = facts->der[KMS_ATTEST_MAX_CHAIN - 1];
	facts->der[KMS_ATTEST_MAX_CHAIN - 1] = (kms_span){ 0 };
	size_t place =
	    facts->chain_len < KMS_ATTEST_MAX_CHAIN - 1 ? facts->chain_len : KMS_ATTEST_MAX_CHAIN - 1;
	facts->der[place] = leaf;
	facts->chain_len++;
}

/*
 * Each field exactly once, in any order. Up to MAX_UNKNOWN others are passed over: a field that AWS adds must
 * not part a cluster's members. Lengths of maps and lists may be indefinite, as the device writes this one.
 */
static kms_status read_payload(kms_attest_facts *facts)
{
	kms_reader reader = kms_reader_make(facts->payload);
	sequence s;
	bool more;
	unsigned seen = 0;
	GUARD(begin(&s, &reader, KMS_CBOR_INDEFINITE_MAP, FIELDS, FIELDS + MAX_UNKNOWN));
	GUARD(next(&more, &s, &reader));
	while (more) {
		GUARD(read_field(facts, &seen, &reader));
		GUARD(next(&more, &s, &reader));
	}
	ENSURE(seen == (1u << FIELDS) - 1, KMS_ERR_FIELD_VALUE);
	GUARD(kms_reader_end(&reader));
	place_leaf(facts);
	return KMS_OK;
}

/* ---- the envelope ------------------------------------------------------------------------------ */

/* The tag may be absent, but no other tag is accepted. */
static kms_status read_sign1(kms_reader *reader)
{
	kms_cbor_major major;
	uint64_t number;
	GUARD(kms_cbor_head(&major, &number, reader));
	if (major == KMS_CBOR_TAG && number == SIGN1_TAG) GUARD(kms_cbor_head(&major, &number, reader));
	ENSURE(major == KMS_CBOR_ARRAY && number == 4, KMS_ERR_FIELD_TYPE);
	return KMS_OK;
}

static kms_status read_envelope(kms_attest_facts *facts, kms_reader *reader)
{
	const uint8_t *header;
	size_t unprotected;
	GUARD(read_sign1(reader));
	GUARD(kms_reader_take(&header, reader, sizeof(kms_cose_es384_header)));
	ENSURE(memcmp(header, kms_cose_es384_header, sizeof(kms_cose_es384_header)) == 0,
	       KMS_ERR_FIELD_VALUE);
	GUARD(kms_cbor_map(&unprotected, reader, 0, 0));
	GUARD(kms_cbor_bytes(&facts->payload, reader, 1, KMS_ATTEST_MAX_DOCUMENT));
	GUARD(kms_cbor_bytes(&facts->signature96, reader, KMS_ES384_BYTES, KMS_ES384_BYTES));
	return kms_reader_end(reader);
}

kms_status kms_attest_parse(kms_attest_facts *facts, kms_span document)
{
	memset(facts, 0, sizeof(*facts));
	ENSURE(document.len <= KMS_ATTEST_MAX_DOCUMENT, KMS_ERR_ATTEST);
	kms_reader reader = kms_reader_make(document);
	kms_status status = read_envelope(facts, &reader);
	if (status == KMS_OK) status = read_payload(facts);
	if (status == KMS_OK) return KMS_OK;
	memset(facts, 0, sizeof(*facts));
	return KMS_ERR_ATTEST;
}
