/* Where the next run goes on in a file, whatever its size, and whatever a power cut has left behind its last
 * line. */
#include <sys/mman.h>

#include "audit_kit.h"

static const unsigned NONE[] = { 0 };

enum { MIB = 1 << 20, PIECE = 1 << 16 }; /* of the file, as audit_end.c reads it */

/* A file in memory that begins with these bytes and is `size` long: NUL behind them. */
static int make_file(kms_span bytes, size_t size)
{
	int fd = memfd_create("audit", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0) exit(2);
	if (pwrite(fd, bytes.bytes, bytes.len, 0) != (ssize_t)bytes.len) exit(2);
	return fd;
}

static void put(int fd, size_t at, const char *text)
{
	if (pwrite(fd, text, strlen(text), (off_t)at) != (ssize_t)strlen(text)) exit(2);
}

/* Two lines of a log. */
static kms_buf make_lines(void)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, MIB, WAITING);
	MUST(add(audit, "event", 1));
	MUST(write_log(audit, &state));
	kms_audit_free(audit);
	kms_buf lines = load(f.file);
	remove_folder(&f, NONE, 1);
	return lines;
}

/* The end of a file of `size` bytes that begins with `bytes` and has `text` at `at`. */
static kms_status find(audit_head *head, size_t *torn, kms_span bytes, size_t size, size_t at,
		       const char *text)
{
	int fd = make_file(bytes, size);
	put(fd, at, text);
	kms_status status = audit_find_end(head, torn, fd, size);
	(void)close(fd);
	return status;
}

TEST(the_last_line_is_found_behind_any_number_of_nuls)
{
	audit_head head;
	size_t torn;
	kms_buf lines = make_lines();
	kms_span bytes = kms_buf_span(&lines);
	const size_t nuls[] = { 0, 1, PIECE - 1, PIECE, PIECE + 1, MIB - 1, MIB, MIB + 1, 40 * MIB };
	for (size_t i = 0; i < sizeof(nuls) / sizeof(nuls[0]); i++) {
		CHECK_OK(find(&head, &torn, bytes, bytes.len + nuls[i], 0, ""));
		CHECK(head.sequence == 2 && torn == nuls[i]);
		/* Behind them what ended the line, when the run after that ended before its first one. */
		CHECK_OK(find(&head, &torn, bytes, bytes.len + nuls[i] + 2, bytes.len + nuls[i], "~\n"));
		CHECK(head.sequence == 2 && torn == nuls[i] + 2);
		/* A file that has no line yet. */
		CHECK_OK(find(&head, &torn, kms_span_of(bytes.bytes, 20), 20 + nuls[i], 0, ""));
		CHECK(head.sequence == 0 && torn == 20 + nuls[i]);
		CHECK_STATUS(KMS_ERR_FILE_FORMAT,
			     find(&head, &torn, KMS_BYTES("root:x:0"), 8 + nuls[i], 0, ""));
	}
	kms_buf_free(&lines);
}

/* Wherever the pieces in which a file is read begin, and also where another line stands behind the gap. */
TEST(a_line_is_found_wherever_a_piece_ends)
{
	audit_head head;
	size_t torn;
	kms_buf lines = make_lines();
	kms_span bytes = kms_buf_span(&lines);
	for (size_t cut = 0; cut <= bytes.len + 2; cut++) {
		size_t nuls = PIECE - cut;
		CHECK_OK(find(&head, &torn, bytes, bytes.len + nuls, 0, ""));
		CHECK(head.sequence == 2 && torn == nuls);
		CHECK_OK(find(&head, &torn, bytes, bytes.len + nuls, bytes.len, "{\"seq\":3,\"prev\":\"\n"));
		CHECK(head.sequence == 2 && torn == nuls);
	}
	kms_buf_free(&lines);
}

TEST(a_mebibyte_of_other_bytes_is_looked_through)
{
	audit_head head;
	size_t torn;
	kms_buf lines = make_lines(), junk = kms_buf_make(KMS_BUF_PLAIN, 2 * MIB);
	for (size_t len = MIB; len <= MIB + 1; len++) {
		for (int feeds = 0; feeds < 2; feeds++) {
			junk.len = 0;
			MUST(kms_buf_append(&junk, kms_buf_span(&lines)));
			for (size_t i = 0; i < len; i++)
				MUST(
				    kms_buf_append(&junk, feeds && i % 7 ? KMS_BYTES("\n") : KMS_BYTES("x")));
			size_t size = junk.len + 3 * MIB; /* NUL bytes do not count */
			CHECK_STATUS(len == MIB ? KMS_OK : KMS_ERR_FILE_FORMAT,
				     find(&head, &torn, kms_buf_span(&junk), size, 0, ""));
			CHECK(head.sequence == (len == MIB ? 2 : 0));
			if (len == MIB) CHECK(torn == len + 3 * MIB);
		}
	}
	kms_buf_free(&junk);
	kms_buf_free(&lines);
}

/* What is longer than a line is none, whatever it begins with; nor is the rest of one. */
TEST(what_is_longer_than_a_line_is_none)
{
	audit_head head;
	size_t torn;
	kms_buf lines = make_lines(), file = kms_buf_make(KMS_BUF_PLAIN, MIB);
	kms_text first = line_of(&lines, 0);
	for (size_t len = KMS_AUDIT_LINE_MAX - 1; len <= KMS_AUDIT_LINE_MAX; len++) {
		file.len = 0;
		MUST(kms_buf_append(&file, KMS_BYTES("x\n"))); /* so that the file is no torn first line */
		MUST(kms_buf_append(&file, kms_span_of(first.text, first.len - 1)));
		while (file.len < 2 + len - 1)
			MUST(kms_buf_append(&file, KMS_BYTES(" ")));
		MUST(kms_buf_append(&file, KMS_BYTES("}\n")));
		CHECK_STATUS(len < KMS_AUDIT_LINE_MAX ? KMS_OK : KMS_ERR_FILE_FORMAT,
			     find(&head, &torn, kms_buf_span(&file), file.len, 0, ""));
		CHECK(head.sequence == (len < KMS_AUDIT_LINE_MAX ? 1 : 0));
	}
	/* A line within what is none, at the beginning of a piece. */
	file.len = 0;
	MUST(kms_buf_append(&file, KMS_BYTES("x")));
	MUST(kms_buf_append(&file, kms_buf_span(&lines)));
	file.len = 1 + first.len + 1;
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, find(&head, &torn, kms_buf_span(&file), 1 + PIECE, PIECE, "~"));
	kms_buf_free(&file);
	kms_buf_free(&lines);
}

TEST(a_run_goes_on_behind_more_nuls_than_a_mebibyte)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_buf lines = make_lines();
	int fd = open(f.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, lines.data, lines.len) == (ssize_t)lines.len);
	CHECK(ftruncate(fd, (off_t)lines.len + 3 * MIB) == 0);
	(void)close(fd);
	kms_audit *audit = open_log(f.file, 8 * MIB, WAITING);
	CHECK_OK(write_log(audit, &state));
	kms_audit_free(audit);
	CHECK(state.sequence == 3);
	kms_buf file = load(f.file);
	char want[64];
	(void)snprintf(want, sizeof(want), "\"torn\":%d}", 3 * MIB + 2);
	CHECK(follows(line_of(&file, 3), 3, line_of(&file, 1)) && has(line_of(&file, 3), want));
	kms_buf_free(&file);
	kms_buf_free(&lines);
	remove_folder(&f, NONE, 1);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(the_last_line_is_found_behind_any_number_of_nuls),
	  T(a_line_is_found_wherever_a_piece_ends), T(a_mebibyte_of_other_bytes_is_looked_through),
	  T(what_is_longer_than_a_line_is_none), T(a_run_goes_on_behind_more_nuls_than_a_mebibyte))
