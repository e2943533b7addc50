/* The file of an audit log: opened, written, moved aside. Standard output is written here, too. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit_internal.h"
#include "base/ensure.h"

#define MARK "~\n" /* ends what a crash has left of a line: no line ends so */
/* A pipe that poll calls writable takes that many without waiting (POSIX PIPE_BUF). */
#define PIPE_BYTES 4096

static void close_fd(const int *fd)
{
	if (*fd >= 0) (void)close(*fd);
}

void audit_file_close(kms_audit *audit)
{
	close_fd(&audit->fd);
	audit->fd = -1;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

/* Whether a descriptor that may be a pipe, socket or terminal takes some bytes now. */
static kms_status check_writable(int fd)
{
	struct pollfd p = { fd, POLLOUT, 0 };
	int ready = poll(&p, 1, 0);
	ENSURE(ready >= 0 || errno == EINTR, KMS_ERR_SYSTEM);
	return ready > 0 ? KMS_OK : KMS_ERR_BUSY;
}

kms_status audit_file_write(size_t *done, int fd, kms_span bytes, bool is_file)
{
	*done = 0;
	while (*done < bytes.len) {
		size_t part = bytes.len - *done;
		if (!is_file) GUARD(check_writable(fd));
		if (!is_file && part > PIPE_BYTES) part = PIPE_BYTES;
		ssize_t n = write(fd, bytes.bytes + *done, part);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return KMS_ERR_BUSY;
		ENSURE(n >= 0, KMS_ERR_SYSTEM);
		/* A disk that takes no byte, and says no more. */
		if (n == 0) errno = ENOSPC;
		ENSURE(n > 0, KMS_ERR_SYSTEM);
		*done += (size_t)n;
	}
	return KMS_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------- */

/* Ends the rest of a line that a crash has torn. In-out: torn - with what is added. */
static kms_status end_torn(size_t *torn, int fd, off_t size)
{
	char last;
	size_t done = 0;
	if (*torn == 0) return KMS_OK;
	ENSURE(pread(fd, &last, 1, size - 1) == 1, KMS_ERR_SYSTEM);
	if (last == '\n') return KMS_OK;
	GUARD(audit_file_write(&done, fd, KMS_BYTES(MARK), true));
	*torn += sizeof(MARK) - 1;
	return KMS_OK;
}

/* Begins a run behind what is in the file. */
static kms_status begin_run(kms_audit *audit, int fd, const audit_head *head, size_t torn, off_t size)
{
	GUARD(end_torn(&torn, fd, size));
	audit->torn = torn;
	audit->head = audit->in_file = *head;
	return KMS_OK;
}

/* Goes on behind what is in the file: an empty one, or the one that this run has written. */
static kms_status go_on(kms_audit *audit, const audit_head *head, size_t torn, size_t size)
{
	bool same = head->sequence == audit->in_file.sequence && torn == 0 &&
		    memcmp(head->hash32, audit->in_file.hash32, sizeof(head->hash32)) == 0;
	ENSURE(size == 0 || same, KMS_ERR_FILE_FORMAT);
	audit->written = 0; /* a line that is torn in the file before is whole in this one */
	return KMS_OK;
}

static kms_status take_file(kms_audit *audit, int fd, const struct stat *st)
{
	audit_head head;
	size_t torn;
	GUARD(audit_find_end(&head, &torn, fd, (uint64_t)st->st_size));
	if (!audit->begun) return begin_run(audit, fd, &head, torn, st->st_size);
	return go_on(audit, &head, torn, (size_t)st->st_size);
}

static bool is_open(const kms_audit *audit)
{
	struct stat st;
	return audit->fd >= 0 && lstat(audit->path, &st) == 0 && st.st_dev == audit->device &&
	       st.st_ino == audit->inode;
}

/* Out: st - of the file. */
static kms_status check_file(kms_audit *audit, struct stat *st, int fd)
{
	ENSURE(fstat(fd, st) == 0, KMS_ERR_SYSTEM);
	ENSURE(S_ISREG(st->st_mode) && st->st_uid == geteuid() && !(st->st_mode & 022), KMS_ERR_FILE_MODE);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? KMS_ERR_BUSY : KMS_ERR_SYSTEM;
	return take_file(audit, fd, st);
}

kms_status audit_file_open(kms_audit *audit)
{
	struct stat st;
	if (is_open(audit)) return KMS_OK;
	/* O_NONBLOCK: a FIFO must not hold it up. */
	const int flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(audit->path, flags, 0600);
	if (fd < 0) return errno == ELOOP ? KMS_ERR_FILE_MODE : KMS_ERR_SYSTEM;
	kms_status status = check_file(audit, &st, fd);
	if (status != KMS_OK) {
		audit->state.error = errno;
		close_fd(&fd);
		return status;
	}
	audit_file_close(audit);
	audit->fd = fd;
	audit->device = st.st_dev;
	audit->inode = st.st_ino;
	audit->state.file_bytes = (uint64_t)st.st_size;
	return KMS_OK;
}

/* ---- moving aside ------------------------------------------------------------------------------------ */

/* Moves the file. Returns: errno, or 0. */
static int move_aside(const kms_audit *audit)
{
	char aside[AUDIT_PATH_MAX + KMS_DECIMAL_MAX + 2], digits[KMS_DECIMAL_MAX];
	kms_text number = kms_decimal_format(digits, audit->in_file.sequence);
	memcpy(aside, audit->path, audit->path_len);
	aside[audit->path_len] = '.';
	memcpy(aside + audit->path_len + 1, number.text, number.len);
	aside[audit->path_len + 1 + number.len] = '\0';
	if (renameat2(AT_FDCWD, audit->path, AT_FDCWD, aside, RENAME_NOREPLACE) == 0) return 0;
	return errno;
}

kms_status audit_file_rotate(kms_audit *audit)
{
	audit->state.rotation_error = 0;
	if (audit->state.file_bytes == 0 || audit->chained.len > 0) return KMS_OK;
	if (audit->state.file_bytes + AUDIT_PORTION + KMS_AUDIT_LINE_MAX <= audit->max_file) return KMS_OK;
	/* Without it the file grows on: no line is lost. */
	audit->state.rotation_error = move_aside(audit);
	return audit->state.rotation_error ? KMS_OK : audit_file_open(audit);
}
