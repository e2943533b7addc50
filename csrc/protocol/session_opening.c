/* The two JSON objects of an opening (kms/session.h). */
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/session.h"
#include "protocol/members_internal.h"

#define OPERATION "session"
#define MAX_VALUES 64

/* ---- writing ------------------------------------------------------------------------------------------ */

static kms_status append_hex(kms_buf *json, kms_span bytes)
{
	GUARD(kms_buf_append_text(json, "\""));
	GUARD(kms_buf_append_hex(json, bytes));
	return kms_buf_append_text(json, "\"");
}

static kms_status member_hex(kms_buf *json, const char *name, kms_span bytes)
{
	GUARD(kms_member_begin(json, name));
	return append_hex(json, bytes);
}

static kms_status write_ends(kms_buf *json, const kms_session_offer *offer)
{
	if (offer->ends_count == 0) return KMS_OK;
	GUARD(kms_member_begin(json, "ends"));
	for (size_t i = 0; i < offer->ends_count; i++) {
		GUARD(kms_buf_append_text(json, i ? "," : "["));
		GUARD(append_hex(json, KMS_SPAN(offer->ends16[i])));
	}
	return kms_buf_append_text(json, "]");
}

kms_status kms_session_offer_write(kms_buf *json, const kms_session_offer *offer)
{
	ENSURE_REF(json);
	ENSURE_REF(offer);
	ENSURE(offer->ends_count <= KMS_SESSION_MAX_ENDS, KMS_ERR_RANGE);
	GUARD(kms_buf_append_text(json, "{"));
	GUARD(member_hex(json, "e", KMS_SPAN(offer->e32)));
	GUARD(write_ends(json, offer));
	GUARD(kms_member_text(json, "op", KMS_TEXT(OPERATION)));
	GUARD(kms_member_text(json, "suite", KMS_TEXT(KMS_SESSION_SUITE)));
	return kms_buf_append_text(json, "}");
}

kms_status kms_session_grant_write(kms_buf *json, const kms_session_grant *grant)
{
	ENSURE_REF(json);
	ENSURE_REF(grant);
	GUARD(kms_buf_append_text(json, "{"));
	GUARD(member_hex(json, "e", KMS_SPAN(grant->e32)));
	GUARD(kms_member_number(json, "expires_s", grant->expires_s));
	GUARD(kms_member_number(json, "max_operations", grant->max_operations));
	GUARD(member_hex(json, "sid", KMS_SPAN(grant->sid16)));
	GUARD(kms_member_text(json, "suite", KMS_TEXT(KMS_SESSION_SUITE)));
	return kms_buf_append_text(json, "}");
}

/* ---- parsing ------------------------------------------------------------------------------------------ */

/* A member that must be there; `field` names it until it is good. */
static kms_status member(const kms_json_value **value, const char **field, const kms_json *json,
			 const char *name, kms_json_type type)
{
	*field = name;
	*value = kms_json_get(json, json->values, name);
	ENSURE(*value, KMS_ERR_FIELD_MISSING);
	return (*value)->type == type ? KMS_OK : KMS_ERR_FIELD_TYPE;
}

static kms_status read_text(const char **field, const kms_json *json, const char *name, kms_text want)
{
	const kms_json_value *value;
	GUARD(member(&value, field, json, name, KMS_JSON_STRING));
	return kms_text_compare(kms_json_text(value), want) == 0 ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status read_bytes(kms_out bytes, const kms_json_value *hex)
{
	ENSURE(hex->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	return kms_hex_decode(bytes, kms_json_text(hex)) == KMS_OK ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status read_hex(kms_out bytes, const char **field, const kms_json *json, const char *name)
{
	const kms_json_value *value;
	GUARD(member(&value, field, json, name, KMS_JSON_STRING));
	return read_bytes(bytes, value);
}

/* A number of at least 1; of a larger one than `most`, only that. */
static kms_status read_count(uint64_t *number, const char **field, const kms_json *json, const char *name,
			     uint64_t most)
{
	const kms_json_value *value;
	GUARD(member(&value, field, json, name, KMS_JSON_INTEGER));
	ENSURE(!value->negative && value->number, KMS_ERR_FIELD_VALUE);
	*number = value->number < most ? value->number : most;
	return KMS_OK;
}

static kms_status read_ends(kms_session_offer *offer, const char **field, const kms_json *json)
{
	*field = "ends";
	const kms_json_value *ends = kms_json_get(json, json->values, "ends");
	if (!ends) return KMS_OK;
	ENSURE(ends->type == KMS_JSON_ARRAY, KMS_ERR_FIELD_TYPE);
	ENSURE(ends->count <= KMS_SESSION_MAX_ENDS, KMS_ERR_FIELD_VALUE);
	const kms_json_value *sid = ends->count ? kms_json_first(json, ends) : NULL;
	for (; offer->ends_count < ends->count; offer->ends_count++, sid = kms_json_next(json, sid))
		GUARD(read_bytes(KMS_OUT(offer->ends16[offer->ends_count]), sid));
	return KMS_OK;
}

static kms_status read_offer(kms_session_offer *offer, const char **field, const kms_json *json)
{
	GUARD(read_text(field, json, "op", KMS_TEXT(OPERATION)));
	GUARD(read_text(field, json, "suite", KMS_TEXT(KMS_SESSION_SUITE)));
	GUARD(read_hex(KMS_OUT(offer->e32), field, json, "e"));
	GUARD(read_ends(offer, field, json));
	*field = NULL;
	uint32_t members = kms_json_get(json, json->values, "ends") ? 4 : 3;
	return json->values->count == members ? KMS_OK : KMS_ERR_FIELD_UNKNOWN;
}

static kms_status read_grant(kms_session_grant *grant, const char **field, const kms_json *json)
{
	GUARD(read_text(field, json, "suite", KMS_TEXT(KMS_SESSION_SUITE)));
	GUARD(read_hex(KMS_OUT(grant->e32), field, json, "e"));
	GUARD(read_hex(KMS_OUT(grant->sid16), field, json, "sid"));
	GUARD(read_count(&grant->expires_s, field, json, "expires_s", KMS_SESSION_MAX_LIFE_S));
	GUARD(read_count(&grant->max_operations, field, json, "max_operations", KMS_SESSION_MAX_OPERATIONS));
	*field = NULL;
	return KMS_OK;
}

static kms_status parse(kms_json *json, const char **field, kms_buf *plain)
{
	*field = NULL;
	ENSURE_REF(plain);
	ENSURE(plain->len, KMS_ERR_JSON);
	GUARD(kms_json_parse(json, (char *)plain->data, plain->len, MAX_VALUES));
	return json->values->type == KMS_JSON_OBJECT ? KMS_OK : KMS_ERR_FIELD_TYPE;
}

kms_status kms_session_offer_parse(kms_session_offer *offer, const char **field, kms_buf *plain)
{
	ENSURE_REF(offer);
	*offer = (kms_session_offer){ 0 };
	ENSURE_REF(field);
	DEFER(kms_json_free) kms_json json = { 0 };
	kms_session_offer read = { 0 };
	GUARD(parse(&json, field, plain));
	GUARD(read_offer(&read, field, &json));
	*offer = read;
	return KMS_OK;
}

kms_status kms_session_grant_parse(kms_session_grant *grant, const char **field, kms_buf *plain)
{
	ENSURE_REF(grant);
	*grant = (kms_session_grant){ 0 };
	ENSURE_REF(field);
	DEFER(kms_json_free) kms_json json = { 0 };
	kms_session_grant read = { 0 };
	GUARD(parse(&json, field, plain));
	GUARD(read_grant(&read, field, &json));
	*grant = read;
	return KMS_OK;
}
