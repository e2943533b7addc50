
#include <string.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/kdf.h"

#define SALT_PREFIX "nova-kms:app:"
#define DATA_KEY_PATH "data_key"
#define SYNC_KEY_PATH "sync_hmac_key"
#define KEY_BYTES 32
#define MAX_SALT 40

DEFINE_DEFER(guarded_release, uint8_t, kms_guarded_free)

/* The derivation itself; app id 0 included, which only the sync key has. */
static kms_status derive(uint8_t *key, size_t len, const kms_secret *master32, uint64_t app_id,
			 const uint8_t *info, size_t info_len)
{
	ENSURE_REF(master32);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
	DEFER(kms_buf_free) kms_buf salt = kms_buf_make(KMS_BUF_PLAIN, MAX_SALT);
	GUARD(kms_buf_append_text(&salt, SALT_PREFIX));
	GUARD(kms_buf_append_u64(&salt, app_id));
	return kms_hkdf_sha256(key, len, kms_secret_bytes(master32), KMS_MASTER_BYTES, salt.data, salt.len,
			       info, info_len);
}

static kms_status derive_in_context(uint8_t *key, size_t len, const kms_secret *master32, uint64_t app_id,
				    const char *path, size_t path_len, const char *context,
				    size_t context_len)
{
	DEFER(kms_buf_free) kms_buf info = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_buf_append(&info, path, path_len));
	GUARD(kms_buf_append(&info, ":", 1));
	GUARD(kms_buf_append(&info, context, context_len));
	return derive(key, len, master32, app_id, info.data, info.len);
}

kms_status kms_derive(uint8_t *key, size_t len, const kms_secret *master32, uint64_t app_id, const char *path,
		      size_t path_len, const char *context, size_t context_len)
{
	ENSURE_REF(key);
	ENSURE(len > 0 && len <= KMS_DERIVE_MAX, KMS_ERR_RANGE);
	memset(key, 0, len);
	ENSURE(app_id, KMS_ERR_RANGE);
	ENSURE(path || !path_len, KMS_ERR_ARGUMENT);
	ENSURE(context || !context_len, KMS_ERR_ARGUMENT);
	/* Without a context the path itself is the info: no copy. */
	if (!context_len) return derive(key, len, master32, app_id, (const uint8_t *)path, path_len);
	return derive_in_context(key, len, master32, app_id, path, path_len, context, context_len);
}

/* A reserved derivation, into a handle. */
static kms_status derive_secret(kms_secret **key32, const kms_secret *master32, uint64_t app_id,
				const char *path)
{
	DEFER(guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(derive(key, KEY_BYTES, master32, app_id, (const uint8_t *)path, strlen(path)));
	return kms_secret_new(key32, key, KEY_BYTES);
}

kms_status kms_data_key(kms_secret **key32, const kms_secret *master32, uint64_t app_id)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	ENSURE(app_id, KMS_ERR_RANGE);
	return derive_secret(key32, master32, app_id, DATA_KEY_PATH);
}

kms_status kms_sync_key(kms_secret **key32, const kms_secret *master32)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	return derive_secret(key32, master32, 0, SYNC_KEY_PATH);
}
