/*
 * The Nitro Security Module of an AWS Nitro enclave (/dev/nsm): random bytes, attestation
 * documents, and the keys of a node that are made from its generator. The kernel's interface is
 * one ioctl (linux/nsm.h: type 0x0A, number 0) that carries a CBOR request and its answer.
 *
 * A module may be used from several threads at once: one call at a time goes to the device. The
 * device may go away at any moment; only calls fail then, keys that were made stay.
 */
#ifndef KMS_NSM_H
#define KMS_NSM_H

#include "kms/buf.h"
#include "kms/crypto.h"
#include "kms/p384.h"
#include "kms/wallet.h"

#define KMS_NSM_REQUEST_MAX 4096   /* bytes of a CBOR request */
#define KMS_NSM_RESPONSE_MAX 12288 /* bytes of a CBOR answer */
#define KMS_NSM_USER_DATA_MAX 512  /* bytes */
#define KMS_NSM_NONCE_MAX 512
#define KMS_NSM_PUBLIC_KEY_MAX 1024

typedef struct kms_nsm kms_nsm;

/*
 * Opens the device.
 * Out: nsm - owned by the caller, closed with kms_nsm_close.
 * Returns: KMS_OK; ERR_NSM_MISSING where there is no such device (outside an enclave);
 * ERR_NSM_ACCESS where the process may not use it; ERR_NSM; ERR_MEMORY.
 */
kms_status kms_nsm_open(kms_nsm **nsm);
/* NULL is fine. No other thread may be using it. */
void kms_nsm_close(kms_nsm *nsm);

/*
 * Calls below return, beside what they say themselves: ERR_NSM when the device failed or is
 * gone, ERR_NSM_ACCESS (some kernels ask for CAP_SYS_ADMIN at each call), ERR_NSM_REFUSED when
 * the module answered with an error, ERR_NSM_ANSWER when its answer is malformed,
 * ERR_LOCKED_MEMORY.
 */

/* Name of the error that the module gave to the last refused call ("InternalError"); "" before. */
const char *kms_nsm_refusal(kms_nsm *nsm);

/*
 * Bytes from the module's own generator (GetRandom), as many calls as it takes.
 * Out: bytes - `len` of them, 1 to 1024 (ERR_RANGE), zeroed on failure.
 */
kms_status kms_nsm_random(uint8_t *bytes, size_t len, kms_nsm *nsm);

/*
 * A secret that neither the module nor the kernel can weaken alone: HKDF-SHA256 (RFC 5869) over
 * 64 bytes of the module's generator and 64 of the kernel's, drawn after them.
 * Out: secret - `len` bytes, 1 to 64 (ERR_RANGE), one reference, in guarded memory.
 * In: use - what the secret is for: the info of HKDF.
 */
kms_status kms_nsm_secret(kms_secret **secret, kms_nsm *nsm, size_t len, const char *use);

/*
 * A new wallet and a new P-384 key, each from a secret of its own as kms_nsm_secret makes it.
 * Nothing of them is kept anywhere else: they are gone with the process.
 */
kms_status kms_nsm_identity(kms_wallet **wallet, kms_p384 **p384, kms_nsm *nsm);

/*
 * What an attestation document shall say: each part absent (bytes NULL) or within the sizes above
 * (ERR_RANGE). Borrowed.
 */
typedef struct kms_nsm_claims {
	kms_span user_data;
	kms_span nonce;
	kms_span public_key;
} kms_nsm_claims;

/*
 * An attestation document (COSE_Sign1, as the module signed it). Public.
 * In/Out: document - appended to; unchanged on failure.
 */
kms_status kms_nsm_attest(kms_buf *document, kms_nsm *nsm, const kms_nsm_claims *claims);

#define KMS_NSM_TEXT_MAX 128

/* What DescribeNSM tells. */
typedef struct kms_nsm_description {
	char module_id[KMS_NSM_TEXT_MAX + 1]; /* "i-...-enc..." */
	char digest[KMS_NSM_TEXT_MAX + 1];    /* "SHA384" */
	unsigned version[3];                  /* major, minor, patch */
	unsigned max_pcrs;
	unsigned locked_pcrs; /* how many */
} kms_nsm_description;

kms_status kms_nsm_describe(kms_nsm_description *description, kms_nsm *nsm);

#endif
