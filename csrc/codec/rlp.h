/* Recursive length prefix, writing only (Ethereum yellow paper, appendix B). */
#ifndef KMS_CODEC_RLP_H
#define KMS_CODEC_RLP_H

#include "kms/buf.h"

/* Appends a byte string. */
kms_status kms_rlp_bytes(kms_buf *out, const uint8_t *bytes, size_t len);
/* Appends a big-endian number without its leading zeros. */
kms_status kms_rlp_number(kms_buf *out, const uint8_t *bytes, size_t len);
kms_status kms_rlp_u64(kms_buf *out, uint64_t number);
/* Appends a list whose items, encoded already, take `len` bytes: the header alone. */
kms_status kms_rlp_list(kms_buf *out, size_t len);

#endif
