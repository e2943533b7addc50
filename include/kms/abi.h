/*
 * Contract ABI (Solidity ABI specification, docs/protocol.md section 14): encoding of the calls that
 * a node makes, and strict decoding of the data that they return. Returned data is untrusted:
 * every offset and length is checked against it, padding of numbers and addresses must be zero, and
 * a number must fit its use. Structs may be longer than known, as newer contracts append fields.
 * Threads: any; no state.
 */
#ifndef KMS_ABI_H
#define KMS_ABI_H

#include "kms/buf.h"
#include "kms/view.h"

#define KMS_ABI_WORD 32
#define KMS_ABI_MAX_ARGUMENTS 2
#define KMS_ABI_MAX_URL 2048 /* bytes of an instance's URL */
#define KMS_ABI_MAX_KEY 256  /* bytes of an instance's teePubkey */

/* The kind of data that a function returns. */
typedef enum kms_abi_result {
	KMS_ABI_NOTHING,
	KMS_ABI_APP,
	KMS_ABI_VERSION,
	KMS_ABI_INSTANCE,
	KMS_ABI_ADDRESSES,
	KMS_ABI_NUMBERS,
	KMS_ABI_NUMBER,
	KMS_ABI_ADDRESS,
	KMS_ABI_BYTES32,
	KMS_ABI_BOOL,
	KMS_ABI_ANCHOR,
} kms_abi_result;

typedef struct kms_abi_function {
	const char *name;      /* "getVersion" */
	const char *signature; /* "getVersion(uint256,uint256)" */
	const char *arguments; /* a letter each: u uint256, a address, b bytes32 */
	kms_abi_result result;
} kms_abi_function;

/* The function of NovaAppRegistry or KMSRegistry with this name; NULL when there is none. */
const kms_abi_function *kms_abi_find(const char *name);

/* The first four bytes of keccak256(signature): the selector of a function or a custom error. */
void kms_abi_selector(uint8_t selector4[4], const char *signature);

/* Encodes an argument: a number, or an address after 12 zeros. Any 32 bytes are a word as they are. */
void kms_abi_word_number(uint8_t word32[KMS_ABI_WORD], uint64_t number);
void kms_abi_word_address(uint8_t word32[KMS_ABI_WORD], const uint8_t address20[20]);

/*
 * Encodes a call: selector and arguments.
 * Returns: KMS_OK; ERR_TOO_LARGE; ERR_MEMORY.
 * In-out: call - appended to; unchanged on failure.
 * In: words - as many as `function` has arguments; may be NULL for none.
 */
kms_status kms_abi_encode(kms_buf *call, const kms_abi_function *function,
			  const uint8_t (*words)[KMS_ABI_WORD]);

/* The contract returns zeros for an unknown app, version or instance: then its id is 0. */
typedef struct kms_abi_app {
	uint64_t id;
	uint8_t status;
} kms_abi_app;

typedef struct kms_abi_version {
	uint64_t id;
	uint8_t status;
} kms_abi_version;

/* Texts are borrowed from the decoded data. */
typedef struct kms_abi_instance {
	uint64_t id;
	uint64_t app_id;
	uint64_t version_id;
	uint8_t operator20[20];
	uint8_t wallet20[20];
	/*
	 * Whoever registers an instance chooses these two freely, so no content may be an error: a text
	 * that is too long, or a URL that is not UTF-8, becomes empty.
	 */
	kms_text url;
	kms_text tee_pubkey;
	bool zk_verified;
	uint8_t status;
	uint64_t registered_at_s;
} kms_abi_instance;

/* All zero, with time 0: nothing is anchored. */
typedef struct kms_abi_anchor {
	uint8_t manifest32[32];
	uint64_t time_s;
	uint8_t member20[20];
} kms_abi_anchor;

/*
 * Decode everything that a function returns: a struct after its outer offset, or one word.
 * Returns: KMS_OK; ERR_ABI when the data is malformed.
 */
kms_status kms_abi_decode_app(kms_abi_app *app, kms_span data);
kms_status kms_abi_decode_version(kms_abi_version *version, kms_span data);
kms_status kms_abi_decode_instance(kms_abi_instance *instance, kms_span data);
kms_status kms_abi_decode_anchor(kms_abi_anchor *anchor, kms_span data);
kms_status kms_abi_decode_number(uint64_t *number, kms_span data);
kms_status kms_abi_decode_address(uint8_t address20[20], kms_span data);
kms_status kms_abi_decode_bytes32(uint8_t bytes32[32], kms_span data);
kms_status kms_abi_decode_bool(bool *truth, kms_span data);

/* The elements of a list, one word each, borrowed from the decoded data. */
typedef struct kms_abi_list {
	const uint8_t *words;
	size_t count;
} kms_abi_list;

/*
 * Decode a list and check every element.
 * Returns: KMS_OK; ERR_ABI when the data is malformed.
 */
kms_status kms_abi_decode_addresses(kms_abi_list *list, kms_span data);
kms_status kms_abi_decode_numbers(kms_abi_list *list, kms_span data);
/* An element of a decoded list. In: index - below list->count. */
const uint8_t *kms_abi_list_address20(const kms_abi_list *list, size_t index);
uint64_t kms_abi_list_number(const kms_abi_list *list, size_t index);

#endif
