/*
 * Recursive length prefix, writing only (Ethereum yellow paper, appendix B).
 * All functions return what kms_buf_append returns.
 */
#ifndef KMS_CODEC_RLP_H
#define KMS_CODEC_RLP_H

#include "kms/buf.h"

/* Appends a byte string. */
kms_status kms_rlp_bytes(kms_buf *out, kms_span bytes);
/* Appends a number, big-endian, without its leading zeros. */
kms_status kms_rlp_number(kms_buf *out, kms_span number);
kms_status kms_rlp_u64(kms_buf *out, uint64_t number);
/* Appends the header of a list; its `len` bytes of encoded items are to follow. */
kms_status kms_rlp_list(kms_buf *out, size_t len);

#endif
