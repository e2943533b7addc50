/*
 * Keys derived from the cluster's master secret (docs/protocol.md section 7).
 * Threads: any.
 */
#ifndef KMS_KDF_H
#define KMS_KDF_H

#include "kms/secret.h"
#include "kms/view.h"

#define KMS_DERIVE_MAX 1024
#define KMS_MASTER_BYTES 32

/*
 * HKDF-SHA256 of the master secret: salt "nova-kms:app:<app id>", info `path` or `path:context`.
 * Returns: KMS_OK; ERR_RANGE when the key's length is not 1 to KMS_DERIVE_MAX, the master secret
 * is not 32 bytes long, or the app id is 0, which is reserved; ERR_ARGUMENT; ERR_MEMORY; as
 * kms_hkdf_sha256.
 * Out: key - guarded memory of the caller.
 * In: context - absent or empty: none.
 */
kms_status kms_derive(kms_out key, const kms_secret *master32, uint64_t app_id, kms_text path,
		      kms_text context);

/*
 * The keys of one application, for a while in which it needs several: what they have in common is made once.
 * kms_app_keys_forget wipes it. Threads: one at a time per object.
 */
typedef struct kms_app_keys {
	const kms_secret *master32; /* borrowed */
	uint64_t app_id;
	kms_secret *prk32;      /* NULL until it is needed, as the next one */
	kms_secret *data_key32; /* of kms_data_key */
} kms_app_keys;

kms_app_keys kms_app_keys_make(const kms_secret *master32, uint64_t app_id);
/* NULL is fine. */
void kms_app_keys_forget(kms_app_keys *keys);

/* As kms_derive and kms_data_key; also ERR_LOCKED_MEMORY. Out: key32 - borrowed from `keys`; NULL on failure.
 */
kms_status kms_app_keys_derive(kms_out key, kms_app_keys *keys, kms_text path, kms_text context);
kms_status kms_app_keys_data(const kms_secret **key32, kms_app_keys *keys);

/*
 * The key that seals an application's stored values: path "data_key".
 * Returns: as kms_derive; ERR_LOCKED_MEMORY.
 * Out: key32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_data_key(kms_secret **key32, const kms_secret *master32, uint64_t app_id);

/*
 * The HMAC key of POST /sync: app id 0, path "sync_hmac_key".
 * Returns, Out: as kms_data_key.
 */
kms_status kms_sync_key(kms_secret **key32, const kms_secret *master32);

/*
 * The key of the stores' hash trees (kms/tree.h): app id 0, path "digest_key".
 * Returns, Out: as kms_data_key.
 */
kms_status kms_digest_key(kms_secret **key32, const kms_secret *master32);

/*
 * The key that the keys of snapshot files come from (kms/snapshot.h): app id 0, path "snapshot_key".
 * Returns, Out: as kms_data_key.
 */
kms_status kms_snapshot_key(kms_secret **key32, const kms_secret *master32);

/*
 * The key that names in the audit log are hashed under (kms/audit.h): app id 0, path "audit_key".
 * Returns, Out: as kms_data_key.
 */
kms_status kms_audit_key(kms_secret **key32, const kms_secret *master32);

#endif
