/*
 * Snapshot files: of all bytes only a file that was sealed opens; authentic pages, whatever they say, lie
 * within the file and fill it.
 */
#include "kms/secret.h"
#include "lib/fuzz.h"
#include "snapshot/testing.h"

enum { FILE_BYTES, PAGES, KINDS }; /* the first byte of an input */

const unsigned fuzz_kinds = KINDS;

static const kms_snapshot_name NAME = { KMS_SNAPSHOT_RECORDS, { 1, 2, 3 }, 7 };
static const uint8_t SALT[32] = { 9 };

static kms_secret *master(void)
{
	static const uint8_t bytes[32] = { 'm' };
	kms_secret *secret;
	HOLDS_OK(kms_secret_new(&secret, KMS_SPAN(bytes)));
	return secret;
}

/* The one file with this salt and page. */
static kms_buf sealed(kms_span page)
{
	kms_buf file;
	uint8_t sha256[32];
	kms_snapshot_writer *writer;
	kms_secret *secret = master();
	HOLDS_OK(kms_snapshot_writer_new_with(&writer, secret, &NAME, SALT));
	HOLDS_OK(kms_snapshot_writer_add(writer, page));
	HOLDS_OK(kms_snapshot_writer_finish(&file, sha256, writer));
	kms_snapshot_writer_free(writer);
	kms_secret_unref(secret);
	return file;
}

#define PAGE KMS_BYTES("{\"data\":{}}")

static void fuzz_file(kms_span bytes)
{
	size_t chunk;
	kms_buf plain, want = sealed(PAGE), copy = fuzz_copy(KMS_BUF_PLAIN, bytes);
	kms_secret *secret = master();
	kms_status status = kms_snapshot_open(&plain, &chunk, secret, &NAME, kms_buf_span(&copy));
	bool same = want.len == bytes.len && memcmp(want.data, bytes.bytes, want.len) == 0;
	HOLDS((status == KMS_OK) == same && (status == KMS_OK || plain.len == 0));
	if (same) fuzz_accept(FILE_BYTES);
	kms_secret_unref(secret);
	kms_buf_free(&plain);
	kms_buf_free(&want);
	kms_buf_free(&copy);
}

static void fuzz_pages(kms_span bytes)
{
	kms_span page;
	kms_status status;
	size_t pages = 0, total = 0;
	kms_buf copy = fuzz_copy(KMS_BUF_WIPED, bytes);
	kms_reader reader = kms_reader_make(kms_buf_span(&copy));
	while ((status = kms_snapshot_next_page(&page, &reader)) == KMS_OK) {
		HOLDS(fuzz_within(page, kms_buf_span(&copy)));
		total += page.len;
		pages++;
	}
	HOLDS(status == KMS_ERR_TRUNCATED || status == KMS_ERR_NOT_FOUND);
	HOLDS(status != KMS_ERR_NOT_FOUND || total + 4 * pages == copy.len);
	if (status == KMS_ERR_NOT_FOUND && pages > 1) fuzz_accept(PAGES);
	kms_buf_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_start();
	if (size == 0) return 0;
	kms_span rest = kms_span_of(data + 1, size - 1);
	if (data[0] % KINDS == FILE_BYTES)
		fuzz_file(rest);
	else
		fuzz_pages(rest);
	return 0;
}

void fuzz_seeds(void)
{
	fuzz_start();
	kms_buf file = sealed(PAGE);
	fuzz_seed_choice(FILE_BYTES, kms_buf_span(&file));
	fuzz_seed_choice(FILE_BYTES, kms_span_of(file.data, file.len - 1));
	fuzz_seed_choice(PAGES, KMS_BYTES("\0\0\0\2{}\0\0\0\0"));
	kms_buf_free(&file);
}
