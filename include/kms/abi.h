/*
 * Contract ABI (Solidity ABI specification): the calls that a node makes and strict decoding
 * of what comes back. An answer is hostile until it is read whole: every offset and length
 * is checked against the data, padding must be zero, a number must fit what it is used as.
 * Structs may be longer than known (fields appended by a newer contract). Stateless; any thread.
 */
#ifndef KMS_ABI_H
#define KMS_ABI_H

#include "kms/buf.h"
#include "kms/pop.h"

#define KMS_ABI_WORD 32
#define KMS_ABI_MAX_ARGUMENTS 2
#define KMS_ABI_MAX_URL 2048 /* bytes of an instance's URL */
#define KMS_ABI_MAX_KEY 256  /* bytes of a teePubkey */

/* What a function returns. */
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
} kms_abi_result;

typedef struct kms_abi_function {
	const char *name;      /* "getVersion" */
	const char *signature; /* "getVersion(uint256,uint256)" */
	const char *arguments; /* a letter each: u uint256, a address, b bytes32 */
	kms_abi_result result;
} kms_abi_function;

/* A function of NovaAppRegistry or KMSRegistry by name; NULL when it is none of them. */
const kms_abi_function *kms_abi_find(const char *name);

/* First four bytes of keccak256 of a signature: a function's selector, or a custom error's. */
void kms_abi_selector(uint8_t selector4[4], const char *signature);

/* An argument: a number, or 20 bytes in front of 12 zeros, or 32 bytes. */
void kms_abi_word_number(uint8_t word32[KMS_ABI_WORD], uint64_t number);
void kms_abi_word_address(uint8_t word32[KMS_ABI_WORD], const uint8_t address20[20]);

/* Appends selector and arguments, as many words as `function` takes. */
kms_status kms_abi_encode(kms_buf *out, const kms_abi_function *function,
			  const uint8_t (*words)[KMS_ABI_WORD]);

/* An unknown app, version or instance comes as zeros: its id is 0. */
typedef struct kms_abi_app {
	uint64_t id;
	uint8_t status;
} kms_abi_app;

typedef struct kms_abi_version {
	uint64_t id;
	uint8_t status;
} kms_abi_version;

/* Texts are borrowed from the data. */
typedef struct kms_abi_instance {
	uint64_t id;
	uint64_t app_id;
	uint64_t version_id;
	uint8_t operator20[20];
	uint8_t wallet20[20];
	/* Whoever registers an instance chooses these two, so no content of theirs is an error:
	 * what is longer than its maximum, or a URL that is not UTF-8, is given as empty. */
	kms_text url;
	kms_text tee_pubkey;
	bool zk_verified;
	uint8_t status;
	uint64_t registered_at_s;
} kms_abi_instance;

/*
 * Each decodes a whole answer: a struct behind its outer offset, or one word.
 * Returns: KMS_OK, or ERR_ABI for what is not well formed. Outputs are zeroed on failure.
 */
kms_status kms_abi_decode_app(kms_abi_app *app, const uint8_t *data, size_t len);
kms_status kms_abi_decode_version(kms_abi_version *version, const uint8_t *data, size_t len);
kms_status kms_abi_decode_instance(kms_abi_instance *instance, const uint8_t *data, size_t len);
kms_status kms_abi_decode_number(uint64_t *number, const uint8_t *data, size_t len);
kms_status kms_abi_decode_address(uint8_t address20[20], const uint8_t *data, size_t len);
kms_status kms_abi_decode_bytes32(uint8_t bytes32[32], const uint8_t *data, size_t len);
kms_status kms_abi_decode_bool(bool *truth, const uint8_t *data, size_t len);

/*
 * A list: its words, borrowed, one element each. kms_abi_decode_addresses and _numbers have
 * checked every one; the readers below give them.
 */
typedef struct kms_abi_list {
	const uint8_t *words;
	size_t count;
} kms_abi_list;

kms_status kms_abi_decode_addresses(kms_abi_list *list, const uint8_t *data, size_t len);
kms_status kms_abi_decode_numbers(kms_abi_list *list, const uint8_t *data, size_t len);
/* Element `index`, below list->count. */
const uint8_t *kms_abi_list_address20(const kms_abi_list *list, size_t index);
uint64_t kms_abi_list_number(const kms_abi_list *list, size_t index);

#endif
