/*
 * A secp256k1 wallet: the key of an identity that signs (docs/protocol.md section 1). Its private half lives
 * in guarded memory. A wallet never changes after creation and may be used from several threads at once.
 */
#ifndef KMS_WALLET_H
#define KMS_WALLET_H

#include "kms/secret.h"

typedef struct kms_wallet kms_wallet;

/* From a 32-byte private key; zero or not below the group order: ERR_PRIVATE_KEY. */
kms_status kms_wallet_new(kms_wallet **wallet, const kms_secret *key32);
void kms_wallet_free(kms_wallet *wallet);
/* Ethereum address: last 20 bytes of keccak256(public key without its 0x04). */
void kms_wallet_address(uint8_t address20[20], const kms_wallet *wallet);

/* Its public point: 0x04 || x || y. */
kms_status kms_wallet_public(uint8_t point65[65], const kms_wallet *wallet);

/* keccak256("\x19Ethereum Signed Message:\n" || decimal length || message) (EIP-191, 0x45). */
kms_status kms_eip191_digest(uint8_t digest32[32], const uint8_t *message, size_t len);

/* Deterministic (RFC 6979), low-s; sig65 is r || s || recovery id 0 or 1. */
kms_status kms_wallet_sign(uint8_t sig65[65], const kms_wallet *wallet, const uint8_t digest32[32]);
/* kms_wallet_sign over the EIP-191 digest of a message. */
kms_status kms_wallet_sign_message(uint8_t sig65[65], const kms_wallet *wallet, const uint8_t *message,
				   size_t len);
/* Address that signed the message; ERR_SIGNATURE when there is none. sig65 as kms_signature_parse gives it.
 */
kms_status kms_message_recover(uint8_t address20[20], const uint8_t *message, size_t len,
			       const uint8_t sig65[65]);

#endif
