/* luaopen_kms_native, and what the topics share (bind.h). */
#include "bind/bind.h"

#include <string.h>

#include "kms/codec.h"

/* ---- results ------------------------------------------------------------------------------ */

int kms_bind_fail_text(lua_State *L, kms_status status, const char *text)
{
	lua_pushnil(L);
	lua_pushstring(L, text);
	lua_pushstring(L, kms_status_name(status));
	return 3;
}

int kms_bind_fail(lua_State *L, kms_status status)
{
	return kms_bind_fail_text(L, status, kms_status_text(status));
}

int kms_bind_push_text(lua_State *L, kms_text text)
{
	if (text.text)
		lua_pushlstring(L, text.text, text.len);
	else
		lua_pushnil(L);
	return 1;
}

void kms_bind_push_hex(lua_State *L, const uint8_t *bytes, size_t len)
{
	luaL_Buffer buffer;
	char *text = luaL_buffinitsize(L, &buffer, 2 * len + 2);
	text[0] = '0';
	text[1] = 'x';
	kms_hex_encode(text + 2, bytes, len);
	luaL_pushresultsize(&buffer, 2 * len + 2);
}

int kms_bind_result(lua_State *L, kms_status status)
{
	if (status != KMS_OK) return kms_bind_fail(L, status);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- arguments ---------------------------------------------------------------------------- */

lua_Integer kms_bind_integer(lua_State *L, int arg, lua_Integer min, lua_Integer max)
{
	lua_Integer n = luaL_checkinteger(L, arg);
	if (n < min || n > max)
		luaL_argerror(L, arg, lua_pushfstring(L, "%I is not within %I to %I", n, min, max));
	return n;
}

const uint8_t *kms_bind_bytes(lua_State *L, int arg, size_t len)
{
	size_t got;
	const char *bytes = luaL_checklstring(L, arg, &got);
	if (got != len) luaL_argerror(L, arg, lua_pushfstring(L, "must be %I bytes", (lua_Integer)len));
	return (const uint8_t *)bytes;
}

kms_text kms_bind_text(lua_State *L, int arg)
{
	kms_text text = { NULL, 0 };
	if (!lua_isnoneornil(L, arg)) text.text = luaL_checklstring(L, arg, &text.len);
	return text;
}

uint64_t kms_bind_app_id(lua_State *L, int arg)
{
	uint64_t id;
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	if (kms_app_id_parse(&id, text, len) != KMS_OK)
		luaL_argerror(L, arg, "an application id is the decimal text of 1 to 2^64 - 1");
	return id;
}

void kms_bind_address(uint8_t address20[20], lua_State *L, int arg)
{
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	if (kms_address_parse(address20, text, len) != KMS_OK) luaL_argerror(L, arg, "not a wallet address");
}

lua_Integer kms_bind_option(lua_State *L, int arg, const char *name, lua_Integer min, lua_Integer max,
			    lua_Integer fallback)
{
	int is_integer;
	if (lua_getfield(L, arg, name) == LUA_TNIL) {
		lua_pop(L, 1);
		return fallback;
	}
	lua_Integer n = lua_tointegerx(L, -1, &is_integer);
	lua_pop(L, 1);
	if (!is_integer || n < min || n > max)
		luaL_argerror(
		    L, arg, lua_pushfstring(L, "option '%s' must be an integer of %I to %I", name, min, max));
	return n;
}

void kms_bind_closed(lua_State *L, int arg, const char *const *names)
{
	luaL_checktype(L, arg, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		const char *const *name = names;
		while (key && *name && strcmp(*name, key) != 0)
			name++;
		if (!key || !*name)
			luaL_argerror(L, arg, lua_pushfstring(L, "unknown option '%s'", key ? key : "?"));
	}
}

/* ---- userdata ----------------------------------------------------------------------------- */

bool kms_bind_is(lua_State *L, int arg, const kms_bind_type *type)
{
	if (lua_type(L, arg) != LUA_TUSERDATA || !lua_getmetatable(L, arg)) return false;
	lua_rawgetp(L, LUA_REGISTRYINDEX, type);
	bool same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same;
}

/* Runs a type's `release`; the pointer is taken out first, so that it runs once. */
static int object_close(lua_State *L)
{
	const kms_bind_type *type = lua_touserdata(L, lua_upvalueindex(1));
	if (!kms_bind_is(L, 1, type)) return luaL_typeerror(L, 1, type->name);
	void **box = lua_touserdata(L, 1);
	void *object = *box;
	*box = NULL;
	if (object) type->release(object);
	return 0;
}

static int object_tostring(lua_State *L)
{
	const kms_bind_type *type = lua_touserdata(L, lua_upvalueindex(1));
	void **box = luaL_checkudata(L, 1, type->name);
	lua_pushfstring(L, "%s%s", type->name, *box ? "" : " (closed)");
	return 1;
}

static void set_closure(lua_State *L, const kms_bind_type *type, const char *name, lua_CFunction function)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)type);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

void kms_bind_define(lua_State *L, const kms_bind_type *type)
{
	luaL_newmetatable(L, type->name);
	set_closure(L, type, "__gc", object_close);
	if (type->closable) set_closure(L, type, "__close", object_close);
	set_closure(L, type, "__tostring", object_tostring);
	lua_newtable(L);
	if (type->methods) luaL_setfuncs(L, type->methods, 0);
	if (type->closable) set_closure(L, type, "close", object_close);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	/* By address too: found without making a string of the name, at each call of a method. */
	lua_rawsetp(L, LUA_REGISTRYINDEX, type);
}

void **kms_bind_new(lua_State *L, const kms_bind_type *type)
{
	void **box = lua_newuserdatauv(L, sizeof(void *), 1);
	*box = NULL;
	lua_rawgetp(L, LUA_REGISTRYINDEX, type);
	lua_setmetatable(L, -2);
	return box;
}

void *kms_bind_check(lua_State *L, int arg, const kms_bind_type *type)
{
	if (!kms_bind_is(L, arg, type)) luaL_typeerror(L, arg, type->name);
	void **box = lua_touserdata(L, arg);
	if (!*box) luaL_argerror(L, arg, "is closed");
	return *box;
}

void *kms_bind_check_optional(lua_State *L, int arg, const kms_bind_type *type)
{
	return lua_isnoneornil(L, arg) ? NULL : kms_bind_check(L, arg, type);
}

/* ---- module --------------------------------------------------------------------------------- */

__attribute__((visibility("default"))) int luaopen_kms_native(lua_State *L);

int luaopen_kms_native(lua_State *L)
{
	/* luv makes the loop that jobs run on. */
	lua_getglobal(L, "require");
	lua_pushliteral(L, "luv");
	lua_call(L, 1, 0);

	lua_newtable(L);
	lua_pushliteral(L, KMS_VERSION);
	lua_setfield(L, -2, "version");
	kms_bind_system(L);
	kms_bind_crypto(L);
	kms_bind_keys(L);
	kms_bind_limits(L);
	kms_bind_store(L);
	kms_bind_service(L);
	kms_bind_http(L);
	kms_bind_http_reply(L);
	kms_bind_body(L);
	kms_bind_fetch(L);
	kms_bind_endpoint(L);
	kms_bind_envelope(L);
	kms_bind_odyn(L);
	kms_bind_nsm(L);
	kms_bind_double(L);
	kms_bind_client(L);
	kms_bind_abi(L);
	kms_bind_pop(L);
	kms_bind_sync(L);
	kms_bind_policy(L);
	kms_bind_attest(L);
	return 1;
}
