/* Small secret files: read with checks, written so that a crash leaves the old or the new. */
#ifndef KMS_BASE_FILE_H
#define KMS_BASE_FILE_H

#include "kms/kms.h"

/*
 * Reads a file of exactly `len` bytes that only its owner, this process's user, can reach.
 * Returns: KMS_OK, ERR_FILE_MISSING, ERR_FILE_MODE (rights of others, another owner, no
 * regular file, a symbolic link), ERR_FILE_FORMAT (another length), ERR_SYSTEM.
 */
kms_status kms_file_read(uint8_t *bytes, size_t len, const char *path);

/*
 * Writes a file of mode 0600, whatever the umask: a new file beside it, synced, then moved
 * into place, then the folder synced.
 * In: replace - false refuses an existing path, of any kind, with ERR_STATE.
 */
kms_status kms_file_write(const char *path, const uint8_t *bytes, size_t len, bool replace);

#endif
