#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"

/* ".new." and 16 digits, beside the file it becomes. */
#define SUFFIX_BYTES 8
#define SUFFIX_TEXT (5 + 2 * SUFFIX_BYTES)

static void close_file(int *fd)
{
	if (*fd >= 0) (void)close(*fd);
	*fd = -1;
}

/* ---- reading ---- */

static kms_status open_private(int *fd, const char *path)
{
	struct stat st;
	/* O_NONBLOCK: a FIFO must not hold the start up. */
	int opened = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ENSURE(opened >= 0 || (errno != ENOENT && errno != ENOTDIR), KMS_ERR_FILE_MISSING);
	ENSURE(opened >= 0 || errno != ELOOP, KMS_ERR_FILE_MODE);
	ENSURE(opened >= 0, KMS_ERR_SYSTEM);
	*fd = opened;
	ENSURE(fstat(opened, &st) == 0, KMS_ERR_SYSTEM);
	ENSURE(S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0, KMS_ERR_FILE_MODE);
	return KMS_OK;
}

/* Up to `len` bytes; fewer at the end of the file. */
static kms_status read_up_to(size_t *got, int fd, uint8_t *bytes, size_t len)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = read(fd, bytes + *got, len - *got);
		if (n < 0 && errno == EINTR) continue;
		ENSURE(n >= 0, KMS_ERR_SYSTEM);
		if (n == 0) break;
		*got += (size_t)n;
	}
	return KMS_OK;
}

static kms_status read_exactly(uint8_t *bytes, size_t len, const char *path)
{
	size_t got, more;
	uint8_t beyond;
	DEFER(close_file) int fd = -1;
	GUARD(open_private(&fd, path));
	GUARD(read_up_to(&got, fd, bytes, len));
	GUARD(read_up_to(&more, fd, &beyond, 1));
	ENSURE(got == len && more == 0, KMS_ERR_FILE_FORMAT);
	return KMS_OK;
}

kms_status kms_file_read(uint8_t *bytes, size_t len, const char *path)
{
	ENSURE_REF(bytes);
	memset(bytes, 0, len);
	ENSURE_REF(path);
	kms_status status = read_exactly(bytes, len, path);
	if (status != KMS_OK) kms_wipe(bytes, len);
	return status;
}

/* ---- writing ---- */

static kms_status write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR) continue;
		ENSURE(n > 0, KMS_ERR_SYSTEM);
		bytes += n;
		len -= (size_t)n;
	}
	return KMS_OK;
}

static kms_status create_synced(const char *path, const uint8_t *bytes, size_t len)
{
	DEFER(close_file) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ENSURE(fd >= 0, KMS_ERR_SYSTEM);
	ENSURE(fchmod(fd, 0600) == 0, KMS_ERR_SYSTEM);
	GUARD(write_all(fd, bytes, len));
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
static kms_status move_into_place(const char *fresh, const char *path, bool replace)
{
	if (replace) return rename(fresh, path) == 0 ? KMS_OK : KMS_ERR_SYSTEM;
	if (link(fresh, path) != 0) return errno == EEXIST ? KMS_ERR_STATE : KMS_ERR_SYSTEM;
	(void)unlink(fresh);
	return KMS_OK;
}

kms_status kms_file_write(const char *path, const uint8_t *bytes, size_t len, bool replace)
{
	ENSURE_REF(path);
	ENSURE_REF(bytes);
	char fresh[PATH_MAX];
	uint8_t random[SUFFIX_BYTES];
	size_t path_len = strlen(path);
	ENSURE(path_len > 0 && path_len < PATH_MAX - SUFFIX_TEXT, KMS_ERR_RANGE);
	GUARD(kms_random(KMS_OUT(random)));
	memcpy(fresh, path, path_len);
	memcpy(fresh + path_len, ".new.", 5);
	kms_hex_encode(fresh + path_len + 5, random, sizeof(random));
	fresh[path_len + SUFFIX_TEXT] = '\0';

	kms_status status = create_synced(fresh, bytes, len);
	if (status == KMS_OK) status = move_into_place(fresh, path, replace);
	if (status != KMS_OK) (void)unlink(fresh);
	GUARD(status);
	return sync_folder(path);
}
