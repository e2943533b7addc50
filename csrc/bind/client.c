/*
 * The application's side of the protocol (kms/client.h). Keys and values go between files and guarded
 * memory; Lua sees only names, lengths and times.
 */
#include "bind/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bind/body.h"
#include "bind/keys.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "base/mem.h"
#include "kms/client.h"
#include "kms/codec.h"
#include "kms/p384.h"
#include "kms/kdf.h"

#define MAX_BODY ((size_t)64 << 20)

/* ---- values from files -------------------------------------------------------------------------- */

static void value_release(void *object)
{
	kms_buf_free(object);
	kms_heap_free(object);
}

const bind_type bind_value_type = { "kms.value", value_release, NULL, true };

kms_buf *bind_value_push(lua_State *L)
{
	void **box = bind_new(L, &bind_value_type);
	kms_buf *value = kms_heap_alloc(1, sizeof(*value));
	if (value) *value = kms_buf_make(KMS_BUF_GUARDED, KMS_CLIENT_MAX_VALUE + 1);
	*box = value;
	return value;
}

/* value_read(path) -> a file's content as a value | nil, message, code. "-": the standard input */
static int value_read(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	kms_buf *value = bind_value_push(L);
	if (!value) return bind_fail(L, KMS_ERR_MEMORY);
	errno = 0;
	kms_status status = kms_value_read(value, path, KMS_CLIENT_MAX_VALUE);
	return status == KMS_OK ? 1 : bind_fail_file(L, status, errno);
}

/* ---- exchanges ------------------------------------------------------------------------------------ */

static void exchange_release(void *object)
{
	kms_exchange_clear(object);
	kms_heap_free(object);
}

/* exchange:write(fd, "base64"|"hex"|"raw"|"json") -> true | nil, message, code */
static int exchange_write(lua_State *L);

/* exchange:fingerprint() -> 8 hexadecimal digits, of a derived key's hash | nil, message, code */
static int exchange_fingerprint(lua_State *L);

static const luaL_Reg exchange_methods[] = { { "write", exchange_write },
					     { "fingerprint", exchange_fingerprint },
					     { NULL, NULL } };
const bind_type bind_exchange_type = { "kms.exchange", exchange_release, exchange_methods, true };

static int exchange_write(lua_State *L)
{
	static const char *const formats[] = { "base64", "hex", "raw", "json", NULL };
	const kms_exchange *exchange = bind_check(L, 1, &bind_exchange_type);
	int fd = (int)bind_arg_integer(L, 2, 0, 1 << 20);
	kms_format format = (kms_format)luaL_checkoption(L, 3, NULL, formats);
	errno = 0;
	kms_status status = kms_exchange_write(fd, exchange, format);
	return status == KMS_OK ? bind_result(L, status) : bind_fail_file(L, status, errno);
}

static int exchange_fingerprint(lua_State *L)
{
	const kms_exchange *exchange = bind_check(L, 1, &bind_exchange_type);
	char text[8];
	kms_status status = kms_exchange_fingerprint(text, exchange);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

static void set_keys(lua_State *L, const kms_exchange *exchange)
{
	const kms_json_value *keys = kms_json_get(&exchange->json, exchange->json.values, "keys");
	const kms_json_value *key = keys->count ? kms_json_first(&exchange->json, keys) : NULL;
	lua_createtable(L, (int)keys->count, 0);
	for (uint32_t i = 1; i <= keys->count; i++, key = kms_json_next(&exchange->json, key)) {
		lua_pushlstring(L, key->text, key->len);
		lua_rawseti(L, -2, i);
	}
	lua_setfield(L, -2, "keys");
	const kms_json_value *next = kms_json_get(&exchange->json, exchange->json.values, "next");
	if (!next) return;
	lua_pushlstring(L, next->text, next->len);
	lua_setfield(L, -2, "next");
}

static void set_text(lua_State *L, const char *name, kms_text text)
{
	bind_push_text(L, text);
	lua_setfield(L, -2, name);
}

static void set_refusal(lua_State *L, const kms_refused *refusal)
{
	bind_set_integer(L, "status", refusal->status);
	set_text(L, "code", refusal->code);
	set_text(L, "message", refusal->message);
	if (refusal->retry_after_s) bind_set_integer(L, "retry_after_s", refusal->retry_after_s);
}

static void set_result(lua_State *L, const kms_exchange *exchange)
{
	char app_id[24];
	snprintf(app_id, sizeof(app_id), "%" PRIu64, exchange->app_id);
	set_text(L, "app_id", kms_text_from(app_id));
	if (exchange->kind == KMS_REQUEST_DERIVE || exchange->kind == KMS_REQUEST_GET)
		bind_set_integer(L, "length", exchange->secret.len);
	if (exchange->kind == KMS_REQUEST_PUT || exchange->kind == KMS_REQUEST_GET)
		bind_set_integer(L, "updated_at_ms", exchange->updated_at_ms);
	if (exchange->copies) bind_set_integer(L, "copies", exchange->copies);
	if (exchange->has_sessions) {
		lua_pushboolean(L, true);
		lua_setfield(L, -2, "has_sessions");
	}
	if (exchange->kind == KMS_REQUEST_LIST) set_keys(L, exchange);
}

void bind_exchange_fields(lua_State *L, const kms_exchange *exchange)
{
	lua_newtable(L);
	if (exchange->refusal.status)
		set_refusal(L, &exchange->refusal);
	else
		set_result(L, exchange);
}

kms_exchange *bind_exchange_push(lua_State *L)
{
	void **box = bind_new(L, &bind_exchange_type);
	kms_exchange *exchange = kms_heap_alloc(1, sizeof(*exchange));
	*box = exchange;
	return exchange;
}

/* ---- clients --------------------------------------------------------------------------------------- */

static void client_release(void *object)
{
	kms_client_free(object);
}

/* A value is a string, which Lua has already, or a value of value_read. */
static void field_value(lua_State *L, int arg, kms_request *request)
{
	if (lua_getfield(L, arg, "value") == LUA_TSTRING) {
		request->value.bytes = (const uint8_t *)lua_tolstring(L, -1, &request->value.len);
		return;
	}
	const kms_buf *value = bind_option_object(L, arg, "value", &bind_value_type);
	if (value) request->value = kms_span_of(value->data, value->len);
}

kms_request bind_client_request(lua_State *L, int kind_arg, int arg)
{
	static const char *const kinds[] = { "derive", "put", "delete", "get", "list", NULL };
	static const char *const names[] = { "path",  "context",       "length", "key",
					     "value", "ttl_ms",        "prefix", "after",
					     "limit", "asks_sessions", NULL };
	kms_request request = { 0 };

	request.kind = (kms_request_kind)luaL_checkoption(L, kind_arg, NULL, kinds);
	bind_options_check(L, arg, names);
	request.length = (uint32_t)bind_option_integer(L, arg, "length", 1, KMS_DERIVE_MAX, 0);
	request.ttl_ms = (uint64_t)bind_option_integer(L, arg, "ttl_ms", 0, LUA_MAXINTEGER, 0);
	request.limit = (size_t)bind_option_integer(L, arg, "limit", 1, KMS_LIST_MAX, 0);
	request.asks_sessions = bind_option_boolean(L, arg, "asks_sessions");
	request.path = bind_option_text(L, arg, "path");
	request.context = bind_option_text(L, arg, "context");
	request.key = bind_option_text(L, arg, "key");
	request.prefix = bind_option_text(L, arg, "prefix");
	request.after = bind_option_text(L, arg, "after");
	field_value(L, arg, &request);
	return request;
}

/*
 * client:begin(kind, fields, nonce, unix_seconds) -> exchange, signature, body | nil, message, code
 * fields by kind: "derive" { path, context, length }, "put" { key, value, ttl_ms }, "delete" { key },
 * "get" { key }, "list" { prefix, after, limit }, whose place here is the URL. body: the envelope; nil for
 * get and list. asks_sessions: whether the node has sessions is asked; the request is one that nodes of every
 * version take.
 */
static int client_begin(lua_State *L);

/*
 * client:finish(exchange, response_signature, body) -> fields | nil, message, code
 * body: of the reply, from a fetch with wiped=true. fields: app_id (text); derive, get: length in bytes;
 * put, get: updated_at_ms; list: keys, next (if there are more); has_sessions, if it was asked and is so.
 */
static int client_finish(lua_State *L);

/* client:require_pop() -- insists that the node repeats pop, as it has done in an earlier process */
static int client_require_pop(lua_State *L);

static const luaL_Reg client_methods[] = { { "begin", client_begin },
					   { "finish", client_finish },
					   { "require_pop", client_require_pop },
					   { NULL, NULL } };
const bind_type bind_client_type = { "kms.client", client_release, client_methods, false };

static int client_begin(lua_State *L)
{
	const kms_client *client = bind_check(L, 1, &bind_client_type);
	lua_settop(L, 5); /* or a field that is pushed would stand for a missing argument */
	kms_request request = bind_client_request(L, 2, 3);
	kms_text nonce = { NULL, 0 };
	nonce.text = luaL_checklstring(L, 4, &nonce.len);
	uint64_t now_s = (uint64_t)bind_arg_integer(L, 5, 0, LUA_MAXINTEGER);

	kms_exchange *exchange = bind_exchange_push(L);
	if (!exchange) return bind_fail(L, KMS_ERR_MEMORY);
	/* A userdata owns the body as well, in case a push throws. */
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *body = bind_body_check(L, lua_gettop(L));
	kms_status status = kms_client_begin(exchange, body, client, &request, nonce, now_s);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushvalue(L, -2);
	lua_pushlstring(L, exchange->signature132, sizeof(exchange->signature132));
	if (body->len)
		lua_pushlstring(L, (const char *)body->data, body->len);
	else
		lua_pushnil(L);
	kms_buf_free(body);
	return 3;
}

static int client_finish(lua_State *L)
{
	kms_client *client = bind_check(L, 1, &bind_client_type);
	kms_exchange *exchange = bind_check(L, 2, &bind_exchange_type);
	kms_text signature = bind_arg_text(L, 3);
	kms_buf *body = bind_body_check(L, 4);
	kms_status status = kms_client_finish(exchange, body, client, signature);
	if (status != KMS_OK) return bind_fail(L, status);
	bind_exchange_fields(L, exchange);
	return 1;
}

static int client_require_pop(lua_State *L)
{
	kms_client_require_pop(bind_check(L, 1, &bind_client_type));
	return 0;
}

/*
 * client(wallet, p384, node_wallet, node_pubkey_hex) -> client | nil, message, code
 * An identity, and the one node whose replies it accepts.
 */
static int client_new(lua_State *L)
{
	uint8_t node20[20], node97[KMS_P384_POINT];
	size_t wallet_len, key_len;
	const kms_wallet *wallet = bind_check(L, 1, &bind_wallet_type);
	const kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	const char *node_wallet = luaL_checklstring(L, 3, &wallet_len);
	const char *node_key = luaL_checklstring(L, 4, &key_len);

	kms_client **box = (kms_client **)bind_new(L, &bind_client_type);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1); /* the wallet is borrowed */
	kms_status status = kms_address_parse(node20, kms_text_of(node_wallet, wallet_len));
	if (status == KMS_OK) status = kms_p384_point_from_hex(node97, kms_text_of(node_key, key_len));
	if (status == KMS_OK) status = kms_client_new(box, wallet, p384, node20, node97);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_client(lua_State *L)
{
	static const luaL_Reg functions[] = { { "client", client_new },
					      { "value_read", value_read },
					      { NULL, NULL } };
	bind_define(L, &bind_value_type);
	bind_define(L, &bind_exchange_type);
	bind_define(L, &bind_client_type);
	luaL_setfuncs(L, functions, 0);
}
