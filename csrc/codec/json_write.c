/* Canonical JSON: what every answer and every signed sync body is written as. */
#include "codec/json_order.h"
#include "base/ensure.h"

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
		GUARD(kms_buf_append_json(out, key->text, key->len));
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
		return kms_buf_append_json(out, value->text, value->len);
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
