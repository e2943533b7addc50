/* Requests of an application, and the replies to them (client.h). */
#include "kms/client.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "protocol/members_internal.h"

#define MAX_RESULT_VALUES (1u << 20) /* JSON values; a LIST has the most */
#define MAX_NAME 65536               /* bytes of a path, context or key */

struct kms_client {
	atomic_bool binds; /* the node has repeated `pop` in a reply */
	const kms_wallet *wallet;
	kms_secret *channel;
	uint8_t own97[97];
	uint8_t node20[20];
	uint8_t node97[97];
};

KMS_DEFINE_RELEASE(client_release, kms_client, kms_client_free)

kms_status kms_client_new(kms_client **client, const kms_wallet *wallet, const kms_p384 *p384,
			  const uint8_t node20[20], const uint8_t node97[97])
{
	ENSURE_REF(client);
	*client = NULL;
	ENSURE(wallet && p384 && node20 && node97, KMS_ERR_ARGUMENT);
	DEFER(client_release) kms_client *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	GUARD(kms_p384_point_parse(made->node97, kms_span_of(node97, sizeof(made->node97))));
	made->wallet = wallet;
	memcpy(made->own97, kms_p384_public(p384), sizeof(made->own97));
	memcpy(made->node20, node20, sizeof(made->node20));
	DEFER(kms_channels_release) kms_channels *channels = NULL;
	GUARD(kms_channels_new(&channels, 1));
	GUARD(kms_channels_get(&made->channel, channels, p384, made->node97));
	*client = made;
	made = NULL;
	return KMS_OK;
}

void kms_client_free(kms_client *client)
{
	if (!client) return;
	kms_secret_unref(client->channel);
	kms_heap_free(client);
}

/* ---- request -------------------------------------------------------------------------------------- */

static bool has_body(kms_request_kind kind)
{
	return kind == KMS_REQUEST_DERIVE || kind == KMS_REQUEST_PUT || kind == KMS_REQUEST_DELETE;
}

/* The path or key of the request; LIST has none. */
static kms_text name_of(const kms_request *request)
{
	if (request->kind == KMS_REQUEST_DERIVE) return request->path;
	if (request->kind == KMS_REQUEST_LIST) return (kms_text){ NULL, 0 };
	return request->key;
}

static kms_status check_text(kms_text text)
{
	ENSURE(text.len <= MAX_NAME, KMS_ERR_KEY_SIZE);
	return kms_utf8_valid(text) ? KMS_OK : KMS_ERR_UTF8;
}

static kms_status check_request(const kms_request *request)
{
	if (request->kind == KMS_REQUEST_LIST) return KMS_OK;
	kms_text name = name_of(request);
	ENSURE(name.text && name.len, KMS_ERR_FIELD_MISSING);
	GUARD(check_text(name));
	if (request->kind == KMS_REQUEST_DERIVE && request->context.text) GUARD(check_text(request->context));
	ENSURE(request->kind != KMS_REQUEST_DERIVE || request->length <= KMS_DERIVE_MAX, KMS_ERR_FIELD_VALUE);
	ENSURE(request->kind != KMS_REQUEST_PUT || request->value.len <= KMS_CLIENT_MAX_VALUE,
	       KMS_ERR_VALUE_SIZE);
	return KMS_OK;
}

static kms_status build_inner(kms_buf *json, const kms_request *request, kms_text pop)
{
	bool derive = request->kind == KMS_REQUEST_DERIVE, put = request->kind == KMS_REQUEST_PUT;
	GUARD(kms_buf_append_text(json, "{"));
	if (derive && request->context.len) GUARD(kms_member_text(json, "context", request->context));
	if (!derive) GUARD(kms_member_text(json, "key", request->key));
	if (derive && request->length) GUARD(kms_member_number(json, "length", request->length));
	GUARD(kms_member_text(json, "op", kms_text_from(kms_request_operation(request->kind))));
	if (derive) GUARD(kms_member_text(json, "path", request->path));
	GUARD(kms_member_text(json, "pop", pop));
	GUARD(kms_member_begin(json, "strict"));
	GUARD(kms_buf_append_text(json, "true"));
	if (put && request->ttl_ms) GUARD(kms_member_number(json, "ttl_ms", request->ttl_ms));
	if (put) GUARD(kms_member_base64(json, "value", request->value));
	return kms_buf_append_text(json, "}");
}

static kms_status begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			const kms_request *request, kms_text nonce, uint64_t timestamp_s)
{
	kms_text name = name_of(request);
	GUARD(kms_pop_sign(exchange->signature132, client->wallet, KMS_POP_APP, nonce, client->node20,
			   timestamp_s));
	if (name.len) GUARD(kms_buf_append(&exchange->name, kms_text_span(name)));
	if (!has_body(request->kind)) return KMS_OK;
	/* An escaped byte takes at most six; the rest is names, numbers and the signature. */
	size_t bound = 2 * request->value.len + 6 * (name.len + request->context.len) + 1024;
	DEFER(kms_buf_free) kms_buf inner = kms_buf_make(KMS_BUF_GUARDED, bound);
	kms_text pop = { exchange->signature132, sizeof(exchange->signature132) };
	GUARD(build_inner(&inner, request, pop));
	return kms_envelope_seal(body, client->channel, client->own97, kms_buf_span(&inner));
}

kms_status kms_client_begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			    const kms_request *request, kms_text nonce, uint64_t timestamp_s)
{
	ENSURE_REF(exchange);
	memset(exchange, 0, sizeof(*exchange));
	ENSURE(body && client && request && nonce.text, KMS_ERR_ARGUMENT);
	GUARD(check_request(request));
	exchange->kind = request->kind;
	exchange->name = kms_buf_make(KMS_BUF_WIPED, MAX_NAME);
	exchange->secret = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	if (request->kind == KMS_REQUEST_DERIVE)
		exchange->length = request->length ? request->length : KMS_CLIENT_DEFAULT_LENGTH;
	kms_status status = begin(exchange, body, client, request, nonce, timestamp_s);
	if (status != KMS_OK) kms_exchange_clear(exchange);
	return status;
}

/* ---- reply ------------------------------------------------------------------------------------------ */

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
	if (!pop) return has_body(exchange->kind) && client->binds ? KMS_ERR_POP_BINDING : KMS_OK;
	ENSURE(pop->type == KMS_JSON_STRING && pop->len == sizeof(exchange->signature132),
	       KMS_ERR_POP_BINDING);
	return kms_equal_ct(pop->text, exchange->signature132, pop->len) ? KMS_OK : KMS_ERR_POP_BINDING;
}

/* How many members a reply to this operation has, without `pop`. */
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

static kms_status finish(kms_exchange *exchange, kms_buf *body, kms_client *client,
			 kms_text response_signature)
{
	bool pop;
	kms_envelope envelope;
	kms_text own_signature = { exchange->signature132, sizeof(exchange->signature132) };

	GUARD(kms_response_check(response_signature, own_signature, client->node20));
	GUARD(kms_envelope_parse(&envelope, (char *)body->data, body->len));
	GUARD(kms_envelope_check_sender(&envelope, client->node97));
	GUARD(open_reply(exchange, client, &envelope));
	ENSURE(exchange->plain.len, KMS_ERR_JSON);
	GUARD(kms_json_parse(&exchange->json, (char *)exchange->plain.data, exchange->plain.len,
			     MAX_RESULT_VALUES));
	ENSURE(exchange->json.values[0].type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	GUARD(check_pop(&pop, exchange, client));
	GUARD(read_result(exchange));
	/* Each member of the operation is there: another one means that the reply is to another operation. */
	ENSURE(exchange->json.values[0].count == member_count(exchange) + pop, KMS_ERR_FIELD_UNKNOWN);
	if (pop) client->binds = true;
	return KMS_OK;
}

static void clear_result(kms_exchange *exchange)
{
	kms_json_free(&exchange->json);
	kms_buf_free(&exchange->plain);
	kms_buf_free(&exchange->secret);
	memset(&exchange->json, 0, sizeof(exchange->json));
	exchange->app_id = 0;
	exchange->updated_at_ms = 0;
	exchange->copies = 0;
}

void kms_client_require_pop(kms_client *client)
{
	if (client) client->binds = true;
}

kms_status kms_client_finish(kms_exchange *exchange, kms_buf *body, kms_client *client,
			     kms_text response_signature)
{
	ENSURE(exchange && client && body, KMS_ERR_ARGUMENT);
	ENSURE(exchange->signature132[0] && !exchange->json.values, KMS_ERR_STATE);
	ENSURE(body->len, KMS_ERR_ENVELOPE);
	ENSURE(response_signature.text, KMS_ERR_SIGNATURE);
	kms_status status = finish(exchange, body, client, response_signature);
	if (status != KMS_OK) clear_result(exchange);
	return status;
}

void kms_exchange_clear(kms_exchange *exchange)
{
	if (!exchange) return;
	clear_result(exchange);
	kms_buf_free(&exchange->name);
	memset(exchange, 0, sizeof(*exchange));
}
