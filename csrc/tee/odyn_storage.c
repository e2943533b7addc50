/* Bodies of the Odyn service's storage (kms/odyn.h). */
#include <string.h>

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/odyn.h"
#include "tee/odyn_internal.h"

#define MAX_VALUES 64 /* values and keys of a response; other members are ignored, within this bound */

static kms_status append_put(kms_buf *request, kms_text key, kms_span value)
{
	GUARD(kms_buf_append_text(request, "{\"key\":"));
	GUARD(kms_buf_append_json(request, key));
	GUARD(kms_buf_append_text(request, ",\"value\":\""));
	GUARD(kms_buf_append_base64(request, value));
	return kms_buf_append_text(request, "\"}");
}

kms_status kms_odyn_put_request(kms_buf *request, kms_text key, kms_span value)
{
	ENSURE_REF(request);
	ENSURE((key.text || !key.len) && (value.bytes || !value.len), KMS_ERR_ARGUMENT);
	size_t start = request->len;
	kms_status status = append_put(request, key, value);
	if (status != KMS_OK) request->len = start;
	return status;
}

/* Decodes in place: the bytes stand where their text stood. */
static kms_status read_value(kms_buf *value, const char **field, kms_json *json, kms_buf *response)
{
	size_t len;
	GUARD(kms_json_parse(json, (char *)response->data, response->len, MAX_VALUES));
	ENSURE(json->values[0].type == KMS_JSON_OBJECT, KMS_ERR_TEE);
	*field = "value";
	const kms_json_value *found = kms_json_get(json, &json->values[0], "value");
	ENSURE(found && found->type == KMS_JSON_STRING, KMS_ERR_TEE);
	uint8_t *bytes = response->data + (found->text - (const char *)response->data);
	GUARD(kms_base64_decode(bytes, &len, kms_text_of(found->text, found->len)));
	ENSURE(len <= value->max, KMS_ERR_TEE);
	kms_odyn_adopt(value, response, kms_text_of((const char *)bytes, len));
	*field = NULL;
	return KMS_OK;
}

kms_status kms_odyn_value(kms_buf *value, const char **field, kms_buf *response)
{
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(value);
	ENSURE_REF(response);
	kms_status status = KMS_ERR_ARGUMENT;
	if (!value->data && value->kind == response->kind) {
		DEFER(kms_json_free) kms_json json = { 0 };
		status = kms_odyn_blame(read_value(value, field, &json, response));
		if (status != KMS_ERR_TEE) *field = NULL;
	}
	kms_buf_free(response);
	return status;
}
