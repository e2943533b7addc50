#include "kms/buf.h"

#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/secret.h"

#define FIRST_CAPACITY 64
/* A large piece has a short end behind it, as in JSON: without this room it would be copied for that end. */
#define LARGE_BYTES 4096
#define END_BYTES 512

static void block_free(kms_buf_kind kind, void *block, size_t size)
{
	if (kind == KMS_BUF_GUARDED) {
		kms_guarded_free(block);
		return;
	}
	kms_heap_free_async(block, size, kind == KMS_BUF_WIPED);
}

void kms_buf_free(kms_buf *buf)
{
	if (!buf) return;
	block_free(buf->kind, buf->data, buf->cap);
	*buf = kms_buf_make(buf->kind, buf->max);
}

void kms_buf_clear(kms_buf *buf)
{
	if (!buf) return;
	if (buf->kind != KMS_BUF_PLAIN) kms_wipe(buf->data, buf->len);
	buf->len = 0;
}

static bool grow_to(kms_buf *buf, size_t cap)
{
	if (buf->kind == KMS_BUF_PLAIN) {
		uint8_t *resized = kms_heap_resize(buf->data, cap);
		ENSURE(resized, false);
		buf->data = resized;
		buf->cap = cap;
		return true;
	}
	uint8_t *larger = buf->kind == KMS_BUF_GUARDED ? kms_guarded_alloc(cap) : kms_heap_alloc(cap, 1);
	ENSURE(larger, false);
	if (buf->len) memcpy(larger, buf->data, buf->len);
	block_free(buf->kind, buf->data, buf->cap);
	buf->data = larger;
	buf->cap = cap;
	return true;
}

kms_status kms_buf_reserve(kms_buf *buf, size_t extra)
{
	ENSURE_REF(buf);
	size_t need;
	ENSURE(KMS_ADD(&need, buf->len, extra) && need <= buf->max, KMS_ERR_TOO_LARGE);
	if (need <= buf->cap) return KMS_OK;
	/* Doubling keeps appends cheap; where memory is short, exactly what is needed. */
	size_t roomy;
	if (!KMS_MUL(&roomy, buf->cap, 2) || roomy > buf->max) roomy = buf->max;
	if (roomy < FIRST_CAPACITY && buf->max >= FIRST_CAPACITY) roomy = FIRST_CAPACITY;
	if (roomy <= need && need >= LARGE_BYTES && buf->max - need >= END_BYTES) roomy = need + END_BYTES;
	if (roomy > need && grow_to(buf, roomy)) return KMS_OK;
	if (grow_to(buf, need)) return KMS_OK;
	return buf->kind == KMS_BUF_GUARDED ? KMS_ERR_LOCKED_MEMORY : KMS_ERR_MEMORY;
}

kms_status kms_buf_append(kms_buf *buf, kms_span bytes)
{
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	GUARD(kms_buf_reserve(buf, bytes.len));
	if (bytes.len) memcpy(buf->data + buf->len, bytes.bytes, bytes.len);
	buf->len += bytes.len;
	return KMS_OK;
}

kms_status kms_buf_append_text(kms_buf *buf, const char *text)
{
	ENSURE_REF(text);
	return kms_buf_append(buf, kms_span_of(text, strlen(text)));
}

kms_text kms_decimal_format(char storage[KMS_DECIMAL_MAX], uint64_t number)
{
	size_t at = KMS_DECIMAL_MAX;
	do {
		storage[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return kms_text_of(storage + at, KMS_DECIMAL_MAX - at);
}

kms_status kms_buf_append_u64(kms_buf *buf, uint64_t number)
{
	char digits[KMS_DECIMAL_MAX];
	return kms_buf_append(buf, kms_text_span(kms_decimal_format(digits, number)));
}

/* ---- the cursor that every decoder reads through (kms/view.h) ---- */

kms_status kms_reader_take(const uint8_t **bytes, kms_reader *reader, size_t len)
{
	ENSURE_REF(bytes);
	*bytes = NULL;
	ENSURE_REF(reader);
	ENSURE(len <= kms_reader_left(reader), KMS_ERR_TRUNCATED);
	*bytes = reader->at;
	if (len) reader->at += len;
	return KMS_OK;
}

kms_status kms_reader_u8(uint8_t *byte, kms_reader *reader)
{
	const uint8_t *at;
	ENSURE_REF(byte);
	*byte = 0;
	GUARD(kms_reader_take(&at, reader, 1));
	*byte = *at;
	return KMS_OK;
}

kms_status kms_reader_end(const kms_reader *reader)
{
	ENSURE_REF(reader);
	ENSURE(kms_reader_left(reader) == 0, KMS_ERR_TRAILING);
	return KMS_OK;
}
