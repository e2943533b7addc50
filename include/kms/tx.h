/*
 * EIP-1559 transactions (type 2) with an empty access list: encoding (RLP) and signing.
 * Threads: any; no state.
 */
#ifndef KMS_TX_H
#define KMS_TX_H

#include "kms/buf.h"
#include "kms/wallet.h"

/* Amounts are in wei. 64 bits allow 18 ether per gas: more is a mistake. */
typedef struct kms_tx {
	uint64_t chain_id;
	uint64_t nonce;
	uint64_t max_priority_fee_per_gas;
	uint64_t max_fee_per_gas;
	uint64_t gas_limit;
	uint64_t value;
	uint8_t to20[20];
	kms_span data; /* borrowed; at most KMS_TX_MAX_DATA bytes */
} kms_tx;

#define KMS_TX_MAX_DATA 65536

/*
 * Signs a transaction: 0x02 || rlp([chainId, nonce, priority, max, gas, to, value, data, [],
 * yParity, r, s]) (EIP-1559, EIP-2718).
 * Returns: KMS_OK; ERR_RANGE when the chain id or the gas is 0, the priority fee is above the
 * maximum fee, or the data is too long; ERR_TOO_LARGE; ERR_MEMORY; ERR_CRYPTO.
 * Out: hash32 - keccak256 of the encoding, which identifies the transaction.
 * In-out: raw - the encoding is appended; unchanged on failure.
 */
kms_status kms_tx_sign(uint8_t hash32[32], kms_buf *raw, const kms_tx *tx, const kms_wallet *wallet);

#endif
