/* AES-256 on single blocks under one key. */
#include <pthread.h>
#include <string.h>

#include "crypto/crypto.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "kms/crypto.h"

#define BLOCK 16

struct kms_aes_block {
	pthread_mutex_t lock; /* a block takes 30 ns: threads rarely meet */
	EVP_CIPHER_CTX *encrypt;
	EVP_CIPHER_CTX *decrypt;
};

static kms_status context_make(EVP_CIPHER_CTX **context, const uint8_t *key32, bool encrypting)
{
	*context = EVP_CIPHER_CTX_new();
	ENSURE(*context, kms_openssl_failure());
	const EVP_CIPHER *cipher = kms_crypto_shared_get()->aes_ecb;
	GUARD_OPENSSL(EVP_CipherInit_ex2(*context, cipher, key32, NULL, encrypting, NULL));
	GUARD_OPENSSL(EVP_CIPHER_CTX_set_padding(*context, 0));
	return KMS_OK;
}

kms_status kms_aes_block_new(kms_aes_block **cipher, const kms_secret *key32)
{
	ENSURE_REF(cipher);
	*cipher = NULL;
	ENSURE_REF(key32);
	ENSURE(kms_secret_len(key32) == 32, KMS_ERR_RANGE);
	ENSURE(kms_crypto_shared_get(), KMS_ERR_STATE);
	DEFER(kms_aes_block_release) kms_aes_block *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	GUARD(context_make(&made->encrypt, kms_secret_bytes(key32), true));
	GUARD(context_make(&made->decrypt, kms_secret_bytes(key32), false));
	*cipher = made;
	made = NULL;
	return KMS_OK;
}

void kms_aes_block_free(kms_aes_block *cipher)
{
	if (!cipher) return;
	EVP_CIPHER_CTX_free(cipher->encrypt);
	EVP_CIPHER_CTX_free(cipher->decrypt);
	pthread_mutex_destroy(&cipher->lock);
	kms_heap_free(cipher);
}

static kms_status block_work(uint8_t out16[BLOCK], kms_aes_block *cipher, EVP_CIPHER_CTX *context,
			     const uint8_t in16[BLOCK])
{
	uint8_t block[BLOCK];
	int written = 0;
	pthread_mutex_lock(&cipher->lock);
	int done = EVP_CipherUpdate(context, block, &written, in16, BLOCK);
	pthread_mutex_unlock(&cipher->lock);
	ENSURE(done == 1 && written == BLOCK, kms_openssl_failure());
	memcpy(out16, block, BLOCK);
	kms_wipe(block, BLOCK);
	return KMS_OK;
}

kms_status kms_aes_block_encrypt(uint8_t out16[16], kms_aes_block *cipher, const uint8_t in16[16])
{
	ENSURE_REF(out16);
	ENSURE(cipher && in16, KMS_ERR_ARGUMENT);
	return block_work(out16, cipher, cipher->encrypt, in16);
}

kms_status kms_aes_block_decrypt(uint8_t out16[16], kms_aes_block *cipher, const uint8_t in16[16])
{
	ENSURE_REF(out16);
	ENSURE(cipher && in16, KMS_ERR_ARGUMENT);
	return block_work(out16, cipher, cipher->decrypt, in16);
}
