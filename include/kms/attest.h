/*
 * Attestation documents of the AWS Nitro Secure Module: reading, verifying, and making documents
 * of the same shape for development. A document is a COSE_Sign1 (RFC 9052 section 4.2, tag 18
 * optional) with ES384 (RFC 9053) over a CBOR map (RFC 8949). It carries a chain of certificates
 * (RFC 5280), and the last one signs it. docs/protocol.md section 13 lists the fields.
 *
 * Everything here is public data. Nothing reads a clock or the network; nothing is trusted but the
 * roots that the caller names.
 *
 * Revocation is not checked: lists would have to be fetched from where the certificates say, and
 * an attacker who blocks the fetch would decide the result. Short validity limits the use of a
 * stolen key instead: AWS issues leaves for three hours, and intermediates for a day to three weeks.
 *
 * Threads: any; a kms_attest_root is immutable. A verification takes about 5 ms of CPU, so never
 * call it on the loop thread.
 */
#ifndef KMS_ATTEST_H
#define KMS_ATTEST_H

#include "kms/crypto.h"

#define KMS_ATTEST_MAX_DOCUMENT 16384 /* bytes; the device's responses end at 12 KiB */
#define KMS_ATTEST_MAX_PUBLIC_KEY 1024
#define KMS_ATTEST_MAX_DATA 1024 /* bytes of user_data and of the nonce */
#define KMS_ATTEST_MAX_MODULE_ID 256
#define KMS_ATTEST_MAX_CERTIFICATE 1024
#define KMS_ATTEST_MAX_CHAIN 8  /* certificates, root and leaf included */
#define KMS_ATTEST_PCR_COUNT 32 /* registers, numbered from 0 */
#define KMS_ATTEST_PCR_BYTES 48 /* of one register, with the digest SHA384 */

/* SHA-256 of the DER of AWS's root for its standard regions ("aws.nitro-enclaves", valid to 2049). */
extern const uint8_t kms_attest_aws_root32[32];

/*
 * What is wrong with a document: X(NAME, "name", sentence), in the order of the checks. The first
 * check that fails ends the verification. Operators and scripts see the names: never rename one.
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

/*
 * Name ("not_yet_valid") and sentence of a failure.
 * Returns: a static string, never NULL; "unknown" for an unknown number.
 */
const char *kms_attest_failure_name(kms_attest_failure failure);
const char *kms_attest_failure_text(kms_attest_failure failure);

/* ---- reading ----------------------------------------------------------------------------- */

/* A certificate, for display. Bytes that are no certificate: `readable` false, the rest zero. */
typedef struct kms_attest_certificate {
	bool readable;
	char subject[128];    /* common name, NUL-terminated, cut to fit; untrusted, any bytes */
	int64_t not_before_s; /* Unix seconds, both inclusive */
	int64_t not_after_s;
	uint8_t sha256[32]; /* of the DER */
} kms_attest_certificate;

/* What a document says. All spans borrow from its bytes; `bytes` is NULL where it has null. */
typedef struct kms_attest_facts {
	kms_span module_id; /* UTF-8, 1 to KMS_ATTEST_MAX_MODULE_ID bytes */
	kms_span digest;    /* name of the PCRs' digest, 1 to 16 bytes of UTF-8 */
	uint64_t timestamp_ms;
	kms_span pcrs[KMS_ATTEST_PCR_COUNT]; /* 32, 48 or 64 bytes each; `bytes` NULL: absent */
	kms_span public_key;
	kms_span user_data;
	kms_span nonce;
	size_t chain_len; /* in the document; only the first KMS_ATTEST_MAX_CHAIN are kept below */
	kms_span der[KMS_ATTEST_MAX_CHAIN];                 /* root first, leaf last */
	kms_attest_certificate chain[KMS_ATTEST_MAX_CHAIN]; /* the same, parsed */
	kms_span payload;                                   /* the signed bytes */
	kms_span signature96;                               /* r || s */
} kms_attest_facts;

/*
 * Reads a document and verifies nothing: for display.
 * Returns: KMS_OK; ERR_ATTEST when the document is malformed; ERR_MEMORY; ERR_LOCKED_MEMORY;
 * ERR_CRYPTO; ERR_STATE before kms_crypto_init.
 * Out: facts - borrows from the document. failure - KMS_ATTEST_SHAPE with ERR_ATTEST, else NONE.
 * In: document - must outlive `facts`.
 */
kms_status kms_attest_read(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document);

/* ---- verifying --------------------------------------------------------------------------- */

/* An image, by its registers: the document must have each named register with this value. */
typedef struct kms_attest_pcrs {
	uint32_t named; /* bit n is set: values[n] is part of the image */
	uint8_t values[KMS_ATTEST_PCR_COUNT][KMS_ATTEST_PCR_BYTES];
} kms_attest_pcrs;

#define KMS_ATTEST_ANY_AGE UINT64_MAX

/* What a document must satisfy. With everything zero no document passes: a policy must allow. */
typedef struct kms_attest_policy {
	const uint8_t (*roots)[32]; /* SHA-256 of the DER of each trusted root */
	size_t root_count;
	uint64_t now_ms;       /* time of the verification, Unix milliseconds */
	uint64_t max_age_ms;   /* of the timestamp; KMS_ATTEST_ANY_AGE: no limit */
	uint64_t max_ahead_ms; /* how far the timestamp and the leaf's notBefore may be ahead of now_ms */
	bool allow_debug;      /* PCR0 may be all zero */
	const kms_span *nonce; /* exact bytes; NULL: not checked; empty span: null or empty */
	const kms_span *user_data;
	const kms_span *public_key;
	bool check_pcrs; /* the document must match one of `images`; with no images none matches */
	const kms_attest_pcrs *images;
	size_t image_count;
} kms_attest_policy;

/*
 * Verifies a document, in the order of KMS_ATTEST_FAILURE_LIST.
 * Returns: KMS_OK; ERR_ATTEST when a check failed; ERR_ARGUMENT, also for an image that names no
 * register; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_STATE before kms_crypto_init.
 * Out: facts - borrows from the document; zeroed unless every check passed. failure - the check
 * that failed, with ERR_ATTEST; NONE with every other status.
 * In: document - must outlive `facts`.
 */
kms_status kms_attest_verify(kms_attest_facts *facts, kms_attest_failure *failure, kms_span document,
			     const kms_attest_policy *policy);

/* ---- user_data of this project's nodes --------------------------------------------------- */

typedef enum kms_attest_purpose {
	KMS_ATTEST_PUBLIC = 0, /* for anyone who asks the node */
	KMS_ATTEST_SECRET = 1, /* part of a request for the master secret */
} kms_attest_purpose;

typedef struct kms_attest_statement {
	uint8_t wallet20[20];
	kms_attest_purpose purpose;
	bool has_policy;
	uint8_t policy32[32]; /* SHA-256 of the operator's policy */
	bool has_recovery;
	uint8_t recovery32[32]; /* id of its set of custodians */
	bool has_recovery_key;
	uint8_t recovery_key32[32]; /* X25519: what takes custodians' shares */
} kms_attest_statement;

/*
 * Reads {"eth_addr":<wallet>,"kms":{"v":1,"purpose":"public"|"secret","policy":<64 digits>,
 * "recovery":<64 digits>,"recovery_key":<age recipient>}}. The last three are optional; any other member is
 * refused. Returns: KMS_OK; ERR_TOO_LARGE; what kms_json_parse returns; ERR_FIELD_MISSING; ERR_FIELD_TYPE;
 * ERR_FIELD_VALUE; ERR_ADDRESS.
 */
kms_status kms_attest_statement_read(kms_attest_statement *statement, kms_span user_data);

/* ---- making, for development ------------------------------------------------------------- */

/* A test root: its P-384 key, its certificate, and the key that signs documents. Immutable. */
typedef struct kms_attest_root kms_attest_root;

/*
 * Makes the root of a seed: keys by HKDF-SHA256(seed, "nova-kms:attest", "root" | "leaf").
 * Returns: KMS_OK; ERR_FILE_FORMAT when `certificate` is not of this seed's key; ERR_RANGE;
 * ERR_PRIVATE_KEY; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_STATE before kms_crypto_init.
 * Out: root - owned by the caller, freed with kms_attest_root_free.
 * In: certificate - the DER that an earlier call made with this seed, so that its SHA-256 stays
 * the same; `bytes` NULL makes a new one (ECDSA signatures differ each time).
 */
kms_status kms_attest_root_new(kms_attest_root **root, const kms_secret *seed32, kms_span certificate);
void kms_attest_root_free(kms_attest_root *root);
/* The DER of its certificate; borrowed from the root. */
kms_span kms_attest_root_der(const kms_attest_root *root);

/* What a made document says; a span with `bytes` NULL becomes null. */
typedef struct kms_attest_claims {
	uint64_t now_ms; /* timestamp; the leaf is valid from 3 s before to 3 h after, like AWS's */
	kms_span public_key;
	kms_span user_data;
	kms_span nonce;
	const kms_attest_pcrs *pcrs; /* registers not named are zero; NULL: all. Zero PCR0 means debug */
} kms_attest_claims;

/*
 * Makes a document whose module_id is "simulated". It proves no more than knowledge of the seed,
 * and verifies only where its root is trusted.
 * Returns: KMS_OK; ERR_FIELD_VALUE when a claim is out of the limits above; ERR_TOO_LARGE at the
 * buffer's limit; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO.
 * In-out: document - the document is appended; unchanged on failure.
 */
kms_status kms_attest_make(kms_buf *document, const kms_attest_root *root, const kms_attest_claims *claims);

#endif
