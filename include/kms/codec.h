/*
 * Strict text encodings: hexadecimal, base64 (RFC 4648 section 4), UTF-8 (RFC 3629), decimal.
 * Threads: any.
 */
#ifndef KMS_CODEC_H
#define KMS_CODEC_H

#include "kms/buf.h"
#include "kms/secret.h"

/* ---- hexadecimal: no branch or index depends on the digits or the bytes ---- */

/* A text without one leading "0x" or "0X". */
kms_text kms_hex_strip(kms_text text);

/*
 * Decodes digits of any case, 0x optional.
 * Returns: KMS_OK; ERR_HEX for other digits, or unless there are 2 * bytes.len of them; ERR_ARGUMENT.
 */
kms_status kms_hex_decode(kms_out bytes, kms_text text);

/*
 * Decodes digits where they stand: the bytes replace the beginning of `text`.
 * Returns: KMS_OK; ERR_HEX for other digits or an odd number of them; ERR_ARGUMENT.
 * Out: len - number of bytes; 0 on failure, and the content of `text` is then unspecified.
 */
kms_status kms_hex_decode_in_place(size_t *len, char *text, size_t text_len);

/* Writes 2 * bytes.len lower-case digits, no NUL. */
void kms_hex_encode(char *text, kms_span bytes);

/* Appends 2 * bytes.len lower-case digits. Returns: as kms_buf_append. */
kms_status kms_buf_append_hex(kms_buf *buf, kms_span bytes);

/*
 * A secret from hexadecimal text, decoded as kms_hex_decode does.
 * Returns: KMS_OK; ERR_HEX unless the text is 2 * `len` digits; ERR_RANGE when `len` is not 1 to
 * KMS_SECRET_MAX; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Out: secret - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_secret_from_hex(kms_secret **secret, kms_text hex, size_t len);

/* ---- base64: no branch or index depends on the characters or the bytes ---- */

/* The most bytes that `text_len` characters can decode to. */
size_t kms_base64_bound(size_t text_len);

/*
 * Decodes canonical base64: standard alphabet, padded, no white space, unused bits zero.
 * Returns: KMS_OK; ERR_BASE64; ERR_ARGUMENT.
 * Out: bytes - room for kms_base64_bound(text.len), or NULL where that is 0; may be the memory of `text`;
 *      wiped on failure.
 *      len - number of bytes.
 */
kms_status kms_base64_decode(uint8_t *bytes, size_t *len, kms_text text);

/* Writes 4 * ceil(bytes.len / 3) characters, no NUL. Returns: how many. */
size_t kms_base64_encode(char *text, kms_span bytes);

/* Appends base64 with padding. Returns: as kms_buf_append. */
kms_status kms_buf_append_base64(kms_buf *buf, kms_span bytes);

/* ---- text ---- */

/* Whether a text is UTF-8 without surrogates, overlong forms or code points above U+10FFFF. */
bool kms_utf8_valid(kms_text text);

/* Order of two texts: bytewise, the shorter first where one begins with the other. Variable time. */
int kms_text_compare(kms_text a, kms_text b);

/*
 * A number of 1 to 20 decimal digits without a sign; leading zeros are allowed.
 * Returns: KMS_OK; ERR_RANGE for anything else and beyond 2^64 - 1; ERR_ARGUMENT.
 */
kms_status kms_decimal_parse(uint64_t *number, kms_text text);

/*
 * An application id: decimal, 1 to 2^64 - 1, no leading zeros.
 * Returns: KMS_OK; ERR_RANGE; ERR_ARGUMENT.
 */
kms_status kms_app_id_parse(uint64_t *app_id, kms_text text);

#endif
