/* The key of a snapshot file and its chunks, for the writer and the reader (kms/snapshot.h). */
#ifndef KMS_SNAPSHOT_SNAPSHOT_SEAL_H
#define KMS_SNAPSHOT_SNAPSHOT_SEAL_H

#include "kms/crypto.h"
#include "kms/snapshot.h"

#define SNAPSHOT_MAGIC "NKS1"
#define SNAPSHOT_MAGIC_BYTES ((size_t)4)
#define SNAPSHOT_SALT_BYTES ((size_t)32)
#define SNAPSHOT_HEAD_BYTES (SNAPSHOT_MAGIC_BYTES + SNAPSHOT_SALT_BYTES)
#define SNAPSHOT_LENGTH_BYTES ((size_t)4) /* before every page */

/*
 * The key of a file. Returns: KMS_OK; as kms_snapshot_writer_new.
 * Out: key32 - one reference, released with kms_secret_unref; NULL on failure.
 */
kms_status kms_snapshot_file_key(kms_secret **key32, const kms_secret *master32,
				 const kms_snapshot_name *name, const uint8_t salt32[32]);

/* As kms_gcm_seal_in_place, for chunk `number`; `last` marks the end of the file. */
kms_status kms_snapshot_chunk_seal(uint8_t tag16[16], kms_out bytes, const kms_secret *key32, uint32_t number,
				   bool last);

/* As kms_gcm_open_in_place. */
kms_status kms_snapshot_chunk_open(kms_out bytes, const kms_secret *key32, uint32_t number, bool last,
				   const uint8_t tag16[16]);

#endif
