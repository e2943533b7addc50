/*
 * Status codes, and the rules that every other header follows.
 *
 * Argument order: outputs, in-outs, inputs. Names carry fixed sizes (`digest32`). Lengths are in
 * bytes, times in milliseconds (`_ms`) or seconds (`_s`); the caller passes the time, the core
 * reads no clock.
 *
 * Results: a function that can fail returns kms_status, which the caller must use. On failure
 * every output is zeroed (pointers NULL, lengths 0) unless its comment says otherwise. NULL is
 * refused with KMS_ERR_ARGUMENT unless a comment allows it; every `_free` accepts NULL.
 *
 * Threads: functions may run at once on different objects. Each header says which objects
 * several threads may share.
 */
#ifndef KMS_KMS_H
#define KMS_KMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMS_VERSION "0.1.0"

/* For results that must be used; kms_status needs no mark, its type has one. */
#define KMS_MUST_USE __attribute__((warn_unused_result))

/*
 * A type whose values no caller may drop. clang has no C23 attributes in its C11 mode; cppcheck
 * parses neither form.
 */
#if defined(__cppcheck__)
#define KMS_NODISCARD
#elif defined(__clang__)
#define KMS_NODISCARD __attribute__((warn_unused_result))
#else
#define KMS_NODISCARD [[nodiscard]]
#endif

/*
 * Defines `name`, which frees what an owner variable points to: what DEFER takes
 * (csrc/base/ensure.h). Headers define one beside each `_free` function, source files for types
 * of libraries.
 */
/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot have any */
#define KMS_DEFINE_RELEASE(name, type, free_fn) \
	static inline void name(type **owner)   \
	{                                       \
		free_fn(*owner);                \
	}
/* NOLINTEND(bugprone-macro-parentheses) */

/* The kind of a failure. Callers branch on it; logs carry the exact status. */
typedef enum kms_category {
	KMS_CATEGORY_OK = 0,
	KMS_CATEGORY_USAGE = 1,   /* the caller's bug */
	KMS_CATEGORY_INPUT = 2,   /* malformed or out of range: 400 */
	KMS_CATEGORY_AUTH = 3,    /* not authenticated or not authorized: 403 */
	KMS_CATEGORY_MISSING = 4, /* no such thing: 404 */
	KMS_CATEGORY_SIZE = 5,    /* larger than a limit: 413 */
	KMS_CATEGORY_RATE = 6,    /* too many requests: 429 */
	KMS_CATEGORY_BUSY = 7,    /* out of memory or room for now: 503 */
	KMS_CATEGORY_SYSTEM = 8,  /* a library or the kernel failed: 500 */
	KMS_CATEGORY_REMOTE = 9,  /* another server failed or sent a bad response */
} kms_category;

/*
 * Every status: X(name, number, public text). The number is category * 256 + index; new
 * ones are appended to their category and none is ever renumbered. The text may be sent to a
 * client: it never holds a secret, a path or a name.
 */
#define KMS_STATUS_LIST(X)                                                              \
	X(OK, 0x000, "ok")                                                              \
	X(ERR_ARGUMENT, 0x100, "invalid argument")                                      \
	X(ERR_STATE, 0x101, "not possible in this state")                               \
	X(ERR_RANGE, 0x102, "argument out of range")                                    \
	X(ERR_HEX, 0x200, "not valid hexadecimal")                                      \
	X(ERR_BASE64, 0x201, "not canonical base64")                                    \
	X(ERR_JSON, 0x202, "not valid JSON")                                            \
	X(ERR_JSON_DUPLICATE, 0x203, "JSON object has a duplicate key")                 \
	X(ERR_JSON_DEPTH, 0x204, "JSON is nested too deeply")                           \
	X(ERR_JSON_SIZE, 0x205, "JSON has too many values")                             \
	X(ERR_UTF8, 0x206, "text is not valid UTF-8")                                   \
	X(ERR_ENVELOPE, 0x207, "body is not an encrypted envelope")                     \
	X(ERR_DECRYPT, 0x208, "cannot decrypt")                                         \
	X(ERR_PEER_KEY, 0x209, "not a P-384 or X25519 public key")                      \
	X(ERR_PRIVATE_KEY, 0x20a, "not a valid private key")                            \
	X(ERR_FIELD_MISSING, 0x20b, "a required field is missing")                      \
	X(ERR_FIELD_TYPE, 0x20c, "a field has the wrong type")                          \
	X(ERR_FIELD_VALUE, 0x20d, "a field is out of range")                            \
	X(ERR_APP_ID_IN_REQUEST, 0x20e, "a request must not contain app_id")            \
	X(ERR_RECORD, 0x20f, "not a valid record")                                      \
	X(ERR_ADDRESS, 0x210, "not a wallet address")                                   \
	X(ERR_TRUNCATED, 0x211, "input ends too early")                                 \
	X(ERR_TRAILING, 0x212, "input has trailing bytes")                              \
	X(ERR_VALUE_SIZE, 0x213, "value is larger than allowed")                        \
	X(ERR_KEY_SIZE, 0x214, "key length is out of range")                            \
	X(ERR_TTL, 0x215, "ttl_ms is out of range")                                     \
	X(ERR_CLOCK_ENTRIES, 0x216, "vector clock has too many or impossible entries")  \
	X(ERR_FUTURE, 0x217, "record is of a time ahead of this node's clock")          \
	X(ERR_URL, 0x218, "not an acceptable URL: allowed is http(s)://host[:port]")    \
	X(ERR_FIELD_UNKNOWN, 0x219, "the operation has no such field")                  \
	X(ERR_RECIPIENT, 0x21a, "not an age X25519 recipient")                          \
	X(ERR_AGE, 0x21b, "not an age file that this key opens")                        \
	X(ERR_SHARE, 0x21c, "not a share of a master secret")                           \
	X(ERR_SHARE_SET, 0x21d, "share of another set of custodians")                   \
	X(ERR_SHARE_SECRET, 0x21e, "share of another master secret")                    \
	X(ERR_SHARE_PLACE, 0x21f, "share of another custodian")                         \
	X(ERR_CHALLENGE, 0x220, "not a challenge of this node to this custodian")       \
	X(ERR_SIGNATURE, 0x300, "invalid signature")                                    \
	X(ERR_POP_MISSING, 0x301, "missing proof-of-possession headers")                \
	X(ERR_POP_TIMESTAMP, 0x302, "timestamp is malformed or outside the window")     \
	X(ERR_POP_NONCE, 0x303, "nonce is invalid, expired or already used")            \
	X(ERR_POP_WALLET, 0x304, "wallet header does not match the signature")          \
	X(ERR_SENDER_KEY, 0x305, "sender_tee_pubkey does not match the registered key") \
	X(ERR_POP_BINDING, 0x306, "pop does not belong to this exchange")               \
	X(ERR_POP_DUPLICATE, 0x307, "a proof-of-possession header is repeated")         \
	X(ERR_SEALED, 0x308, "sealed data was changed or made under another key")       \
	X(ERR_MAC, 0x309, "missing or invalid X-Sync-Signature")                        \
	X(ERR_POLICY, 0x30a, "refused by the policy of this node")                      \
	X(ERR_ATTEST, 0x30b, "the attestation document is not to be trusted")           \
	X(ERR_OPERATION, 0x30c, "op names another operation than the request")          \
	X(ERR_POP_NONCE_USED, 0x30d, "nonce was used before")                           \
	X(ERR_CUSTODIAN, 0x30e, "the custodian's proof is missing or wrong")            \
	X(ERR_SHARES, 0x30f, "the shares do not fit together")                          \
	X(ERR_NOT_FOUND, 0x400, "not found")                                            \
	X(ERR_TOO_LARGE, 0x500, "larger than allowed")                                  \
	X(ERR_STORAGE_SIZE, 0x501, "value does not fit the namespace")                  \
	X(ERR_RATE, 0x600, "too many requests")                                         \
	X(ERR_NONCES_OUT, 0x601, "too many nonces are outstanding")                     \
	X(ERR_MEMORY, 0x700, "out of memory")                                           \
	X(ERR_LOCKED_MEMORY, 0x701, "out of locked memory")                             \
	X(ERR_STORE_FULL, 0x702, "the store is full")                                   \
	X(ERR_NAMESPACES, 0x703, "too many namespaces")                                 \
	X(ERR_TOMBSTONES, 0x704, "too many deleted keys are waiting for peers")         \
	X(ERR_BUSY, 0x705, "busy, try again later")                                     \
	X(ERR_CRYPTO, 0x800, "cryptographic operation failed")                          \
	X(ERR_SYSTEM, 0x801, "system call failed")                                      \
	X(ERR_SELFTEST, 0x802, "self-test failed")                                      \
	X(ERR_MLOCK, 0x803, "cannot lock memory: raise the memlock limit (ulimit -l)")  \
	X(ERR_FILE_MODE, 0x804, "not a file, or readable by others: mode must be 0600") \
	X(ERR_FILE_FORMAT, 0x805, "file does not have the expected format")             \
	X(ERR_FILE_MISSING, 0x806, "file does not exist")                               \
	X(ERR_NSM_MISSING, 0x807, "no Nitro Security Module: this is no Nitro enclave") \
	X(ERR_NSM_ACCESS, 0x808, "no right to use the Nitro Security Module")           \
	X(ERR_NSM, 0x809, "the Nitro Security Module failed or is gone")                \
	X(ERR_NSM_REFUSED, 0x80a, "the Nitro Security Module refused the request")      \
	X(ERR_NSM_ANSWER, 0x80b, "the Nitro Security Module's answer is malformed")     \
	X(ERR_CONFINE, 0x80c, "cannot confine the process: no seccomp filters here")    \
	X(ERR_TIMEOUT, 0x900, "no complete answer in time")                             \
	X(ERR_CONNECT, 0x901, "cannot connect, or the connection was lost")             \
	X(ERR_RESOLVE, 0x902, "cannot resolve the host name")                           \
	X(ERR_TLS, 0x903, "the TLS connection is not trusted")                          \
	X(ERR_ADDRESS_REFUSED, 0x904, "the address is not a public one")                \
	X(ERR_HTTP, 0x905, "the answer is not valid HTTP")                              \
	X(ERR_ABI, 0x906, "the contract's answer is malformed")                         \
	X(ERR_TEE, 0x907, "the TEE service did not answer as it should")

typedef enum KMS_NODISCARD kms_status {
#define KMS_STATUS_ENUM(name, number, text) KMS_##name = (number),
	KMS_STATUS_LIST(KMS_STATUS_ENUM)
#undef KMS_STATUS_ENUM
} kms_status;

/*
 * Name ("ERR_HEX") and public text of a status.
 * Returns: a static string, never NULL; an unknown number gives "ERR_UNKNOWN".
 */
const char *kms_status_name(kms_status status);
const char *kms_status_text(kms_status status);

/* Category of a status, from its number. */
kms_category kms_status_category(kms_status status);

#endif
