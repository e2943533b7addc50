/*
 * Strict text encodings: hexadecimal, base64 (RFC 4648), UTF-8 (RFC 3629), decimal.
 * Stateless; any thread.
 */
#ifndef KMS_CODEC_H
#define KMS_CODEC_H

#include "kms/secret.h"

/* A text without one leading "0x" or "0X". */
kms_text kms_hex_strip(kms_text text);

/*
 * Decodes hexadecimal digits of any case, 0x optional. No branch or index depends on the digits.
 * Returns: KMS_OK; ERR_HEX for other digits, or unless there are 2 * bytes.len of them; ERR_ARGUMENT.
 */
kms_status kms_hex_decode(kms_out bytes, kms_text text);

/*
 * Decodes digits where they stand: the bytes are the front of `text` then. Out: len - their number.
 * Odd length or a wrong digit: ERR_HEX, and `text` is of no use any more.
 */
kms_status kms_hex_decode_in_place(size_t *len, char *text, size_t text_len);
/* Writes 2 * len lower-case digits, no NUL. */
void kms_hex_encode(char *text, const uint8_t *bytes, size_t len);

/*
 * A secret from hexadecimal text, decoded as kms_hex_decode does.
 * Returns: KMS_OK; ERR_HEX unless the text is 2 * `len` digits; ERR_RANGE when `len` is not 1 to
 * KMS_SECRET_MAX; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Out: secret - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_secret_from_hex(kms_secret **secret, kms_text hex, size_t len);

/* Bytes that `text_len` characters of padded base64 can decode to at the most. */
size_t kms_base64_bound(size_t text_len);
/*
 * Decodes canonical base64 only: standard alphabet, padded, no white space, unused bits zero.
 * `bytes` may be the same memory as `text` (decoding in place).
 * Out: bytes - room for kms_base64_bound(text_len); len - decoded length.
 */
kms_status kms_base64_decode(uint8_t *bytes, size_t *len, const char *text, size_t text_len);
/* Writes 4 * ceil(len / 3) characters, no NUL; returns how many. */
size_t kms_base64_encode(char *text, const uint8_t *bytes, size_t len);

/* Valid UTF-8 without surrogates, overlong forms or code points above U+10FFFF. */
bool kms_utf8_valid(const char *text, size_t len);

/* Plain decimal digits only, no sign, at most 20 of them, no wrap; leading zeros allowed. */
kms_status kms_decimal_parse(uint64_t *number, const char *text, size_t len);

/* An application id: decimal of 1 to 2^64 - 1 without leading zeros; else ERR_RANGE. */
kms_status kms_app_id_parse(uint64_t *app_id, const char *text, size_t len);

#endif
