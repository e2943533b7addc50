/*
 * Files of sealed snapshots (docs/snapshots.md): what a store holds, outside of all nodes.
 *
 * A file is "NKS1", a salt, and chunks sealed with AES-256-GCM under a key that is the file's own; its kind,
 * the wallet of the node that wrote it and its sequence number go into the key. So a file opens as what it
 * was written as, whole, or not at all. What a file of records holds is pages: messages as kms_sync_parse
 * reads them.
 *
 * Threads: any; one object is used by one thread at a time.
 */
#ifndef KMS_SNAPSHOT_H
#define KMS_SNAPSHOT_H

#include "kms/buf.h"
#include "kms/secret.h"

#define KMS_SNAPSHOT_CHUNK ((size_t)4 << 20)     /* plaintext of every chunk but the last */
#define KMS_SNAPSHOT_MAX_FILE ((size_t)64 << 20) /* bytes of a file that is opened */

typedef enum kms_snapshot_kind {
	KMS_SNAPSHOT_RECORDS = 1,
	KMS_SNAPSHOT_MANIFEST = 2,
} kms_snapshot_kind;

/* What a file is. Its key depends on all of it. */
typedef struct kms_snapshot_name {
	kms_snapshot_kind kind;
	uint8_t wallet20[20]; /* of the node that wrote it */
	uint64_t sequence;
} kms_snapshot_name;

/* ---- writing --------------------------------------------------------------------------------- */

/* A file under construction, in memory. */
typedef struct kms_snapshot_writer kms_snapshot_writer;

/*
 * Starts a file with a random salt.
 * Returns: KMS_OK; ERR_RANGE when the master secret is not 32 bytes long or the kind is unknown; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_SYSTEM; as kms_hkdf_sha256.
 * Out: writer - free with kms_snapshot_writer_free; NULL on failure.
 */
kms_status kms_snapshot_writer_new(kms_snapshot_writer **writer, const kms_secret *master32,
				   const kms_snapshot_name *name);

/* Frees a writer, wipes its key and what is not sealed yet. NULL is fine. */
void kms_snapshot_writer_free(kms_snapshot_writer *writer);

/*
 * Adds a page to a file of records, or the text of a manifest. After a failure the writer only fails.
 * Returns: KMS_OK; ERR_STATE after a failure or once the file is finished; ERR_RANGE for a manifest's second
 * text; ERR_TOO_LARGE beyond KMS_SNAPSHOT_MAX_FILE; ERR_MEMORY; as kms_gcm_seal_in_place.
 */
kms_status kms_snapshot_writer_add(kms_snapshot_writer *writer, kms_span page);

/* The bytes of the file if it were finished now, and if a page of `more` bytes were added before that. */
size_t kms_snapshot_writer_size(const kms_snapshot_writer *writer, size_t more);

/*
 * Seals the last chunk and hands the file over. The writer can only be freed then.
 * Returns: as kms_snapshot_writer_add. Out: file - a PLAIN buffer, released with kms_buf_free; empty on
 * failure. sha256 - its hash; zeroed on failure.
 */
kms_status kms_snapshot_writer_finish(kms_buf *file, uint8_t sha256[32], kms_snapshot_writer *writer);

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * Opens a whole file; nothing of it is to be had unless every chunk opens.
 * Returns: KMS_OK; ERR_FILE_FORMAT when it does not begin as such a file; ERR_TRUNCATED when it ends too
 * early; ERR_TRAILING when its last chunk is followed by others; ERR_SEALED when a chunk was changed, is in
 * another's place or belongs to another file, wallet, sequence, kind or secret; ERR_TOO_LARGE; ERR_RANGE,
 * ERR_MEMORY, ERR_LOCKED_MEMORY as kms_snapshot_writer_new. Out: plain - a WIPED buffer, released with
 * kms_buf_free; empty on failure. chunk - number of the chunk at fault, from 0.
 */
kms_status kms_snapshot_open(kms_buf *plain, size_t *chunk, const kms_secret *master32,
			     const kms_snapshot_name *name, kms_span file);

/*
 * The next page of an opened file of records.
 * Returns: KMS_OK; ERR_TRUNCATED when the pages do not fill the file; ERR_NOT_FOUND after the last one.
 * Out: page - borrowed from what the cursor reads; absent on failure.
 */
kms_status kms_snapshot_next_page(kms_span *page, kms_reader *reader);

#endif
