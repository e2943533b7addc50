/* An audit log in a folder of its own, and its file as lines. */
#ifndef KMS_SPEC_AUDIT_KIT_H
#define KMS_SPEC_AUDIT_KIT_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit_internal.h"
#include "material.h"

#define WAITING (4 * KMS_AUDIT_LINE_MAX)

typedef struct folder {
	char path[64], file[128];
} folder;

static inline folder make_folder(void)
{
	folder made = { "/tmp/test_audit.XXXXXX", "" };
	if (!mkdtemp(made.path)) exit(2);
	(void)snprintf(made.file, sizeof(made.file), "%s/audit.log", made.path);
	return made;
}

/* Removes the folder with the files of these numbers; 0: the current one. */
static inline void remove_folder(const folder *f, const unsigned *numbers, size_t count)
{
	char path[256];
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(path, sizeof(path), numbers[i] ? "%s.%u" : "%s", f->file, numbers[i]);
		(void)unlink(path);
	}
	(void)unlink(f->file);
	(void)rmdir(f->path);
}

static inline kms_audit *open_log(const char *path, uint64_t max_file, size_t max_waiting)
{
	kms_audit *audit;
	kms_audit_options options = { .path = kms_text_from(path),
				      .start = KMS_TEXT("\"run\":\"00ff\""),
				      .start_ms = 7,
				      .max_file = max_file,
				      .max_waiting = max_waiting };
	MUST(kms_audit_new(&audit, &options));
	return audit;
}

static inline kms_status add(kms_audit *audit, const char *event, uint64_t time_ms)
{
	kms_audit_event line = { .time_ms = time_ms, .event = kms_text_from(event) };
	return kms_audit_add(audit, &line);
}

static inline kms_status write_log(kms_audit *audit, kms_audit_state *state)
{
	kms_audit_begin_write(audit, 99);
	return kms_audit_write(audit, state, false);
}

static inline kms_buf load(const char *path)
{
	kms_buf bytes = kms_buf_make(KMS_BUF_PLAIN, 1 << 24);
	uint8_t part[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (ssize_t n; fd >= 0 && (n = read(fd, part, sizeof(part))) > 0;)
		MUST(kms_buf_append(&bytes, kms_span_of(part, (size_t)n)));
	if (fd >= 0) (void)close(fd);
	return bytes;
}

static inline void append_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) exit(2);
	(void)close(fd);
}

/* Line number `index` of a file, without its line feed; absent beyond the last. */
static inline kms_text line_of(const kms_buf *file, size_t index)
{
	kms_span rest = kms_buf_span(file);
	for (; rest.len > 0; index--) {
		const uint8_t *end = memchr(rest.bytes, '\n', rest.len);
		if (!end) break;
		size_t len = (size_t)(end - rest.bytes);
		if (index == 0) return kms_text_of((const char *)rest.bytes, len);
		rest = kms_span_of(end + 1, rest.len - len - 1);
	}
	return KMS_NO_TEXT;
}

static inline bool has(kms_text line, const char *part)
{
	return line.text && memmem(line.text, line.len, part, strlen(part)) != NULL;
}

/* Whether a line begins as number `sequence` behind `before`; absent: behind nothing. */
static inline bool follows(kms_text line, unsigned sequence, kms_text before)
{
	uint8_t hash32[32] = { 0 };
	char hex[65], begin[128];
	if (before.text) MUST(kms_sha256(hash32, kms_text_span(before)));
	kms_hex_encode(hex, KMS_SPAN(hash32));
	hex[64] = '\0';
	(void)snprintf(begin, sizeof(begin), "{\"seq\":%u,\"prev\":\"%s\",\"time_ms\":", sequence, hex);
	return line.len > strlen(begin) && memcmp(line.text, begin, strlen(begin)) == 0 &&
	       line.text[line.len - 1] == '}';
}

#endif
