/* Opening a snapshot file: every chunk, before anything of it is used. */
#include "base/bits.h"
#include "base/ensure.h"
#include "snapshot/snapshot_seal.h"

#define SEALED_CHUNK (KMS_SNAPSHOT_CHUNK + KMS_GCM_TAG)

/* The chunks of a file, one after the other. */
typedef struct chunk_reader {
	kms_reader file;
	const kms_secret *key;
	uint32_t number;
} chunk_reader;

/* Appends the plaintext of a sealed chunk. ERR_DECRYPT: it does not open in this place; nothing is appended.
 */
static kms_status append_chunk(kms_buf *plain, const chunk_reader *r, kms_span sealed, bool last)
{
	size_t len = sealed.len - KMS_GCM_TAG;
	GUARD(kms_buf_append(plain, kms_span_of(sealed.bytes, len)));
	kms_out bytes = kms_out_of(len ? plain->data + plain->len - len : NULL, len);
	kms_status status = kms_snapshot_chunk_open(bytes, r->key, r->number, last, sealed.bytes + len);
	if (status != KMS_OK) plain->len -= len; /* zeroed */
	return status;
}

/* Why a chunk does not open: whether it is one of this place, with the other mark. */
static kms_status reason(kms_buf *plain, const chunk_reader *r, kms_span sealed, bool last)
{
	kms_status status = append_chunk(plain, r, sealed, !last);
	ENSURE(status != KMS_ERR_DECRYPT, KMS_ERR_SEALED);
	GUARD(status);
	return last ? KMS_ERR_TRUNCATED : KMS_ERR_TRAILING;
}

static kms_status next_chunk(kms_buf *plain, chunk_reader *r, bool *last)
{
	const uint8_t *bytes;
	size_t left = kms_reader_left(&r->file), len = left < SEALED_CHUNK ? left : SEALED_CHUNK;
	ENSURE(len >= KMS_GCM_TAG, KMS_ERR_TRUNCATED);
	*last = left == len;
	GUARD(kms_reader_take(&bytes, &r->file, len));
	kms_status status = append_chunk(plain, r, kms_span_of(bytes, len), *last);
	return status == KMS_ERR_DECRYPT ? reason(plain, r, kms_span_of(bytes, len), *last) : status;
}

static kms_status open_file(kms_buf *plain, size_t *chunk, const kms_secret *master32,
			    const kms_snapshot_name *name, kms_span file)
{
	const uint8_t *head;
	DEFER(kms_secret_release) kms_secret *key = NULL;
	kms_reader reader = kms_reader_make(file);
	ENSURE(file.len <= KMS_SNAPSHOT_MAX_FILE, KMS_ERR_TOO_LARGE);
	GUARD(kms_reader_take(&head, &reader, SNAPSHOT_HEAD_BYTES));
	ENSURE(kms_equal_ct(head, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_BYTES), KMS_ERR_FILE_FORMAT);
	GUARD(kms_snapshot_file_key(&key, master32, name, head + SNAPSHOT_MAGIC_BYTES));
	chunk_reader r = { reader, key, 0 };
	GUARD(kms_buf_reserve(plain, kms_reader_left(&reader)));
	for (bool last = false; !last; r.number++) {
		*chunk = r.number;
		GUARD(next_chunk(plain, &r, &last));
	}
	return KMS_OK;
}

kms_status kms_snapshot_open(kms_buf *plain, size_t *chunk, const kms_secret *master32,
			     const kms_snapshot_name *name, kms_span file)
{
	ENSURE_REF(plain);
	*plain = kms_buf_make(KMS_BUF_WIPED, KMS_SNAPSHOT_MAX_FILE);
	ENSURE_REF(chunk);
	*chunk = 0;
	ENSURE_REF(master32);
	ENSURE_REF(name);
	ENSURE(file.bytes || file.len == 0, KMS_ERR_ARGUMENT);
	kms_status status = open_file(plain, chunk, master32, name, file);
	if (status != KMS_OK) kms_buf_free(plain);
	return status;
}

kms_status kms_snapshot_next_page(kms_span *page, kms_reader *reader)
{
	const uint8_t *bytes;
	ENSURE_REF(page);
	*page = KMS_NO_BYTES;
	ENSURE_REF(reader);
	ENSURE(kms_reader_left(reader) > 0, KMS_ERR_NOT_FOUND);
	GUARD(kms_reader_take(&bytes, reader, SNAPSHOT_LENGTH_BYTES));
	size_t len = kms_load32_be(bytes);
	GUARD(kms_reader_take(&bytes, reader, len));
	*page = kms_span_of(bytes, len);
	return KMS_OK;
}
