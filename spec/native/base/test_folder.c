/* Folders that may belong to others: no link below the base is followed, and nothing else is taken for a
 * folder. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/folder.h"
#include "test.h"

/* A new folder, and paths in it. */
typedef struct fixture {
	char base[64];
	char path[256];
} fixture;

static const char *in(fixture *f, const char *name)
{
	snprintf(f->path, sizeof(f->path), "%s/%s", f->base, name);
	return f->path;
}

static fixture fixture_new(void)
{
	fixture f = { .base = "/tmp/kms-folder-XXXXXX" };
	if (!mkdtemp(f.base)) exit(2);
	return f;
}

static void fixture_end(fixture *f)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", f->base);
	if (system(command) != 0) exit(2);
}

/* In place of the C library's: notes what is synced first since the count was set to 0. */
static char synced[4][256];
static size_t synced_count;

int fsync(int fd)
{
	char link[64];
	if (synced_count == sizeof(synced) / sizeof(synced[0])) return fdatasync(fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, synced[synced_count], sizeof(synced[0]) - 1);
	if (len < 0) abort();
	synced[synced_count++][len] = '\0';
	return fdatasync(fd);
}

/* In place of the C library's: notes how much is written at once. */
static size_t largest_write, written;

ssize_t write(int fd, const void *bytes, size_t len)
{
	if (len > largest_write) largest_write = len;
	written += len;
	return syscall(SYS_write, fd, bytes, len);
}

static kms_status open_status(const char *base, const char *below, bool make)
{
	int fd;
	kms_status status = kms_folder_open(&fd, base, below, make);
	if (fd >= 0) close(fd);
	return status;
}

TEST(folders_are_made_and_opened)
{
	struct stat st;
	fixture f = fixture_new();
	CHECK_OK(open_status(f.base, "", false));
	CHECK_STATUS(KMS_ERR_FILE_MISSING, open_status(f.base, "a/b", false));
	CHECK_OK(open_status(f.base, "a/b", true));
	CHECK_OK(open_status(f.base, "a/b", true));
	CHECK_OK(open_status(f.base, "a/b", false));
	CHECK(stat(in(&f, "a/b"), &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 077) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MISSING, open_status(in(&f, "none"), "", true));
	fixture_end(&f);
}

TEST(paths_that_lead_elsewhere_are_refused)
{
	static const char *const paths[] = { "..", "a/..", ".", "a/.", "/", "/etc", "a//b", "a/../../etc" };
	fixture f = fixture_new();
	CHECK_OK(open_status(f.base, "a", true));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		CHECK_STATUS(KMS_ERR_ARGUMENT, open_status(f.base, paths[i], true));
	char longest[257];
	memset(longest, 'x', sizeof(longest));
	longest[255] = '\0';
	CHECK_OK(open_status(f.base, longest, true));
	longest[255] = 'x';
	longest[256] = '\0';
	CHECK_STATUS(KMS_ERR_ARGUMENT, open_status(f.base, longest, true));
	int fd;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_open(NULL, f.base, "", false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_open(&fd, NULL, "", false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_open(&fd, f.base, NULL, false));
	CHECK(fd == -1);
	fixture_end(&f);
}

TEST(links_fifos_and_files_are_no_folders)
{
	fixture f = fixture_new(), other = fixture_new();
	CHECK(symlink(other.base, in(&f, "link")) == 0);
	CHECK(mkfifo(in(&f, "fifo"), 0600) == 0);
	close(open(in(&f, "file"), O_CREAT | O_WRONLY, 0600));
	static const char *const names[] = { "link", "fifo", "file", "link/a", "file/a" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CHECK_STATUS(KMS_ERR_FILE_FORMAT, open_status(f.base, names[i], false));
		CHECK_STATUS(KMS_ERR_FILE_FORMAT, open_status(f.base, names[i], true));
	}
	CHECK(access(in(&other, "a"), F_OK) != 0);
	CHECK_OK(open_status(in(&f, "link"), "", false)); /* the base may be one */
	fixture_end(&f);
	fixture_end(&other);
}

TEST(listings_say_what_is_a_folder)
{
	fixture f = fixture_new();
	kms_buf names = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	CHECK_OK(open_status(f.base, "a/folder", true));
	CHECK(symlink("/", in(&f, "a/link")) == 0);
	CHECK_OK(kms_folder_list(&names, f.base, "a"));
	CHECK(names.len == 8 + 6);
	bool first = names.data[0] == 'd';
	CHECK(first ? memcmp(names.data, "dfolder\0flink", 14) == 0
		    : memcmp(names.data, "flink\0dfolder", 14) == 0);
	kms_buf_clear(&names);
	CHECK_OK(kms_folder_list(&names, f.base, "a/folder"));
	CHECK(names.len == 0);
	kms_buf_free(&names);
	CHECK_STATUS(KMS_ERR_FILE_MISSING, kms_folder_list(&names, f.base, "b"));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_folder_list(&names, f.base, "a/link"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_list(NULL, f.base, "a"));
	kms_buf tight = kms_buf_make(KMS_BUF_PLAIN, 13), fits = kms_buf_make(KMS_BUF_PLAIN, 14);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_folder_list(&tight, f.base, "a"));
	CHECK_OK(kms_folder_list(&fits, f.base, "a"));
	kms_buf_free(&tight);
	kms_buf_free(&fits);
	fixture_end(&f);
}

TEST(files_are_written_once_read_and_removed)
{
	int fd;
	fixture f = fixture_new(), other = fixture_new();
	kms_buf bytes = kms_buf_make(KMS_BUF_PLAIN, 5);
	CHECK_OK(kms_folder_open(&fd, f.base, "a", true));
	CHECK_OK(kms_file_write_new(fd, "file", KMS_BYTES("12345")));
	CHECK_STATUS(KMS_ERR_STATE, kms_file_write_new(fd, "file", KMS_BYTES("other")));
	CHECK_OK(kms_file_load(&bytes, fd, "file"));
	CHECK(bytes.len == 5 && memcmp(bytes.data, "12345", 5) == 0);
	kms_buf_free(&bytes);
	bytes = kms_buf_make(KMS_BUF_PLAIN, 4);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_file_load(&bytes, fd, "file"));
	CHECK(symlink(in(&other, "target"), in(&f, "a/link")) == 0);
	CHECK_STATUS(KMS_ERR_STATE, kms_file_write_new(fd, "link", KMS_BYTES("12345")));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_file_load(&bytes, fd, "link"));
	CHECK(access(in(&other, "target"), F_OK) != 0);
	close(fd);
	CHECK_OK(kms_folder_remove(f.base, "a", "file", false));
	CHECK_OK(kms_folder_remove(f.base, "a", "file", false));
	CHECK_OK(kms_folder_remove(f.base, "none", "file", false));
	CHECK_OK(kms_folder_remove(f.base, "", "a", true)); /* not empty: it stays */
	struct stat st;
	CHECK(lstat(in(&f, "a/link"), &st) == 0 && S_ISLNK(st.st_mode));
	CHECK_OK(kms_folder_remove(f.base, "a", "link", false));
	CHECK_OK(kms_folder_remove(f.base, "", "a", true));
	CHECK(access(in(&f, "a"), F_OK) != 0);
	CHECK(symlink(other.base, in(&f, "b")) == 0);
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_folder_remove(f.base, "b", "x", false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_remove(f.base, "", "../x", false));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_folder_remove(f.base, "", NULL, false));
	fixture_end(&f);
	fixture_end(&other);
}

/* A power cut after a file was synced must not take the folders that were made for it. */
TEST(the_folders_that_it_makes_are_on_disk_before_files_in_them)
{
	fixture f = fixture_new();
	synced_count = 0;
	CHECK_OK(open_status(f.base, "a/b", true));
	CHECK(synced_count == 2);
	CHECK(strcmp(synced[0], f.base) == 0);
	CHECK(strcmp(synced[1], in(&f, "a")) == 0);
	/* Those that are there cost nothing. */
	CHECK_OK(open_status(f.base, "a/b", true));
	CHECK_OK(open_status(f.base, "a/b", false));
	CHECK(synced_count == 2);
	fixture_end(&f);
}

/* The kernel may leave the core to nobody else during a call. */
TEST(large_files_are_written_in_pieces)
{
	enum { SIZE = (1 << 20) + 1, PIECE = 128 << 10 };
	static uint8_t bytes[SIZE];
	fixture f = fixture_new();
	int fd;
	kms_buf loaded = kms_buf_make(KMS_BUF_PLAIN, SIZE);
	bytes[0] = bytes[PIECE] = bytes[SIZE - 1] = 7;
	CHECK_OK(kms_folder_open(&fd, f.base, "", false));
	largest_write = written = 0;
	CHECK_OK(kms_file_write_new(fd, "large", KMS_SPAN(bytes)));
	CHECK(largest_write == PIECE && written == SIZE);
	CHECK_OK(kms_file_load(&loaded, fd, "large"));
	CHECK(loaded.len == SIZE && memcmp(loaded.data, bytes, SIZE) == 0);
	close(fd);
	kms_buf_free(&loaded);
	fixture_end(&f);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(folders_are_made_and_opened),
	  T(the_folders_that_it_makes_are_on_disk_before_files_in_them),
	  T(paths_that_lead_elsewhere_are_refused), T(links_fifos_and_files_are_no_folders),
	  T(listings_say_what_is_a_folder), T(files_are_written_once_read_and_removed),
	  T(large_files_are_written_in_pieces))
