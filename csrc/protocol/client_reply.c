/* Replies to an application (client.h): what a result says, and whether it belongs to its request. */
#include <string.h>

#include "base/ensure.h"
#include "kms/client.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "protocol/client_internal.h"

static kms_status member(const kms_json_value **value, const kms_exchange *exchange, const char *name,
			 kms_json_type type)
{
	*value = kms_json_get(&exchange->json, exchange->json.values, name);
	ENSURE(*value, KMS_ERR_FIELD_MISSING);
	return (*value)->type == type ? KMS_OK : KMS_ERR_FIELD_TYPE;
}

static kms_status read_number(uint64_t *number, const kms_exchange *exchange, const char *name)
{
	const kms_json_value *value;
	GUARD(member(&value, exchange, name, KMS_JSON_INTEGER));
	ENSURE(!value->negative, KMS_ERR_FIELD_VALUE);
	*number = value->number;
	return KMS_OK;
}

/* A member that repeats the path or key asked for. */
static kms_status check_name(const kms_exchange *exchange, const char *name)
{
	const kms_json_value *value;
	GUARD(member(&value, exchange, name, KMS_JSON_STRING));
	ENSURE(value->len == exchange->name.len, KMS_ERR_FIELD_VALUE);
	return kms_equal_ct(value->text, exchange->name.data, value->len) ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

/* Decodes beside the JSON, which stays whole for KMS_FORMAT_JSON. */
static kms_status read_secret(kms_exchange *exchange, const char *name)
{
	const kms_json_value *value;
	GUARD(member(&value, exchange, name, KMS_JSON_STRING));
	GUARD(kms_buf_reserve(&exchange->secret, kms_base64_bound(value->len) + 1));
	return kms_base64_decode(exchange->secret.data, &exchange->secret.len, kms_json_text(value));
}

/*
 * Existing nodes send no `pop`. One that has sent it, and sends none now, has not seen this request's body:
 * someone gave its headers to a request of their own.
 */
static kms_status check_pop(bool *present, const kms_exchange *exchange, const kms_client *client)
{
	const kms_json_value *pop = kms_json_get(&exchange->json, exchange->json.values, "pop");
	*present = pop;
	if (!pop) return client_has_body(exchange->kind) && client->binds ? KMS_ERR_POP_BINDING : KMS_OK;
	ENSURE(pop->type == KMS_JSON_STRING && pop->len == sizeof(exchange->signature132),
	       KMS_ERR_POP_BINDING);
	return kms_equal_ct(pop->text, exchange->signature132, pop->len) ? KMS_OK : KMS_ERR_POP_BINDING;
}

/* How many members a result of this operation has of its own. */
static uint32_t member_count(const kms_exchange *exchange)
{
	switch (exchange->kind) {
	case KMS_REQUEST_DERIVE: /* app_id, key, length, path */
	case KMS_REQUEST_GET:    /* app_id, key, updated_at_ms, value */
		return 4;
	case KMS_REQUEST_LIST: /* app_id, count, keys; of a page, next */
		return kms_json_get(&exchange->json, exchange->json.values, "next") ? 4 : 3;
	case KMS_REQUEST_PUT:    /* app_id, key, updated_at_ms; of some nodes, copies */
	case KMS_REQUEST_DELETE: /* app_id, deleted, key; of some nodes, copies */
	default:
		return exchange->copies ? 4 : 3;
	}
}

static kms_status read_list(const kms_exchange *exchange)
{
	const kms_json_value *keys;
	uint64_t count;
	GUARD(member(&keys, exchange, "keys", KMS_JSON_ARRAY));
	GUARD(read_number(&count, exchange, "count"));
	ENSURE(count == keys->count, KMS_ERR_FIELD_VALUE);
	const kms_json_value *key = keys->count ? kms_json_first(&exchange->json, keys) : NULL;
	for (uint32_t i = 0; i < keys->count; i++, key = kms_json_next(&exchange->json, key))
		ENSURE(key->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	const kms_json_value *next = kms_json_get(&exchange->json, exchange->json.values, "next");
	return !next || next->type == KMS_JSON_STRING ? KMS_OK : KMS_ERR_FIELD_TYPE;
}

static kms_status read_derived(kms_exchange *exchange)
{
	uint64_t length;
	GUARD(check_name(exchange, "path"));
	GUARD(read_number(&length, exchange, "length"));
	GUARD(read_secret(exchange, "key"));
	return length == exchange->length && exchange->secret.len == length ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

/* How many members hold a write. Existing nodes do not say it. */
static kms_status read_copies(kms_exchange *exchange)
{
	if (!kms_json_get(&exchange->json, exchange->json.values, "copies")) return KMS_OK;
	GUARD(read_number(&exchange->copies, exchange, "copies"));
	return exchange->copies ? KMS_OK : KMS_ERR_FIELD_VALUE;
}

static kms_status read_result(kms_exchange *exchange)
{
	const kms_json_value *deleted;
	GUARD(read_number(&exchange->app_id, exchange, "app_id"));
	if (exchange->kind == KMS_REQUEST_DERIVE) return read_derived(exchange);
	if (exchange->kind == KMS_REQUEST_LIST) return read_list(exchange);
	GUARD(check_name(exchange, "key"));
	if (exchange->kind != KMS_REQUEST_GET) GUARD(read_copies(exchange));
	if (exchange->kind == KMS_REQUEST_DELETE) return member(&deleted, exchange, "deleted", KMS_JSON_TRUE);
	GUARD(read_number(&exchange->updated_at_ms, exchange, "updated_at_ms"));
	return exchange->kind == KMS_REQUEST_GET ? read_secret(exchange, "value") : KMS_OK;
}

/* A LIST has only names, and possibly more of them than guarded memory holds. */
static kms_status open_reply(kms_exchange *exchange, const kms_client *client, const kms_envelope *envelope)
{
	bool names_only = exchange->kind == KMS_REQUEST_LIST;
	exchange->plain = kms_buf_make(names_only ? KMS_BUF_WIPED : KMS_BUF_GUARDED, envelope->hex.len);
	if (!names_only) return kms_envelope_open(&exchange->plain, envelope, client->channel);
	return kms_gcm_open_hex(&exchange->plain, kms_secret_bytes(client->channel), envelope->iv12,
				envelope->hex);
}

kms_status client_result_parse(kms_exchange *exchange)
{
	ENSURE(exchange->plain.len, KMS_ERR_JSON);
	GUARD(kms_json_parse(&exchange->json, (char *)exchange->plain.data, exchange->plain.len,
			     CLIENT_MAX_VALUES));
	return exchange->json.values[0].type == KMS_JSON_OBJECT ? KMS_OK : KMS_ERR_FIELD_TYPE;
}

kms_status client_result_read(kms_exchange *exchange, uint32_t also)
{
	GUARD(read_result(exchange));
	/* Each member of the operation is there: another one means that the reply is to another operation. */
	return exchange->json.values[0].count == member_count(exchange) + also ? KMS_OK
									       : KMS_ERR_FIELD_UNKNOWN;
}

/* What a node says of its features, if it was asked (docs/protocol.md section 15). Others than `session` may
 * come. */
static kms_status read_features(bool *present, kms_exchange *exchange)
{
	const kms_json_value *list = kms_json_get(&exchange->json, exchange->json.values, "features");
	*present = list && exchange->asks_sessions;
	if (!*present) return KMS_OK;
	ENSURE(list->type == KMS_JSON_ARRAY, KMS_ERR_FIELD_TYPE);
	const kms_json_value *name = list->count ? kms_json_first(&exchange->json, list) : NULL;
	for (uint32_t i = 0; i < list->count; i++, name = kms_json_next(&exchange->json, name)) {
		ENSURE(name->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
		if (kms_text_compare(kms_json_text(name), KMS_TEXT("session")) == 0)
			exchange->has_sessions = true;
	}
	return KMS_OK;
}

static kms_status finish(kms_exchange *exchange, kms_buf *body, kms_client *client,
			 kms_text response_signature)
{
	bool pop, features;
	kms_envelope envelope;
	kms_text own_signature = { exchange->signature132, sizeof(exchange->signature132) };

	GUARD(kms_response_check(response_signature, own_signature, client->node20));
	GUARD(kms_envelope_parse(&envelope, (char *)body->data, body->len));
	GUARD(kms_envelope_check_sender(&envelope, client->node97));
	GUARD(open_reply(exchange, client, &envelope));
	GUARD(client_result_parse(exchange));
	GUARD(check_pop(&pop, exchange, client));
	GUARD(read_features(&features, exchange));
	GUARD(client_result_read(exchange, (uint32_t)pop + features));
	if (pop) client->binds = true;
	return KMS_OK;
}

void client_result_clear(kms_exchange *exchange)
{
	kms_json_free(&exchange->json);
	kms_buf_free(&exchange->plain);
	kms_buf_free(&exchange->secret);
	memset(&exchange->json, 0, sizeof(exchange->json));
	exchange->app_id = 0;
	exchange->updated_at_ms = 0;
	exchange->copies = 0;
	exchange->has_sessions = false;
	exchange->refusal = (kms_refused){ 0 };
}

kms_status kms_client_finish(kms_exchange *exchange, kms_buf *body, kms_client *client,
			     kms_text response_signature)
{
	ENSURE(exchange && client && body, KMS_ERR_ARGUMENT);
	ENSURE(exchange->signature132[0] && !exchange->json.values, KMS_ERR_STATE);
	ENSURE(body->len, KMS_ERR_ENVELOPE);
	ENSURE(response_signature.text, KMS_ERR_SIGNATURE);
	kms_status status = finish(exchange, body, client, response_signature);
	if (status != KMS_OK) client_result_clear(exchange);
	return status;
}
