/*
 * Seed and seal files, on a real folder under TMPDIR. The identity's known answers are
 * HKDF-SHA256 (RFC 5869) computed with another implementation (Python's hmac and hashlib).
 */
#include "base/testing.h"
#include "material.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kms/keyfile.h"
#include "kms/p384.h"
#include "kms/value_seal.h"
#include "kms/wallet.h"

#define SEED "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SECRET "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static char folder[256];

static const char *in_folder(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *out = path[turn++ % 4];
	snprintf(out, sizeof(path[0]), "%s/%s", folder, name);
	return out;
}

static void folder_open(void)
{
	const char *base = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/kms-keyfile-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(folder)) exit(2);
}

/* Removes the files that a test made, and says how many there were. */
static int folder_close(void)
{
	int count = 0;
	DIR *dir = opendir(folder);
	if (!dir) exit(2);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
		count++;
		(void)remove(in_folder(entry->d_name));
	}
	closedir(dir);
	(void)rmdir(folder);
	return count;
}

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f) != 0 || chmod(path, mode) != 0) exit(2);
}

static kms_status load_text(const char *text, size_t len)
{
	kms_secret *seed;
	write_file(in_folder("text"), text, len, 0600);
	kms_status status = kms_seed_load(&seed, in_folder("text"));
	kms_secret_unref(seed);
	return status;
}

TEST(a_new_seed_is_private_and_loads_again)
{
	struct stat st;
	kms_secret *seed, *loaded, *second;
	folder_open();
	mode_t was = umask(0);
	CHECK_OK(kms_seed_create(&seed, in_folder("open")));
	umask(0777);
	CHECK_OK(kms_seed_create(&second, in_folder("closed")));
	umask(was);
	CHECK(!kms_secret_equal(seed, second));
	CHECK(stat(in_folder("open"), &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 65);
	CHECK(stat(in_folder("closed"), &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK_OK(kms_seed_load(&loaded, in_folder("open")));
	CHECK(kms_secret_equal(seed, loaded));
	kms_secret_unref(seed);
	kms_secret_unref(second);
	kms_secret_unref(loaded);
	CHECK(folder_close() == 2); /* no file left beside them */
}

TEST(an_existing_file_is_never_touched)
{
	kms_secret *seed, *loaded, *want = hex_secret(SEED);
	folder_open();
	write_file(in_folder("seed"), SEED "\n", 65, 0600);
	CHECK_STATUS(KMS_ERR_STATE, kms_seed_create(&seed, in_folder("seed")));
	CHECK(!seed);
	CHECK_OK(kms_seed_load(&loaded, in_folder("seed")));
	CHECK(kms_secret_equal(loaded, want));
	kms_secret_unref(loaded);
	/* Nor is what a link points to, nor a folder. */
	CHECK(symlink(in_folder("nowhere"), in_folder("link")) == 0);
	CHECK_STATUS(KMS_ERR_STATE, kms_seed_create(&seed, in_folder("link")));
	CHECK(mkdir(in_folder("folder"), 0700) == 0);
	CHECK_STATUS(KMS_ERR_STATE, kms_seed_create(&seed, in_folder("folder")));
	CHECK_STATUS(KMS_ERR_SYSTEM, kms_seed_create(&seed, in_folder("missing/seed")));
	kms_secret_unref(want);
	CHECK(folder_close() == 3);
}

TEST(files_that_others_can_reach_are_refused)
{
	static const mode_t bad[] = { 0601, 0602, 0604, 0610, 0620, 0640, 0644, 0777 };
	static const mode_t good[] = { 0600, 0400, 0700 };
	kms_secret *seed;
	folder_open();
	write_file(in_folder("seed"), SEED "\n", 65, 0600);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(chmod(in_folder("seed"), bad[i]) == 0);
		CHECK_STATUS(KMS_ERR_FILE_MODE, kms_seed_load(&seed, in_folder("seed")));
		CHECK(!seed);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK(chmod(in_folder("seed"), good[i]) == 0);
		CHECK_OK(kms_seed_load(&seed, in_folder("seed")));
		kms_secret_unref(seed);
	}
	CHECK(symlink(in_folder("seed"), in_folder("link")) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MODE, kms_seed_load(&seed, in_folder("link")));
	/* A FIFO without a writer does not hold the caller up. */
	CHECK(mkfifo(in_folder("fifo"), 0600) == 0);
	CHECK_STATUS(KMS_ERR_FILE_MODE, kms_seed_load(&seed, in_folder("fifo")));
	CHECK_STATUS(KMS_ERR_FILE_MODE, kms_seed_load(&seed, folder));
	if (geteuid() == 0) {
		CHECK(chmod(in_folder("seed"), 0600) == 0 && chown(in_folder("seed"), 65534, 65534) == 0);
		CHECK_STATUS(KMS_ERR_FILE_MODE, kms_seed_load(&seed, in_folder("seed")));
	}
	CHECK(folder_close() == 3);
}

TEST(missing_files_are_told_from_broken_ones)
{
	char big[4096];
	kms_secret *seed;
	folder_open();
	CHECK_STATUS(KMS_ERR_FILE_MISSING, kms_seed_load(&seed, in_folder("none")));
	CHECK_STATUS(KMS_ERR_FILE_MISSING, kms_seed_load(&seed, in_folder("none/none")));
	CHECK_OK(load_text(SEED "\n", 65));
	CHECK_STATUS(KMS_ERR_FILE_MISSING, kms_seed_load(&seed, in_folder("text/none")));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text("", 0));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(SEED, 64));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(SEED "\n\n", 66));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(SEED "0", 65));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text("0x" SEED "\n", 67));
	memcpy(big, SEED "\n", 65);
	big[1] = 'x';
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(big, 65));
	big[1] = 'g';
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(big, 65));
	memset(big, '0', sizeof(big));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, load_text(big, sizeof(big)));
	CHECK(folder_close() == 1);
}

TEST(an_identity_is_derived_from_its_seed)
{
	kms_wallet *wallet, *want_wallet;
	kms_p384 *p384, *want_p384;
	uint8_t address[20], want_address[20];
	kms_secret *seed = hex_secret(SEED);
	kms_secret *key = hex_secret("4c6e30c4999c858f0fdd09f93c34ca0a7354877815d1e02d8332e7cfe9812781");
	CHECK_OK(kms_seed_identity(&wallet, &p384, seed));
	CHECK_OK(kms_wallet_new(&want_wallet, key));
	want_p384 = hex_p384("b77f917e3210d345a7432ffae89ead7fdd83137c9b407971cbd7d7397e5dd02855631abf6a022a9"
			     "3638f40ad79f31801");
	kms_wallet_address(address, wallet);
	kms_wallet_address(want_address, want_wallet);
	CHECK_MEM(address, want_address, 20);
	CHECK_MEM(kms_p384_public(p384), kms_p384_public(want_p384), 97);
	kms_wallet_free(wallet);
	kms_wallet_free(want_wallet);
	kms_p384_free(p384);
	kms_p384_free(want_p384);
	kms_secret *half = hex_secret("0011");
	CHECK_STATUS(KMS_ERR_RANGE, kms_seed_identity(&wallet, &p384, half));
	CHECK(!wallet && !p384);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_identity(&wallet, &p384, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_identity(NULL, &p384, seed));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_identity(&wallet, NULL, seed));
	kms_secret_unref(half);
	kms_secret_unref(seed);
	kms_secret_unref(key);
}

TEST(a_sealed_secret_comes_back_under_its_seed_only)
{
	struct stat st;
	char text[256];
	kms_secret *seed = hex_secret(SEED), *secret = hex_secret(SECRET), *other = hex_secret(SECRET),
		   *loaded;
	folder_open();
	CHECK_OK(kms_sealfile_save(in_folder("sealed"), secret, seed));
	CHECK(stat(in_folder("sealed"), &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 140);
	CHECK_OK(kms_sealfile_load(&loaded, in_folder("sealed"), seed));
	CHECK(kms_secret_equal(loaded, secret));
	kms_secret_unref(loaded);
	CHECK_STATUS(KMS_ERR_SEALED, kms_sealfile_load(&loaded, in_folder("sealed"), other));
	CHECK(!loaded);
	FILE *f = fopen(in_folder("sealed"), "rb");
	CHECK(f && fread(text, 1, sizeof(text), f) == 140 && fclose(f) == 0);
	CHECK_MEM(text, "nova-kms sealed v1\n", 19);
	/* Written anew in its place: another IV, still one file. */
	CHECK_OK(kms_sealfile_save(in_folder("sealed"), seed, seed));
	CHECK_OK(kms_sealfile_load(&loaded, in_folder("sealed"), seed));
	CHECK(kms_secret_equal(loaded, seed));
	kms_secret_unref(loaded);
	kms_secret_unref(seed);
	kms_secret_unref(secret);
	kms_secret_unref(other);
	CHECK(folder_close() == 1);
}

TEST(the_seal_is_the_documented_one)
{
	uint8_t record[60];
	char text[141];
	kms_secret *key = hex_secret("a70f3ad0987168d75bcff6ae6a292b28f33cbcf422e7b6405b25e7e1b6a98d90");
	kms_secret *seed = hex_secret(SEED), *secret = hex_secret(SECRET), *loaded;
	kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, 60);
	folder_open();
	CHECK_OK(kms_value_seal(&sealed, key, kms_span_of(kms_secret_bytes(secret), 32)));
	memcpy(record, sealed.data, 60);
	memcpy(text, "nova-kms sealed v1\n", 19);
	kms_hex_encode(text + 19, kms_span_of(record, 60));
	text[139] = '\n';
	write_file(in_folder("sealed"), text, 140, 0600);
	CHECK_OK(kms_sealfile_load(&loaded, in_folder("sealed"), seed));
	CHECK(kms_secret_equal(loaded, secret));
	kms_secret_unref(loaded);
	/* Every byte counts: a changed head or digit is no such file, a changed value is noticed. */
	for (size_t i = 0; i < 140; i++) {
		char was = text[i];
		text[i] = was == '0' ? '1' : was >= 'a' && was <= 'f' && i > 18 ? '0' : 'z';
		write_file(in_folder("sealed"), text, 140, 0600);
		kms_status status = kms_sealfile_load(&loaded, in_folder("sealed"), seed);
		CHECK(status == KMS_ERR_FILE_FORMAT || (i > 18 && status == KMS_ERR_SEALED));
		text[i] = was;
	}
	write_file(in_folder("sealed"), text, 139, 0600);
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_sealfile_load(&loaded, in_folder("sealed"), seed));
	write_file(in_folder("sealed"), text, 140, 0640);
	CHECK_STATUS(KMS_ERR_FILE_MODE, kms_sealfile_load(&loaded, in_folder("sealed"), seed));
	CHECK_STATUS(KMS_ERR_FILE_MISSING, kms_sealfile_load(&loaded, in_folder("none"), seed));
	kms_buf_free(&sealed);
	kms_secret_unref(key);
	kms_secret_unref(seed);
	kms_secret_unref(secret);
	CHECK(folder_close() == 1);
}

TEST(a_failed_save_leaves_the_old_file)
{
	kms_secret *seed = hex_secret(SEED), *secret = hex_secret(SECRET), *loaded;
	kms_status status = KMS_ERR_MEMORY;
	folder_open();
	CHECK_OK(kms_sealfile_save(in_folder("sealed"), secret, seed));
	bool ended = false;
	for (unsigned long n = 1; n < 200 && !ended; n++) {
		kms_mem_fail_after(n);
		status = kms_sealfile_save(in_folder("sealed"), seed, seed);
		ended = sweep_ends(n);
		CHECK_OK(kms_sealfile_load(&loaded, in_folder("sealed"), seed));
		CHECK(kms_secret_equal(loaded, status == KMS_OK ? seed : secret));
		kms_secret_unref(loaded);
		CHECK_OK(kms_sealfile_save(in_folder("sealed"), secret, seed));
	}
	CHECK(ended && status == KMS_OK);
	status = KMS_ERR_MEMORY;
	ended = false;
	for (unsigned long n = 1; n < 200 && !ended; n++) {
		kms_mem_fail_after(n);
		status = kms_sealfile_load(&loaded, in_folder("sealed"), seed);
		ended = sweep_ends(n);
		CHECK((status == KMS_OK) == (loaded != NULL));
		kms_secret_unref(loaded);
	}
	CHECK(ended && status == KMS_OK);
	/* A folder in the way: nothing is left beside it. */
	CHECK(mkdir(in_folder("folder"), 0700) == 0);
	CHECK_STATUS(KMS_ERR_SYSTEM, kms_sealfile_save(in_folder("folder"), secret, seed));
	kms_secret_unref(seed);
	kms_secret_unref(secret);
	CHECK(folder_close() == 2);
}

TEST(misuse_is_refused)
{
	char long_path[PATH_MAX + 1];
	kms_secret *seed = hex_secret(SEED), *half = hex_secret("0011"), *out;
	memset(long_path, 'a', PATH_MAX);
	long_path[PATH_MAX] = '\0';
	CHECK_STATUS(KMS_ERR_RANGE, kms_seed_create(&out, long_path));
	CHECK_STATUS(KMS_ERR_RANGE, kms_seed_create(&out, ""));
	CHECK_STATUS(KMS_ERR_SYSTEM, kms_seed_load(&out, long_path));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_create(&out, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_create(NULL, "x"));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_load(&out, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_seed_load(NULL, "x"));
	CHECK_STATUS(KMS_ERR_RANGE, kms_sealfile_save("x", half, seed));
	CHECK_STATUS(KMS_ERR_RANGE, kms_sealfile_save("x", seed, half));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sealfile_save(NULL, seed, seed));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sealfile_load(NULL, "x", seed));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sealfile_load(&out, NULL, seed));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_sealfile_load(&out, "x", NULL));
	kms_secret_unref(seed);
	kms_secret_unref(half);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_new_seed_is_private_and_loads_again),
	  T(an_existing_file_is_never_touched), T(files_that_others_can_reach_are_refused),
	  T(missing_files_are_told_from_broken_ones), T(an_identity_is_derived_from_its_seed),
	  T(a_sealed_secret_comes_back_under_its_seed_only), T(the_seal_is_the_documented_one),
	  T(a_failed_save_leaves_the_old_file), T(misuse_is_refused))
