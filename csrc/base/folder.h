/*
 * Folders that may belong to another user, or to whoever runs a file server: below a base that the operator
 * named, no symbolic link is followed, so that nothing outside is read, written or removed for its owner.
 *
 * In: base - path of an existing folder. below - relative path of folders in it, "a/b", without "." and "..".
 * Failures: ERR_FILE_MISSING when a folder is missing; ERR_FILE_FORMAT when something else has its name, such
 * as a symbolic link; ERR_ARGUMENT; ERR_SYSTEM, and errno says why. Threads: any; no state.
 */
#ifndef KMS_BASE_FOLDER_H
#define KMS_BASE_FOLDER_H

#include "kms/buf.h"

/* Opens the folder. In: make - whether missing ones are made, mode 0700. Out: fd - to be closed by the
 * caller; -1. */
kms_status kms_folder_open(int *fd, const char *base, const char *below, bool make);

/*
 * Lists it: a byte for the kind ('d' a folder, 'f' anything else), the name, NUL, for each entry but "." and
 * "..". Returns: also ERR_TOO_LARGE, beyond the buffer's limit; ERR_MEMORY. In-out: names - appended to;
 * unspecified on failure.
 */
kms_status kms_folder_list(kms_buf *names, const char *base, const char *below);

/* Removes a file, or an empty folder where `is_folder`; one that is missing is fine, and so is a folder that
 * is not empty. */
kms_status kms_folder_remove(const char *base, const char *below, const char *name, bool is_folder);

#endif
