/* Requests of an application, and the replies to them (client.h). */
#include "kms/client.h"

#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"
#include "kms/kdf.h"
#include "protocol/client_internal.h"
#include "protocol/members_internal.h"

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

/* The path or key of the request; LIST has none. */
static kms_text name_of(const kms_request *request)
{
	if (request->kind == KMS_REQUEST_DERIVE) return request->path;
	if (request->kind == KMS_REQUEST_LIST) return KMS_NO_TEXT;
	return request->key;
}

static kms_status check_text(kms_text text)
{
	ENSURE(text.len <= CLIENT_MAX_NAME, KMS_ERR_KEY_SIZE);
	return !text.len || kms_utf8_valid(text) ? KMS_OK : KMS_ERR_UTF8;
}

kms_status client_request_check(const kms_request *request)
{
	if (request->kind == KMS_REQUEST_LIST) {
		GUARD(check_text(request->prefix));
		return check_text(request->after);
	}
	kms_text name = name_of(request);
	ENSURE(name.text && name.len, KMS_ERR_FIELD_MISSING);
	GUARD(check_text(name));
	if (request->kind == KMS_REQUEST_DERIVE && request->context.text) GUARD(check_text(request->context));
	ENSURE(request->kind != KMS_REQUEST_DERIVE || request->length <= KMS_DERIVE_MAX, KMS_ERR_FIELD_VALUE);
	ENSURE(request->kind != KMS_REQUEST_PUT || request->value.len <= KMS_CLIENT_MAX_VALUE,
	       KMS_ERR_VALUE_SIZE);
	return KMS_OK;
}

/* An escaped byte takes at most six; the rest is names, numbers and the signature. */
size_t client_request_bound(const kms_request *request)
{
	kms_text name = name_of(request);
	size_t texts = name.len + request->context.len + request->prefix.len + request->after.len;
	return 2 * request->value.len + 6 * texts + 1024;
}

/* `op` and `strict` are what nodes before this version refuse or ignore; the question about sessions has
 * neither. */
static kms_status write_operation(kms_buf *json, const kms_request *request)
{
	if (request->asks_sessions) return KMS_OK;
	return kms_member_text(json, "op", kms_text_from(kms_request_operation(request->kind)));
}

static kms_status write_rest(kms_buf *json, const kms_request *request, kms_text pop)
{
	if (request->kind == KMS_REQUEST_DERIVE) GUARD(kms_member_text(json, "path", request->path));
	if (pop.text) GUARD(kms_member_text(json, "pop", pop));
	if (request->kind == KMS_REQUEST_LIST && request->prefix.len)
		GUARD(kms_member_text(json, "prefix", request->prefix));
	if (!request->asks_sessions) {
		GUARD(kms_member_begin(json, "strict"));
		GUARD(kms_buf_append_text(json, "true"));
	}
	if (request->kind != KMS_REQUEST_PUT) return KMS_OK;
	if (request->ttl_ms) GUARD(kms_member_number(json, "ttl_ms", request->ttl_ms));
	return kms_member_base64(json, "value", request->value);
}

kms_status client_request_write(kms_buf *json, const kms_request *request, kms_text pop)
{
	bool derive = request->kind == KMS_REQUEST_DERIVE, list = request->kind == KMS_REQUEST_LIST;
	GUARD(kms_buf_append_text(json, "{"));
	if (list && request->after.len) GUARD(kms_member_text(json, "after", request->after));
	if (derive && request->context.len) GUARD(kms_member_text(json, "context", request->context));
	if (request->asks_sessions) {
		GUARD(kms_member_begin(json, "features"));
		GUARD(kms_buf_append_text(json, "[\"session\"]"));
	}
	if (!derive && !list) GUARD(kms_member_text(json, "key", request->key));
	if (derive && request->length) GUARD(kms_member_number(json, "length", request->length));
	if (list && request->limit) GUARD(kms_member_number(json, "limit", request->limit));
	GUARD(write_operation(json, request));
	GUARD(write_rest(json, request, pop));
	return kms_buf_append_text(json, "}");
}

static kms_status begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			const kms_request *request, kms_text nonce, uint64_t timestamp_s)
{
	GUARD(kms_pop_sign(exchange->signature132, client->wallet, KMS_POP_APP, nonce, client->node20,
			   timestamp_s));
	if (!client_has_body(request->kind)) return KMS_OK;
	DEFER(kms_buf_free) kms_buf inner = kms_buf_make(KMS_BUF_GUARDED, client_request_bound(request));
	kms_text pop = { exchange->signature132, sizeof(exchange->signature132) };
	GUARD(client_request_write(&inner, request, pop));
	return kms_envelope_seal(body, client->channel, client->own97, kms_buf_span(&inner));
}

kms_status client_exchange_expect(kms_exchange *exchange, const kms_request *request)
{
	kms_text name = name_of(request);
	memset(exchange, 0, sizeof(*exchange));
	exchange->kind = request->kind;
	exchange->asks_sessions = request->asks_sessions;
	exchange->name = kms_buf_make(KMS_BUF_WIPED, CLIENT_MAX_NAME);
	exchange->secret = kms_buf_make(KMS_BUF_GUARDED, SIZE_MAX);
	if (request->kind == KMS_REQUEST_DERIVE)
		exchange->length = request->length ? request->length : KMS_CLIENT_DEFAULT_LENGTH;
	return name.len ? kms_buf_append(&exchange->name, kms_text_span(name)) : KMS_OK;
}

kms_status kms_client_begin(kms_exchange *exchange, kms_buf *body, const kms_client *client,
			    const kms_request *request, kms_text nonce, uint64_t timestamp_s)
{
	ENSURE_REF(exchange);
	memset(exchange, 0, sizeof(*exchange));
	ENSURE(body && client && request && nonce.text, KMS_ERR_ARGUMENT);
	GUARD(client_request_check(request));
	kms_status status = client_exchange_expect(exchange, request);
	if (status == KMS_OK) status = begin(exchange, body, client, request, nonce, timestamp_s);
	if (status != KMS_OK) kms_exchange_clear(exchange);
	return status;
}

void kms_client_require_pop(kms_client *client)
{
	if (client) client->binds = true;
}

void kms_exchange_clear(kms_exchange *exchange)
{
	if (!exchange) return;
	client_result_clear(exchange);
	kms_buf_free(&exchange->name);
	memset(exchange, 0, sizeof(*exchange));
}
