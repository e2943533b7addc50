/* Handles of secrets: fixed length, guarded memory, counted references. */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/ensure.h"
#include "kms/secret.h"

struct kms_secret {
	atomic_size_t references;
	size_t len;
	uint8_t bytes[];
};

static kms_status secret_make(kms_secret **secret, size_t len)
{
	ENSURE(len >= 1 && len <= KMS_SECRET_MAX, KMS_ERR_RANGE);
	kms_secret *made = kms_guarded_alloc(sizeof(*made) + len);
	ENSURE(made, KMS_ERR_LOCKED_MEMORY);
	atomic_init(&made->references, 1);
	made->len = len;
	*secret = made;
	return KMS_OK;
}

kms_status kms_secret_new(kms_secret **secret, kms_span bytes)
{
	ENSURE_REF(secret);
	*secret = NULL;
	ENSURE_REF(bytes.bytes);
	GUARD(secret_make(secret, bytes.len));
	memcpy((*secret)->bytes, bytes.bytes, bytes.len);
	return KMS_OK;
}

kms_status kms_secret_random(kms_secret **secret, size_t len)
{
	ENSURE_REF(secret);
	*secret = NULL;
	DEFER(kms_secret_release) kms_secret *made = NULL;
	GUARD(secret_make(&made, len));
	GUARD(kms_random(kms_out_of(made->bytes, len)));
	*secret = made;
	made = NULL;
	return KMS_OK;
}

kms_secret *kms_secret_ref(kms_secret *secret)
{
	if (secret) atomic_fetch_add_explicit(&secret->references, 1, memory_order_relaxed);
	return secret;
}

void kms_secret_unref(kms_secret *secret)
{
	if (!secret) return;
	if (atomic_fetch_sub_explicit(&secret->references, 1, memory_order_acq_rel) == 1)
		kms_guarded_free(secret);
}

size_t kms_secret_len(const kms_secret *secret)
{
	return secret->len;
}

const uint8_t *kms_secret_bytes(const kms_secret *secret)
{
	return secret->bytes;
}

bool kms_secret_equal(const kms_secret *a, const kms_secret *b)
{
	return a->len == b->len && kms_equal_ct(a->bytes, b->bytes, a->len);
}
