/*
 * Keys derived from the cluster's master secret (docs/protocol.md section 7). Stateless; any thread.
 */
#ifndef KMS_KDF_H
#define KMS_KDF_H

#include "kms/secret.h"
#include "kms/view.h"

#define KMS_DERIVE_MAX 1024
#define KMS_MASTER_BYTES 32

/*
 * HKDF-SHA256(master, salt "nova-kms:app:<app id>", info = path or path ":" context).
 * Out: key - `len` bytes (1 to KMS_DERIVE_MAX) in guarded memory of the caller.
 * In: context may be empty. App id 0 is reserved: ERR_RANGE.
 */
kms_status kms_derive(uint8_t *key, size_t len, const kms_secret *master32, uint64_t app_id, const char *path,
		      size_t path_len, const char *context, size_t context_len);

/* Key of an application's stored records: path "data_key". */
kms_status kms_data_key(kms_secret **key32, const kms_secret *master32, uint64_t app_id);

/* HMAC key of POST /sync: app id 0, path "sync_hmac_key". */
kms_status kms_sync_key(kms_secret **key32, const kms_secret *master32);

#endif
