/* What the writer and the reader of age files share (kms/age.h). Keys are in guarded memory. */
#ifndef KMS_CRYPTO_AGE_INTERNAL_H
#define KMS_CRYPTO_AGE_INTERNAL_H

#include "base/ensure.h"
#include "kms/age.h"

#define AGE_VERSION "age-encryption.org/v1"
#define AGE_STANZA "X25519"
#define AGE_BEGIN "-----BEGIN AGE ENCRYPTED FILE-----"
#define AGE_END "-----END AGE ENCRYPTED FILE-----"
#define AGE_LINE 64      /* characters of base64 in a line */
#define AGE_FILE_KEY 16  /* bytes */
#define AGE_NONCE 16     /* bytes before the payload */
#define AGE_BASE64_32 43 /* characters of 32 bytes, not padded */

/* Of a payload's only chunk, which is the last one. */
extern const uint8_t kms_age_chunk_nonce12[12];
/* Of a wrapped file key, whose key is used once. */
extern const uint8_t kms_age_wrap_nonce12[12];

/* The key that wraps a file key: of the agreed secret, the ephemeral and the recipient's key. */
kms_status kms_age_wrap_key(uint8_t key32[32], const kms_secret *shared32, const uint8_t ephemeral32[32],
			    const uint8_t recipient32[32]);

/* The MAC of a header, from its first byte to its last "---". */
kms_status kms_age_header_mac(uint8_t mac32[32], const uint8_t file_key16[16], kms_span header);

/* The key of the payload after this nonce. */
kms_status kms_age_payload_key(uint8_t key32[32], const uint8_t file_key16[16], const uint8_t nonce16[16]);

/* What is drawn for a file; for known answers. */
typedef struct kms_age_draws {
	const kms_x25519 *ephemeral;
	const uint8_t *file_key16;
	const uint8_t *nonce16;
} kms_age_draws;

/* As kms_age_seal, with given draws. */
kms_status kms_age_seal_with(kms_buf *file, const uint8_t recipient32[32], kms_span plain,
			     const kms_age_draws *draws);

#endif
