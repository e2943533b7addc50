/* Adds lines to an audit log, and has them chained and written. */
#include <errno.h>
#include <unistd.h>

#include "audit/audit_internal.h"
#include "base/ensure.h"
#include "base/mem.h"

void kms_audit_free(kms_audit *audit)
{
	if (!audit) return;
	audit_file_close(audit);
	kms_buf_free(&audit->waiting);
	kms_buf_free(&audit->batch);
	kms_buf_free(&audit->chained);
	kms_buf_free(&audit->start);
	kms_heap_free(audit);
}

static kms_status set_options(kms_audit *audit, const kms_audit_options *options)
{
	kms_text path = options->path;
	ENSURE(options->max_waiting >= 2 * KMS_AUDIT_LINE_MAX, KMS_ERR_RANGE);
	ENSURE(options->max_file >= KMS_AUDIT_FILE_MIN, KMS_ERR_RANGE);
	ENSURE(!path.text || (path.len > 0 && path.len <= AUDIT_PATH_MAX), KMS_ERR_RANGE);
	ENSURE(!path.text || !memchr(path.text, '\0', path.len), KMS_ERR_RANGE);
	if (path.text) memcpy(audit->path, path.text, path.len);
	audit->path_len = path.len;
	audit->start_ms = options->start_ms;
	audit->max_file = options->max_file;
	audit->waiting = kms_buf_make(KMS_BUF_PLAIN, options->max_waiting);
	audit->batch = kms_buf_make(KMS_BUF_PLAIN, options->max_waiting);
	audit->chained = kms_buf_make(KMS_BUF_PLAIN, AUDIT_PORTION + 2 * KMS_AUDIT_LINE_MAX);
	audit->start = kms_buf_make(KMS_BUF_PLAIN, KMS_AUDIT_LINE_MAX / 2);
	return kms_buf_append(&audit->start, kms_text_span(options->start));
}

kms_status kms_audit_new(kms_audit **audit, const kms_audit_options *options)
{
	ENSURE_REF(audit);
	*audit = NULL;
	ENSURE_REF(options);
	DEFER(kms_audit_release) kms_audit *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->fd = -1;
	GUARD(set_options(made, options));
	*audit = made;
	made = NULL;
	return KMS_OK;
}

/* ---- adding ------------------------------------------------------------------------------------------ */

static void count_lost(kms_audit *audit, uint64_t time_ms)
{
	audit->counts.lost++;
	if (audit->unsaid++ == 0) audit->lost_since_ms = time_ms;
	audit->lost_until_ms = time_ms;
}

/* Says how many lines are missing, where there is room for that again. */
static void say_lost(kms_audit *audit, uint64_t time_ms)
{
	kms_buf more = kms_buf_make(KMS_BUF_PLAIN, KMS_AUDIT_LINE_MAX / 2);
	/* Not while that is still filling up, or there would be one such line after the other. */
	if (!audit->unsaid || audit->waiting.len > audit->waiting.max / 2) return;
	bool made = kms_buf_append_text(&more, "\"lines\":") == KMS_OK &&
		    kms_buf_append_u64(&more, audit->unsaid) == KMS_OK &&
		    kms_buf_append_text(&more, ",\"since_ms\":") == KMS_OK &&
		    kms_buf_append_u64(&more, audit->lost_since_ms) == KMS_OK &&
		    kms_buf_append_text(&more, ",\"until_ms\":") == KMS_OK &&
		    kms_buf_append_u64(&more, audit->lost_until_ms) == KMS_OK;
	kms_audit_event event = { .time_ms = time_ms,
				  .event = KMS_TEXT("lost"),
				  .more = kms_buf_text(&more) };
	if (made && audit_body_append(&audit->waiting, &event) == KMS_OK) {
		audit->unsaid = 0;
		audit->counts.added++;
		audit->counts.waiting_lines++;
	}
	kms_buf_free(&more);
}

kms_status kms_audit_add(kms_audit *audit, const kms_audit_event *event)
{
	ENSURE_REF(audit);
	ENSURE_REF(event);
	ENSURE(event->event.text, KMS_ERR_ARGUMENT);
	say_lost(audit, event->time_ms);
	/* What comes after lost lines stands behind the line that tells of them. */
	kms_status status = audit->unsaid ? KMS_ERR_TOO_LARGE : audit_body_append(&audit->waiting, event);
	if (status != KMS_OK) {
		count_lost(audit, event->time_ms);
		return status;
	}
	audit->counts.added++;
	audit->counts.waiting_lines++;
	return KMS_OK;
}

kms_audit_counts kms_audit_count(const kms_audit *audit)
{
	kms_audit_counts counts = audit->counts;
	counts.waiting = audit->waiting.len;
	return counts;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

void kms_audit_begin_write(kms_audit *audit, uint64_t time_ms)
{
	/* The writer has not got rid of the last ones. */
	if (!audit || audit->batch.len > 0) return;
	kms_buf empty = audit->batch;
	audit->batch = audit->waiting;
	audit->waiting = empty;
	audit->counts.waiting_lines = 0;
	say_lost(audit, time_ms);
}

/* Writes what is chained. */
static kms_status write_chained(kms_audit *audit)
{
	size_t done = 0;
	kms_span rest = kms_buf_span(&audit->chained);
	rest.bytes += audit->written;
	rest.len -= audit->written;
	int fd = audit->path_len ? audit->fd : STDOUT_FILENO;
	kms_status status = audit_file_write(&done, fd, rest, audit->path_len > 0);
	audit->state.error = status == KMS_ERR_SYSTEM ? errno : 0;
	audit->written += done;
	audit->state.bytes += done;
	audit->state.file_bytes += done;
	kms_status settled = audit_settle(audit);
	return status == KMS_OK ? settled : status;
}

static kms_status write_all(kms_audit *audit)
{
	errno = 0;
	if (audit->path_len) GUARD(audit_file_open(audit));
	if (audit->chained.len > 0) GUARD(write_chained(audit));
	while (audit->batch.len > 0 || !audit->begun) {
		if (audit->path_len) GUARD(audit_file_rotate(audit));
		GUARD(audit_chain(audit));
		GUARD(write_chained(audit));
	}
	return KMS_OK;
}

kms_status kms_audit_write(kms_audit *audit, kms_audit_state *state, bool sync)
{
	ENSURE_REF(state);
	*state = (kms_audit_state){ 0 };
	ENSURE_REF(audit);
	audit->state.error = 0;
	kms_status status = write_all(audit);
	if (status == KMS_ERR_SYSTEM && !audit->state.error) audit->state.error = errno;
	if (status == KMS_OK && sync && audit->path_len && fdatasync(audit->fd) != 0) {
		status = KMS_ERR_SYSTEM;
		audit->state.error = errno;
	}
	audit->state.sequence = audit->in_file.sequence;
	memcpy(audit->state.hash32, audit->in_file.hash32, sizeof(audit->state.hash32));
	*state = audit->state;
	return status;
}
