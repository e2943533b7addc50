/* Bech32 (BIP 173) of 32 public bytes, in lower case: how age writes its keys. */
#ifndef KMS_CODEC_BECH32_H
#define KMS_CODEC_BECH32_H

#include "kms/view.h"

#define KMS_BECH32_DATA 58 /* characters after the separator: 52 of data, 6 of checksum */

/*
 * Writes prefix.len + 1 + KMS_BECH32_DATA characters, no NUL.
 * In: prefix - of lower-case letters.
 */
void kms_bech32_encode32(char *text, kms_text prefix, const uint8_t bytes32[32]);

/*
 * Decodes what kms_bech32_encode32 writes, and nothing else: no upper case, no other length, unused bits
 * zero. Returns: KMS_OK; ERR_RECIPIENT. Out: bytes32 - zeroed on failure.
 */
kms_status kms_bech32_decode32(uint8_t bytes32[32], kms_text prefix, kms_text text);

#endif
