/* user_data of this project's nodes (kms/attest.h): strict JSON with a closed set of members. */
#include <string.h>

#include "base/ensure.h"
#include "kms/age.h"
#include "kms/attest.h"
#include "kms/codec.h"
#include "kms/eth_text.h"
#include "kms/json.h"

#define MAX_VALUES 16 /* names and values; with all members there are 16 */
#define VERSION 1

static kms_status get(const kms_json_value **value, const kms_json *json, const kms_json_value *object,
		      const char *name, kms_json_type type)
{
	*value = kms_json_get(json, object, name);
	ENSURE(*value, KMS_ERR_FIELD_MISSING);
	ENSURE((*value)->type == type, KMS_ERR_FIELD_TYPE);
	return KMS_OK;
}

static bool is_text(const kms_json_value *value, const char *text)
{
	return value->len == strlen(text) && memcmp(value->text, text, value->len) == 0;
}

/* An optional member of 32 bytes in hexadecimal; counts what it finds. */
static kms_status read_digest(bool *found, size_t *count, uint8_t digest32[32], const kms_json *json,
			      const kms_json_value *kms, const char *name)
{
	const kms_json_value *value;
	*found = kms_json_get(json, kms, name) != NULL;
	if (!*found) return KMS_OK;
	++*count;
	GUARD(get(&value, json, kms, name, KMS_JSON_STRING));
	ENSURE(value->len == 64, KMS_ERR_FIELD_VALUE);
	ENSURE(kms_hex_decode(kms_out_of(digest32, 32), kms_json_text(value)) == KMS_OK, KMS_ERR_FIELD_VALUE);
	return KMS_OK;
}

static kms_status read_recovery_key(kms_attest_statement *statement, size_t *count, const kms_json *json,
				    const kms_json_value *kms)
{
	const kms_json_value *value;
	statement->has_recovery_key = kms_json_get(json, kms, "recovery_key") != NULL;
	if (!statement->has_recovery_key) return KMS_OK;
	++*count;
	GUARD(get(&value, json, kms, "recovery_key", KMS_JSON_STRING));
	kms_status status = kms_age_recipient_parse(statement->recovery_key32, kms_json_text(value));
	return status == KMS_ERR_RECIPIENT ? KMS_ERR_FIELD_VALUE : status;
}

static kms_status read_kms(kms_attest_statement *statement, const kms_json *json, const kms_json_value *kms)
{
	const kms_json_value *version, *purpose;
	GUARD(get(&version, json, kms, "v", KMS_JSON_INTEGER));
	ENSURE(version->number == VERSION && !version->negative, KMS_ERR_FIELD_VALUE);
	GUARD(get(&purpose, json, kms, "purpose", KMS_JSON_STRING));
	bool secret = is_text(purpose, "secret");
	ENSURE(secret || is_text(purpose, "public"), KMS_ERR_FIELD_VALUE);
	statement->purpose = secret ? KMS_ATTEST_SECRET : KMS_ATTEST_PUBLIC;
	size_t count = 2;
	GUARD(read_digest(&statement->has_policy, &count, statement->policy32, json, kms, "policy"));
	GUARD(read_digest(&statement->has_recovery, &count, statement->recovery32, json, kms, "recovery"));
	GUARD(read_recovery_key(statement, &count, json, kms));
	/* No member beyond those. */
	return kms->count == count ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status read_json(kms_attest_statement *statement, const kms_json *json)
{
	const kms_json_value *wallet, *kms;
	ENSURE(json->values->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	GUARD(get(&wallet, json, json->values, "eth_addr", KMS_JSON_STRING));
	GUARD(kms_address_parse(statement->wallet20, kms_json_text(wallet)));
	GUARD(get(&kms, json, json->values, "kms", KMS_JSON_OBJECT));
	ENSURE(json->values->count == 2, KMS_ERR_FIELD_VALUE);
	return read_kms(statement, json, kms);
}

kms_status kms_attest_statement_read(kms_attest_statement *statement, kms_span user_data)
{
	char text[KMS_ATTEST_MAX_DATA];
	ENSURE_REF(statement);
	memset(statement, 0, sizeof(*statement));
	ENSURE(user_data.bytes || user_data.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(user_data.len <= sizeof(text), KMS_ERR_TOO_LARGE);
	if (user_data.len) memcpy(text, user_data.bytes, user_data.len);
	DEFER(kms_json_free) kms_json json = { 0 };
	kms_status status = kms_json_parse(&json, text, user_data.len, MAX_VALUES);
	if (status == KMS_OK) status = read_json(statement, &json);
	if (status != KMS_OK) memset(statement, 0, sizeof(*statement));
	return status;
}
