/*
 * EIP-1559 transactions (type 2) with an empty access list: encoding (RLP), signing.
 * Stateless; any thread.
 */
#ifndef KMS_TX_H
#define KMS_TX_H

#include "kms/buf.h"
#include "kms/wallet.h"

/* Fees are in wei and bounded to 64 bits, 18 ether per gas: more is a mistake. */
typedef struct kms_tx {
	uint64_t chain_id;
	uint64_t nonce;
	uint64_t max_priority_fee_per_gas;
	uint64_t max_fee_per_gas;
	uint64_t gas_limit;
	uint64_t value;
	uint8_t to20[20];
	const uint8_t *data; /* borrowed; at most KMS_TX_MAX_DATA */
	size_t data_len;
} kms_tx;

#define KMS_TX_MAX_DATA 65536

/*
 * 0x02 || rlp([chainId, nonce, priority, max, gas, to, value, data, [], yParity, r, s]).
 * Out: raw - appended to; hash32 - keccak256 of it, the transaction hash.
 * Refuses chain id 0, gas 0, and a priority fee above the maximum fee (ERR_RANGE).
 */
kms_status kms_tx_sign(kms_buf *raw, uint8_t hash32[32], const kms_tx *tx, const kms_wallet *wallet);

#endif
