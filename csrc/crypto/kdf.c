
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

/* The derivation, for app id 0 too: the sync key. */
static kms_status derive(kms_out key, const kms_secret *master32, uint64_t app_id, kms_span info)
{
	ENSURE_REF(master32);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
	DEFER(kms_buf_free) kms_buf salt = kms_buf_make(KMS_BUF_PLAIN, MAX_SALT);
	GUARD(kms_buf_append_text(&salt, SALT_PREFIX));
	GUARD(kms_buf_append_u64(&salt, app_id));
	return kms_hkdf_sha256(key, kms_secret_span(master32), kms_buf_span(&salt), info);
}

static kms_status derive_in_context(kms_out key, const kms_secret *master32, uint64_t app_id, kms_text path,
				    kms_text context)
{
	DEFER(kms_buf_free) kms_buf info = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_buf_append(&info, kms_text_span(path)));
	GUARD(kms_buf_append(&info, KMS_BYTES(":")));
	GUARD(kms_buf_append(&info, kms_text_span(context)));
	return derive(key, master32, app_id, kms_buf_span(&info));
}

kms_status kms_derive(kms_out key, const kms_secret *master32, uint64_t app_id, kms_text path,
		      kms_text context)
{
	ENSURE_REF(key.bytes);
	ENSURE(key.len > 0 && key.len <= KMS_DERIVE_MAX, KMS_ERR_RANGE);
	memset(key.bytes, 0, key.len);
	ENSURE(app_id, KMS_ERR_RANGE);
	ENSURE(path.text || !path.len, KMS_ERR_ARGUMENT);
	ENSURE(context.text || !context.len, KMS_ERR_ARGUMENT);
	/* Without a context the path itself is the info: no copy. */
	if (!context.len) return derive(key, master32, app_id, kms_text_span(path));
	return derive_in_context(key, master32, app_id, path, context);
}

/* A reserved derivation, into a handle. */
static kms_status derive_secret(kms_secret **key32, const kms_secret *master32, uint64_t app_id,
				kms_text path)
{
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(derive(kms_out_of(key, KEY_BYTES), master32, app_id, kms_text_span(path)));
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
