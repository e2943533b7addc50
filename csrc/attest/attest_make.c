/* Making a document of the device's shape under a test root (kms/attest.h). */
#include "attest/attest_root.h"
#include "codec/cbor.h"

#define SIMULATED_PCRS 16 /* as many as the device gives */
#define BEFORE_S 3        /* validity of the leaf around the timestamp, as the device has it */
#define AFTER_S (3 * 3600)

static const uint8_t zero_pcr[KMS_ATTEST_PCR_BYTES];

static kms_status put_field(kms_buf *out, const char *name, kms_span bytes)
{
	GUARD(kms_cbor_put_text(out, name));
	return kms_cbor_put_bytes(out, bytes);
}

static bool is_named(const kms_attest_pcrs *pcrs, size_t index)
{
	return pcrs && pcrs->named & 1u << index;
}

/* The first sixteen always, further ones where they are named. */
static kms_status put_pcrs(kms_buf *out, const kms_attest_pcrs *pcrs)
{
	size_t count = SIMULATED_PCRS;
	for (size_t i = SIMULATED_PCRS; i < KMS_ATTEST_PCR_COUNT; i++)
		count += is_named(pcrs, i);
	GUARD(kms_cbor_put_text(out, "pcrs"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_MAP, count));
	for (size_t i = 0; i < KMS_ATTEST_PCR_COUNT; i++) {
		bool named = is_named(pcrs, i);
		if (i >= SIMULATED_PCRS && !named) continue;
		kms_span pcr = { named ? pcrs->values[i] : zero_pcr, KMS_ATTEST_PCR_BYTES };
		GUARD(kms_cbor_put_head(out, KMS_CBOR_UINT, i));
		GUARD(kms_cbor_put_bytes(out, pcr));
	}
	return KMS_OK;
}

static kms_status put_chain(kms_buf *out, const kms_attest_root *root, uint64_t now_ms)
{
	uint8_t leaf[KMS_ATTEST_MAX_CERTIFICATE];
	size_t len = 0;
	int64_t now_s = (int64_t)(now_ms / 1000);
	GUARD(kms_attest_leaf_issue(leaf, &len, root, now_s - BEFORE_S, now_s + AFTER_S));
	GUARD(put_field(out, "certificate", (kms_span){ leaf, len }));
	GUARD(kms_cbor_put_text(out, "cabundle"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_ARRAY, 1));
	return kms_cbor_put_bytes(out, kms_attest_root_der(root));
}

/* In the device's order, and like its own a map of indefinite length. */
static kms_status put_payload(kms_buf *out, const kms_attest_root *root, const kms_attest_claims *claims)
{
	GUARD(kms_cbor_put_byte(out, KMS_CBOR_INDEFINITE_MAP));
	GUARD(kms_cbor_put_text(out, "module_id"));
	GUARD(kms_cbor_put_text(out, "simulated"));
	GUARD(kms_cbor_put_text(out, "digest"));
	GUARD(kms_cbor_put_text(out, "SHA384"));
	GUARD(kms_cbor_put_text(out, "timestamp"));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_UINT, claims->now_ms));
	GUARD(put_pcrs(out, claims->pcrs));
	GUARD(put_chain(out, root, claims->now_ms));
	GUARD(put_field(out, "public_key", claims->public_key));
	GUARD(put_field(out, "user_data", claims->user_data));
	GUARD(put_field(out, "nonce", claims->nonce));
	return kms_cbor_put_byte(out, KMS_CBOR_BREAK);
}

static kms_status put_document(kms_buf *out, const kms_buf *payload,
			       const uint8_t signature96[KMS_ES384_BYTES])
{
	GUARD(kms_cbor_put_head(out, KMS_CBOR_ARRAY, 4));
	GUARD(kms_buf_append(out, kms_cose_es384_header, sizeof(kms_cose_es384_header)));
	GUARD(kms_cbor_put_head(out, KMS_CBOR_MAP, 0));
	GUARD(kms_cbor_put_bytes(out, (kms_span){ payload->data, payload->len }));
	return kms_cbor_put_bytes(out, (kms_span){ signature96, KMS_ES384_BYTES });
}

static kms_status check(const kms_attest_claims *claims)
{
	ENSURE(claims->now_ms >= BEFORE_S * 1000 && claims->now_ms <= KMS_ATTEST_MAX_TIME_MS - AFTER_S * 1000,
	       KMS_ERR_FIELD_VALUE);
	ENSURE(!claims->public_key.bytes ||
		   (claims->public_key.len > 0 && claims->public_key.len <= KMS_ATTEST_MAX_PUBLIC_KEY),
	       KMS_ERR_FIELD_VALUE);
	ENSURE(claims->user_data.len <= KMS_ATTEST_MAX_DATA, KMS_ERR_FIELD_VALUE);
	ENSURE(claims->nonce.len <= KMS_ATTEST_MAX_DATA, KMS_ERR_FIELD_VALUE);
	return KMS_OK;
}

kms_status kms_attest_make(kms_buf *document, const kms_attest_root *root, const kms_attest_claims *claims)
{
	uint8_t signature[KMS_ES384_BYTES];
	ENSURE(document && root && claims, KMS_ERR_ARGUMENT);
	GUARD(check(claims));
	DEFER(kms_buf_free) kms_buf payload = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	DEFER(kms_buf_free) kms_buf made = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	GUARD(put_payload(&payload, root, claims));
	GUARD(kms_es384_sign(signature, root->leaf, (kms_span){ payload.data, payload.len }));
	GUARD(put_document(&made, &payload, signature));
	return kms_buf_append(document, made.data, made.len);
}
