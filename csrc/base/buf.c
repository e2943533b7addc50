#include "kms/buf.h"

#include <string.h>

#include "codec/json_text.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/secret.h"

#define FIRST_CAPACITY 64

static void block_free(kms_buf_kind kind, void *block, size_t size)
{
	if (kind == KMS_BUF_GUARDED) {
		kms_guarded_free(block);
		return;
	}
	kms_heap_free_later(block, size, kind == KMS_BUF_WIPED);
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
	/* Doubling keeps appends cheap; where there is no room for it, what is needed will do. */
	size_t roomy;
	if (!KMS_MUL(&roomy, buf->cap, 2) || roomy > buf->max) roomy = buf->max;
	if (roomy < FIRST_CAPACITY && buf->max >= FIRST_CAPACITY) roomy = FIRST_CAPACITY;
	if (roomy > need && grow_to(buf, roomy)) return KMS_OK;
	if (grow_to(buf, need)) return KMS_OK;
	return buf->kind == KMS_BUF_GUARDED ? KMS_ERR_LOCKED_MEMORY : KMS_ERR_MEMORY;
}

kms_status kms_buf_append(kms_buf *buf, const void *bytes, size_t len)
{
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	GUARD(kms_buf_reserve(buf, len));
	if (len) memcpy(buf->data + buf->len, bytes, len);
	buf->len += len;
	return KMS_OK;
}

kms_status kms_buf_append_text(kms_buf *buf, const char *text)
{
	ENSURE_REF(text);
	return kms_buf_append(buf, text, strlen(text));
}

kms_status kms_buf_append_u64(kms_buf *buf, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return kms_buf_append(buf, digits + at, sizeof(digits) - at);
}

kms_status kms_buf_append_hex(kms_buf *buf, const uint8_t *bytes, size_t len)
{
	size_t digits;
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_MUL(&digits, len, 2), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, digits));
	if (len) kms_hex_encode((char *)buf->data + buf->len, bytes, len);
	buf->len += digits;
	return KMS_OK;
}

kms_status kms_buf_append_base64(kms_buf *buf, const uint8_t *bytes, size_t len)
{
	size_t chars;
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	ENSURE(KMS_MUL(&chars, len / 3 + (len % 3 != 0), 4), KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, chars));
	if (len) kms_base64_encode((char *)buf->data + buf->len, bytes, len);
	buf->len += chars;
	return KMS_OK;
}

/* Writes the escape of a special byte; returns its length, 2 or 6. */
static size_t json_escape(char *out, uint8_t byte)
{
	static const char short_names[] = "btn\0fr"; /* of 8 to 13; 11 has none */
	out[0] = '\\';
	if (byte == '"' || byte == '\\') {
		out[1] = (char)byte;
		return 2;
	}
	if (byte >= 8 && byte <= 13 && byte != 11) {
		out[1] = short_names[byte - 8];
		return 2;
	}
	out[1] = 'u';
	out[2] = '0';
	out[3] = '0';
	kms_hex_encode(out + 4, &byte, 1);
	return 6;
}

size_t kms_json_text_size(const char *text, size_t len)
{
	char escape[6];
	size_t size;
	ENSURE(KMS_ADD(&size, len, 2), SIZE_MAX);
	for (size_t i = kms_json_plain_run(text, len); i < len;
	     i += 1 + kms_json_plain_run(text + i + 1, len - i - 1))
		ENSURE(KMS_ADD(&size, size, json_escape(escape, (uint8_t)text[i]) - 1), SIZE_MAX);
	return size;
}

kms_status kms_buf_append_json(kms_buf *buf, const char *text, size_t len)
{
	ENSURE(text || len == 0, KMS_ERR_ARGUMENT);
	ENSURE(kms_utf8_valid(text, len), KMS_ERR_UTF8);
	size_t size = kms_json_text_size(text, len);
	ENSURE(size != SIZE_MAX, KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, size));
	char *at = (char *)buf->data + buf->len;
	*at++ = '"';
	for (size_t i = 0; i < len;) {
		size_t run = kms_json_plain_run(text + i, len - i);
		if (run) memcpy(at, text + i, run);
		at += run;
		i += run;
		if (i < len) at += json_escape(at, (uint8_t)text[i++]);
	}
	*at = '"';
	buf->len += size;
	return KMS_OK;
}
