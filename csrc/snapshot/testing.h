/* Functions of snapshots that only tests call. */
#ifndef KMS_SNAPSHOT_TESTING_H
#define KMS_SNAPSHOT_TESTING_H

#include "kms/snapshot.h"

/* As kms_snapshot_writer_new, with the salt. */
kms_status kms_snapshot_writer_new_with(kms_snapshot_writer **writer, const kms_secret *master32,
					const kms_snapshot_name *name, const uint8_t salt32[32]);

#endif
