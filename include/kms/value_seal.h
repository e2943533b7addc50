/*
 * Stored values, sealed under the data key of their application (docs/protocol.md section 8).
 * Stateless; any thread.
 */
#ifndef KMS_VALUE_SEAL_H
#define KMS_VALUE_SEAL_H

#include "kms/buf.h"
#include "kms/secret.h"

/*
 * A stored value: 12-byte IV || AES-256-GCM(data key, value) || tag (section 8).
 * seal appends len + 28 bytes to `sealed` under a fresh IV; open appends the value to `value`
 * (a guarded buffer), ERR_RECORD below 28 bytes, ERR_DECRYPT when it is not under this key.
 */
#define KMS_VALUE_SEAL_OVERHEAD 28
kms_status kms_value_seal(kms_buf *sealed, const kms_secret *data_key32, const uint8_t *value, size_t len);
kms_status kms_value_open(kms_buf *value, const kms_secret *data_key32, const uint8_t *sealed, size_t len);
/* Whether it opens: as kms_value_open, but the value is wiped piece by piece and never held whole. */
kms_status kms_value_verify(const kms_secret *data_key32, const uint8_t *sealed, size_t len);

#endif
