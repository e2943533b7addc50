/* ChaCha20-Poly1305 with OpenSSL. Age files are few: each call has a context of its own. */
#include "crypto/chacha_internal.h"

#include <limits.h>

#include "base/guarded.h"
#include "crypto/crypto.h"
#include "kms/secret.h"

KMS_DEFINE_RELEASE(context_release, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

static kms_status start(EVP_CIPHER_CTX **context, const uint8_t key32[32], const uint8_t nonce12[12],
			bool sealing)
{
	const kms_crypto_shared *shared = kms_crypto_shared_get();
	ENSURE(shared, KMS_ERR_STATE);
	*context = EVP_CIPHER_CTX_new();
	ENSURE(*context, kms_openssl_failure());
	GUARD_OPENSSL(EVP_CipherInit_ex2(*context, shared->chacha, key32, nonce12, sealing, NULL));
	return KMS_OK;
}

static kms_status update(uint8_t *out, EVP_CIPHER_CTX *context, kms_span in)
{
	int written;
	ENSURE(in.len <= INT_MAX, KMS_ERR_RANGE);
	if (in.len) GUARD_OPENSSL(EVP_CipherUpdate(context, out, &written, in.bytes, (int)in.len));
	return KMS_OK;
}

static kms_status seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t nonce12[12], kms_span plain)
{
	int written;
	DEFER(context_release) EVP_CIPHER_CTX *context = NULL;
	GUARD(start(&context, key32, nonce12, true));
	GUARD(update(sealed, context, plain));
	uint8_t *tag = sealed + plain.len;
	GUARD_OPENSSL(EVP_CipherFinal_ex(context, tag, &written));
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, KMS_CHACHA_TAG, tag));
	return KMS_OK;
}

static kms_status open_bytes(uint8_t *plain, const uint8_t key32[32], const uint8_t nonce12[12],
			     kms_span ciphertext, const uint8_t tag16[16])
{
	int written;
	uint8_t tag[KMS_CHACHA_TAG], none[KMS_CHACHA_TAG];
	memcpy(tag, tag16, sizeof(tag)); /* OpenSSL's parameter is not const */
	DEFER(context_release) EVP_CIPHER_CTX *context = NULL;
	GUARD(start(&context, key32, nonce12, false));
	GUARD(update(plain, context, ciphertext));
	GUARD_OPENSSL(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag));
	ENSURE(EVP_CipherFinal_ex(context, none, &written) == 1, KMS_ERR_DECRYPT);
	return KMS_OK;
}

kms_status kms_chacha_seal(uint8_t *sealed, const uint8_t key32[32], const uint8_t nonce12[12],
			   kms_span plain)
{
	kms_status status = seal(sealed, key32, nonce12, plain);
	kms_wipe_stack();
	if (status != KMS_OK) kms_wipe(sealed, plain.len + KMS_CHACHA_TAG);
	return status;
}

kms_status kms_chacha_open(uint8_t *plain, const uint8_t key32[32], const uint8_t nonce12[12],
			   kms_span sealed)
{
	ENSURE(sealed.len >= KMS_CHACHA_TAG, KMS_ERR_DECRYPT);
	size_t len = sealed.len - KMS_CHACHA_TAG;
	kms_status status =
	    open_bytes(plain, key32, nonce12, kms_span_of(sealed.bytes, len), sealed.bytes + len);
	kms_wipe_stack();
	if (status != KMS_OK) kms_wipe(plain, len);
	return status;
}
