/* Known answers: whole snapshot files. Each case of snapshot.json is written anew and opened. */
#include "kms/crypto.h"
#include "snapshot/snapshot_seal.h"
#include "snapshot/testing.h"
#include "vectors_kit.h"

/* A page of a length: byte i is i modulo 251. */
static uint8_t *pattern(size_t len)
{
	uint8_t *page = malloc(len + 1);
	if (!page) exit(2);
	for (size_t i = 0; i < len; i++)
		page[i] = (uint8_t)(i % 251);
	return page;
}

static size_t page_length(const kms_json_value *length)
{
	uint64_t value;
	MUST(kms_decimal_parse(&value, kms_json_text(length)));
	return (size_t)value;
}

static void add_pages(int *failed_, kms_snapshot_writer *writer, const vectors *v)
{
	const kms_json_value *lengths = text(v, "page_lengths"), *length = kms_json_first(&v->json, lengths);
	for (uint32_t i = 0; i < lengths->count; i++, length = kms_json_next(&v->json, length)) {
		size_t len = page_length(length), before = kms_snapshot_writer_size(writer, len);
		uint8_t *page = pattern(len);
		CHECK_OK(kms_snapshot_writer_add(writer, kms_span_of(page, len)));
		if (len > 0) CHECK(kms_snapshot_writer_size(writer, 0) == before);
		free(page);
	}
}

/* What an opened file holds: the pages one after the other. */
static void check_pages(int *failed_, const kms_buf *plain, const vectors *v, bool is_manifest)
{
	const kms_json_value *lengths = text(v, "page_lengths"), *length = kms_json_first(&v->json, lengths);
	kms_reader reader = kms_reader_make(kms_buf_span(plain));
	kms_span page = kms_buf_span(plain);
	for (uint32_t i = 0; i < lengths->count; i++, length = kms_json_next(&v->json, length)) {
		uint8_t *want = pattern(page_length(length));
		if (!is_manifest) CHECK_OK(kms_snapshot_next_page(&page, &reader));
		CHECK(page.len == page_length(length) && memcmp(page.bytes, want, page.len) == 0);
		free(want);
	}
	if (!is_manifest) CHECK_STATUS(KMS_ERR_NOT_FOUND, kms_snapshot_next_page(&page, &reader));
}

static kms_snapshot_name name_of(const vectors *v)
{
	kms_snapshot_name name = { .kind = (kms_snapshot_kind)number(v, "kind"),
				   .sequence = number(v, "sequence") };
	fixed(name.wallet20, sizeof(name.wallet20), text(v, "wallet"));
	return name;
}

static void check_file(int *failed_, const vectors *v)
{
	uint8_t salt[32], sha256[32];
	size_t chunk;
	kms_snapshot_writer *writer;
	kms_buf file, plain;
	kms_secret *master = secret(text(v, "master_secret")), *key;
	kms_snapshot_name name = name_of(v);
	fixed(salt, sizeof(salt), text(v, "salt"));

	CHECK_OK(kms_snapshot_file_key(&key, master, &name, salt));
	CHECK(bytes_are(kms_secret_bytes(key), kms_secret_len(key), text(v, "file_key")));
	CHECK_OK(kms_snapshot_writer_new_with(&writer, master, &name, salt));
	CALL(add_pages, writer, v);
	CHECK(kms_snapshot_writer_size(writer, 0) == number(v, "size"));
	CHECK_OK(kms_snapshot_writer_finish(&file, sha256, writer));
	CHECK(file.len == number(v, "size") && bytes_are(sha256, sizeof(sha256), text(v, "sha256")));
	const kms_json_value *whole = kms_json_get(&v->json, v->item, "file");
	if (whole) CHECK(bytes_are(file.data, file.len, whole));
	CHECK_OK(kms_snapshot_open(&plain, &chunk, master, &name, kms_buf_span(&file)));
	CALL(check_pages, &plain, v, name.kind == KMS_SNAPSHOT_MANIFEST);

	kms_buf_free(&plain);
	kms_buf_free(&file);
	kms_snapshot_writer_free(writer);
	kms_secret_unref(key);
	kms_secret_unref(master);
}

TEST(snapshot_files_are_known)
{
	each(failed_, "snapshot", check_file);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(snapshot_files_are_known))
