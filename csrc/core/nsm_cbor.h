/*
 * The little CBOR (RFC 8949) that the Nitro Security Module speaks: requests are written, answers
 * read item by item through a bounded cursor. Definite lengths only; nothing is allocated for a
 * length that the input claims.
 */
#ifndef KMS_CORE_NSM_CBOR_H
#define KMS_CORE_NSM_CBOR_H

#include "kms/buf.h"

/* Major types (RFC 8949 section 3.1). */
typedef enum kms_cbor_kind {
	KMS_CBOR_UINT = 0,
	KMS_CBOR_BYTES = 2,
	KMS_CBOR_TEXT = 3,
	KMS_CBOR_ARRAY = 4,
	KMS_CBOR_MAP = 5,
} kms_cbor_kind;

/* A number, the head of a container, or a string with its borrowed content. */
typedef struct kms_cbor_item {
	kms_cbor_kind kind;
	uint64_t number; /* value, count of members, or length */
	const uint8_t *bytes;
} kms_cbor_item;

/*
 * The next item; of a container its head only. Refused as ERR_NSM_ANSWER: indefinite lengths,
 * reserved heads, other major types, strings longer than what is left.
 */
KMS_MUST_USE kms_status kms_nsm_read(kms_cbor_item *item, kms_reader *reader);
/* The next item, which must be of this kind. */
KMS_MUST_USE kms_status kms_nsm_read_kind(kms_cbor_item *item, kms_reader *reader, kms_cbor_kind kind);
/* Whether a text item is this NUL-terminated text. */
bool kms_nsm_is_text(const kms_cbor_item *item, const char *text);

/* Appends a head, a text, or a byte string; NULL bytes are written as null. */
KMS_MUST_USE kms_status kms_nsm_write_head(kms_buf *out, kms_cbor_kind kind, uint64_t number);
KMS_MUST_USE kms_status kms_nsm_write_text(kms_buf *out, const char *text);
KMS_MUST_USE kms_status kms_nsm_write_bytes(kms_buf *out, const uint8_t *bytes, size_t len);

#endif
