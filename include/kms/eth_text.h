/*
 * Wallet addresses and signatures as text (docs/protocol.md section 1). Stateless; any thread.
 */
#ifndef KMS_ETH_TEXT_H
#define KMS_ETH_TEXT_H

#include "kms/kms.h"

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

#endif
