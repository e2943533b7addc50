/*
 * CBOR (RFC 8949) as attestation documents use it: a reader, called for one item after the other
 * in the order that the format prescribes, and a writer.
 *
 * Why not libcbor: its stream decoder calls back with any item, so that the order would need a
 * state machine, and it does not tell a length in its shortest form from a longer one. Here
 * straight code reads a document, each bound stands beside its field, nothing is allocated.
 *
 * Refused everywhere but in kms_cbor_pass: reserved and indefinite lengths (except what kms_cbor_skip
 * consumes), numbers not in their shortest form (section 4.2.1), text that is not UTF-8, every simple value
 * but null. Threads: any.
 */
#ifndef KMS_CODEC_CBOR_H
#define KMS_CODEC_CBOR_H

#include "kms/buf.h"

/* Major types (section 3.1). */
typedef enum kms_cbor_major {
	KMS_CBOR_UINT = 0,
	KMS_CBOR_NEGATIVE = 1,
	KMS_CBOR_BYTES = 2,
	KMS_CBOR_TEXT = 3,
	KMS_CBOR_ARRAY = 4,
	KMS_CBOR_MAP = 5,
	KMS_CBOR_TAG = 6,
	KMS_CBOR_SIMPLE = 7,
} kms_cbor_major;

/*
 * The head of the next item: its major type and number.
 * Returns: KMS_OK, ERR_TRUNCATED, ERR_FIELD_VALUE (reserved, indefinite, not shortest).
 */
kms_status kms_cbor_head(kms_cbor_major *major, uint64_t *number, kms_reader *reader);

/*
 * The next item, of that type and with min <= number (or length) <= max; bytes and texts are
 * borrowed from the input. Returns: as kms_cbor_head, and ERR_FIELD_TYPE, ERR_FIELD_VALUE,
 * ERR_UTF8. After a failure the position of the reader is unspecified.
 */
kms_status kms_cbor_uint(uint64_t *number, kms_reader *reader, uint64_t min, uint64_t max);
kms_status kms_cbor_bytes(kms_span *bytes, kms_reader *reader, size_t min, size_t max);
kms_status kms_cbor_text(kms_span *text, kms_reader *reader, size_t min, size_t max);
/* The number of elements, or pairs, that follow. */
kms_status kms_cbor_array(size_t *count, kms_reader *reader, size_t min, size_t max);
kms_status kms_cbor_map(size_t *count, kms_reader *reader, size_t min, size_t max);

/* Consumes one byte where it is the next: null (0xf6), a break, an indefinite array or map. */
bool kms_cbor_skip(kms_reader *reader, uint8_t byte);

/*
 * Passes over the next item, whatever it is: any encoding, indefinite lengths included, of at most `depth`
 * levels. Returns: KMS_OK; ERR_TRUNCATED; ERR_FIELD_VALUE.
 */
kms_status kms_cbor_pass(kms_reader *reader, unsigned depth);

#define KMS_CBOR_NULL 0xf6
#define KMS_CBOR_INDEFINITE_ARRAY 0x9f
#define KMS_CBOR_INDEFINITE_MAP 0xbf
#define KMS_CBOR_BREAK 0xff

/* Appends the head of an item, or a whole one, in its shortest form. */
kms_status kms_cbor_put_head(kms_buf *out, kms_cbor_major major, uint64_t number);
kms_status kms_cbor_put_text(kms_buf *out, const char *text);
/* A byte string; null where `bytes.bytes` is NULL. */
kms_status kms_cbor_put_bytes(kms_buf *out, kms_span bytes);
kms_status kms_cbor_put_byte(kms_buf *out, uint8_t byte);

#endif
