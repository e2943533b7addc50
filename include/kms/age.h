/*
 * Age files (age-encryption.org/v1) to one X25519 recipient, armored: what the standard tool `age -a` writes
 * and opens. For small secrets only. Threads: any.
 */
#ifndef KMS_AGE_H
#define KMS_AGE_H

#include "kms/buf.h"
#include "kms/x25519.h"

#define KMS_AGE_RECIPIENT 62   /* characters of "age1..." */
#define KMS_AGE_MAX_PLAIN 1024 /* bytes in a file */
#define KMS_AGE_MAX_FILE 16384 /* characters that are read */

/*
 * Reads a recipient: "age1" and Bech32 in lower case. A key of small order, to which anybody could open
 * a file, is refused.
 * Returns: KMS_OK; ERR_RECIPIENT; ERR_ARGUMENT; as kms_x25519_generate.
 * Out: key32 - zeroed on failure.
 */
kms_status kms_age_recipient_parse(uint8_t key32[32], kms_text text);

/* Writes a recipient's KMS_AGE_RECIPIENT characters, no NUL. */
void kms_age_recipient_format(char *text, const uint8_t key32[32]);

/*
 * Appends an armored file that only the recipient opens.
 * Returns: KMS_OK; ERR_PEER_KEY; ERR_TOO_LARGE beyond KMS_AGE_MAX_PLAIN; ERR_ARGUMENT; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_SYSTEM.
 * Out: file - unchanged on failure.
 */
kms_status kms_age_seal(kms_buf *file, const uint8_t recipient32[32], kms_span plain);

/*
 * Opens an armored file. Stanzas of other recipients are passed over, up to 20 of them.
 * Returns: KMS_OK; ERR_AGE when it is not a file in this form, of at most KMS_AGE_MAX_PLAIN bytes, that the
 * key opens; ERR_ARGUMENT; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * Out: plain - guarded; what was there is dropped, and empty on failure.
 */
kms_status kms_age_open(kms_buf *plain, const kms_x25519 *key, kms_text file);

#endif
