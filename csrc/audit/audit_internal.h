/* The parts of an audit log. audit.c adds lines, audit_chain.c chains them, audit_file.c writes them,
 * audit_end.c finds the last one of a file. */
#ifndef KMS_AUDIT_INTERNAL_H
#define KMS_AUDIT_INTERNAL_H

#include <sys/types.h>

#include "kms/audit.h"
#include "kms/buf.h"

#define AUDIT_PATH_MAX 3900 /* a number is added to it */
#define AUDIT_PORTION 32768 /* bytes of lines that are written at once */

/* What a line begins with, and what stands between its number and the hash of the line before. */
#define AUDIT_SEQUENCE "{\"seq\":"
#define AUDIT_PREVIOUS ",\"prev\":\""
#define AUDIT_HASH_DIGITS (2 * KMS_AUDIT_HASH_BYTES)

/* The end of a chain. */
typedef struct audit_head {
	uint64_t sequence;
	uint8_t hash32[KMS_AUDIT_HASH_BYTES];
} audit_head;

struct kms_audit {
	/* Of the thread that adds. */
	kms_buf waiting; /* bodies: lines without sequence and hash, each with a line feed */
	kms_audit_counts counts;
	uint64_t unsaid, lost_since_ms, lost_until_ms; /* lines lost that no line tells of */

	/* Of kms_audit_write. */
	kms_buf batch;   /* bodies handed over */
	size_t taken;    /* bytes of it that are chained */
	kms_buf chained; /* whole lines; the first `written` bytes are in the file */
	size_t written;
	audit_head head;    /* of the last line that was chained */
	audit_head in_file; /* of the last line that was written whole */
	size_t torn;        /* bytes behind the last whole line of an earlier run */
	bool begun;         /* the run's first line is chained */
	int fd;             /* -1: none */
	dev_t device;
	ino_t inode;
	kms_audit_state state;

	uint64_t start_ms, max_file;
	kms_buf start;
	size_t path_len; /* 0: standard output */
	char path[AUDIT_PATH_MAX + 1];
};

/*
 * Appends a body.
 * Returns: as kms_buf_append; ERR_UTF8; ERR_TOO_LARGE for a line that would be too long. In-out: bodies -
 * unchanged on failure.
 */
kms_status audit_body_append(kms_buf *bodies, const kms_audit_event *event);

/*
 * Makes lines of some of the bodies in `batch`, behind those in `chained`, until that has AUDIT_PORTION
 * bytes. Returns: as kms_buf_append, and nothing changes.
 */
kms_status audit_chain(kms_audit *audit);

/* Counts the lines in `chained` that are written as a whole, the first `written` bytes being so. */
kms_status audit_settle(kms_audit *audit);

/*
 * Finds the last line of a log in a file, whatever its size, in constant memory. Behind it may stand NUL
 * bytes without end, as a power cut leaves them where lines had not reached the disk, and 1 MiB of others.
 * Returns: KMS_OK; ERR_FILE_FORMAT when there is none, unless the file is no more than the beginning of a
 * first line; ERR_SYSTEM; ERR_MEMORY. Out: head - zero: none. torn - bytes behind it. In: size - of the file.
 */
kms_status audit_find_end(audit_head *head, size_t *torn, int fd, uint64_t size);

/* Opens the file unless the one at the path is open. Returns: as kms_audit_write. */
kms_status audit_file_open(kms_audit *audit);
/* Moves a file aside that a portion could make too large, and opens the next one. Returns: as
 * kms_audit_write. */
kms_status audit_file_rotate(kms_audit *audit);
void audit_file_close(kms_audit *audit);

/* Writes a number of bytes without waiting for a reader. Returns: KMS_OK; ERR_BUSY; ERR_SYSTEM. Out: done. */
kms_status audit_file_write(size_t *done, int fd, kms_span bytes, bool is_file);

#endif
