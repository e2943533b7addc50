#include "protocol/members_internal.h"

#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"

kms_status kms_member_begin(kms_buf *json, const char *name)
{
	bool is_first = json->len && json->data[json->len - 1] == '{';
	GUARD(kms_buf_append_text(json, is_first ? "\"" : ",\""));
	GUARD(kms_buf_append_text(json, name));
	return kms_buf_append_text(json, "\":");
}

kms_status kms_member_text(kms_buf *json, const char *name, kms_text text)
{
	GUARD(kms_member_begin(json, name));
	return kms_buf_append_json(json, text);
}

kms_status kms_member_number(kms_buf *json, const char *name, uint64_t number)
{
	GUARD(kms_member_begin(json, name));
	return kms_buf_append_u64(json, number);
}

kms_status kms_member_base64(kms_buf *json, const char *name, kms_span bytes)
{
	GUARD(kms_member_begin(json, name));
	GUARD(kms_buf_append_text(json, "\""));
	if (bytes.len) GUARD(kms_buf_append_base64(json, bytes));
	return kms_buf_append_text(json, "\"");
}
