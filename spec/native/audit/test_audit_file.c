/* The file of an audit log over restarts, full disks, and files that are moved, torn or somebody else's. */
#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "audit_kit.h"

static const unsigned NONE[] = { 0 };

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_FSIZE, &limit) != 0) exit(2);
	limit.rlim_cur = bytes;
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0) exit(2);
}

/* All lines of a file follow each other from number 1 on; how many they are. */
static unsigned check_chain(int *failed_, const kms_buf *file)
{
	unsigned count = 0;
	for (; line_of(file, count).text; count++) {
		if (follows(line_of(file, count), count + 1, count ? line_of(file, count - 1) : KMS_NO_TEXT))
			continue;
		*failed_ = 1;
		fprintf(stderr, "line %u does not follow\n", count + 1);
		return 0;
	}
	return count;
}

TEST(a_new_run_goes_on_behind_the_last_line)
{
	folder f = make_folder();
	kms_audit_state state;
	for (unsigned run = 0; run < 3; run++) {
		kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
		CHECK_OK(add(audit, "event", run));
		CHECK_OK(write_log(audit, &state));
		CHECK(state.sequence == 2 * run + 2 && state.lines == 2);
		kms_audit_free(audit);
	}
	kms_buf file = load(f.file);
	CHECK(check_chain(failed_, &file) == 6);
	kms_buf_free(&file);
	remove_folder(&f, NONE, 1);
}

/* Cuts a file of two lines at each byte: the next run always goes on, and says what it has skipped. */
TEST(a_line_that_a_crash_has_torn_is_skipped_and_named)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(add(audit, "event", 1));
	CHECK_OK(write_log(audit, &state));
	kms_audit_free(audit);
	kms_buf whole = load(f.file);
	size_t first = line_of(&whole, 0).len + 1;
	for (size_t cut = 0; cut <= whole.len; cut++) {
		int fd = open(f.file, O_WRONLY | O_TRUNC | O_CLOEXEC);
		CHECK(fd >= 0 && write(fd, whole.data, cut) == (ssize_t)cut);
		(void)close(fd);
		audit = open_log(f.file, 1 << 20, WAITING);
		CHECK_OK(write_log(audit, &state));
		kms_audit_free(audit);
		size_t lines = cut < first       ? 0
			       : cut < whole.len ? 1
						 : 2,
		       end = lines == 0   ? 0
			     : lines == 1 ? first
					  : cut;
		CHECK(state.sequence == lines + 1);
		kms_buf file = load(f.file);
		size_t torn = cut - end + (cut > end ? 2 : 0);
		char want[64];
		(void)snprintf(want, sizeof(want), "\"torn\":%zu}", torn);
		kms_text start = line_of(&file, lines + (torn ? 1 : 0));
		CHECK(follows(start, (unsigned)lines + 1, lines ? line_of(&file, lines - 1) : KMS_NO_TEXT));
		CHECK(has(start, want));
		kms_buf_free(&file);
	}
	kms_buf_free(&whole);
	remove_folder(&f, NONE, 1);
}

/* A power cut leaves zeros where lines had not reached the disk, also where the first line was. */
TEST(what_a_power_cut_has_zeroed_is_skipped_and_named)
{
	enum { ZEROS = 10000 };
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(add(audit, "event", 1));
	CHECK_OK(write_log(audit, &state));
	kms_audit_free(audit);
	kms_buf whole = load(f.file);
	size_t first = line_of(&whole, 0).len + 1;
	const size_t cuts[] = { 0, 3, 30, first - 1, first, first + 5, whole.len };
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		size_t cut = cuts[i], end = cut < first ? 0 : cut < whole.len ? first : cut;
		unsigned lines = cut < first ? 0 : cut < whole.len ? 1 : 2;
		int fd = open(f.file, O_WRONLY | O_TRUNC | O_CLOEXEC);
		CHECK(fd >= 0 && write(fd, whole.data, cut) == (ssize_t)cut);
		CHECK(ftruncate(fd, (off_t)cut + ZEROS) == 0);
		(void)close(fd);
		audit = open_log(f.file, 1 << 20, WAITING);
		CHECK_OK(write_log(audit, &state));
		kms_audit_free(audit);
		CHECK(state.sequence == lines + 1);
		kms_buf file = load(f.file);
		char want[64];
		(void)snprintf(want, sizeof(want), "\"torn\":%zu}", cut - end + ZEROS + 2);
		kms_text start = line_of(&file, lines + 1);
		CHECK(follows(start, lines + 1, lines ? line_of(&file, lines - 1) : KMS_NO_TEXT));
		CHECK(has(start, want));
		kms_buf_free(&file);
	}
	kms_buf_free(&whole);
	remove_folder(&f, NONE, 1);
}

TEST(a_file_with_something_else_is_left_alone)
{
	folder f = make_folder();
	kms_audit_state state;
	append_to(f.file, "root:x:0:0:root:/root:/bin/bash\n");
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(add(audit, "event", 1));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, write_log(audit, &state));
	CHECK(state.sequence == 0 && state.lines == 0);
	CHECK(unlink(f.file) == 0);
	CHECK_OK(write_log(audit, &state));
	CHECK(state.sequence == 2);
	/* Another log takes its place. */
	char other[160];
	(void)snprintf(other, sizeof(other), "%s.other", f.file);
	kms_audit *another = open_log(other, 1 << 20, WAITING);
	CHECK_OK(write_log(another, &state));
	kms_audit_free(another);
	CHECK(rename(other, f.file) == 0);
	CHECK_OK(add(audit, "later", 2));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, write_log(audit, &state));
	CHECK(unlink(f.file) == 0);
	CHECK_OK(write_log(audit, &state));
	CHECK(state.sequence == 3);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

TEST(a_file_that_others_write_or_that_is_none_is_refused)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	append_to(f.file, "");
	CHECK(chmod(f.file, 0620) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MODE, write_log(audit, &state));
	CHECK(chmod(f.file, 0644) == 0);
	int fd = open(f.file, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
	CHECK_STATUS(KMS_ERR_BUSY, write_log(audit, &state));
	(void)close(fd);
	CHECK_OK(write_log(audit, &state));
	CHECK(unlink(f.file) == 0 && symlink("/dev/null", f.file) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MODE, write_log(audit, &state));
	CHECK(unlink(f.file) == 0 && mkfifo(f.file, 0600) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MODE, write_log(audit, &state));
	CHECK(unlink(f.file) == 0 && mkdir(f.file, 0700) == 0);
	CHECK_STATUS(KMS_ERR_SYSTEM, write_log(audit, &state));
	CHECK(state.error == EISDIR);
	CHECK(rmdir(f.file) == 0);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

/* Whatever a full disk leaves of a batch: once there is room, the file is as if nothing had been. */
TEST(a_full_disk_keeps_lines_and_loses_none)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(write_log(audit, &state));
	for (rlim_t room = 0; room < 600; room += 37) {
		limit_files(state.bytes + room);
		CHECK_OK(add(audit, "a", 1));
		CHECK_OK(add(audit, "b", 2));
		uint64_t before = state.sequence;
		kms_status status = write_log(audit, &state);
		CHECK(status == KMS_OK || (status == KMS_ERR_SYSTEM && state.error == EFBIG));
		if (status != KMS_OK) {
			CHECK(state.sequence < before + 2);
			CHECK_OK(add(audit, "c", 3));
			CHECK_STATUS(KMS_ERR_SYSTEM, write_log(audit, &state));
		}
		limit_files(RLIM_INFINITY);
		CHECK_OK(write_log(audit, &state));
		CHECK_OK(write_log(audit, &state));
		CHECK(state.sequence == before + (status == KMS_OK ? 2 : 3));
		kms_buf file = load(f.file);
		CHECK(check_chain(failed_, &file) == state.sequence && file.len == state.bytes);
		kms_buf_free(&file);
	}
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

/* The rest of a batch comes after what was half written. In the next file the torn line is whole. */
TEST(a_line_that_is_torn_when_its_file_moves_is_whole_in_the_next)
{
	folder f = make_folder();
	kms_audit_state state;
	char moved[160];
	(void)snprintf(moved, sizeof(moved), "%s.9", f.file);
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(write_log(audit, &state));
	limit_files(state.bytes + 10);
	CHECK_OK(add(audit, "torn", 1));
	CHECK_STATUS(KMS_ERR_SYSTEM, write_log(audit, &state));
	limit_files(RLIM_INFINITY);
	CHECK(rename(f.file, moved) == 0);
	CHECK_OK(write_log(audit, &state));
	CHECK(state.sequence == 2);
	kms_buf old = load(moved), file = load(f.file);
	CHECK(line_of(&old, 1).text == NULL && follows(line_of(&file, 0), 2, line_of(&old, 0)));
	CHECK(has(line_of(&file, 0), "\"event\":\"torn\""));
	kms_buf_free(&old);
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, (const unsigned[]){ 9 }, 1);
}

TEST(a_file_that_would_be_too_large_is_moved_aside)
{
	folder f = make_folder();
	kms_audit_state state;
	char path[160];
	unsigned numbers[64], files = 0, last = 0;
	kms_text before = KMS_NO_TEXT;
	kms_audit *audit = open_log(f.file, KMS_AUDIT_FILE_MIN, WAITING);
	for (unsigned i = 0; i < 2000; i++) {
		CHECK_OK(add(audit, "event", i));
		CHECK_OK(write_log(audit, &state));
		CHECK(state.rotation_error == 0 && state.file_bytes <= KMS_AUDIT_FILE_MIN);
	}
	kms_audit_free(audit);
	kms_buf held = kms_buf_make(KMS_BUF_PLAIN, 0);
	for (unsigned number = 1; number <= state.sequence && files < 63; number++) {
		(void)snprintf(path, sizeof(path), "%s.%u", f.file, number);
		if (access(path, F_OK) != 0 && number < state.sequence) continue;
		kms_buf file = load(number == state.sequence ? f.file : path);
		for (size_t i = 0; line_of(&file, i).text; i++) {
			CHECK(follows(line_of(&file, i), ++last, before));
			before = line_of(&file, i);
		}
		CHECK(last == number);
		kms_buf_free(&held);
		held = file;
		numbers[files++] = number;
	}
	CHECK(files > 3 && last == 2001);
	kms_buf_free(&held);
	remove_folder(&f, numbers, files);
}

TEST(a_file_that_cannot_be_moved_aside_grows_on)
{
	folder f = make_folder();
	kms_audit_state state;
	char path[160];
	kms_audit *audit = open_log(f.file, KMS_AUDIT_FILE_MIN, WAITING);
	for (unsigned i = 1; i < 800; i++) {
		(void)snprintf(path, sizeof(path), "%s.%u", f.file, i);
		append_to(path, "taken");
	}
	for (unsigned i = 0; i < 700; i++) {
		CHECK_OK(add(audit, "event", i));
		CHECK_OK(write_log(audit, &state));
	}
	CHECK(state.rotation_error == EEXIST && state.file_bytes > KMS_AUDIT_FILE_MIN);
	kms_buf file = load(f.file);
	CHECK(check_chain(failed_, &file) == 701);
	kms_buf_free(&file);
	kms_audit_free(audit);
	unsigned numbers[800];
	for (unsigned i = 0; i < 800; i++)
		numbers[i] = i;
	remove_folder(&f, numbers, 800);
}

TEST(a_folder_that_is_gone_is_waited_for)
{
	folder f = make_folder();
	kms_audit_state state;
	kms_audit *audit = open_log(f.file, 1 << 20, WAITING);
	CHECK_OK(write_log(audit, &state));
	CHECK(unlink(f.file) == 0 && rmdir(f.path) == 0);
	CHECK_OK(add(audit, "kept", 1));
	CHECK_STATUS(KMS_ERR_SYSTEM, write_log(audit, &state));
	CHECK(state.error == ENOENT && state.sequence == 1);
	CHECK(mkdir(f.path, 0700) == 0);
	CHECK_OK(write_log(audit, &state));
	kms_buf file = load(f.file);
	CHECK(state.sequence == 2 && has(line_of(&file, 0), "{\"seq\":2,") &&
	      has(line_of(&file, 0), "\"kept\""));
	kms_buf_free(&file);
	kms_audit_free(audit);
	remove_folder(&f, NONE, 1);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_new_run_goes_on_behind_the_last_line),
	  T(a_line_that_a_crash_has_torn_is_skipped_and_named),
	  T(what_a_power_cut_has_zeroed_is_skipped_and_named), T(a_file_with_something_else_is_left_alone),
	  T(a_file_that_others_write_or_that_is_none_is_refused), T(a_full_disk_keeps_lines_and_loses_none),
	  T(a_line_that_is_torn_when_its_file_moves_is_whole_in_the_next),
	  T(a_file_that_would_be_too_large_is_moved_aside), T(a_file_that_cannot_be_moved_aside_grows_on),
	  T(a_folder_that_is_gone_is_waited_for))
