/* The audit log on standard output: a pipe that fills and is read again, and one whose reader is gone. */
#include <errno.h>
#include <signal.h>

#include "audit_kit.h"

#define PIPE_SIZE 4096
#define LINES 100 /* several times what the pipe holds */

/* Puts a small pipe in the place of standard output. Out: kept - what was there. Returns: its reading end. */
static int replace_stdout(int *kept)
{
	int ends[2];
	(void)fflush(stdout);
	*kept = dup(STDOUT_FILENO);
	if (*kept < 0 || pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE) < 0) exit(2);
	if (dup2(ends[1], STDOUT_FILENO) < 0) exit(2);
	(void)close(ends[1]);
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) exit(2);
	return ends[0];
}

static void restore_stdout(int kept)
{
	if (dup2(kept, STDOUT_FILENO) < 0) exit(2);
	(void)close(kept);
}

static kms_audit *open_stdout(size_t lines)
{
	kms_audit *audit;
	kms_audit_options options = { .max_file = 1 << 20, .max_waiting = 1 << 20 };
	MUST(kms_audit_new(&audit, &options));
	for (size_t i = 0; i < lines; i++)
		MUST(add(audit, "event", i));
	return audit;
}

TEST(a_pipe_that_fills_keeps_lines_and_tears_none)
{
	int kept, reader = replace_stdout(&kept);
	kms_audit_state state;
	kms_audit *audit = open_stdout(LINES);
	kms_buf got = kms_buf_make(KMS_BUF_PLAIN, 1 << 20);
	uint8_t part[1000]; /* lines end anywhere in what is read */
	unsigned refused = 0;
	kms_status status;
	while ((status = write_log(audit, &state)) == KMS_ERR_BUSY) {
		refused++;
		ssize_t n = 0;
		for (unsigned i = 0; i < 5 && (n = read(reader, part, i < 4 ? sizeof(part) : 96)) > 0; i++)
			MUST(kms_buf_append(&got, kms_span_of(part, (size_t)n)));
	}
	CHECK_OK(status);
	CHECK(refused > 1 && state.sequence == LINES + 1);
	restore_stdout(kept);
	for (ssize_t n; (n = read(reader, part, sizeof(part))) > 0;)
		MUST(kms_buf_append(&got, kms_span_of(part, (size_t)n)));
	(void)close(reader);
	size_t lines = 0;
	for (kms_text last = KMS_NO_TEXT, line; (line = line_of(&got, lines)).text; last = line)
		CHECK(follows(line, (unsigned)++lines, last));
	CHECK(lines == LINES + 1 && got.len == state.bytes);
	kms_buf_free(&got);
	kms_audit_free(audit);
}

TEST(a_pipe_without_a_reader_fails_and_keeps_lines)
{
	int kept, reader = replace_stdout(&kept);
	kms_audit_state state;
	kms_audit *audit = open_stdout(1);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(reader);
	CHECK_STATUS(KMS_ERR_SYSTEM, write_log(audit, &state));
	CHECK(state.error == EPIPE && state.sequence == 0);
	restore_stdout(kept);
	reader = replace_stdout(&kept);
	CHECK_OK(write_log(audit, &state));
	CHECK(state.sequence == 2 && kms_audit_count(audit).lost == 0);
	restore_stdout(kept);
	(void)close(reader);
	kms_audit_free(audit);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_pipe_that_fills_keeps_lines_and_tears_none),
	  T(a_pipe_without_a_reader_fails_and_keeps_lines))
