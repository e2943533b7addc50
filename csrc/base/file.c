#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/buf.h"
#include "kms/secret.h"

/* A file is written beside the one that it becomes, under its name with this and digits. */
#define SUFFIX ".new."
#define SUFFIX_LEN (sizeof(SUFFIX) - 1)
#define SUFFIX_MAX (SUFFIX_LEN + KMS_DECIMAL_MAX + 1)

/*
 * Of one call of write(). A kernel may leave the core to another thread at the end of the call only: for a
 * file of 16 MiB, copied in pages of megabytes, the loop's thread waited for milliseconds.
 */
#define PIECE_BYTES ((size_t)128 << 10)

static void close_file(int *fd)
{
	if (*fd >= 0) (void)close(*fd);
	*fd = -1;
}

/* ---- reading ---- */

static kms_status open_regular(int *fd, struct stat *st, int folder, const char *path)
{
	/* O_NONBLOCK: a FIFO must not hold the process up. */
	int opened = openat(folder, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ENSURE(opened >= 0 || (errno != ENOENT && errno != ENOTDIR), KMS_ERR_FILE_MISSING);
	ENSURE(opened >= 0 || errno != ELOOP, KMS_ERR_FILE_FORMAT);
	ENSURE(opened >= 0, KMS_ERR_SYSTEM);
	*fd = opened;
	ENSURE(fstat(opened, st) == 0, KMS_ERR_SYSTEM);
	return S_ISREG(st->st_mode) ? KMS_OK : KMS_ERR_FILE_FORMAT;
}

static kms_status open_private(int *fd, const char *path)
{
	struct stat st;
	kms_status status = open_regular(fd, &st, AT_FDCWD, path);
	ENSURE(status != KMS_ERR_FILE_FORMAT, KMS_ERR_FILE_MODE);
	GUARD(status);
	ENSURE(st.st_uid == geteuid() && (st.st_mode & 077) == 0, KMS_ERR_FILE_MODE);
	return KMS_OK;
}

/* Fewer bytes only at the end of the file. */
static kms_status read_up_to(size_t *got, kms_out bytes, int fd)
{
	*got = 0;
	while (*got < bytes.len) {
		ssize_t n = read(fd, bytes.bytes + *got, bytes.len - *got);
		if (n < 0 && errno == EINTR) continue;
		ENSURE(n >= 0, KMS_ERR_SYSTEM);
		if (n == 0) break;
		*got += (size_t)n;
	}
	return KMS_OK;
}

static kms_status read_exactly(kms_out bytes, const char *path)
{
	size_t got, more;
	uint8_t beyond;
	DEFER(close_file) int fd = -1;
	GUARD(open_private(&fd, path));
	GUARD(read_up_to(&got, bytes, fd));
	GUARD(read_up_to(&more, kms_out_of(&beyond, 1), fd));
	ENSURE(got == bytes.len && more == 0, KMS_ERR_FILE_FORMAT);
	return KMS_OK;
}

kms_status kms_file_read(kms_out bytes, const char *path)
{
	ENSURE_REF(bytes.bytes);
	memset(bytes.bytes, 0, bytes.len);
	ENSURE_REF(path);
	kms_status status = read_exactly(bytes, path);
	if (status != KMS_OK) kms_wipe(bytes.bytes, bytes.len);
	return status;
}

static kms_status load(kms_buf *bytes, int folder, const char *name)
{
	size_t got, more;
	uint8_t beyond;
	struct stat st;
	DEFER(close_file) int fd = -1;
	GUARD(open_regular(&fd, &st, folder, name));
	GUARD(kms_buf_reserve(bytes, (size_t)st.st_size));
	kms_out room = kms_out_of(st.st_size ? bytes->data + bytes->len : NULL, (size_t)st.st_size);
	GUARD(read_up_to(&got, room, fd));
	GUARD(read_up_to(&more, kms_out_of(&beyond, 1), fd));
	ENSURE(got == (size_t)st.st_size && more == 0, KMS_ERR_FILE_FORMAT);
	bytes->len += got;
	return KMS_OK;
}

kms_status kms_file_load(kms_buf *bytes, int folder, const char *name)
{
	ENSURE_REF(bytes);
	ENSURE_REF(name);
	return load(bytes, folder, name); /* beyond bytes->len the buffer's content does not count */
}

/* ---- locking ---- */

kms_status kms_file_lock(int *fd, const char *path)
{
	ENSURE_REF(fd);
	*fd = -1;
	ENSURE_REF(path);
	int opened = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	ENSURE(opened >= 0, KMS_ERR_SYSTEM);
	if (flock(opened, LOCK_EX | LOCK_NB) == 0) {
		*fd = opened;
		return KMS_OK;
	}
	kms_status status = errno == EWOULDBLOCK ? KMS_ERR_BUSY : KMS_ERR_SYSTEM;
	(void)close(opened);
	return status;
}

/* ---- writing ---- */

/* A terminal that luv has taken over does not block. */
static bool wait_for(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };
	return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

bool kms_fd_try_again(int fd, short events)
{
	if (errno == EINTR) return true;
	return (errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(fd, events);
}

kms_status kms_fd_write(int fd, kms_span bytes)
{
	for (size_t done = 0; done < bytes.len;) {
		size_t left = bytes.len - done;
		ssize_t n = write(fd, bytes.bytes + done, left < PIECE_BYTES ? left : PIECE_BYTES);
		if (n < 0) {
			ENSURE(kms_fd_try_again(fd, POLLOUT), KMS_ERR_SYSTEM);
			continue;
		}
		done += (size_t)n;
	}
	return KMS_OK;
}

kms_status kms_fd_read(size_t *got, kms_out bytes, int fd)
{
	ENSURE_REF(got);
	*got = 0;
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	for (size_t done = 0; done < bytes.len;) {
		ssize_t n = read(fd, bytes.bytes + done, bytes.len - done);
		if (n < 0) {
			if (kms_fd_try_again(fd, POLLIN)) continue;
			kms_wipe(bytes.bytes, bytes.len);
			*got = 0;
			return KMS_ERR_SYSTEM;
		}
		if (n == 0) break;
		done += (size_t)n;
		*got = done;
	}
	return KMS_OK;
}

static kms_status create_synced(int folder, const char *path, kms_span bytes)
{
	DEFER(close_file)
	int fd = openat(folder, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ENSURE(fd >= 0, KMS_ERR_SYSTEM);
	ENSURE(fchmod(fd, 0600) == 0, KMS_ERR_SYSTEM);
	GUARD(kms_fd_write(fd, bytes));
	ENSURE(fsync(fd) == 0, KMS_ERR_SYSTEM);
	return KMS_OK;
}

/* The folder's entry for the new name is as durable as the file. */
static kms_status sync_folder(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	if (slash && !len) len = 1; /* "/name": the root itself */
	memcpy(folder, len ? path : ".", len ? len : 1);
	folder[len ? len : 1] = '\0';
	DEFER(close_file) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ENSURE(fd >= 0 && fsync(fd) == 0, KMS_ERR_SYSTEM);
	return KMS_OK;
}

/* link() refuses an existing name in one step, where rename() would replace it. */
static kms_status move_into_place(int folder, const char *fresh, const char *path, bool replace)
{
	if (replace) return renameat(folder, fresh, folder, path) == 0 ? KMS_OK : KMS_ERR_SYSTEM;
	if (linkat(folder, fresh, folder, path, 0) != 0)
		return errno == EEXIST ? KMS_ERR_STATE : KMS_ERR_SYSTEM;
	(void)unlinkat(folder, fresh, 0);
	return KMS_OK;
}

/* The name of the file to write first; random, so that two writers do not meet. */
static kms_status fresh_path(char fresh[PATH_MAX], const char *path)
{
	uint8_t random[8];
	char storage[KMS_DECIMAL_MAX];
	size_t len = strlen(path);
	ENSURE(len > 0 && len < PATH_MAX - SUFFIX_MAX, KMS_ERR_RANGE);
	GUARD(kms_random(KMS_OUT(random)));
	kms_text digits = kms_decimal_format(storage, kms_load64_le(random));
	memcpy(fresh, path, len);
	memcpy(fresh + len, SUFFIX, SUFFIX_LEN);
	memcpy(fresh + len + SUFFIX_LEN, digits.text, digits.len);
	fresh[len + SUFFIX_LEN + digits.len] = '\0';
	return KMS_OK;
}

/* Without the folder's entry being synced. */
static kms_status write_at(int folder, const char *path, kms_span bytes, bool replace)
{
	char fresh[PATH_MAX];
	GUARD(fresh_path(fresh, path));
	kms_status status = create_synced(folder, fresh, bytes);
	if (status == KMS_OK) status = move_into_place(folder, fresh, path, replace);
	int cause = errno;
	if (status != KMS_OK) (void)unlinkat(folder, fresh, 0);
	errno = cause;
	return status;
}

kms_status kms_file_write(const char *path, kms_span bytes, bool replace)
{
	ENSURE_REF(path);
	ENSURE_REF(bytes.bytes);
	GUARD(write_at(AT_FDCWD, path, bytes, replace));
	return sync_folder(path);
}

kms_status kms_file_write_new(int folder, const char *name, kms_span bytes)
{
	ENSURE_REF(name);
	ENSURE_REF(bytes.bytes);
	GUARD(write_at(folder, name, bytes, false));
	return fsync(folder) == 0 ? KMS_OK : KMS_ERR_SYSTEM;
}
