/* Starts the crypto libraries; contexts of each thread. */
#include "crypto/crypto.h"

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/err.h>
#include <secp256k1_preallocated.h>

#include "base/guarded.h"
#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/secret.h"

static struct {
	pthread_mutex_t lock; /* of the initialisation */
	atomic_bool ready;
	pthread_key_t key; /* of kms_crypto_thread */
	kms_crypto_shared shared;
} crypto = { .lock = PTHREAD_MUTEX_INITIALIZER };

kms_status kms_openssl_failure(void)
{
	bool starved = kms_guarded_starved_openssl();
	ERR_clear_error();
	return starved ? KMS_ERR_LOCKED_MEMORY : KMS_ERR_CRYPTO;
}

static void thread_free(void *memory)
{
	kms_crypto_thread *thread = memory;
	EVP_MD_CTX_free(thread->sha256);
	EVP_CIPHER_CTX_free(thread->gcm);
	kms_guarded_free(thread);
}

static void shared_free(kms_crypto_shared *shared)
{
	EVP_MD_free(shared->sha256);
	EVP_MD_free(shared->sha384);
	EVP_CIPHER_free(shared->aes_gcm);
	EVP_CIPHER_free(shared->aes_ecb);
	EVP_CIPHER_free(shared->chacha);
	if (shared->secp256k1) secp256k1_context_preallocated_destroy(shared->secp256k1);
	kms_guarded_free(shared->secp256k1);
	*shared = (kms_crypto_shared){ 0 };
}

/* The context holds a blinding scalar, and malloc of libsecp256k1 would abort on failure. */
static kms_status secp256k1_start(secp256k1_context **context)
{
	kms_secret *seed;
	void *memory = kms_guarded_alloc(secp256k1_context_preallocated_size(SECP256K1_CONTEXT_NONE));
	ENSURE(memory, KMS_ERR_LOCKED_MEMORY);
	*context = secp256k1_context_preallocated_create(memory, SECP256K1_CONTEXT_NONE);
	GUARD(kms_secret_random(&seed, 32));
	int blinded = secp256k1_context_randomize(*context, kms_secret_bytes(seed));
	kms_secret_unref(seed);
	return blinded ? KMS_OK : KMS_ERR_CRYPTO;
}

static kms_status shared_start(kms_crypto_shared *shared)
{
	shared->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ENSURE(shared->sha256, kms_openssl_failure());
	shared->sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	ENSURE(shared->sha384, kms_openssl_failure());
	shared->aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	ENSURE(shared->aes_gcm, kms_openssl_failure());
	shared->aes_ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	ENSURE(shared->aes_ecb, kms_openssl_failure());
	shared->chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	ENSURE(shared->chacha, kms_openssl_failure());
	return secp256k1_start(&shared->secp256k1);
}

static kms_status crypto_start(void)
{
	/*
	 * No configuration file may choose providers, not even one named by the environment. No
	 * handler at exit: pool threads may still use the library then. No error texts: nothing
	 * reads them, and they take 77 KB of the arena at the first failure.
	 */
	GUARD_OPENSSL(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
					      OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS,
					  NULL));
	/* Without memory for the library context a fetch would crash. */
	ENSURE(OSSL_LIB_CTX_get0_global_default(), kms_openssl_failure());
	DEFER(shared_free) kms_crypto_shared shared = { 0 };
	GUARD(shared_start(&shared));
	/* OpenSSL allocates its error state at first use: now, while there is room. */
	ERR_clear_error();
	ENSURE(pthread_key_create(&crypto.key, thread_free) == 0, KMS_ERR_SYSTEM);
	crypto.shared = shared;
	shared = (kms_crypto_shared){ 0 };
	atomic_store_explicit(&crypto.ready, true, memory_order_release);
	return KMS_OK;
}

kms_status kms_crypto_init(void)
{
	ENSURE(kms_guarded_ready(), KMS_ERR_STATE);
	pthread_mutex_lock(&crypto.lock);
	kms_status status = atomic_load(&crypto.ready) ? KMS_OK : crypto_start();
	pthread_mutex_unlock(&crypto.lock);
	return status;
}

const kms_crypto_shared *kms_crypto_shared_get(void)
{
	return atomic_load_explicit(&crypto.ready, memory_order_acquire) ? &crypto.shared : NULL;
}

static kms_status thread_start(kms_crypto_thread *thread)
{
	thread->sha256 = EVP_MD_CTX_new();
	ENSURE(thread->sha256, kms_openssl_failure());
	thread->gcm = EVP_CIPHER_CTX_new();
	ENSURE(thread->gcm, kms_openssl_failure());
	ENSURE(pthread_setspecific(crypto.key, thread) == 0, KMS_ERR_MEMORY);
	return KMS_OK;
}

kms_status kms_crypto_thread_get(kms_crypto_thread **thread)
{
	*thread = NULL;
	ENSURE(kms_crypto_shared_get(), KMS_ERR_STATE);
	*thread = pthread_getspecific(crypto.key);
	if (*thread) return KMS_OK;
	kms_crypto_thread *made = kms_guarded_alloc(sizeof(*made));
	ENSURE(made, KMS_ERR_LOCKED_MEMORY);
	kms_status status = thread_start(made);
	if (status != KMS_OK) {
		thread_free(made);
		return status;
	}
	*thread = made;
	return KMS_OK;
}
