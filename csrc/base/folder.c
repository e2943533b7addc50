#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"

#define MODE 0700
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static void close_folder(int *fd)
{
	if (*fd >= 0) (void)close(*fd);
	*fd = -1;
}

/* What a failure to open a folder says. */
static kms_status open_failure(void)
{
	ENSURE(errno != ENOENT, KMS_ERR_FILE_MISSING);
	ENSURE(errno != ENOTDIR && errno != ELOOP, KMS_ERR_FILE_FORMAT);
	return KMS_ERR_SYSTEM;
}

/* A power cut must not take a new folder, with what is synced in it: its entry is as durable as its files. */
static kms_status make_folder(int fd, const char *name)
{
	if (mkdirat(fd, name, MODE) == 0) return fsync(fd) == 0 ? KMS_OK : KMS_ERR_SYSTEM;
	return errno == EEXIST ? KMS_OK : KMS_ERR_SYSTEM;
}

/* Enters a folder of an open one, which is closed. */
static kms_status enter(int *fd, const char *name, bool make)
{
	ENSURE(strcmp(name, ".") != 0 && strcmp(name, "..") != 0, KMS_ERR_ARGUMENT);
	if (make) GUARD(make_folder(*fd, name));
	int opened = openat(*fd, name, FOLDER_FLAGS | O_NOFOLLOW);
	ENSURE(opened >= 0, open_failure());
	(void)close(*fd);
	*fd = opened;
	return KMS_OK;
}

static kms_status enter_all(int *fd, const char *below, bool make)
{
	char name[NAME_MAX + 1];
	while (*below) {
		size_t len = strcspn(below, "/");
		ENSURE(len > 0 && len < sizeof(name), KMS_ERR_ARGUMENT);
		memcpy(name, below, len);
		name[len] = '\0';
		GUARD(enter(fd, name, make));
		below += len + (below[len] == '/');
	}
	return KMS_OK;
}

kms_status kms_folder_open(int *fd, const char *base, const char *below, bool make)
{
	ENSURE_REF(fd);
	*fd = -1;
	ENSURE_REF(base);
	ENSURE_REF(below);
	int opened = open(base, FOLDER_FLAGS);
	ENSURE(opened >= 0, open_failure());
	kms_status status = enter_all(&opened, below, make);
	int cause = errno;
	if (status != KMS_OK) close_folder(&opened);
	errno = cause;
	*fd = opened;
	return status;
}

/* ---- listing -------------------------------------------------------------------------------------- */

static void close_stream(DIR **stream)
{
	if (*stream) (void)closedir(*stream);
}

/* File systems may leave the kind to be asked for. */
static bool is_folder(int fd, const struct dirent *entry)
{
	struct stat st;
	if (entry->d_type != DT_UNKNOWN) return entry->d_type == DT_DIR;
	return fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static kms_status list(kms_buf *names, DIR *stream)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(stream);
		if (!entry) return errno == 0 ? KMS_OK : KMS_ERR_SYSTEM;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		char kind = is_folder(dirfd(stream), entry) ? 'd' : 'f';
		GUARD(kms_buf_append(names, kms_span_of(&kind, 1)));
		GUARD(kms_buf_append(names, kms_span_of(entry->d_name, strlen(entry->d_name) + 1)));
	}
}

kms_status kms_folder_list(kms_buf *names, const char *base, const char *below)
{
	int fd;
	ENSURE_REF(names);
	GUARD(kms_folder_open(&fd, base, below, false));
	DEFER(close_stream) DIR *stream = fdopendir(fd);
	if (stream) return list(names, stream);
	close_folder(&fd);
	return KMS_ERR_SYSTEM;
}

/* ---- removing ------------------------------------------------------------------------------------- */

kms_status kms_folder_remove(const char *base, const char *below, const char *name, bool is_folder)
{
	DEFER(close_folder) int fd = -1;
	ENSURE_REF(name);
	ENSURE(!strchr(name, '/'), KMS_ERR_ARGUMENT);
	kms_status status = kms_folder_open(&fd, base, below, false);
	ENSURE(status != KMS_ERR_FILE_MISSING, KMS_OK);
	GUARD(status);
	if (unlinkat(fd, name, is_folder ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT) return KMS_OK;
	ENSURE(!is_folder || (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR), KMS_OK);
	return KMS_ERR_SYSTEM;
}
