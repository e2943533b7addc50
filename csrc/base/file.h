/* Small secret files: read with checks, written so that a crash leaves the old file or the new one. */
#ifndef KMS_BASE_FILE_H
#define KMS_BASE_FILE_H

#include "kms/buf.h"
#include "kms/view.h"

/*
 * Reads a file of exactly bytes.len bytes that only its owner, this process's user, can reach.
 * Returns: KMS_OK; ERR_FILE_MISSING; ERR_FILE_MODE (rights of others, another owner, not a regular
 * file, a symbolic link); ERR_FILE_FORMAT (another length); ERR_SYSTEM.
 */
kms_status kms_file_read(kms_out bytes, const char *path);

/*
 * Writes a file of mode 0600, whatever the umask: a new file beside it, synced, then moved
 * into place, then the folder synced.
 * Returns: KMS_OK; ERR_STATE when the path exists and `replace` is false; ERR_RANGE when the path
 * is empty or too long; ERR_SYSTEM, and errno says why.
 */
kms_status kms_file_write(const char *path, kms_span bytes, bool replace);

/*
 * Writes a new file of mode 0600 into an open folder: beside its name, synced, linked to it, then the folder
 * synced. Returns: KMS_OK; ERR_STATE when the name exists; ERR_RANGE; ERR_SYSTEM, and errno says why.
 */
kms_status kms_file_write_new(int folder, const char *name, kms_span bytes);

/*
 * Appends a whole regular file of an open folder (or of AT_FDCWD), whoever may reach it.
 * Returns: KMS_OK; ERR_FILE_MISSING; ERR_FILE_FORMAT for what is not a regular file (a symbolic link), or
 * changes meanwhile; ERR_TOO_LARGE for the buffer; ERR_MEMORY; ERR_SYSTEM. In-out: bytes - unchanged on
 * failure.
 */
kms_status kms_file_load(kms_buf *bytes, int folder, const char *name);

/*
 * Takes the lock of a file, which is made with mode 0600 when it is missing. The kernel releases it when `fd`
 * is closed or the process ends, however it ends; the file stays. Returns: KMS_OK; ERR_BUSY when another
 * process holds it; ERR_SYSTEM. Out: fd - to be closed by the caller; -1 on failure.
 */
kms_status kms_file_lock(int *fd, const char *path);

/*
 * Writes all bytes, and waits where the descriptor does not block by itself.
 * Returns: KMS_OK; ERR_SYSTEM.
 */
kms_status kms_fd_write(int fd, kms_span bytes);

/*
 * Reads until there is no room or nothing more, and waits where the descriptor does not block by itself.
 * Returns: KMS_OK; ERR_SYSTEM; ERR_ARGUMENT.
 * Out: got - bytes read; 0 on failure. bytes - what was read, the rest unchanged; wiped on failure.
 */
kms_status kms_fd_read(size_t *got, kms_out bytes, int fd);

/* After a failed read or write: whether to try again, when poll() has seen one of the events. */
bool kms_fd_try_again(int fd, short events);

#endif
