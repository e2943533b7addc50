/* What eth_text.c and wallet.c share. */
#ifndef KMS_CRYPTO_ETH_TEXT_INTERNAL_H
#define KMS_CRYPTO_ETH_TEXT_INTERNAL_H

#include "kms/kms.h"

/* Whether r and s are from 1 to the group order less 1, s in its lower half, v 0 or 1. */
bool kms_signature_in_range(const uint8_t sig65[65]);

#endif
