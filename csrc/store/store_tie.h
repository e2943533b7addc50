/*
 * Ties: which of two concurrent versions wins. All nodes must choose the same one, and a node that lost a
 * value (expired, evicted) the same one as a node that still has it.
 */
#ifndef KMS_STORE_STORE_TIE_H
#define KMS_STORE_STORE_TIE_H

#include "store/store_record.h"

/* Whether both versions have the same value, or none. */
bool kms_tie_equal(const store_record *held, const kms_record *incoming);
/* Whether the incoming version has the larger (updated_at_ms, ciphertext). */
bool kms_tie_won(const store_record *held, const kms_record *incoming);

#endif
