/* What sessions between members have beside those of applications: proofs of the master secret, and answers
 * that are either a message or a refusal. */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/session.h"

#define REFUSAL_VALUES 32 /* JSON values of a refusal */

kms_status kms_session_mac_check(kms_text digits, const kms_secret *sync_key32, const uint8_t salt32[32],
				 uint64_t seq)
{
	uint8_t expected[32], given[32] = { 0 };
	GUARD(kms_session_mac(expected, sync_key32, salt32, seq));
	bool good = digits.text && digits.len == 2 * sizeof(given) &&
		    kms_hex_decode(KMS_OUT(given), digits) == KMS_OK;
	good = kms_equal_ct(expected, given, sizeof(given)) && good;
	kms_wipe(expected, sizeof(expected));
	return good ? KMS_OK : KMS_ERR_MAC;
}

void kms_session_keep_json(kms_buf *message, kms_session_content *content)
{
	size_t len = content->json.len;
	if (len) memmove(message->data, content->json.text, len);
	if (message->data) kms_wipe(message->data + len, message->len - len);
	message->len = len;
	*content = (kms_session_content){ 0 };
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static kms_status read_number(uint64_t *number, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	ENSURE(value && value->type == KMS_JSON_INTEGER && !value->negative, KMS_ERR_NOT_FOUND);
	*number = value->number;
	return KMS_OK;
}

static kms_status read_text(char *text, size_t *len, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	ENSURE(value && value->type == KMS_JSON_STRING && value->len <= KMS_SESSION_REFUSAL,
	       KMS_ERR_NOT_FOUND);
	if (value->len) memcpy(text, value->text, value->len);
	*len = value->len;
	return KMS_OK;
}

static kms_status read_refused(kms_session_refused *refused, const kms_json *json)
{
	uint64_t status;
	ENSURE(json->values->type == KMS_JSON_OBJECT, KMS_ERR_NOT_FOUND);
	GUARD(read_number(&status, json, "status"));
	ENSURE(status >= 300 && status <= 599, KMS_ERR_NOT_FOUND);
	refused->status = (unsigned)status;
	GUARD(read_text(refused->code, &refused->code_len, json, "code"));
	GUARD(read_text(refused->message, &refused->message_len, json, "message"));
	if (!kms_json_get(json, json->values, "retry_after_s")) return KMS_OK;
	GUARD(read_number(&refused->retry_after_s, json, "retry_after_s"));
	if (refused->retry_after_s > KMS_SESSION_MAX_WAIT_S) refused->retry_after_s = KMS_SESSION_MAX_WAIT_S;
	return KMS_OK;
}

kms_status kms_session_refused_read(kms_session_refused *refused, kms_text json)
{
	char copy[KMS_SESSION_REFUSAL];
	kms_session_refused read = { 0 };
	DEFER(kms_json_free) kms_json parsed = { 0 };
	ENSURE_REF(refused);
	*refused = (kms_session_refused){ 0 };
	ENSURE_REF(json.text);
	ENSURE(json.len && json.len <= sizeof(copy), KMS_ERR_NOT_FOUND);
	memcpy(copy, json.text, json.len);
	kms_status status = kms_json_parse(&parsed, copy, json.len, REFUSAL_VALUES);
	if (status == KMS_OK) status = read_refused(&read, &parsed);
	kms_wipe(copy, sizeof(copy));
	if (status == KMS_ERR_MEMORY) return status;
	ENSURE(status == KMS_OK, KMS_ERR_NOT_FOUND);
	*refused = read;
	return KMS_OK;
}
