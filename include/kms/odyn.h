/*
 * Bodies of the Odyn service's HTTP API (docs/protocol.md section 13): requests are written, answers read
 * strictly. What carries plaintext goes from buffer to buffer; both sides are wiped or guarded memory.
 *
 * An answer is taken from a body that is changed (JSON is decoded in place). Whatever is wrong
 * with it is ERR_TEE, and `field` then names the member at fault (static), or is NULL where the
 * whole is no JSON object; shortages of memory keep their own status. Stateless; any thread.
 */
#ifndef KMS_ODYN_H
#define KMS_ODYN_H

#include "kms/envelope.h"
#include "kms/eth_text.h"

/* ---- requests: appended to `request` -------------------------------------------------------- */

/*
 * {"client_public_key","encrypted_data","nonce"} of a received envelope.
 * In: peer97 - the sender, as kms_envelope_check_sender has found it. ERR_HEX: no ciphertext.
 */
kms_status kms_odyn_decrypt_request(kms_buf *request, const kms_envelope *envelope, const uint8_t peer97[97]);
/*
 * {"client_public_key","plaintext"}. In: request - a wiped or guarded buffer; plain - JSON, that
 * is valid UTF-8 (ERR_UTF8).
 */
kms_status kms_odyn_encrypt_request(kms_buf *request, const uint8_t *plain, size_t len,
				    const uint8_t peer97[97]);

/* ---- answers ---------------------------------------------------------------------------------- */

/*
 * {"plaintext"}: into `plain`, an empty guarded or wiped buffer. Takes over `answer`, a wiped
 * buffer, which is left empty, also on failure; a wiped `plain` gets its memory.
 */
kms_status kms_odyn_plain(kms_buf *plain, const char **field, kms_buf *answer);

/*
 * {"encrypted_data","enclave_public_key","nonce"}: appended to `body` as a canonical envelope.
 * In: own97 - the key that it must name; plain_len - what was sent to be encrypted, from which
 * the length of encrypted_data follows (SIZE_MAX: not known).
 */
kms_status kms_odyn_envelope(kms_buf *body, const char **field, char *answer, size_t len,
			     const uint8_t own97[97], size_t plain_len);

/* {"random_bytes"}: exactly 32 bytes. */
kms_status kms_odyn_secret(kms_secret **secret32, const char **field, char *answer, size_t len);

/*
 * {"signature","address"}: a signature as kms_signature_parse accepts it, v written as 27 or 28,
 * by the wallet given. That it is one of the text is not checked: whoever is answered does.
 */
kms_status kms_odyn_signature(char signature132[KMS_SIGNATURE_TEXT], const char **field, char *answer,
			      size_t len, const uint8_t own20[20]);

/*
 * {"raw_transaction","transaction_hash","address"}: a transaction of type 2, appended to `raw`
 * in binary, whose keccak256 is the hash it came with.
 */
kms_status kms_odyn_transaction(kms_buf *raw, uint8_t hash32[32], const char **field, char *answer,
				size_t len, const uint8_t own20[20]);

#endif
