#include "app.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/json.h"
#include "kms/keyfile.h"
#include "kms/kdf.h"

#define MAX_BODY (8u << 20)
#define MAX_VALUES 256
#define DERIVED 32
#define NAME 32

/* ---- the node ------------------------------------------------------------------------------ */

static kms_status member(kms_text *text, const kms_json *json, const kms_json_value *object, const char *name)
{
	ENSURE(object && object->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	const kms_json_value *value = kms_json_get(json, object, name);
	ENSURE(value && value->type == KMS_JSON_STRING, KMS_ERR_FIELD_MISSING);
	*text = (kms_text){ value->text, value->len };
	return KMS_OK;
}

static kms_status learn(app *a, const kms_json *json)
{
	kms_text wallet, key;
	uint8_t der[KMS_P384_DER];
	const kms_json_value *root = &json->values[0];
	ENSURE(root->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	const kms_json_value *node = kms_json_get(json, root, "node");
	GUARD(member(&wallet, json, node, "tee_wallet"));
	GUARD(member(&key, json, node, "tee_pubkey"));
	GUARD(kms_address_parse(a->node20, wallet));
	GUARD(kms_hex_decode(KMS_OUT(der), key));
	return kms_p384_point_parse(a->node97, KMS_SPAN(der));
}

kms_status app_open(app *a, const char *host, const char *seed_path, const char *master_hex,
		    char *status_body, size_t status_len)
{
	kms_json json;
	kms_secret *seed = NULL;

	*a = (app){ .host = host };
	kms_status status = kms_json_parse(&json, status_body, status_len, MAX_VALUES);
	if (status == KMS_OK) status = learn(a, &json);
	kms_json_free(&json);
	GUARD(status);
	GUARD(kms_secret_from_hex(&a->master, kms_text_from(master_hex), KMS_MASTER_BYTES));
	GUARD(kms_seed_load(&seed, seed_path));
	status = kms_seed_identity(&a->wallet, &a->key, seed);
	kms_secret_unref(seed);
	GUARD(status);
	GUARD(kms_channels_new(&a->channels, 1));
	return kms_channels_get(&a->channel, a->channels, a->key, a->node97);
}

void app_close(app *a)
{
	kms_secret_unref(a->channel);
	kms_channels_free(a->channels);
	kms_secret_unref(a->master);
	kms_p384_free(a->key);
	kms_wallet_free(a->wallet);
	*a = (app){ .host = NULL };
}

/* ---- requests ------------------------------------------------------------------------------- */

kms_status app_take_nonce(app_request *request, char *body, size_t len)
{
	kms_json json;
	kms_text nonce = { NULL, 0 };
	kms_status status = kms_json_parse(&json, body, len, 8);
	if (status == KMS_OK) status = member(&nonce, &json, &json.values[0], "nonce");
	if (status == KMS_OK && nonce.len != sizeof(request->nonce)) status = KMS_ERR_POP_NONCE;
	if (status == KMS_OK) memcpy(request->nonce, nonce.text, nonce.len);
	kms_json_free(&json);
	return status;
}

static void name_of(char name[NAME], size_t index)
{
	(void)snprintf(name, NAME, "bench/%zu", index);
}

/* A record's value, computed from its index. */
static kms_status append_value(kms_buf *text, size_t index, size_t len)
{
	uint8_t *value = kms_heap_alloc(1, len + 1);
	ENSURE(value, KMS_ERR_MEMORY);
	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)(index * 31 + i);
	kms_status status = kms_buf_append_base64(text, kms_span_of(value, len));
	kms_heap_free(value);
	return status;
}

/* The inner body: keys sorted, bound to this exchange. */
static kms_status write_inner(kms_buf *plain, const app_request *request, app_operation operation,
			      size_t index, size_t value_len)
{
	char name[NAME];
	name_of(name, index);
	GUARD(kms_buf_append_text(plain,
				  operation == APP_DERIVE ? "{\"length\":32,\"path\":\"" : "{\"key\":\""));
	GUARD(kms_buf_append_text(plain, name));
	GUARD(kms_buf_append_text(plain, "\",\"pop\":\""));
	GUARD(kms_buf_append(plain, KMS_SPAN(request->signature)));
	if (operation == APP_PUT) {
		GUARD(kms_buf_append_text(plain, "\",\"value\":\""));
		GUARD(append_value(plain, index, value_len));
	}
	return kms_buf_append_text(plain, "\"}");
}

static kms_status write_body(kms_buf *body, const app_request *request, const app *a, app_operation operation,
			     size_t index, size_t value_len)
{
	if (operation == APP_GET) return KMS_OK;
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_WIPED, MAX_BODY);
	GUARD(write_inner(&plain, request, operation, index, value_len));
	return kms_envelope_seal(body, a->channel, kms_p384_public(a->key), kms_buf_span(&plain));
}

static kms_status write_head(kms_buf *text, const app_request *request, const app *a, app_operation operation,
			     size_t index, uint64_t now_s, size_t body_len)
{
	char head[768], name[NAME] = "";
	const char *line = operation == APP_DERIVE ? "POST /kms/derive"
			   : operation == APP_PUT  ? "PUT /kms/data"
						   : "GET /kms/data/";
	if (operation == APP_GET) name_of(name, index);
	int len = snprintf(head, sizeof(head),
			   "%s%s HTTP/1.1\r\nHost: %s\r\nX-App-Signature: %.*s\r\nX-App-Nonce: %.*s\r\n"
			   "X-App-Timestamp: %llu\r\n",
			   line, name, a->host, (int)sizeof(request->signature), request->signature,
			   (int)sizeof(request->nonce), request->nonce, (unsigned long long)now_s);
	ENSURE(len > 0 && (size_t)len < sizeof(head), KMS_ERR_RANGE);
	GUARD(kms_buf_append(text, kms_span_of(head, (size_t)len)));
	if (operation == APP_GET) return kms_buf_append_text(text, "\r\n");
	GUARD(kms_buf_append_text(text, "Content-Type: application/json\r\nContent-Length: "));
	GUARD(kms_buf_append_u64(text, body_len));
	return kms_buf_append_text(text, "\r\n\r\n");
}

kms_status app_write(app_request *request, const app *a, app_operation operation, size_t index,
		     size_t value_len)
{
	uint64_t now_s = (uint64_t)time(NULL);
	DEFER(kms_buf_free) kms_buf body = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);

	request->text = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);
	GUARD(kms_pop_sign(request->signature, a->wallet, KMS_POP_APP,
			   (kms_text){ request->nonce, sizeof(request->nonce) }, a->node20, now_s));
	GUARD(write_body(&body, request, a, operation, index, value_len));
	GUARD(write_head(&request->text, request, a, operation, index, now_s, body.len));
	return body.len ? kms_buf_append(&request->text, kms_buf_span(&body)) : KMS_OK;
}

void app_request_clear(app_request *request)
{
	kms_buf_free(&request->text);
}

/* ---- replies -------------------------------------------------------------------------------- */

static bool same_text(kms_text a, kms_text b)
{
	return a.len == b.len && a.len > 0 && memcmp(a.text, b.text, a.len) == 0;
}

static kms_status check_derived(const kms_json *json, const app *a, size_t index)
{
	const kms_json_value *root = &json->values[0], *app_id = kms_json_get(json, root, "app_id");
	char name[NAME];
	kms_text key;
	uint8_t derived[DERIVED];

	name_of(name, index);
	ENSURE(app_id && app_id->type == KMS_JSON_INTEGER, KMS_ERR_FIELD_TYPE);
	GUARD(member(&key, json, root, "key"));
	GUARD(kms_derive(KMS_OUT(derived), a->master, app_id->number, kms_text_from(name), KMS_TEXT("")));
	DEFER(kms_buf_free) kms_buf expected = kms_buf_make(KMS_BUF_WIPED, 64);
	GUARD(kms_buf_append_base64(&expected, KMS_SPAN(derived)));
	return same_text(key, kms_buf_text(&expected)) ? KMS_OK : KMS_ERR_DECRYPT;
}

static kms_status check_value(const kms_json *json, size_t index, size_t value_len)
{
	kms_text value;
	DEFER(kms_buf_free) kms_buf expected = kms_buf_make(KMS_BUF_WIPED, MAX_BODY);
	GUARD(member(&value, json, &json->values[0], "value"));
	GUARD(append_value(&expected, index, value_len));
	return same_text(value, kms_buf_text(&expected)) ? KMS_OK : KMS_ERR_RECORD;
}

static kms_status check_inner(const kms_json *json, const app_request *request, const app *a,
			      app_operation operation, size_t index, size_t value_len)
{
	kms_text pop;
	ENSURE(json->values[0].type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	if (operation == APP_GET) return check_value(json, index, value_len);
	/* The reply to a request with `pop` repeats it. */
	GUARD(member(&pop, json, &json->values[0], "pop"));
	ENSURE(same_text(pop, (kms_text){ request->signature, sizeof(request->signature) }),
	       KMS_ERR_POP_BINDING);
	return operation == APP_DERIVE ? check_derived(json, a, index) : KMS_OK;
}

kms_status app_check(exchange *reply, const app_request *request, const app *a, app_operation operation,
		     size_t index, size_t value_len)
{
	kms_envelope envelope;
	kms_json json;
	const kms_text mine = { request->signature, sizeof(request->signature) };

	GUARD(kms_response_check((kms_text){ reply->signature, reply->signature_len }, mine, a->node20));
	GUARD(kms_envelope_parse(&envelope, (char *)reply->body.data, reply->body.len));
	GUARD(kms_envelope_check_sender(&envelope, a->node97));
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, MAX_BODY);
	GUARD(kms_envelope_open(&plain, &envelope, a->channel));
	kms_status status = kms_json_parse(&json, (char *)plain.data, plain.len, MAX_VALUES);
	if (status == KMS_OK) status = check_inner(&json, request, a, operation, index, value_len);
	kms_json_free(&json);
	return status;
}
