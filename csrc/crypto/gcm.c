/* AES-256-GCM (SP 800-38D) with the context of the thread. */
#include "crypto/gcm.h"

#include <limits.h>
#include <string.h>

#include "crypto/crypto.h"
#include "base/ensure.h"

#define PIECE (1u << 30) /* OpenSSL counts in int */

kms_status kms_gcm_start(EVP_CIPHER_CTX **context, const uint8_t key32[32], const uint8_t iv12[12],
			 bool sealing)
{
	kms_contexts *contexts;
	*context = NULL;
	GUARD(kms_contexts_get(&contexts));
	*context = contexts->gcm;
	const EVP_CIPHER *cipher = kms_algorithms_get()->aes_gcm;
	GUARD_OPENSSL(EVP_CipherInit_ex2(contexts->gcm, cipher, key32, iv12, sealing, NULL));
	return KMS_OK;
}

kms_status kms_gcm_update(uint8_t *out, EVP_CIPHER_CTX *context, const uint8_t *in, size_t len)
{
	while (len) {
		int written;
		size_t piece = len < PIECE ? len : PIECE;
		GUARD_OPENSSL(EVP_CipherUpdate(context, out, &written, in, (int)piece));
		out += piece;
		in += piece;
		len -= piece;
	}
	return KMS_OK;
}

kms_status kms_gcm_tag(uint8_t tag16[16], EVP_CIPHER_CTX *context)
{
	int written;
	GUARD_OPENSSL(EVP_CipherFinal_ex(context, tag16, &written));
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, KMS_GCM_TAG, tag16));
	return KMS_OK;
}

kms_status kms_gcm_verify(EVP_CIPHER_CTX *context, const uint8_t tag16[16])
{
	int written;
	uint8_t tag[KMS_GCM_TAG], none[KMS_GCM_TAG];
	memcpy(tag, tag16, sizeof(tag)); /* OpenSSL's parameter is not const */
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag));
	ENSURE(EVP_CipherFinal_ex(context, none, &written) == 1, KMS_ERR_DECRYPT);
	return KMS_OK;
}

void kms_gcm_end(EVP_CIPHER_CTX **context)
{
	if (*context) EVP_CIPHER_CTX_reset(*context);
}

static kms_status seal_bytes(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12],
			     const uint8_t *plain, size_t len)
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, true));
	GUARD(kms_gcm_update(sealed, context, plain, len));
	return kms_gcm_tag(sealed + len, context);
}

static kms_status open_bytes(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12],
			     const uint8_t *sealed, size_t len)
{
	DEFER(kms_gcm_end) EVP_CIPHER_CTX *context = NULL;
	GUARD(kms_gcm_start(&context, key32, iv12, false));
	GUARD(kms_gcm_update(plain, context, sealed, len));
	return kms_gcm_verify(context, sealed + len);
}

kms_status kms_gcm_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t iv12[12],
			const uint8_t *plain, size_t len)
{
	size_t total;
	ENSURE_REF(sealed);
	ENSURE(KMS_ADD(&total, len, (size_t)KMS_GCM_TAG), KMS_ERR_RANGE);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && (plain || len == 0)) status = seal_bytes(sealed, key32, iv12, plain, len);
	if (status != KMS_OK) kms_wipe(sealed, total);
	return status;
}

kms_status kms_gcm_open(uint8_t *plain, const uint8_t key32[32], const uint8_t iv12[12],
			const uint8_t *sealed, size_t len)
{
	ENSURE(len >= KMS_GCM_TAG, KMS_ERR_DECRYPT);
	size_t plain_len = len - KMS_GCM_TAG;
	ENSURE(plain || plain_len == 0, KMS_ERR_ARGUMENT);
	kms_status status = KMS_ERR_ARGUMENT;
	if (key32 && iv12 && sealed) status = open_bytes(plain, key32, iv12, sealed, plain_len);
	if (status != KMS_OK) kms_wipe(plain, plain_len);
	return status;
}
