/*
 * The audit log (docs/audit.md): who was given key material, and who was refused, as lines of JSON. Each line
 * carries the hash of the one before, so that none can be changed, left out or moved unseen.
 *
 * A line is added at once and in memory; kms_audit_write chains and writes what was added since, and is made
 * for a thread that may wait for a disk. What a failing disk keeps it from writing waits up to a limit; lines
 * beyond that are counted, and a line says how many are missing.
 *
 * Threads: one thread adds and counts; meanwhile another one may be in kms_audit_write. The first one calls
 * kms_audit_begin_write before each.
 */
#ifndef KMS_AUDIT_H
#define KMS_AUDIT_H

#include "kms/crypto.h"
#include "kms/secret.h"
#include "kms/view.h"

#define KMS_AUDIT_NAME_BYTES 16
#define KMS_AUDIT_HASH_BYTES 32
#define KMS_AUDIT_FILE_MIN 65536 /* least limit of a file */
#define KMS_AUDIT_LINE_MAX 4096  /* bytes of a line with its line feed */

/* What a name names. */
typedef enum kms_audit_kind {
	KMS_AUDIT_PATH = 1,    /* of a derivation */
	KMS_AUDIT_CONTEXT = 2, /* of a derivation */
	KMS_AUDIT_KEY = 3,     /* of a record */
	KMS_AUDIT_PREFIX = 4,  /* of a listing */
} kms_audit_kind;

/*
 * What stands in the log for a name: the first half of HMAC-SHA256(key, kind || app id (8 bytes, big-endian)
 * || SHA-256 of the name). Returns: KMS_OK; as kms_hmac_key_mac. In: key - of kms_audit_key. digest32 -
 * SHA-256 of the name.
 */
kms_status kms_audit_name(uint8_t hash16[KMS_AUDIT_NAME_BYTES], kms_hmac_key *key, kms_audit_kind kind,
			  uint64_t app_id, const uint8_t digest32[KMS_AUDIT_HASH_BYTES]);

/* Members of a line; absent ones are left out. Texts are escaped, and cut to 128 bytes. */
typedef struct kms_audit_event {
	uint64_t time_ms; /* Unix time */
	kms_text event;
	kms_text wallet, app, name, context, request, operation, code, rule;
	uint64_t status; /* of HTTP; 0: left out */
	kms_text more;   /* further members as JSON without braces, trusted; not cut */
} kms_audit_event;

typedef struct kms_audit_options {
	kms_text path;      /* of the file; absent: standard output */
	kms_text start;     /* further members of the line that a start writes, as `more` */
	uint64_t start_ms;  /* its time */
	uint64_t max_file;  /* bytes of a file, beyond which it is moved aside */
	size_t max_waiting; /* bytes of lines that were not written */
} kms_audit_options;

typedef struct kms_audit kms_audit;

/*
 * An audit log; opens no file.
 * Returns: KMS_OK; ERR_RANGE for a path beyond 3900 bytes, with a NUL or empty, for a
 * file below KMS_AUDIT_FILE_MIN, and where fewer than two lines may wait; ERR_MEMORY; ERR_ARGUMENT. Out:
 * audit - free with kms_audit_free.
 */
kms_status kms_audit_new(kms_audit **audit, const kms_audit_options *options);
/* Closes the file. What waits is dropped. NULL is fine. */
void kms_audit_free(kms_audit *audit);
KMS_DEFINE_RELEASE(kms_audit_release, kms_audit, kms_audit_free)

/*
 * Adds a line.
 * Returns: KMS_OK; ERR_TOO_LARGE when too much waits, or for a line beyond KMS_AUDIT_LINE_MAX: it is counted
 * as lost; ERR_UTF8, likewise; ERR_MEMORY, likewise; ERR_ARGUMENT.
 */
kms_status kms_audit_add(kms_audit *audit, const kms_audit_event *event);

/* What the adding thread knows. */
typedef struct kms_audit_counts {
	uint64_t added, lost; /* lines since the start */
	size_t waiting;       /* bytes of lines that were added since the last kms_audit_begin_write */
	size_t waiting_lines;
} kms_audit_counts;

kms_audit_counts kms_audit_count(const kms_audit *audit);

/* Hands what was added to the next kms_audit_write. In: time_ms - of a line that says what was lost. */
void kms_audit_begin_write(kms_audit *audit, uint64_t time_ms);

/* What has been written; the bytes of lines count with their line feeds. */
typedef struct kms_audit_state {
	uint64_t sequence;                    /* of the last line; 0: none */
	uint8_t hash32[KMS_AUDIT_HASH_BYTES]; /* its SHA-256, without the line feed; zero: none */
	uint64_t lines, bytes;                /* since the start */
	uint64_t file_bytes;                  /* of the file */
	int error;                            /* errno after ERR_SYSTEM; 0: not known */
	int rotation_error;                   /* errno of the last attempt to move the file aside; 0: none */
} kms_audit_state;

/*
 * Chains and writes what kms_audit_begin_write has handed over, after what an earlier call could not write.
 * Opens the file when there is none at the path, or another one than before; moves it aside, to
 * <path>.<number of its last line>, when it would grow beyond its limit. In a file with lines of an earlier
 * run it goes on behind the last whole one; the run's first line says how many bytes behind that it skipped.
 * Returns: KMS_OK; ERR_SYSTEM; ERR_FILE_FORMAT when the file holds something else, or another log;
 * ERR_FILE_MODE when others may write it, or it is no regular file; ERR_BUSY when another process writes it,
 * or the reader of standard output does not read; ERR_MEMORY; ERR_ARGUMENT. After a failure call it again:
 * nothing is lost by it. Out: state - also on failure. In: sync - whether the file is on its disk when this
 * returns.
 */
kms_status kms_audit_write(kms_audit *audit, kms_audit_state *state, bool sync);

#endif
