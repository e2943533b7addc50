/*
 * Attestation documents of the AWS Nitro Secure Module: reading, verifying, and making ones
 * of the same shape for development. A document is a COSE_Sign1 (RFC 9052 section 4.2, tag 18
 * optional) with ES384 (RFC 9053) over a CBOR map, signed by the last certificate (RFC 5280)
 * of a chain that it carries itself.
 *
 * Everything here is public data. Nothing reads a clock or the network; nothing is trusted
 * but the roots that the caller names. Stateless but for kms_attest_root; any thread. A
 * verification takes about 5 ms: never on the loop.
 *
 * Revocation is not looked at: lists would have to be fetched, from where the certificates say,
 * and whoever keeps them away would decide. What bounds the use of a stolen key is that AWS's leaves
 * are valid for three hours, and what is between them and the root for a day to three weeks.
 */
#ifndef KMS_ATTEST_H
#define KMS_ATTEST_H

#include "kms/crypto.h"

#define KMS_ATTEST_MAX_DOCUMENT 16384 /* the device's answers end at 12 KiB */
#define KMS_ATTEST_MAX_PUBLIC_KEY 1024
#define KMS_ATTEST_MAX_DATA 512 /* user_data, nonce */
#define KMS_ATTEST_MAX_MODULE_ID 256
#define KMS_ATTEST_MAX_CERTIFICATE 1024
#define KMS_ATTEST_MAX_CHAIN 8  /* certificates, root and leaf included */
#define KMS_ATTEST_PCR_COUNT 32 /* registers, numbered from 0 */
#define KMS_ATTEST_PCR_BYTES 48 /* bytes of one, with the digest SHA384 */

/* SHA-256 of the DER of the root for AWS's standard regions ("aws.nitro-enclaves", to 2049). */
extern const uint8_t kms_attest_aws_root32[32];

/*
 * What is wrong with a document: X(NAME, "name", sentence), in the order of the checks. The
 * first failure ends a verification. Names are what operators and scripts see: never renamed.
 */
#define KMS_ATTEST_FAILURE_LIST(X)                                                                   \
	X(NONE, "none", "every check passed")                                                        \
	X(SHAPE, "shape", "the document is not well formed")                                         \
	X(ROOT, "root", "the first certificate is not a pinned root")                                \
	X(CHAIN, "chain", "a certificate is not signed by the one before it, or there are too many") \
	X(CONSTRAINTS, "constraints", "a certificate does not allow what the chain uses it for")     \
	X(EXPIRED, "expired", "a certificate is no longer valid at that time")                       \
	X(NOT_YET_VALID, "not_yet_valid", "a certificate is not yet valid at that time")             \
	X(SIGNATURE, "signature", "the document is not signed by the last certificate's P-384 key")  \
	X(DIGEST, "digest", "the digest is not SHA384, or a PCR is not of its length")               \
	X(DEBUG, "debug", "PCR0 is all zero: an enclave in debug mode, which its host can read")     \
	X(NONCE, "nonce", "the nonce is not the expected one")                                       \
	X(STALE, "stale", "the document is older than allowed")                                      \
	X(FUTURE, "future", "the document is dated in the future")                                   \
	X(PCR, "pcr", "the PCRs equal no entry of the allow-list")                                   \
	X(USER_DATA, "user_data", "user_data is not the expected one")                               \
	X(PUBLIC_KEY, "public_key", "public_key is not the expected one")

typedef enum kms_attest_failure {
#define KMS_ATTEST_FAILURE_ENUM(name, text, sentence) KMS_ATTEST_##name,
	KMS_ATTEST_FAILURE_LIST(KMS_ATTEST_FAILURE_ENUM)
#undef KMS_ATTEST_FAILURE_ENUM
} kms_attest_failure;

/* Name ("not_yet_valid") and sentence of a failure: static strings, "unknown" for another number. */
const char *kms_attest_failure_name(kms_attest_failure failure);
const char *kms_attest_failure_text(kms_attest_failure failure);

/* ---- what a document says ---------------------------------------------------------------- */

/* A certificate, for display; `readable` is false, and the rest zero, where it is none. */
typedef struct kms_attest_certificate {
	bool readable;
	char subject[128];    /* common name, NUL-terminated, cut to fit; from outside: may hold anything */
	int64_t not_before_s; /* Unix seconds, both inclusive */
	int64_t not_after_s;
	uint8_t sha256[32]; /* of the DER */
} kms_attest_certificate;

/* All spans borrow from the document's bytes. `bytes` NULL where the document has null. */
typedef struct kms_attest_facts {
	kms_span module_id; /* UTF-8, 1 to KMS_ATTEST_MAX_MODULE_ID bytes */
	kms_span digest;    /* text of 1 to 16 bytes */
	uint64_t timestamp_ms;
	kms_span pcrs[KMS_ATTEST_PCR_COUNT]; /* 32, 48 or 64 bytes; NULL where there is none */
	kms_span public_key;
	kms_span user_data;
	kms_span nonce;
	size_t chain_len; /* of the document; only the first KMS_ATTEST_MAX_CHAIN are kept */
	kms_span der[KMS_ATTEST_MAX_CHAIN];                 /* root first, leaf last */
	kms_attest_certificate chain[KMS_ATTEST_MAX_CHAIN]; /* the same, read */
	kms_span payload;                                   /* what is signed */
	kms_span signature96;                               /* r || s */
} kms_attest_facts;

/*
 * Reads a document and verifies nothing: for display.
 * Out: facts - what it says; failure - SHAPE with ERR_ATTEST, else NONE.
 * In: document - must outlive `facts`.
 * Returns: KMS_OK, ERR_ATTEST, ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 */
kms_status kms_attest_read(kms_attest_facts *facts, kms_attest_failure *failure, const uint8_t *document,
			   size_t len);

/* ---- verifying --------------------------------------------------------------------------- */

/* An image by its registers: all that are named must be in the document, with these values. */
typedef struct kms_attest_pcrs {
	uint32_t named; /* bit n: values[n] counts */
	uint8_t values[KMS_ATTEST_PCR_COUNT][KMS_ATTEST_PCR_BYTES];
} kms_attest_pcrs;

#define KMS_ATTEST_ANY_AGE UINT64_MAX

/* What is asked of a document. All zero asks for the impossible: nothing is allowed by default. */
typedef struct kms_attest_policy {
	const uint8_t (*roots)[32]; /* SHA-256 of the DER of each root that is trusted */
	size_t root_count;
	uint64_t now_ms;       /* time of the verification, Unix milliseconds */
	uint64_t max_age_ms;   /* of the timestamp; KMS_ATTEST_ANY_AGE: any */
	uint64_t max_ahead_ms; /* how far the timestamp may be ahead of now_ms: clocks differ */
	bool allow_debug;      /* let PCR0 be all zero */
	const kms_span *nonce; /* NULL: not looked at; an empty span: none, or an empty one */
	const kms_span *user_data;
	const kms_span *public_key;
	bool check_pcrs; /* the document must equal one of `images`; without any, none does */
	const kms_attest_pcrs *images;
	size_t image_count;
} kms_attest_policy;

/*
 * Verifies a document in the order of KMS_ATTEST_FAILURE_LIST.
 * Out: facts - zeroed unless everything passed; failure - the first check that did not pass,
 * with ERR_ATTEST; NONE with every other status.
 * In: document - must outlive `facts`; policy - an image that names no register is ERR_ARGUMENT.
 * Returns: KMS_OK, ERR_ATTEST, ERR_ARGUMENT, ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO, ERR_STATE.
 */
kms_status kms_attest_verify(kms_attest_facts *facts, kms_attest_failure *failure, const uint8_t *document,
			     size_t len, const kms_attest_policy *policy);

/* ---- user_data of this project's nodes --------------------------------------------------- */

typedef enum kms_attest_purpose {
	KMS_ATTEST_PUBLIC = 0, /* shown to anybody */
	KMS_ATTEST_SECRET = 1, /* part of a request for the master secret */
} kms_attest_purpose;

typedef struct kms_attest_statement {
	uint8_t wallet20[20];
	kms_attest_purpose purpose;
	bool has_policy;
	uint8_t policy32[32]; /* SHA-256 of the operator's policy */
} kms_attest_statement;

/*
 * Reads {"eth_addr":<wallet>,"kms":{"v":1,"purpose":"public"|"secret","policy":<64 digits>}},
 * policy optional, nothing else allowed.
 * Returns: KMS_OK, ERR_TOO_LARGE, and what kms_json_parse returns; ERR_FIELD_MISSING,
 * ERR_FIELD_TYPE, ERR_FIELD_VALUE, ERR_ADDRESS.
 */
kms_status kms_attest_statement_read(kms_attest_statement *statement, const uint8_t *user_data, size_t len);

/* ---- making, for development ------------------------------------------------------------- */

/* A test root: its P-384 key, its certificate, and the key that signs documents. Immutable. */
typedef struct kms_attest_root kms_attest_root;

/*
 * The root of a seed: keys by HKDF-SHA256(seed, "nova-kms:attest", "root" | "leaf").
 * In: der - the certificate that an earlier call made with the same seed, so that its SHA-256
 * stays; NULL makes one (ECDSA signatures differ each time).
 * Returns: KMS_OK, ERR_FILE_FORMAT (der is not a certificate of this seed's key),
 * ERR_PRIVATE_KEY, ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 */
kms_status kms_attest_root_new(kms_attest_root **root, const kms_secret *seed32, const uint8_t *der,
			       size_t der_len);
void kms_attest_root_free(kms_attest_root *root);
/* Its certificate; borrowed, lives as long as the root. */
kms_span kms_attest_root_der(const kms_attest_root *root);

/* What a document is to say; spans with `bytes` NULL become null. */
typedef struct kms_attest_claims {
	uint64_t
	    now_ms; /* its timestamp; the leaf is valid from 3 s before to 3 h after, as the device has it */
	kms_span public_key;
	kms_span user_data;
	kms_span nonce;
	const kms_attest_pcrs *pcrs; /* NULL, or not named: zero, which verifiers call debug */
} kms_attest_claims;

/*
 * Appends a document whose module_id is "simulated". It is worth what the secrecy of the
 * seed is worth, and verifies only where its root is trusted.
 * Returns: KMS_OK, ERR_FIELD_VALUE (a claim is larger than documents have it),
 * ERR_TOO_LARGE (the buffer's limit), ERR_MEMORY, ERR_LOCKED_MEMORY, ERR_CRYPTO.
 */
kms_status kms_attest_make(kms_buf *document, const kms_attest_root *root, const kms_attest_claims *claims);

#endif
