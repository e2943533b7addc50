/*
 * Wallet addresses and signatures as text (docs/protocol.md section 1).
 * Threads: any.
 */
#ifndef KMS_ETH_TEXT_H
#define KMS_ETH_TEXT_H

#include "kms/view.h"

#define KMS_ADDRESS_TEXT 42    /* "0x" and 40 lower-case digits, no NUL */
#define KMS_SIGNATURE_TEXT 132 /* "0x" and 130 lower-case digits, no NUL */

/*
 * An address from 40 hexadecimal digits of any case, 0x optional.
 * Returns: KMS_OK; ERR_ADDRESS; ERR_ARGUMENT.
 */
kms_status kms_address_parse(uint8_t address20[20], kms_text text);

/* The canonical text of an address. */
void kms_address_format(char text42[KMS_ADDRESS_TEXT], const uint8_t address20[20]);

/*
 * A signature r || s || v from 130 hexadecimal digits, 0x optional.
 * Returns: KMS_OK; ERR_SIGNATURE for other lengths or digits, for v other than 0, 1, 27 or 28, for
 * r or s outside 1 to n - 1, and for s above n / 2 (EIP-2); ERR_ARGUMENT.
 * Out: sig65 - v is 0 or 1.
 */
kms_status kms_signature_parse(uint8_t sig65[65], kms_text text);

/* The text of a signature; v, 0 or 1, is written as 27 or 28. */
void kms_signature_format(char text132[KMS_SIGNATURE_TEXT], const uint8_t sig65[65]);

#endif
