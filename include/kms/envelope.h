/*
 * Encrypted bodies (docs/protocol.md section 6) and the keys of the channels they travel on.
 */
#ifndef KMS_ENVELOPE_H
#define KMS_ENVELOPE_H

#include "kms/buf.h"
#include "kms/json.h"
#include "kms/p384.h"

/* ---- channels ------------------------------------------------------------------------------ */

/*
 * AES keys by (own key, peer key): HKDF-SHA256(ECDH x, no salt, "encryption data", 32).
 * The result for a pair never changes, so each is derived once and kept, bounded, the least
 * recently used going first. Safe to share between threads; a derivation holds no lock.
 */
typedef struct kms_channels kms_channels;

/* In: max - entries kept, 1 to 65536 (ERR_RANGE). */
kms_status kms_channels_new(kms_channels **channels, size_t max);
void kms_channels_free(kms_channels *channels);

/* The key if it is held (a reference for the caller), else NULL. Costs no ECDH. */
kms_secret *kms_channels_find(kms_channels *channels, const kms_p384 *own, const uint8_t peer97[97]);
/* The key, derived (0.6 ms of P-384) and kept when it is not held. */
kms_status kms_channels_get(kms_secret **key32, kms_channels *channels, const kms_p384 *own,
			    const uint8_t peer97[97]);
/* Entries held now. */
size_t kms_channels_count(kms_channels *channels);

/* ---- envelopes ------------------------------------------------------------------------------ */

/* A parsed envelope; the spans point into the body it was parsed from. */
typedef struct kms_envelope {
	uint8_t sender_der[KMS_P384_DER]; /* as sent: SPKI, or a 97-byte point */
	size_t sender_len;
	uint8_t iv12[12];
	const char *hex; /* ciphertext || tag, 0x removed; its digits are not looked at yet */
	size_t hex_len;
	const char *nonce; /* hex of all of it, 0x removed */
	size_t nonce_len;
} kms_envelope;

/*
 * Reads {"sender_tee_pubkey","nonce","encrypted_data"}: hex of any case with optional 0x, a
 * nonce of 12 bytes or more, other members ignored. `body` is changed (decoded in place).
 * Returns: KMS_OK, ERR_ENVELOPE when it is JSON but no envelope, or what kms_json_parse says.
 */
kms_status kms_envelope_parse(kms_envelope *envelope, char *body, size_t len);

/*
 * The same, and whether the sender has the key.
 * Out: authentic - whether `given32` is what X-Sync-Signature has to hold (section 9): the
 * HMAC-SHA256 under `key32` over the canonical JSON of the whole object, members that are none of
 * an envelope's included. Compared in constant time; false on failure.
 * In: given32 - NULL: nothing was given, which is not authentic.
 */
kms_status kms_envelope_parse_mac(kms_envelope *envelope, bool *authentic, char *body, size_t len,
				  const kms_secret *key32, const uint8_t given32[32]);

/*
 * Whether the envelope names this peer: its key, in either accepted form, is the point given.
 * Constant work; ERR_SENDER_KEY when it is another.
 */
kms_status kms_envelope_check_sender(const kms_envelope *envelope, const uint8_t peer97[97]);

/* Decrypts into a guarded or wiped buffer, which is appended to; ERR_DECRYPT, ERR_HEX. */
kms_status kms_envelope_open(kms_buf *plain, const kms_envelope *envelope, const kms_secret *channel_key32);

/*
 * Appends a canonical envelope (keys sorted, lower-case hex, a fresh 32-byte nonce) to `body`.
 * In: own97 - the sender's public point, which goes in as SPKI.
 */
kms_status kms_envelope_seal(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
			     const uint8_t *plain, size_t len);
/* The same with a given nonce: for known answers only. */
kms_status kms_envelope_seal_with(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
				  const uint8_t nonce32[32], const uint8_t *plain, size_t len);

#endif
