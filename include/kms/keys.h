/*
 * The two keypairs of an identity: a secp256k1 wallet that signs, and a P-384 key that
 * decrypts (docs/protocol.md section 1). Private halves live in guarded memory only.
 * Key objects never change after creation and may be used from several threads at once.
 */
#ifndef KMS_KEYS_H
#define KMS_KEYS_H

#include "kms/secret.h"

/* ---- addresses and signatures as text ---------------------------------------------- */

#define KMS_ADDRESS_TEXT 42 /* "0x" + 40 lower-case digits, no NUL */
#define KMS_SIGNATURE_TEXT 132

/* Any case, 0x optional; anything else ERR_ADDRESS. */
kms_status kms_address_parse(uint8_t address20[20], const char *text, size_t len);
/* Canonical form; no NUL is written. */
void kms_address_format(char text42[KMS_ADDRESS_TEXT], const uint8_t address20[20]);

/*
 * 65 bytes r || s || v of hex, 0x optional; v of 0, 1, 27 or 28 becomes 0 or 1. Refused with
 * ERR_SIGNATURE: other lengths or digits, other v, r or s zero or not below the group
 * order, s above half of it (EIP-2).
 */
kms_status kms_signature_parse(uint8_t sig65[65], const char *text, size_t len);
/* 0x and 130 digits, v written as 27 or 28; no NUL. */
void kms_signature_format(char text132[KMS_SIGNATURE_TEXT], const uint8_t sig65[65]);

/* ---- secp256k1 wallet ----------------------------------------------------------------- */

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

/* ---- P-384 -------------------------------------------------------------------------------- */

#define KMS_P384_DER 120   /* SubjectPublicKeyInfo */
#define KMS_P384_POINT 97  /* 0x04 || x || y (SEC1) */
#define KMS_P384_PREFIX 23 /* the part of the DER before the point */

/*
 * A peer's public key: exactly the 120-byte SPKI of a P-384 key or its 97-byte point. Checked
 * against the fixed prefix, and the point to be on the curve and not infinity
 * (SP 800-56A 5.6.2.3.4; the cofactor is 1). Else ERR_PEER_KEY.
 */
kms_status kms_p384_point_parse(uint8_t point97[97], const uint8_t *bytes, size_t len);
/* The same from hexadecimal text of any case, 0x optional; ERR_PEER_KEY, ERR_HEX. */
kms_status kms_p384_point_from_hex(uint8_t point97[97], const char *text, size_t len);
/* SPKI of a point. */
void kms_p384_der(uint8_t der120[120], const uint8_t point97[97]);

typedef struct kms_p384 kms_p384;

/* From a 48-byte scalar, big-endian, 1 to n - 1 (ERR_PRIVATE_KEY). */
kms_status kms_p384_new(kms_p384 **key, const kms_secret *scalar48);
/* A fresh key, as for one sealed exchange. */
kms_status kms_p384_generate(kms_p384 **key);
void kms_p384_free(kms_p384 *key);
/* Its public point; borrowed, lives as long as the key. */
const uint8_t *kms_p384_public(const kms_p384 *key);

/*
 * ECDH (SP 800-56A, cofactor 1): x-coordinate, 48 bytes big-endian.
 * In: point97 - already accepted by kms_p384_point_parse (checked again by OpenSSL).
 */
kms_status kms_p384_ecdh(kms_secret **x48, const kms_p384 *key, const uint8_t point97[97]);

#endif
