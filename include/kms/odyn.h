/*
 * Bodies of the Odyn service's HTTP API (docs/protocol.md section 13): writing requests and reading
 * responses strictly. Bodies with plaintext stay in wiped or guarded memory on both sides.
 *
 * The functions that read take a response's body and change it (JSON is decoded in place), so that it
 * is unspecified afterwards. They return ERR_TEE for everything that is wrong with a response; then
 * `field` names the member at fault (a static string), or is NULL when the whole is no JSON
 * object. A shortage of memory keeps its own status (ERR_MEMORY, ERR_LOCKED_MEMORY).
 * Threads: any; no state.
 */
#ifndef KMS_ODYN_H
#define KMS_ODYN_H

#include "kms/envelope.h"
#include "kms/eth_text.h"

/* ---- requests ---------------------------------------------------------------------------------- */

/*
 * Writes {"client_public_key","encrypted_data","nonce"} for a received envelope.
 * Returns: KMS_OK; ERR_HEX when ciphertext or nonce are not hexadecimal; ERR_TOO_LARGE; ERR_MEMORY.
 * In-out: request - appended to; unchanged on failure.
 * In: peer97 - the sender's key, as kms_envelope_check_sender found it.
 */
kms_status kms_odyn_decrypt_request(kms_buf *request, const kms_envelope *envelope, const uint8_t peer97[97]);

/*
 * Writes {"client_public_key","plaintext"}.
 * Returns: KMS_OK; ERR_ARGUMENT, also for a PLAIN buffer; ERR_UTF8; ERR_TOO_LARGE; ERR_MEMORY;
 * ERR_LOCKED_MEMORY.
 * In-out: request - a wiped or guarded buffer, appended to; unchanged on failure.
 * In: plain - the text to encrypt. peer97 - the receiver's key.
 */
kms_status kms_odyn_encrypt_request(kms_buf *request, kms_text plain, const uint8_t peer97[97]);

/*
 * Writes {"key","value"} for /v1/s3/put, the value in base64.
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_UTF8; ERR_TOO_LARGE; ERR_MEMORY.
 * In-out: request - appended to; unchanged on failure. In: key - UTF-8. value - may be empty.
 */
kms_status kms_odyn_put_request(kms_buf *request, kms_text key, kms_span value);

/* ---- responses --------------------------------------------------------------------------------- */

/*
 * Reads {"plaintext"}.
 * Returns: KMS_OK; ERR_TEE, also when the plaintext is larger than `plain` allows; ERR_ARGUMENT.
 * Out: plain - an empty wiped or guarded buffer of the caller; a wiped one takes over the memory
 * of the response. field.
 * In-out: response - a wiped buffer; empty afterwards, also on failure.
 */
kms_status kms_odyn_plain(kms_buf *plain, const char **field, kms_buf *response);

/*
 * Reads {"value"} of /v1/s3/get: standard base64 with padding.
 * Returns: KMS_OK; ERR_TEE; ERR_ARGUMENT. Out: value - an empty buffer of the caller; it takes over the
 * memory of the response. field. In-out: response - empty afterwards, also on failure.
 */
kms_status kms_odyn_value(kms_buf *value, const char **field, kms_buf *response);

/*
 * Reads {"encrypted_data","enclave_public_key","nonce"} and writes it as a canonical envelope.
 * Returns: KMS_OK; ERR_TEE; ERR_TOO_LARGE.
 * Out: field.
 * In-out: body - appended to; unchanged on failure. response.
 * In: own97 - the key that the response must name. plain_len - bytes that were sent to be encrypted,
 * which determine the length of encrypted_data; SIZE_MAX: not known.
 */
kms_status kms_odyn_envelope(const char **field, kms_buf *body, kms_buf *response, const uint8_t own97[97],
			     size_t plain_len);

/*
 * Reads {"random_bytes"}, which must be 32 bytes.
 * Returns: KMS_OK; ERR_TEE.
 * Out: secret32 - one reference, released with kms_secret_unref; NULL on failure. field.
 * In-out: response.
 */
kms_status kms_odyn_secret(kms_secret **secret32, const char **field, kms_buf *response);

/*
 * Reads {"signature","address"}. Does not check that the signature is of the text that was sent:
 * those who receive the signed text do.
 * Returns: KMS_OK; ERR_TEE, also when kms_signature_parse refuses the signature.
 * Out: signature132 - in canonical form, with v as 27 or 28; zeroed on failure. field.
 * In-out: response.
 * In: own20 - the wallet that the response must name.
 */
kms_status kms_odyn_signature(char signature132[KMS_SIGNATURE_TEXT], const char **field, kms_buf *response,
			      const uint8_t own20[20]);

/*
 * Reads {"raw_transaction","transaction_hash","address"}: a transaction of type 2, whose keccak256
 * must be the hash.
 * Returns: KMS_OK; ERR_TEE; ERR_TOO_LARGE.
 * Out: hash32. field.
 * In-out: raw - the transaction is appended, in binary; unchanged on failure. response.
 * In: own20 - the wallet that the response must name.
 */
kms_status kms_odyn_transaction(uint8_t hash32[32], const char **field, kms_buf *raw, kms_buf *response,
				const uint8_t own20[20]);

#endif
