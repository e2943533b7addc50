/* What the files of this room share: parsing, ES384, certificate chains. */
#ifndef KMS_ATTEST_ATTEST_INTERNAL_H
#define KMS_ATTEST_ATTEST_INTERNAL_H

#include <openssl/x509.h>

#include "base/ensure.h"
#include "kms/attest.h"

#define KMS_ES384_BYTES 96 /* r || s */
#define KMS_SHA384_BYTES 48

/* The end of the year 9999, the last time that certificates can express. */
#define KMS_ATTEST_MAX_TIME_MS 253402300799999u

/* Returns ERR_ATTEST and sets *failure, unless `cond` holds. */
#define ENSURE_ATTEST(cond, name)              \
	do {                                   \
		if (!(cond)) {                 \
			*failure = (name);     \
			return KMS_ERR_ATTEST; \
		}                              \
	} while (0)

/*
 * The encoded protected header, with the head of its byte string: the map {1: -35}, algorithm
 * ES384 (RFC 9052 section 3.1, RFC 9053 table 1).
 */
extern const uint8_t kms_cose_es384_header[5];

/* Fills all of `facts` but `chain`, which stays zero. ERR_ATTEST for every malformed document. */
kms_status kms_attest_parse(kms_attest_facts *facts, kms_span document);

/* ---- ES384 over a payload (RFC 9052 section 4.4) ---------------------------------------------- */

/* ERR_ATTEST with SIGNATURE unless `key`, a P-384 key, has made the signature. */
kms_status kms_es384_verify(kms_attest_failure *failure, EVP_PKEY *key, kms_span payload,
			    const uint8_t signature96[KMS_ES384_BYTES]);
kms_status kms_es384_sign(uint8_t signature96[KMS_ES384_BYTES], EVP_PKEY *key, kms_span payload);

/*
 * The status for an OpenSSL call that failed on untrusted data: ERR_LOCKED_MEMORY when the arena
 * had no room, else ERR_ATTEST with the failure `name`.
 */
kms_status kms_attest_refusal(kms_attest_failure *failure, kms_attest_failure name);

/* ---- chains ---------------------------------------------------------------------------------- */

typedef struct kms_attest_chain {
	X509 *certificates[KMS_ATTEST_MAX_CHAIN];
	size_t count;
} kms_attest_chain;

void kms_attest_chain_free(kms_attest_chain *chain);

/* Parses exactly one DER certificate; NULL when it is none, or without memory. */
X509 *kms_attest_certificate_parse(kms_span der);
/*
 * Its P-384 key. Returns: KMS_OK; ERR_ATTEST when its key is of another kind, and the failure is `name`;
 * ERR_LOCKED_MEMORY. Out: key - borrowed, NULL on failure.
 */
kms_status kms_attest_certificate_key(EVP_PKEY **key, kms_attest_failure *failure, kms_attest_failure name,
				      const X509 *certificate);
/* Fills `shown`; false, and all zero, when the times are malformed. */
bool kms_attest_certificate_show(kms_attest_certificate *shown, const X509 *certificate, kms_span der);

/* Check CHAIN. It also parses the certificates: fills `chain` and facts->chain. */
kms_status kms_attest_chain_load(kms_attest_chain *chain, kms_attest_failure *failure,
				 kms_attest_facts *facts);
/* Check CONSTRAINTS. */
kms_status kms_attest_chain_constraints(kms_attest_failure *failure, const kms_attest_chain *chain);
/* Checks EXPIRED and NOT_YET_VALID. */
kms_status kms_attest_chain_validity(kms_attest_failure *failure, const kms_attest_facts *facts,
				     uint64_t now_ms, uint64_t max_ahead_ms);

KMS_DEFINE_RELEASE(x509_release, X509, X509_free)
KMS_DEFINE_RELEASE(key_ctx_release, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

#endif
