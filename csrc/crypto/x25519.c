/* X25519 with OpenSSL, whose heap is the guarded arena. An opening takes two calls: no algorithm is kept. */
#include "kms/x25519.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/proverr.h>

#include "base/declassify.h"
#include "base/guarded.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#define ALGORITHM "X25519"

struct kms_x25519 {
	EVP_PKEY *pair;
	uint8_t public32[KMS_X25519_BYTES];
};

KMS_DEFINE_RELEASE(pair_release, EVP_PKEY, EVP_PKEY_free)
KMS_DEFINE_RELEASE(context_release, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

kms_status kms_x25519_new(kms_x25519 **key, const kms_secret *scalar32)
{
	ENSURE_REF(key);
	*key = NULL;
	ENSURE_REF(scalar32);
	ENSURE(kms_secret_len(scalar32) == KMS_X25519_BYTES, KMS_ERR_PRIVATE_KEY);
	ENSURE(kms_crypto_shared_get(), KMS_ERR_STATE);
	DEFER(kms_x25519_release) kms_x25519 *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	size_t len = sizeof(made->public32);
	made->pair = EVP_PKEY_new_raw_private_key_ex(NULL, ALGORITHM, NULL, kms_secret_bytes(scalar32),
						     KMS_X25519_BYTES);
	ENSURE(made->pair, kms_openssl_failure());
	GUARD_OPENSSL(EVP_PKEY_get_raw_public_key(made->pair, made->public32, &len));
	KMS_DECLASSIFY_BYTES(made->public32, sizeof(made->public32));
	kms_wipe_stack();
	*key = made;
	made = NULL;
	return KMS_OK;
}

kms_status kms_x25519_generate(kms_x25519 **key)
{
	ENSURE_REF(key);
	*key = NULL;
	DEFER(kms_secret_release) kms_secret *scalar = NULL;
	GUARD(kms_secret_random(&scalar, KMS_X25519_BYTES));
	return kms_x25519_new(key, scalar);
}

void kms_x25519_free(kms_x25519 *key)
{
	if (!key) return;
	EVP_PKEY_free(key->pair);
	kms_heap_free(key);
}

const uint8_t *kms_x25519_public(const kms_x25519 *key)
{
	return key->public32;
}

/* Below 2^255 - 19, little-endian: the field's size, and no bit that the function would ignore. */
static bool is_canonical(const uint8_t peer32[KMS_X25519_BYTES])
{
	if (peer32[31] != 0x7f) return peer32[31] < 0x7f;
	for (size_t i = 30; i > 0; i--)
		if (peer32[i] != 0xff) return true;
	return peer32[0] < 0xed;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	uint8_t any = 0;
	for (size_t i = 0; i < len; i++)
		any |= bytes[i];
	KMS_DECLASSIFY(any);
	return any == 0;
}

/* Whether OpenSSL refused the result itself: it does for zero. */
static bool result_was_refused(void)
{
	unsigned long error = ERR_peek_last_error();
	return ERR_GET_LIB(error) == ERR_LIB_PROV && ERR_GET_REASON(error) == PROV_R_FAILED_DURING_DERIVATION;
}

static kms_status agree(uint8_t *shared32, const kms_x25519 *key, EVP_PKEY *peer)
{
	size_t len = KMS_X25519_BYTES;
	DEFER(context_release) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pair, NULL);
	ENSURE(context, kms_openssl_failure());
	GUARD_OPENSSL(EVP_PKEY_derive_init(context));
	GUARD_OPENSSL(EVP_PKEY_derive_set_peer(context, peer));
	bool good = EVP_PKEY_derive(context, shared32, &len) == 1;
	bool refused = !good && result_was_refused();
	kms_status failure = kms_openssl_failure();
	ENSURE(!refused, KMS_ERR_PEER_KEY);
	ENSURE(good, failure);
	return len == KMS_X25519_BYTES && !is_zero(shared32, len) ? KMS_OK : KMS_ERR_PEER_KEY;
}

kms_status kms_x25519_agree(kms_secret **shared32, const kms_x25519 *key, const uint8_t peer32[32])
{
	ENSURE_REF(shared32);
	*shared32 = NULL;
	ENSURE_REF(key);
	ENSURE_REF(peer32);
	ENSURE(is_canonical(peer32), KMS_ERR_PEER_KEY);
	DEFER(kms_guarded_release) uint8_t *shared = kms_guarded_alloc(KMS_X25519_BYTES);
	ENSURE(shared, KMS_ERR_LOCKED_MEMORY);
	DEFER(pair_release)
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, ALGORITHM, NULL, peer32, KMS_X25519_BYTES);
	ENSURE(peer, kms_openssl_failure());
	kms_status status = agree(shared, key, peer);
	kms_wipe_stack();
	GUARD(status);
	return kms_secret_new(shared32, kms_span_of(shared, KMS_X25519_BYTES));
}
