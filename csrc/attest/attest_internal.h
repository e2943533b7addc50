/* What the attestation files share: fields of the format, ES384, chains. */
#ifndef KMS_ATTEST_ATTEST_INTERNAL_H
#define KMS_ATTEST_ATTEST_INTERNAL_H

#include <openssl/x509.h>

#include "base/ensure.h"
#include "kms/attest.h"

#define KMS_ES384_BYTES 96 /* r || s */
#define KMS_SHA384_BYTES 48

/* Year 9999 ends: what later times mean, nobody can write down. */
#define KMS_ATTEST_MAX_TIME_MS 253402300799999u

/* Ends a check: ERR_ATTEST with the failure's name, unless `cond` holds. */
#define ENSURE_ATTEST(cond, name)              \
	do {                                   \
		if (!(cond)) {                 \
			*failure = (name);     \
			return KMS_ERR_ATTEST; \
		}                              \
	} while (0)

/*
 * The protected header as it stands in the document, its byte string's head included: of
 * the map {1: -35}, algorithm ES384 (RFC 9052 section 3.1, RFC 9053 table 1).
 */
extern const uint8_t kms_cose_es384_header[5];

/* Everything but `chain`, which is zero. ERR_ATTEST whatever is wrong. */
kms_status kms_attest_parse(kms_attest_facts *facts, const uint8_t *document, size_t len);

/* ---- ES384 over a payload (RFC 9052 section 4.4), and the keys ------------------------------- */

/* ERR_ATTEST with SIGNATURE when it is not the key's; `key` is a P-384 key (kms_attest_is_p384). */
kms_status kms_es384_verify(kms_attest_failure *failure, EVP_PKEY *key, kms_span payload,
			    const uint8_t signature96[KMS_ES384_BYTES]);
kms_status kms_es384_sign(uint8_t signature96[KMS_ES384_BYTES], EVP_PKEY *key, kms_span payload);

/*
 * What a failed call on outside data means: ERR_LOCKED_MEMORY when memory was out, else
 * ERR_ATTEST with that failure.
 */
kms_status kms_attest_refusal(kms_attest_failure *failure, kms_attest_failure name);

/* ---- chains ---------------------------------------------------------------------------------- */

typedef struct kms_attest_chain {
	X509 *certificates[KMS_ATTEST_MAX_CHAIN];
	size_t count;
} kms_attest_chain;

void kms_attest_chain_free(kms_attest_chain *chain);

/* Exactly one DER certificate; NULL when it is none, or memory is out. */
X509 *kms_attest_certificate_parse(kms_span der);
/* Its P-384 key, borrowed; NULL where it has another one. */
EVP_PKEY *kms_attest_certificate_key(const X509 *certificate);
/* What can be shown of it; false where its times cannot be read. */
bool kms_attest_certificate_show(kms_attest_certificate *shown, const X509 *certificate, kms_span der);

/* The rows `chain` (parses, too, and fills facts->chain), `constraints` and `expired`/`not_yet_valid`. */
kms_status kms_attest_chain_load(kms_attest_chain *chain, kms_attest_failure *failure,
				 kms_attest_facts *facts);
kms_status kms_attest_chain_constraints(kms_attest_failure *failure, const kms_attest_chain *chain);
kms_status kms_attest_chain_validity(kms_attest_failure *failure, const kms_attest_facts *facts,
				     uint64_t now_ms);

#endif
