/* Snapshot files: what is not the whole file, as it was written, is refused, and by name. */
#include "kms/snapshot.h"
#include "material.h"
#include "snapshot/snapshot_seal.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_MASTER "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEAD SNAPSHOT_HEAD_BYTES
#define SEALED (KMS_SNAPSHOT_CHUNK + KMS_GCM_TAG)

static const kms_snapshot_name NAME = { KMS_SNAPSHOT_RECORDS, { 1, 2, 3 }, 1700000000000 };

/* A file with one page, of zeros. */
static kms_buf file_of(const kms_snapshot_name *name, size_t page_len)
{
	kms_buf file;
	uint8_t sha256[32], *page = calloc(page_len + 1, 1);
	kms_snapshot_writer *writer;
	kms_secret *master = hex_secret(MASTER);
	if (!page) exit(2);
	MUST(kms_snapshot_writer_new(&writer, master, name));
	MUST(kms_snapshot_writer_add(writer, kms_span_of(page, page_len)));
	MUST(kms_snapshot_writer_finish(&file, sha256, writer));
	kms_snapshot_writer_free(writer);
	kms_secret_unref(master);
	free(page);
	return file;
}

/* Three chunks: two whole ones, and a last one of 11 bytes. */
static kms_buf three_chunks(const kms_snapshot_name *name)
{
	return file_of(name, 2 * KMS_SNAPSHOT_CHUNK + 11 - SNAPSHOT_LENGTH_BYTES);
}

static void refused(int *failed_, kms_status want, size_t want_chunk, const kms_snapshot_name *name,
		    const uint8_t *bytes, size_t len)
{
	kms_buf plain;
	size_t chunk;
	kms_secret *master = hex_secret(MASTER);
	CHECK_STATUS(want, kms_snapshot_open(&plain, &chunk, master, name, kms_span_of(bytes, len)));
	CHECK(chunk == want_chunk);
	CHECK((want == KMS_OK) == (plain.data != NULL) && (want == KMS_OK || plain.len == 0));
	kms_buf_free(&plain);
	kms_secret_unref(master);
}

TEST(a_file_that_is_cut_is_refused_as_truncated)
{
	kms_buf file = three_chunks(&NAME);
	CALL(refused, KMS_OK, 2, &NAME, file.data, file.len);
	CALL(refused, KMS_ERR_TRUNCATED, 0, &NAME, file.data, 0);
	CALL(refused, KMS_ERR_TRUNCATED, 0, &NAME, file.data, HEAD - 1);
	CALL(refused, KMS_ERR_TRUNCATED, 0, &NAME, file.data, HEAD);
	CALL(refused, KMS_ERR_TRUNCATED, 0, &NAME, file.data, HEAD + KMS_GCM_TAG - 1);
	/* Between two chunks: what is there is whole, but not marked as the last one. */
	CALL(refused, KMS_ERR_TRUNCATED, 0, &NAME, file.data, HEAD + SEALED);
	CALL(refused, KMS_ERR_TRUNCATED, 1, &NAME, file.data, HEAD + 2 * SEALED);
	CALL(refused, KMS_ERR_TRUNCATED, 2, &NAME, file.data, HEAD + 2 * SEALED + KMS_GCM_TAG - 1);
	/* Within one. */
	CALL(refused, KMS_ERR_SEALED, 0, &NAME, file.data, HEAD + 100);
	CALL(refused, KMS_ERR_SEALED, 2, &NAME, file.data, file.len - 1);
	kms_buf_free(&file);
}

TEST(a_file_with_more_behind_its_end_is_refused)
{
	kms_buf whole = file_of(&NAME, KMS_SNAPSHOT_CHUNK - SNAPSHOT_LENGTH_BYTES),
		file = three_chunks(&NAME);
	kms_buf longer = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	MUST(kms_buf_append(&longer, kms_buf_span(&whole)));
	MUST(kms_buf_append(&longer, kms_span_of(file.data + HEAD, SEALED)));
	CALL(refused, KMS_OK, 0, &NAME, whole.data, whole.len);
	CALL(refused, KMS_ERR_TRAILING, 0, &NAME, longer.data, longer.len);
	MUST(kms_buf_append(&file, KMS_BYTES("x")));
	CALL(refused, KMS_ERR_SEALED, 2, &NAME, file.data, file.len);
	kms_buf_free(&whole);
	kms_buf_free(&file);
	kms_buf_free(&longer);
}

TEST(chunks_in_other_places_are_refused)
{
	kms_buf file = three_chunks(&NAME), other = three_chunks(&NAME);
	uint8_t *first = file.data + HEAD, *second = first + SEALED, *moved = malloc(SEALED);
	if (!moved) exit(2);
	/* Swapped. */
	memcpy(moved, first, SEALED);
	memcpy(first, second, SEALED);
	memcpy(second, moved, SEALED);
	CALL(refused, KMS_ERR_SEALED, 0, &NAME, file.data, file.len);
	/* Twice. */
	memcpy(first, moved, SEALED);
	CALL(refused, KMS_ERR_SEALED, 1, &NAME, file.data, file.len);
	/* Of another file, of the same name even. */
	memcpy(second, other.data + HEAD + SEALED, SEALED);
	CALL(refused, KMS_ERR_SEALED, 1, &NAME, file.data, file.len);
	/* Left out. */
	CALL(refused, KMS_OK, 2, &NAME, other.data, other.len);
	memmove(other.data + HEAD, other.data + HEAD + SEALED, other.len - HEAD - SEALED);
	CALL(refused, KMS_ERR_SEALED, 0, &NAME, other.data, other.len - SEALED);
	kms_buf_free(&file);
	kms_buf_free(&other);
	free(moved);
}

TEST(every_changed_byte_is_noticed)
{
	kms_buf file = file_of(&NAME, 20);
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= 0x20;
		CALL(refused, i < SNAPSHOT_MAGIC_BYTES ? KMS_ERR_FILE_FORMAT : KMS_ERR_SEALED, 0, &NAME,
		     file.data, file.len);
		file.data[i] ^= 0x20;
	}
	CALL(refused, KMS_OK, 0, &NAME, file.data, file.len);
	kms_buf_free(&file);
}

TEST(a_file_is_bound_to_its_name_and_secret)
{
	kms_buf file = file_of(&NAME, 20), plain;
	size_t chunk;
	kms_snapshot_name name = NAME;
	kms_secret *other = hex_secret(OTHER_MASTER);
	name.kind = KMS_SNAPSHOT_MANIFEST;
	CALL(refused, KMS_ERR_SEALED, 0, &name, file.data, file.len);
	name = NAME;
	name.sequence++;
	CALL(refused, KMS_ERR_SEALED, 0, &name, file.data, file.len);
	name = NAME;
	name.wallet20[19] = 1;
	CALL(refused, KMS_ERR_SEALED, 0, &name, file.data, file.len);
	CHECK_STATUS(KMS_ERR_SEALED, kms_snapshot_open(&plain, &chunk, other, &NAME, kms_buf_span(&file)));
	kms_secret_unref(other);
	kms_buf_free(&file);
}

/* A file of records whose plaintext is these bytes. */
static kms_status pages_end(kms_span plain)
{
	kms_span page;
	kms_reader reader = kms_reader_make(plain);
	kms_status status;
	do
		status = kms_snapshot_next_page(&page, &reader);
	while (status == KMS_OK);
	if (page.bytes) abort();
	return status;
}

TEST(pages_fill_the_file)
{
	CHECK(pages_end(KMS_NO_BYTES) == KMS_ERR_NOT_FOUND);
	CHECK(pages_end(KMS_BYTES("\0\0\0\0\0\0\0\1x")) == KMS_ERR_NOT_FOUND);
	CHECK(pages_end(KMS_BYTES("\0\0\0\1")) == KMS_ERR_TRUNCATED);
	CHECK(pages_end(KMS_BYTES("\0\0\0\1x\0\0\0")) == KMS_ERR_TRUNCATED);
	CHECK(pages_end(KMS_BYTES("\xff\xff\xff\xffx")) == KMS_ERR_TRUNCATED);
}

TEST(misuse_is_refused)
{
	kms_snapshot_writer *writer;
	kms_snapshot_name name = NAME;
	kms_buf file;
	uint8_t sha256[32], byte = 7;
	kms_secret *master = hex_secret(MASTER), *half = hex_secret("0011");
	CHECK_STATUS(KMS_ERR_RANGE, kms_snapshot_writer_new(&writer, half, &NAME));
	CHECK(!writer);
	name.kind = (kms_snapshot_kind)3;
	CHECK_STATUS(KMS_ERR_RANGE, kms_snapshot_writer_new(&writer, master, &name));
	name.kind = KMS_SNAPSHOT_MANIFEST;
	CHECK_OK(kms_snapshot_writer_new(&writer, master, &name));
	CHECK_STATUS(KMS_ERR_TOO_LARGE,
		     kms_snapshot_writer_add(writer, kms_span_of(&byte, KMS_SNAPSHOT_MAX_FILE)));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_snapshot_writer_add(writer, kms_span_of(&byte, SIZE_MAX)));
	CHECK_OK(kms_snapshot_writer_add(writer, KMS_BYTES("{}")));
	CHECK_STATUS(KMS_ERR_RANGE, kms_snapshot_writer_add(writer, KMS_BYTES("{}")));
	CHECK_OK(kms_snapshot_writer_finish(&file, sha256, writer));
	kms_buf_free(&file);
	CHECK_STATUS(KMS_ERR_STATE, kms_snapshot_writer_finish(&file, sha256, writer));
	CHECK(!file.data);
	kms_snapshot_writer_free(writer);
	kms_snapshot_writer_free(NULL);
	kms_secret_unref(master);
	kms_secret_unref(half);
}

/* Whatever allocation fails, nothing is left, and a file that is made opens. */
static void sweep_failures(int *failed_, kms_secret *master)
{
	static uint8_t page[100];
	bool ended = false;
	for (unsigned long n = 1; !ended && n < 200; n++) {
		kms_snapshot_writer *writer;
		kms_buf file = { 0 }, plain = { 0 };
		uint8_t sha256[32];
		size_t chunk;
		kms_mem_fail_after(n);
		kms_status status = kms_snapshot_writer_new(&writer, master, &NAME);
		if (status == KMS_OK) status = kms_snapshot_writer_add(writer, KMS_SPAN(page));
		if (status == KMS_OK) status = kms_snapshot_writer_finish(&file, sha256, writer);
		if (status == KMS_OK)
			status = kms_snapshot_open(&plain, &chunk, master, &NAME, kms_buf_span(&file));
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK((status == KMS_OK) == (plain.data != NULL));
		kms_buf_free(&plain);
		kms_buf_free(&file);
		kms_snapshot_writer_free(writer);
	}
	CHECK(ended);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *master = hex_secret(MASTER);
	/* The first round also makes what OpenSSL keeps. */
	CALL(sweep_failures, master);
	size_t used = kms_guarded_used();
	CALL(sweep_failures, master);
	CHECK(kms_guarded_used() == used);
	kms_secret_unref(master);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_file_that_is_cut_is_refused_as_truncated),
	  T(a_file_with_more_behind_its_end_is_refused), T(chunks_in_other_places_are_refused),
	  T(every_changed_byte_is_noticed), T(a_file_is_bound_to_its_name_and_secret), T(pages_fill_the_file),
	  T(misuse_is_refused), T(failing_allocations_leave_nothing))
