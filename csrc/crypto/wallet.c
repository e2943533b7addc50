/* The secp256k1 wallet: addresses, EIP-191 digests, signing and recovery. */
#include <string.h>

#include <secp256k1_recovery.h>

#include "crypto/crypto.h"
#include "base/declassify.h"
#include "crypto/keccak.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "crypto/eth_text_internal.h"
#include "kms/crypto.h"
#include "kms/wallet.h"

struct kms_wallet {
	kms_secret *key;
	uint8_t address20[20];
};

static void address_of(uint8_t address20[20], const secp256k1_context *context, const secp256k1_pubkey *key)
{
	uint8_t point[65], digest[32];
	size_t len = sizeof(point);
	(void)secp256k1_ec_pubkey_serialize(context, point, &len, key, SECP256K1_EC_UNCOMPRESSED);
	kms_keccak256(digest, kms_span_of(point + 1, 64));
	memcpy(address20, digest + 12, 20);
}

kms_status kms_wallet_new(kms_wallet **wallet, const kms_secret *key32)
{
	secp256k1_pubkey public;
	ENSURE_REF(wallet);
	*wallet = NULL;
	ENSURE_REF(key32);
	ENSURE(kms_secret_len(key32) == 32, KMS_ERR_PRIVATE_KEY);
	const kms_crypto_shared *shared = kms_crypto_shared_get();
	ENSURE(shared, KMS_ERR_STATE);
	/* Refuses zero and what is not below the group order. */
	int made_public = secp256k1_ec_pubkey_create(shared->secp256k1, &public, kms_secret_bytes(key32));
	KMS_DECLASSIFY(made_public);
	ENSURE(made_public, KMS_ERR_PRIVATE_KEY);
	DEFER(kms_wallet_release) kms_wallet *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(kms_secret_new(&made->key, kms_secret_span(key32)));
	address_of(made->address20, shared->secp256k1, &public);
	*wallet = made;
	made = NULL;
	return KMS_OK;
}

void kms_wallet_free(kms_wallet *wallet)
{
	if (!wallet) return;
	kms_secret_unref(wallet->key);
	kms_heap_free(wallet);
}

void kms_wallet_address(uint8_t address20[20], const kms_wallet *wallet)
{
	memcpy(address20, wallet->address20, 20);
}

kms_status kms_wallet_public(uint8_t point65[65], const kms_wallet *wallet)
{
	ENSURE_REF(point65);
	memset(point65, 0, 65);
	ENSURE_REF(wallet);
	secp256k1_pubkey public;
	size_t len = 65;
	const secp256k1_context *context = kms_crypto_shared_get()->secp256k1;
	int made_public = secp256k1_ec_pubkey_create(context, &public, kms_secret_bytes(wallet->key));
	KMS_DECLASSIFY(made_public);
	ENSURE(made_public, KMS_ERR_CRYPTO);
	(void)secp256k1_ec_pubkey_serialize(context, point65, &len, &public, SECP256K1_EC_UNCOMPRESSED);
	return KMS_OK;
}

kms_status kms_eip191_digest(uint8_t digest32[32], kms_span message)
{
	ENSURE_REF(digest32);
	memset(digest32, 0, 32);
	ENSURE(message.bytes || message.len == 0, KMS_ERR_ARGUMENT);
	char digits[KMS_DECIMAL_MAX];
	kms_keccak hash = kms_keccak_start();
	kms_keccak_update(&hash, KMS_BYTES("\x19"
					   "Ethereum Signed Message:\n"));
	kms_keccak_update(&hash, kms_text_span(kms_decimal_format(digits, message.len)));
	kms_keccak_update(&hash, message);
	kms_keccak_final(digest32, &hash);
	return KMS_OK;
}

kms_status kms_wallet_sign(uint8_t sig65[65], const kms_wallet *wallet, const uint8_t digest32[32])
{
	secp256k1_ecdsa_recoverable_signature signature;
	int recovery_id = 0;
	ENSURE_REF(sig65);
	memset(sig65, 0, 65);
	ENSURE(wallet && digest32, KMS_ERR_ARGUMENT);
	const secp256k1_context *context = kms_crypto_shared_get()->secp256k1;
	/* The default nonce function is RFC 6979; s comes out low. */
	int made_signature = secp256k1_ecdsa_sign_recoverable(context, &signature, digest32,
							      kms_secret_bytes(wallet->key), NULL, NULL);
	KMS_DECLASSIFY(made_signature);
	ENSURE(made_signature, KMS_ERR_CRYPTO);
	(void)secp256k1_ecdsa_recoverable_signature_serialize_compact(context, sig65, &recovery_id,
								      &signature);
	KMS_DECLASSIFY_BYTES(sig65, 64);
	KMS_DECLASSIFY(recovery_id);
	sig65[64] = (uint8_t)recovery_id;
	if (recovery_id <= 1) return KMS_OK;
	/* r was not below the group order (probability 2^-127): v cannot express that. */
	memset(sig65, 0, 65);
	return KMS_ERR_CRYPTO;
}

kms_status kms_wallet_sign_message(uint8_t sig65[65], const kms_wallet *wallet, kms_span message)
{
	uint8_t digest[32];
	ENSURE_REF(sig65);
	memset(sig65, 0, 65);
	GUARD(kms_eip191_digest(digest, message));
	return kms_wallet_sign(sig65, wallet, digest);
}

kms_status kms_message_recover(uint8_t address20[20], kms_span message, const uint8_t sig65[65])
{
	uint8_t digest[32];
	secp256k1_ecdsa_recoverable_signature signature;
	secp256k1_pubkey public;
	ENSURE_REF(address20);
	memset(address20, 0, 20);
	ENSURE_REF(sig65);
	const kms_crypto_shared *shared = kms_crypto_shared_get();
	ENSURE(shared, KMS_ERR_STATE);
	const secp256k1_context *context = shared->secp256k1;
	/* Not every caller has parsed a text, and other values of v would be a misuse of the library. */
	ENSURE(kms_signature_in_range(sig65), KMS_ERR_SIGNATURE);
	GUARD(kms_eip191_digest(digest, message));
	ENSURE(secp256k1_ecdsa_recoverable_signature_parse_compact(context, &signature, sig65, sig65[64]),
	       KMS_ERR_SIGNATURE);
	ENSURE(secp256k1_ecdsa_recover(context, &public, &signature, digest), KMS_ERR_SIGNATURE);
	address_of(address20, context, &public);
	return KMS_OK;
}
