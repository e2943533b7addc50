/* Records as canonical JSON, grouped by application (kms/sync.h). */
#ifndef KMS_SYNC_SYNC_WRITE_H
#define KMS_SYNC_SYNC_WRITE_H

#include "kms/sync.h"

/*
 * The bytes of a record's JSON; SIZE_MAX: too many. In: extras - KMS_SYNC_FINGERPRINTS and KMS_SYNC_BASE64,
 * as it is written.
 */
size_t kms_sync_record_size(const kms_record *record, unsigned extras);

/* The data object under construction: applications in the order of their ids as text. */
typedef struct sync_writer {
	kms_buf *out;
	unsigned extras; /* KMS_SYNC_FINGERPRINTS, KMS_SYNC_BASE64 */
	uint64_t app_id;
	bool app_open;
	uint64_t apps;
	uint64_t records;
} sync_writer;

kms_status kms_sync_write_start(sync_writer *writer, kms_buf *out, unsigned extras);
/* Appends a record. An application's array starts with its first record. */
kms_status kms_sync_write_record(sync_writer *writer, uint64_t app_id, const kms_record *record);
kms_status kms_sync_write_end(sync_writer *writer);

/* Compares two application ids as decimal text, for qsort. */
int kms_sync_compare_ids(const void *a, const void *b);
/* The bytes that an application adds around its records and their commas. */
size_t kms_sync_app_size(uint64_t app_id);

#endif
