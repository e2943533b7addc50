/*
 * AWS Signature Version 4: what signs requests to S3 and to servers that speak like it.
 * Threads: any.
 */
#ifndef KMS_SIGV4_H
#define KMS_SIGV4_H

#include "kms/secret.h"

/* What a signature is for, besides the text. */
typedef struct kms_sigv4_scope {
	kms_text date; /* YYYYMMDD */
	kms_text region;
	kms_text service;
} kms_sigv4_scope;

/*
 * Signs a text (AWS Signature Version 4, "Calculate the signature").
 * Returns: KMS_OK; ERR_ARGUMENT; ERR_LOCKED_MEMORY; as kms_hmac_sha256.
 * Out: signature32 - zeroed on failure.
 * In: key - "AWS4" and the secret access key. to_sign - the "string to sign".
 */
kms_status kms_sigv4(uint8_t signature32[32], const kms_secret *key, const kms_sigv4_scope *scope,
		     kms_text to_sign);

#endif
