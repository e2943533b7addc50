/* Records as canonical JSON, grouped by application (kms/sync.h). */
#ifndef KMS_SYNC_SYNC_WRITE_H
#define KMS_SYNC_SYNC_WRITE_H

#include "kms/sync.h"

/* The bytes of a record's JSON; SIZE_MAX: too many. In: fingerprint - whether it is written, if there is one.
 */
size_t kms_sync_record_size(const kms_record *record, bool fingerprint);

/* The data object under construction: applications in the order of their ids as text. */
typedef struct sync_writer {
	kms_buf *out;
	bool fingerprints; /* whether they are written */
	uint64_t app_id;
	bool app_open;
	uint64_t apps;
	uint64_t records;
} sync_writer;

kms_status kms_sync_write_start(sync_writer *writer, kms_buf *out, bool fingerprints);
/* Appends a record. An application's array starts with its first record. */
kms_status kms_sync_write_record(sync_writer *writer, uint64_t app_id, const kms_record *record);
kms_status kms_sync_write_end(sync_writer *writer);

/* Compares two application ids as decimal text, for qsort. */
int kms_sync_compare_ids(const void *a, const void *b);
/* The bytes that an application adds around its records and their commas. */
size_t kms_sync_app_size(uint64_t app_id);

#endif
