/*
 * Encrypted bodies (docs/protocol.md section 6), and the keys of the channels that they travel on.
 */
#ifndef KMS_ENVELOPE_H
#define KMS_ENVELOPE_H

#include "kms/buf.h"
#include "kms/json.h"
#include "kms/p384.h"

/* ---- channels ------------------------------------------------------------------------------ */

/*
 * A cache of channel keys by own key and peer key: HKDF-SHA256 (RFC 5869) of the ECDH x-coordinate,
 * no salt, info "encryption data", 32 bytes. A pair's key never changes. The least recently used
 * entry is evicted first.
 * Threads: any; objects may be shared. No lock is held during an ECDH.
 */
typedef struct kms_channels kms_channels;

/*
 * Makes a cache.
 * Returns: KMS_OK; ERR_RANGE; ERR_MEMORY; ERR_SYSTEM.
 * Out: channels - free with kms_channels_free.
 * In: max - entries, 1 to 65536.
 */
kms_status kms_channels_new(kms_channels **channels, size_t max);
void kms_channels_free(kms_channels *channels);
KMS_DEFINE_RELEASE(kms_channels_release, kms_channels, kms_channels_free)

/*
 * Looks a channel key up, without ECDH.
 * Returns: a reference for the caller; NULL when the key is not cached or an argument is NULL.
 */
kms_secret *kms_channels_find(kms_channels *channels, const kms_p384 *own, const uint8_t peer97[97]);

/*
 * Looks a channel key up, or derives it (0.6 ms of P-384) and caches it.
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: key32 - a reference for the caller.
 */
kms_status kms_channels_get(kms_secret **key32, kms_channels *channels, const kms_p384 *own,
			    const uint8_t peer97[97]);

/* Returns: keys in the cache; 0 for NULL. */
size_t kms_channels_count(kms_channels *channels);

/* ---- envelopes: any thread ------------------------------------------------------------------ */

/* A parsed envelope; the texts point into the body that it was parsed from. */
typedef struct kms_envelope {
	uint8_t sender_der[KMS_P384_DER]; /* as sent: SPKI, or a 97-byte point */
	size_t sender_len;
	uint8_t iv12[12];
	kms_text hex;   /* ciphertext || tag, without 0x; its digits are not checked yet */
	kms_text nonce; /* the whole nonce in hex, without 0x */
} kms_envelope;

/*
 * Parses {"sender_tee_pubkey","nonce","encrypted_data"}: hex of any case with optional 0x, a nonce of
 * 12 bytes or more; other members are ignored.
 * Returns: KMS_OK; ERR_ENVELOPE when the body is JSON but not an envelope; what kms_json_parse returns.
 * In-out: body - `len` bytes, decoded in place; must outlive the envelope. Unspecified after a failure.
 */
kms_status kms_envelope_parse(kms_envelope *envelope, char *body, size_t len);

/*
 * Parses an envelope and checks its MAC (docs/protocol.md section 9): HMAC-SHA256 over the canonical
 * JSON of the whole object, members that an envelope does not have included. Compares in constant time.
 * Returns: as kms_envelope_parse; a wrong MAC is not a failure.
 * Out: authentic - whether the MAC is right; false on failure.
 * In: key32 - the sync key. given32 - the decoded X-Sync-Signature; NULL: absent, not authentic.
 */
kms_status kms_envelope_parse_mac(kms_envelope *envelope, bool *authentic, char *body, size_t len,
				  const kms_secret *key32, const uint8_t given32[32]);

/*
 * Checks that the sender's key, in either form, is the point given. Constant time.
 * Returns: KMS_OK; ERR_SENDER_KEY.
 */
kms_status kms_envelope_check_sender(const kms_envelope *envelope, const uint8_t peer97[97]);

/*
 * Decrypts an envelope.
 * Returns: KMS_OK; ERR_HEX; ERR_DECRYPT; ERR_TOO_LARGE; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_ARGUMENT for
 * a buffer that is neither guarded nor wiped.
 * In-out: plain - the plaintext is appended.
 */
kms_status kms_envelope_open(kms_buf *plain, const kms_envelope *envelope, const kms_secret *channel_key32);

/*
 * Encrypts into a canonical envelope: keys sorted, lower-case hex, a fresh 32-byte nonce.
 * Returns: KMS_OK; ERR_TOO_LARGE; ERR_MEMORY; ERR_CRYPTO; ERR_SYSTEM when there is no randomness.
 * In-out: body - the envelope is appended; unchanged on failure.
 * In: own97 - the sender's public point, written as SPKI. plain - may be empty.
 */
kms_status kms_envelope_seal(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
			     kms_span plain);
/* As kms_envelope_seal, with a given nonce: for known answers only. */
kms_status kms_envelope_seal_with(kms_buf *body, const kms_secret *channel_key32, const uint8_t own97[97],
				  const uint8_t nonce32[32], kms_span plain);

#endif
