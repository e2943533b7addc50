/*
 * A secp256k1 wallet: the key of an identity that signs (docs/protocol.md section 1). Its private
 * half lives in guarded memory. Functions that compute need kms_crypto_init (ERR_STATE).
 * Threads: any; a wallet never changes after creation.
 */
#ifndef KMS_WALLET_H
#define KMS_WALLET_H

#include "kms/secret.h"
#include "kms/view.h"

typedef struct kms_wallet kms_wallet;

/*
 * A wallet of a private key, which it copies.
 * Returns: KMS_OK; ERR_PRIVATE_KEY when the key is not 32 bytes long, zero or not below the group
 * order; ERR_ARGUMENT; ERR_MEMORY; ERR_LOCKED_MEMORY.
 * Out: wallet - owned by the caller, free with kms_wallet_free; NULL on failure.
 */
kms_status kms_wallet_new(kms_wallet **wallet, const kms_secret *key32);
void kms_wallet_free(kms_wallet *wallet);
KMS_DEFINE_RELEASE(kms_wallet_release, kms_wallet, kms_wallet_free)

/* Its Ethereum address: the last 20 bytes of keccak256(public key without its 0x04). */
void kms_wallet_address(uint8_t address20[20], const kms_wallet *wallet);

/*
 * Its public point, 0x04 || x || y (SEC 1).
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_CRYPTO.
 */
kms_status kms_wallet_public(uint8_t point65[65], const kms_wallet *wallet);

/*
 * keccak256("\x19Ethereum Signed Message:\n" || decimal length || message) (EIP-191, version 0x45).
 * Returns: KMS_OK; ERR_ARGUMENT.
 */
kms_status kms_eip191_digest(uint8_t digest32[32], kms_span message);

/*
 * Signs a digest: deterministic (RFC 6979), low s (EIP-2).
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_CRYPTO.
 * Out: sig65 - r || s || recovery id 0 or 1.
 */
kms_status kms_wallet_sign(uint8_t sig65[65], const kms_wallet *wallet, const uint8_t digest32[32]);

/* kms_wallet_sign of the EIP-191 digest of a message. */
kms_status kms_wallet_sign_message(uint8_t sig65[65], const kms_wallet *wallet, kms_span message);

/*
 * The address whose key signed the EIP-191 digest of a message.
 * Returns: KMS_OK; ERR_SIGNATURE when there is none, or the signature is outside what
 * kms_signature_parse accepts (eth_text.h); ERR_ARGUMENT.
 */
kms_status kms_message_recover(uint8_t address20[20], kms_span message, const uint8_t sig65[65]);

#endif
