/* The inside of a test root. */
#ifndef KMS_ATTEST_ATTEST_ROOT_H
#define KMS_ATTEST_ATTEST_ROOT_H

#include "attest/attest_internal.h"

#define KMS_ATTEST_ROOT_NAME "nova-kms simulated attestation root"
#define KMS_ATTEST_LEAF_NAME "nova-kms simulated enclave"

struct kms_attest_root {
	EVP_PKEY *key;
	EVP_PKEY *leaf;
	size_t der_len;
	uint8_t der[KMS_ATTEST_MAX_CERTIFICATE];
};

/* A certificate for the leaf's key, valid in that time (Unix seconds, inclusive). */
kms_status kms_attest_leaf_issue(uint8_t der[KMS_ATTEST_MAX_CERTIFICATE], size_t *len,
				 const kms_attest_root *root, int64_t from_s, int64_t to_s);

#endif
