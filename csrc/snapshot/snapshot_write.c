/*
 * Writing a snapshot file. Plaintext is appended where the ciphertext will stand. A full chunk is sealed when
 * the next byte comes, since only then is it known not to be the last one.
 */
#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "snapshot/snapshot_seal.h"
#include "snapshot/testing.h"

#define USUAL_FILE ((size_t)17 << 20) /* a little more than the node puts into one */

struct kms_snapshot_writer {
	kms_secret *key;
	kms_snapshot_kind kind;
	kms_buf file; /* WIPED: it ends with the plaintext of the chunk under construction */
	size_t chunk; /* where that chunk starts */
	uint32_t number;
	bool has_text; /* of a manifest */
	bool ended;    /* finished, or failed */
};

KMS_DEFINE_RELEASE(writer_release, kms_snapshot_writer, kms_snapshot_writer_free)

static kms_status writer_start(kms_snapshot_writer *writer, const kms_secret *master32,
			       const kms_snapshot_name *name, const uint8_t salt32[32])
{
	writer->kind = name->kind;
	writer->file = kms_buf_make(KMS_BUF_WIPED, KMS_SNAPSHOT_MAX_FILE);
	GUARD(kms_snapshot_file_key(&writer->key, master32, name, salt32));
	/* Pages that are not touched cost nothing; growing would copy and wipe the file several times. */
	if (name->kind == KMS_SNAPSHOT_RECORDS) GUARD(kms_buf_reserve(&writer->file, USUAL_FILE));
	GUARD(kms_buf_append(&writer->file, KMS_BYTES(SNAPSHOT_MAGIC)));
	GUARD(kms_buf_append(&writer->file, kms_span_of(salt32, SNAPSHOT_SALT_BYTES)));
	writer->chunk = writer->file.len;
	return KMS_OK;
}

kms_status kms_snapshot_writer_new_with(kms_snapshot_writer **writer, const kms_secret *master32,
					const kms_snapshot_name *name, const uint8_t salt32[32])
{
	ENSURE_REF(writer);
	*writer = NULL;
	ENSURE_REF(master32);
	ENSURE_REF(name);
	ENSURE_REF(salt32);
	DEFER(writer_release) kms_snapshot_writer *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(writer_start(made, master32, name, salt32));
	*writer = made;
	made = NULL;
	return KMS_OK;
}

kms_status kms_snapshot_writer_new(kms_snapshot_writer **writer, const kms_secret *master32,
				   const kms_snapshot_name *name)
{
	uint8_t salt[SNAPSHOT_SALT_BYTES];
	ENSURE_REF(writer);
	*writer = NULL;
	GUARD(kms_random(KMS_OUT(salt)));
	return kms_snapshot_writer_new_with(writer, master32, name, salt);
}

void kms_snapshot_writer_free(kms_snapshot_writer *writer)
{
	if (!writer) return;
	kms_secret_unref(writer->key);
	kms_buf_free(&writer->file);
	kms_heap_free(writer);
}

static size_t chunk_left(const kms_snapshot_writer *writer)
{
	return KMS_SNAPSHOT_CHUNK - (writer->file.len - writer->chunk);
}

static kms_status seal_chunk(kms_snapshot_writer *writer, bool last)
{
	uint8_t tag[KMS_GCM_TAG];
	kms_buf *file = &writer->file;
	kms_out bytes = kms_out_of(file->data + writer->chunk, file->len - writer->chunk);
	GUARD(kms_snapshot_chunk_seal(tag, bytes, writer->key, writer->number, last));
	GUARD(kms_buf_append(file, KMS_SPAN(tag)));
	writer->chunk = file->len;
	writer->number++;
	return KMS_OK;
}

static kms_status append(kms_snapshot_writer *writer, kms_span bytes)
{
	while (bytes.len > 0) {
		if (chunk_left(writer) == 0) GUARD(seal_chunk(writer, false));
		size_t left = chunk_left(writer), part = bytes.len < left ? bytes.len : left;
		GUARD(kms_buf_append(&writer->file, kms_span_of(bytes.bytes, part)));
		bytes = kms_span_of(bytes.bytes + part, bytes.len - part);
	}
	return KMS_OK;
}

static kms_status add_page(kms_snapshot_writer *writer, kms_span page)
{
	uint8_t length[SNAPSHOT_LENGTH_BYTES];
	if (writer->kind == KMS_SNAPSHOT_RECORDS) {
		kms_store32_be(length, (uint32_t)page.len);
		GUARD(append(writer, KMS_SPAN(length)));
	}
	return append(writer, page);
}

kms_status kms_snapshot_writer_add(kms_snapshot_writer *writer, kms_span page)
{
	ENSURE_REF(writer);
	ENSURE(page.bytes || page.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(!writer->ended, KMS_ERR_STATE);
	ENSURE(writer->kind == KMS_SNAPSHOT_RECORDS || !writer->has_text, KMS_ERR_RANGE);
	/* So that the sum below cannot wrap, and the length fits its four bytes. */
	ENSURE(page.len <= KMS_SNAPSHOT_MAX_FILE, KMS_ERR_TOO_LARGE);
	ENSURE(kms_snapshot_writer_size(writer, page.len) <= KMS_SNAPSHOT_MAX_FILE, KMS_ERR_TOO_LARGE);
	writer->has_text = true;
	kms_status status = add_page(writer, page);
	writer->ended = status != KMS_OK;
	return status;
}

size_t kms_snapshot_writer_size(const kms_snapshot_writer *writer, size_t more)
{
	size_t plain = writer->file.len - writer->chunk + more;
	if (more > 0 && writer->kind == KMS_SNAPSHOT_RECORDS) plain += SNAPSHOT_LENGTH_BYTES;
	size_t before_last = plain > 0 ? (plain - 1) / KMS_SNAPSHOT_CHUNK : 0;
	return writer->chunk + plain + (before_last + 1) * KMS_GCM_TAG;
}

kms_status kms_snapshot_writer_finish(kms_buf *file, uint8_t sha256[32], kms_snapshot_writer *writer)
{
	ENSURE_REF(file);
	*file = kms_buf_make(KMS_BUF_PLAIN, 0);
	ENSURE_REF(sha256);
	memset(sha256, 0, 32);
	ENSURE_REF(writer);
	ENSURE(!writer->ended, KMS_ERR_STATE);
	writer->ended = true;
	GUARD(seal_chunk(writer, true));
	GUARD(kms_sha256(sha256, kms_buf_span(&writer->file)));
	*file = writer->file;
	file->kind = KMS_BUF_PLAIN;
	writer->file = kms_buf_make(KMS_BUF_WIPED, 0);
	return KMS_OK;
}
