/* Contract ABI: the functions and their calls (kms/abi.h). */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/abi.h"
#include "kms/crypto.h"

static const kms_abi_function functions[] = {
	{ "getApp", "getApp(uint256)", "u", KMS_ABI_APP },
	{ "getVersion", "getVersion(uint256,uint256)", "uu", KMS_ABI_VERSION },
	{ "getInstance", "getInstance(uint256)", "u", KMS_ABI_INSTANCE },
	{ "getInstanceByWallet", "getInstanceByWallet(address)", "a", KMS_ABI_INSTANCE },
	{ "getActiveInstances", "getActiveInstances(uint256)", "u", KMS_ABI_ADDRESSES },
	{ "getInstancesForVersion", "getInstancesForVersion(uint256,uint256)", "uu", KMS_ABI_NUMBERS },
	{ "masterSecretHash", "masterSecretHash()", "", KMS_ABI_BYTES32 },
	{ "setMasterSecretHash", "setMasterSecretHash(bytes32)", "b", KMS_ABI_NOTHING },
	{ "anchorSnapshot", "anchorSnapshot(bytes32,uint64)", "bu", KMS_ABI_NOTHING },
	{ "snapshotAnchor", "snapshotAnchor(address)", "a", KMS_ABI_ANCHOR },
	{ "newestSnapshotAnchor", "newestSnapshotAnchor()", "", KMS_ABI_ANCHOR },
	{ "kmsAppId", "kmsAppId()", "", KMS_ABI_NUMBER },
	{ "novaAppRegistry", "novaAppRegistry()", "", KMS_ABI_ADDRESS },
	{ "isOperator", "isOperator(address)", "a", KMS_ABI_BOOL },
	{ "operatorCount", "operatorCount()", "", KMS_ABI_NUMBER },
	{ "operatorAt", "operatorAt(uint256)", "u", KMS_ABI_ADDRESS },
	{ "getOperators", "getOperators()", "", KMS_ABI_ADDRESSES },
};

const kms_abi_function *kms_abi_find(const char *name)
{
	for (size_t i = 0; name && i < KMS_ARRAY_LEN(functions); i++)
		if (strcmp(functions[i].name, name) == 0) return &functions[i];
	return NULL;
}

void kms_abi_selector(uint8_t selector4[4], const char *signature)
{
	uint8_t digest[32];
	kms_keccak256(digest, kms_text_span(kms_text_from(signature)));
	memcpy(selector4, digest, 4);
}

void kms_abi_word_number(uint8_t word32[KMS_ABI_WORD], uint64_t number)
{
	memset(word32, 0, KMS_ABI_WORD - 8);
	kms_store64_be(word32 + KMS_ABI_WORD - 8, number);
}

void kms_abi_word_address(uint8_t word32[KMS_ABI_WORD], const uint8_t address20[20])
{
	memset(word32, 0, KMS_ABI_WORD - 20);
	memcpy(word32 + KMS_ABI_WORD - 20, address20, 20);
}

kms_status kms_abi_encode(kms_buf *call, const kms_abi_function *function,
			  const uint8_t (*words)[KMS_ABI_WORD])
{
	uint8_t selector[4];
	ENSURE(call && function, KMS_ERR_ARGUMENT);
	size_t len = strlen(function->arguments) * KMS_ABI_WORD;
	ENSURE(words || len == 0, KMS_ERR_ARGUMENT);
	/* Reserve everything first, so that a failure appends nothing. */
	GUARD(kms_buf_reserve(call, sizeof(selector) + len));
	kms_abi_selector(selector, function->signature);
	GUARD(kms_buf_append(call, KMS_SPAN(selector)));
	return len ? kms_buf_append(call, kms_span_of(words, len)) : KMS_OK;
}
