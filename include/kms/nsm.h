/*
 * The Nitro Security Module of an AWS Nitro enclave (/dev/nsm): random bytes, attestation
 * documents, and a node's keys from its generator. The kernel's interface is one ioctl
 * (linux/nsm.h: type 0x0A, number 0) that carries a CBOR request and its response.
 *
 * The device may go away at any time: then calls fail, and keys that were made stay.
 *
 * Every function with a kms_nsm argument returns, beside what it lists: ERR_NSM when the device
 * failed or is gone; ERR_NSM_ACCESS (some kernels require CAP_SYS_ADMIN at each call);
 * ERR_NSM_REFUSED when the module responded with an error; ERR_NSM_ANSWER when its response is
 * malformed; ERR_LOCKED_MEMORY; ERR_ARGUMENT.
 * Threads: any; one call at a time goes to the device.
 */
#ifndef KMS_NSM_H
#define KMS_NSM_H

#include "kms/buf.h"
#include "kms/crypto.h"
#include "kms/p384.h"
#include "kms/wallet.h"

#define KMS_NSM_REQUEST_MAX 4096   /* bytes of a CBOR request */
#define KMS_NSM_RESPONSE_MAX 12288 /* bytes of a CBOR response */
#define KMS_NSM_USER_DATA_MAX 1024 /* bytes, as in a document that is verified (kms/attest.h) */
#define KMS_NSM_NONCE_MAX 1024
#define KMS_NSM_PUBLIC_KEY_MAX 1024
#define KMS_NSM_RANDOM_MAX 1024
#define KMS_NSM_SECRET_MAX 64

typedef struct kms_nsm kms_nsm;

/*
 * Opens the device.
 * Returns: KMS_OK; ERR_NSM_MISSING when there is no such device (outside an enclave);
 * ERR_NSM_ACCESS when the process may not use it; ERR_NSM; ERR_MEMORY; ERR_ARGUMENT.
 * Out: nsm - owned by the caller, closed with kms_nsm_close; NULL on failure.
 */
kms_status kms_nsm_open(kms_nsm **nsm);
/* NULL is fine. No other thread may be using the module. */
void kms_nsm_close(kms_nsm *nsm);

/* The module's name for the error of the last refused call ("InternalError"): static; "" before. */
const char *kms_nsm_refusal(kms_nsm *nsm);

/*
 * Reads random bytes of the module's own generator (GetRandom), in as many calls as it takes.
 * Returns: KMS_OK; ERR_RANGE.
 * Out: bytes - 1 to KMS_NSM_RANDOM_MAX bytes of the caller.
 */
kms_status kms_nsm_random(kms_out bytes, kms_nsm *nsm);

/*
 * Makes a secret that neither the module nor the kernel can weaken alone: HKDF-SHA256 (RFC 5869)
 * over 64 bytes of the module's generator, then 64 bytes of the kernel's, drawn in this order.
 * Returns: KMS_OK; ERR_RANGE.
 * Out: secret - one reference, released with kms_secret_unref; NULL on failure.
 * In: len - 1 to KMS_NSM_SECRET_MAX bytes. use - the purpose of the secret: the info of HKDF.
 */
kms_status kms_nsm_secret(kms_secret **secret, kms_nsm *nsm, size_t len, kms_text use);

/*
 * Makes a new wallet and a new P-384 key, each from a secret of its own (kms_nsm_secret). Nothing
 * else keeps them: they end with the process.
 * Returns: KMS_OK; ERR_PRIVATE_KEY; ERR_MEMORY; ERR_CRYPTO.
 * Out: wallet, p384 - owned by the caller; both NULL on failure.
 */
kms_status kms_nsm_identity(kms_wallet **wallet, kms_p384 **p384, kms_nsm *nsm);

/* What a document shall say: each part absent (`bytes` NULL) or within the sizes above. Borrowed. */
typedef struct kms_nsm_claims {
	kms_span user_data;
	kms_span nonce;
	kms_span public_key;
} kms_nsm_claims;

/*
 * Makes an attestation document: public, a COSE_Sign1 that the module signs (kms/attest.h).
 * Returns: KMS_OK; ERR_RANGE for a claim that is too long; ERR_TOO_LARGE; ERR_MEMORY.
 * In-out: document - appended to; unchanged on failure.
 */
kms_status kms_nsm_attest(kms_buf *document, kms_nsm *nsm, const kms_nsm_claims *claims);

#define KMS_NSM_TEXT_MAX 128

/* What the module says of itself (DescribeNSM). The texts are printable ASCII. */
typedef struct kms_nsm_description {
	char module_id[KMS_NSM_TEXT_MAX + 1]; /* "i-...-enc..." */
	char digest[KMS_NSM_TEXT_MAX + 1];    /* "SHA384" */
	unsigned version[3];                  /* major, minor, patch */
	unsigned max_pcrs;
	unsigned locked_pcrs; /* how many */
} kms_nsm_description;

/*
 * Asks the module to describe itself.
 * Returns: KMS_OK.
 */
kms_status kms_nsm_describe(kms_nsm_description *description, kms_nsm *nsm);

#endif
