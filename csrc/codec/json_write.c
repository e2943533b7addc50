/* Canonical JSON: strings and whole values. */
#include <string.h>

#include "base/ensure.h"
#include "codec/json_internal.h"
#include "kms/codec.h"

/* ---- strings ---- */

/* Writes the escape of a special byte; returns its length, 2 or 6. */
static size_t write_escape(char *out, uint8_t byte)
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
	kms_hex_encode(out + 4, kms_span_of(&byte, 1));
	return 6;
}

static kms_text text_from(kms_text text, size_t from)
{
	return kms_text_of(text.text + from, text.len - from);
}

size_t kms_json_text_size(kms_text text)
{
	char escape[6];
	size_t size;
	ENSURE(KMS_ADD(&size, text.len, 2), SIZE_MAX);
	for (size_t i = kms_json_plain_run(text); i < text.len;
	     i += 1 + kms_json_plain_run(text_from(text, i + 1)))
		ENSURE(KMS_ADD(&size, size, write_escape(escape, (uint8_t)text.text[i]) - 1), SIZE_MAX);
	return size;
}

kms_status kms_buf_append_json(kms_buf *buf, kms_text text)
{
	ENSURE(text.text || text.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(kms_utf8_valid(text), KMS_ERR_UTF8);
	size_t size = kms_json_text_size(text);
	ENSURE(size != SIZE_MAX, KMS_ERR_TOO_LARGE);
	GUARD(kms_buf_reserve(buf, size));
	char *at = (char *)buf->data + buf->len;
	*at++ = '"';
	for (size_t i = 0; i < text.len;) {
		size_t run = kms_json_plain_run(text_from(text, i));
		if (run) memcpy(at, text.text + i, run);
		at += run;
		i += run;
		if (i < text.len) at += write_escape(at, (uint8_t)text.text[i++]);
	}
	*at = '"';
	buf->len += size;
	return KMS_OK;
}

/* ---- values ---- */

static kms_status write_value(kms_buf *out, const kms_json *json, const kms_json_value *value);

static kms_status write_array(kms_buf *out, const kms_json *json, const kms_json_value *array)
{
	const kms_json_value *element = kms_json_first(json, array);
	GUARD(kms_buf_append_text(out, "["));
	for (uint32_t i = 0; i < array->count; i++) {
		if (i) GUARD(kms_buf_append_text(out, ","));
		GUARD(write_value(out, json, element));
		element = kms_json_next(json, element);
	}
	return kms_buf_append_text(out, "]");
}

static kms_status write_object(kms_buf *out, const kms_json *json, const kms_json_value *object)
{
	DEFER(kms_json_order_free) kms_json_order order = { 0 };
	GUARD(kms_json_order_make(&order, json, object));
	GUARD(kms_buf_append_text(out, "{"));
	for (uint32_t i = 0; i < object->count; i++) {
		const kms_json_value *key = &json->values[order.keys[i]];
		if (i) GUARD(kms_buf_append_text(out, ","));
		GUARD(kms_buf_append_json(out, kms_json_text(key)));
		GUARD(kms_buf_append_text(out, ":"));
		GUARD(write_value(out, json, key + 1));
	}
	return kms_buf_append_text(out, "}");
}

/* Recursion is bounded by KMS_JSON_MAX_DEPTH, which the parser has enforced. */
static kms_status write_value(kms_buf *out, const kms_json *json, const kms_json_value *value)
{
	switch (value->type) {
	case KMS_JSON_NULL:
		return kms_buf_append_text(out, "null");
	case KMS_JSON_FALSE:
		return kms_buf_append_text(out, "false");
	case KMS_JSON_TRUE:
		return kms_buf_append_text(out, "true");
	case KMS_JSON_INTEGER:
		if (value->negative) GUARD(kms_buf_append_text(out, "-"));
		return kms_buf_append_u64(out, value->number);
	case KMS_JSON_STRING:
		return kms_buf_append_json(out, kms_json_text(value));
	case KMS_JSON_ARRAY:
		return write_array(out, json, value);
	case KMS_JSON_OBJECT:
		return write_object(out, json, value);
	case KMS_JSON_FRACTION:
	default:
		return KMS_ERR_JSON;
	}
}

kms_status kms_json_canonical(kms_buf *out, const kms_json *json, const kms_json_value *value)
{
	ENSURE_REF(out);
	ENSURE_REF(json);
	ENSURE_REF(value);
	size_t start = out->len;
	kms_status status = write_value(out, json, value);
	if (status != KMS_OK) out->len = start;
	return status;
}
