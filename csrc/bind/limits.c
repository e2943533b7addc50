/* Nonces and rate limits. Times are arguments, of the loop's monotonic clock. */
#include "bind/limits.h"

#include "bind/topics.h"
#include "kms/limit.h"
#include "kms/nonce.h"

static void nonces_release(void *object)
{
	kms_nonces_free(object);
}

/* nonces:issue(mono_s) -> text | nil, message, code */
static int nonces_issue(lua_State *L)
{
	char text[KMS_NONCE_TEXT];
	kms_nonces *nonces = bind_check(L, 1, &bind_nonces_type);
	uint64_t now = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	kms_status status = kms_nonces_issue(text, nonces, now);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/* nonces:consume(text, mono_s) -> true | nil, message, code: once for each nonce within its lifetime */
static int nonces_consume(lua_State *L)
{
	kms_nonces *nonces = bind_check(L, 1, &bind_nonces_type);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	uint64_t now = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	return bind_result(L, kms_nonces_consume(nonces, kms_text_of(text, len), now));
}

/* nonces:out(mono_s) -> nonces issued within the lifetime */
static int nonces_out(lua_State *L)
{
	kms_nonces *nonces = bind_check(L, 1, &bind_nonces_type);
	uint64_t now = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	lua_pushinteger(L, (lua_Integer)kms_nonces_out(nonces, now));
	return 1;
}

/* nonces:issued() -> nonces issued since the start */
static int nonces_issued(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_nonces_issued(bind_check(L, 1, &bind_nonces_type)));
	return 1;
}

static const luaL_Reg nonces_methods[] = {
	{ "issue", nonces_issue },
	{ "issued", nonces_issued },
	{ "consume", nonces_consume },
	{ "out", nonces_out },
	{ NULL, NULL },
};
const bind_type bind_nonces_type = { "kms.nonces", nonces_release, nonces_methods, false };

/* nonces(lifetime_s) -> object | nil, message, code */
static int nonces_new(lua_State *L)
{
	unsigned lifetime = (unsigned)bind_arg_integer(L, 1, 1, 3600);
	kms_nonces **box = (kms_nonces **)bind_new(L, &bind_nonces_type);
	kms_status status = kms_nonces_new(box, lifetime);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

static void limiter_release(void *object)
{
	kms_limiter_free(object);
}

static const bind_type limiter_type;

/* Whether a token was taken, and if not, the seconds to wait. */
static int push_taken(lua_State *L, bool taken, uint64_t retry_ms)
{
	lua_pushboolean(L, taken);
	if (taken) return 1;
	lua_pushinteger(L, (lua_Integer)((retry_ms + 999) / 1000));
	return 2;
}

/* limiter:take(key, mono_ms) -> true | false, seconds to wait. Key: 1 to 32 bytes. */
static int limiter_take(lua_State *L)
{
	size_t len;
	kms_limiter *limiter = bind_check(L, 1, &limiter_type);
	const char *key = luaL_checklstring(L, 2, &len);
	uint64_t retry_ms = 0, now_ms = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	if (len == 0 || len > KMS_LIMIT_KEY) luaL_argerror(L, 2, "must be 1 to 32 bytes");
	kms_status status = kms_limiter_take(&retry_ms, limiter, kms_span_of(key, len), now_ms);
	return push_taken(L, status == KMS_OK, retry_ms);
}

/* limiter:take_address(address, mono_ms): the same for a client address, IPv6 by its /64 and its /48. */
static int limiter_take_address(lua_State *L)
{
	kms_limiter *limiter = bind_check(L, 1, &limiter_type);
	const char *address = luaL_checkstring(L, 2);
	uint64_t retry_ms = 0, now_ms = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	kms_status status = kms_limiter_take_address(&retry_ms, limiter, address, now_ms);
	if (status == KMS_ERR_ARGUMENT) luaL_argerror(L, 2, "not an address");
	return push_taken(L, status == KMS_OK, retry_ms);
}

/* address_keys(text) -> key of its network, its own key (the same for IPv4) | nil: not an address */
static int address_keys(lua_State *L)
{
	uint8_t key8[8];
	size_t len, network_len;
	if (kms_address_limit_key(key8, &len, &network_len, luaL_checkstring(L, 1)) != KMS_OK) return 0;
	lua_pushlstring(L, (const char *)key8, network_len);
	lua_pushlstring(L, (const char *)key8, len);
	return 2;
}

static const luaL_Reg limiter_methods[] = {
	{ "take", limiter_take },
	{ "take_address", limiter_take_address },
	{ NULL, NULL },
};
static const bind_type limiter_type = { "kms.limiter", limiter_release, limiter_methods, false };

/* limiter(per_minute, burst, max_keys) -> object | nil, message, code */
static int limiter_new(lua_State *L)
{
	uint32_t per_minute = (uint32_t)bind_arg_integer(L, 1, 1, 1000000000);
	uint32_t burst = (uint32_t)bind_arg_integer(L, 2, 1, 1000000000);
	size_t max_keys = (size_t)bind_arg_integer(L, 3, 1, 1000000);
	kms_limiter **box = (kms_limiter **)bind_new(L, &limiter_type);
	kms_status status = kms_limiter_new(box, per_minute, burst, max_keys);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_limits(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "nonces", nonces_new },
		{ "limiter", limiter_new },
		{ "address_keys", address_keys },
		{ NULL, NULL },
	};
	bind_define(L, &bind_nonces_type);
	bind_define(L, &limiter_type);
	luaL_setfuncs(L, functions, 0);
}
