/*
 * Stored values, sealed under the data key of their application (docs/protocol.md section 8):
 * 12-byte IV || AES-256-GCM(data key, value) || 16-byte tag.
 * Every function returns ERR_RANGE when the key is not 32 bytes long.
 * Threads: any.
 */
#ifndef KMS_VALUE_SEAL_H
#define KMS_VALUE_SEAL_H

#include "kms/buf.h"
#include "kms/secret.h"

#define KMS_VALUE_SEAL_OVERHEAD 28

/*
 * Seals under a fresh IV.
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_SYSTEM; what kms_buf_reserve returns.
 * Out: sealed - value.len + 28 bytes are appended; nothing on failure.
 */
kms_status kms_value_seal(kms_buf *sealed, const kms_secret *data_key32, kms_span value);

/*
 * Opens what kms_value_seal made.
 * Returns: KMS_OK; ERR_RECORD below 28 bytes; ERR_DECRYPT when it was changed or is under another
 * key; ERR_ARGUMENT; what kms_buf_reserve returns.
 * Out: value - a guarded buffer; the value is appended, nothing on failure.
 */
kms_status kms_value_open(kms_buf *value, const kms_secret *data_key32, kms_span sealed);

/* Whether kms_value_open would succeed. The value is wiped piece by piece and never held whole. */
kms_status kms_value_verify(const kms_secret *data_key32, kms_span sealed);

#endif
