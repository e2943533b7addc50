
#include <string.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "kms/kdf.h"

#define SALT_PREFIX "nova-kms:app:"
#define DATA_KEY_PATH "data_key"
#define SYNC_KEY_PATH "sync_hmac_key"
#define DIGEST_KEY_PATH "digest_key"
#define SNAPSHOT_KEY_PATH "snapshot_key"
#define AUDIT_KEY_PATH "audit_key"
#define KEY_BYTES 32
#define MAX_SALT 40

/* What all keys of an application have in common; for app id 0 too: the sync key. */
static kms_status extract(kms_secret **prk32, const kms_secret *master32, uint64_t app_id)
{
	ENSURE_REF(master32);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
	DEFER(kms_buf_free) kms_buf salt = kms_buf_make(KMS_BUF_PLAIN, MAX_SALT);
	GUARD(kms_buf_append_text(&salt, SALT_PREFIX));
	GUARD(kms_buf_append_u64(&salt, app_id));
	return kms_hkdf_sha256_extract(prk32, kms_secret_span(master32), kms_buf_span(&salt));
}

static kms_status expand_in_context(kms_out key, const kms_secret *prk32, kms_text path, kms_text context)
{
	DEFER(kms_buf_free) kms_buf info = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_buf_append(&info, kms_text_span(path)));
	GUARD(kms_buf_append(&info, KMS_BYTES(":")));
	GUARD(kms_buf_append(&info, kms_text_span(context)));
	return kms_hkdf_sha256_expand(key, prk32, kms_buf_span(&info));
}

/* ---- several keys of an application ---- */

kms_app_keys kms_app_keys_make(const kms_secret *master32, uint64_t app_id)
{
	return (kms_app_keys){ .master32 = master32, .app_id = app_id };
}

void kms_app_keys_forget(kms_app_keys *keys)
{
	if (!keys) return;
	kms_secret_unref(keys->prk32);
	kms_secret_unref(keys->data_key32);
	keys->prk32 = keys->data_key32 = NULL;
}

kms_status kms_app_keys_derive(kms_out key, kms_app_keys *keys, kms_text path, kms_text context)
{
	ENSURE_REF(key.bytes);
	ENSURE(key.len > 0 && key.len <= KMS_DERIVE_MAX, KMS_ERR_RANGE);
	memset(key.bytes, 0, key.len);
	ENSURE_REF(keys);
	ENSURE(keys->app_id, KMS_ERR_RANGE);
	ENSURE(path.text || !path.len, KMS_ERR_ARGUMENT);
	ENSURE(context.text || !context.len, KMS_ERR_ARGUMENT);
	if (!keys->prk32) GUARD(extract(&keys->prk32, keys->master32, keys->app_id));
	/* Without a context the path itself is the info: no copy. */
	if (!context.len) return kms_hkdf_sha256_expand(key, keys->prk32, kms_text_span(path));
	return expand_in_context(key, keys->prk32, path, context);
}

kms_status kms_app_keys_data(const kms_secret **key32, kms_app_keys *keys)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	ENSURE_REF(keys);
	if (!keys->data_key32) GUARD(kms_data_key(&keys->data_key32, keys->master32, keys->app_id));
	*key32 = keys->data_key32;
	return KMS_OK;
}

/* ---- one key ---- */

kms_status kms_derive(kms_out key, const kms_secret *master32, uint64_t app_id, kms_text path,
		      kms_text context)
{
	DEFER(kms_app_keys_forget) kms_app_keys keys = kms_app_keys_make(master32, app_id);
	return kms_app_keys_derive(key, &keys, path, context);
}

/* A reserved derivation, into a handle; for app id 0 too. */
static kms_status derive_secret(kms_secret **key32, const kms_secret *master32, uint64_t app_id,
				kms_text path)
{
	DEFER(kms_secret_release) kms_secret *prk = NULL;
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(extract(&prk, master32, app_id));
	GUARD(kms_hkdf_sha256_expand(kms_out_of(key, KEY_BYTES), prk, kms_text_span(path)));
	return kms_secret_new(key32, kms_span_of(key, KEY_BYTES));
}

kms_status kms_data_key(kms_secret **key32, const kms_secret *master32, uint64_t app_id)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	ENSURE(app_id, KMS_ERR_RANGE);
	return derive_secret(key32, master32, app_id, KMS_TEXT(DATA_KEY_PATH));
}

kms_status kms_sync_key(kms_secret **key32, const kms_secret *master32)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	return derive_secret(key32, master32, 0, KMS_TEXT(SYNC_KEY_PATH));
}

kms_status kms_digest_key(kms_secret **key32, const kms_secret *master32)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	return derive_secret(key32, master32, 0, KMS_TEXT(DIGEST_KEY_PATH));
}

kms_status kms_snapshot_key(kms_secret **key32, const kms_secret *master32)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	return derive_secret(key32, master32, 0, KMS_TEXT(SNAPSHOT_KEY_PATH));
}

kms_status kms_audit_key(kms_secret **key32, const kms_secret *master32)
{
	ENSURE_REF(key32);
	*key32 = NULL;
	return derive_secret(key32, master32, 0, KMS_TEXT(AUDIT_KEY_PATH));
}
