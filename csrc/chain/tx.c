/* EIP-1559 transactions. */
#include "kms/tx.h"

#include <string.h>

#include "codec/rlp.h"
#include "base/ensure.h"
#include "kms/crypto.h"

#define TYPE 0x02
#define MAX_FIELDS (KMS_TX_MAX_DATA + 256) /* the data, and more than all other fields need */

static kms_status check(const kms_tx *tx)
{
	ENSURE(tx->chain_id > 0 && tx->gas_limit > 0, KMS_ERR_RANGE);
	ENSURE(tx->max_priority_fee_per_gas <= tx->max_fee_per_gas, KMS_ERR_RANGE);
	ENSURE(tx->data.len <= KMS_TX_MAX_DATA, KMS_ERR_RANGE);
	ENSURE(tx->data.bytes || tx->data.len == 0, KMS_ERR_ARGUMENT);
	return KMS_OK;
}

static kms_status append_fields(kms_buf *fields, const kms_tx *tx)
{
	GUARD(kms_rlp_u64(fields, tx->chain_id));
	GUARD(kms_rlp_u64(fields, tx->nonce));
	GUARD(kms_rlp_u64(fields, tx->max_priority_fee_per_gas));
	GUARD(kms_rlp_u64(fields, tx->max_fee_per_gas));
	GUARD(kms_rlp_u64(fields, tx->gas_limit));
	GUARD(kms_rlp_bytes(fields, KMS_SPAN(tx->to20)));
	GUARD(kms_rlp_u64(fields, tx->value));
	GUARD(kms_rlp_bytes(fields, tx->data));
	return kms_rlp_list(fields, 0); /* access list */
}

static kms_status append_signature(kms_buf *fields, const uint8_t sig65[65])
{
	GUARD(kms_rlp_u64(fields, sig65[64])); /* yParity */
	GUARD(kms_rlp_number(fields, kms_span_of(sig65, 32)));
	return kms_rlp_number(fields, kms_span_of(sig65 + 32, 32));
}

/* type || rlp(list of the fields) */
static kms_status append_typed(kms_buf *out, const kms_buf *fields)
{
	static const uint8_t type = TYPE;
	GUARD(kms_buf_append(out, kms_span_of(&type, 1)));
	GUARD(kms_rlp_list(out, fields->len));
	return kms_buf_append(out, kms_buf_span(fields));
}

static kms_status sign(kms_buf *out, const kms_tx *tx, const kms_wallet *wallet)
{
	uint8_t digest[32], sig[65];
	DEFER(kms_buf_free) kms_buf fields = kms_buf_make(KMS_BUF_PLAIN, MAX_FIELDS);
	GUARD(append_fields(&fields, tx));
	GUARD(append_typed(out, &fields));
	kms_keccak256(digest, kms_buf_span(out));
	kms_buf_clear(out);
	GUARD(kms_wallet_sign(sig, wallet, digest));
	GUARD(append_signature(&fields, sig));
	return append_typed(out, &fields);
}

kms_status kms_tx_sign(uint8_t hash32[32], kms_buf *raw, const kms_tx *tx, const kms_wallet *wallet)
{
	ENSURE_REF(hash32);
	memset(hash32, 0, 32);
	ENSURE(raw && tx && wallet, KMS_ERR_ARGUMENT);
	GUARD(check(tx));
	DEFER(kms_buf_free) kms_buf signed_tx = kms_buf_make(KMS_BUF_PLAIN, MAX_FIELDS);
	GUARD(sign(&signed_tx, tx, wallet));
	GUARD(kms_buf_append(raw, kms_buf_span(&signed_tx)));
	kms_keccak256(hash32, kms_buf_span(&signed_tx));
	return KMS_OK;
}
