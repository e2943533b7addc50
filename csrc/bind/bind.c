#include "bind/bind.h"

#include <string.h>

#include "kms/codec.h"
#include "kms/eth_text.h"

/* ---- results ------------------------------------------------------------------------------ */

int bind_fail_text(lua_State *L, kms_status status, const char *text)
{
	lua_pushnil(L);
	lua_pushstring(L, text);
	lua_pushstring(L, kms_status_name(status));
	return 3;
}

int bind_fail(lua_State *L, kms_status status)
{
	return bind_fail_text(L, status, kms_status_text(status));
}

int bind_fail_file(lua_State *L, kms_status status, int error)
{
	if (status != KMS_ERR_SYSTEM || error == 0) return bind_fail(L, status);
	return bind_fail_text(L, status, strerror(error));
}

int bind_fail_member(lua_State *L, kms_status status, const char *member)
{
	if (!member) return bind_fail(L, status);
	return bind_fail_text(L, status, lua_pushfstring(L, "%s: %s", member, kms_status_text(status)));
}

int bind_push_text(lua_State *L, kms_text text)
{
	if (text.text)
		lua_pushlstring(L, text.text, text.len);
	else
		lua_pushnil(L);
	return 1;
}

void bind_push_hex(lua_State *L, const uint8_t *bytes, size_t len)
{
	luaL_Buffer buffer;
	char *text = luaL_buffinitsize(L, &buffer, 2 * len + 2);
	text[0] = '0';
	text[1] = 'x';
	kms_hex_encode(text + 2, kms_span_of(bytes, len));
	luaL_pushresultsize(&buffer, 2 * len + 2);
}

void bind_set_integer(lua_State *L, const char *name, uint64_t number)
{
	lua_pushinteger(L, (lua_Integer)number);
	lua_setfield(L, -2, name);
}

int bind_result(lua_State *L, kms_status status)
{
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- arguments ---------------------------------------------------------------------------- */

lua_Integer bind_arg_integer(lua_State *L, int arg, lua_Integer min, lua_Integer max)
{
	lua_Integer n = luaL_checkinteger(L, arg);
	if (n < min || n > max)
		luaL_argerror(L, arg, lua_pushfstring(L, "%I is not within %I to %I", n, min, max));
	return n;
}

const uint8_t *bind_arg_bytes(lua_State *L, int arg, size_t len)
{
	size_t got;
	const char *bytes = luaL_checklstring(L, arg, &got);
	if (got != len) luaL_argerror(L, arg, lua_pushfstring(L, "must be %I bytes", (lua_Integer)len));
	return (const uint8_t *)bytes;
}

kms_text bind_arg_text(lua_State *L, int arg)
{
	kms_text text = { NULL, 0 };
	if (!lua_isnoneornil(L, arg)) text.text = luaL_checklstring(L, arg, &text.len);
	return text;
}

uint64_t bind_arg_app_id(lua_State *L, int arg)
{
	uint64_t id;
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	if (kms_app_id_parse(&id, kms_text_of(text, len)) != KMS_OK)
		luaL_argerror(L, arg, "an application id is the decimal text of 1 to 2^64 - 1");
	return id;
}

void bind_arg_address(uint8_t address20[20], lua_State *L, int arg)
{
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	if (kms_address_parse(address20, kms_text_of(text, len)) != KMS_OK)
		luaL_argerror(L, arg, "not a wallet address");
}

/* ---- userdata ----------------------------------------------------------------------------- */

bool bind_is(lua_State *L, int arg, const bind_type *type)
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
	const bind_type *type = lua_touserdata(L, lua_upvalueindex(1));
	if (!bind_is(L, 1, type)) return luaL_typeerror(L, 1, type->name);
	void **box = lua_touserdata(L, 1);
	void *object = *box;
	*box = NULL;
	if (object) type->release(object);
	return 0;
}

static int object_tostring(lua_State *L)
{
	const bind_type *type = lua_touserdata(L, lua_upvalueindex(1));
	void **box = luaL_checkudata(L, 1, type->name);
	lua_pushfstring(L, "%s%s", type->name, *box ? "" : " (closed)");
	return 1;
}

static void set_closure(lua_State *L, const bind_type *type, const char *name, lua_CFunction function)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)type);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

void bind_define(lua_State *L, const bind_type *type)
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

void bind_add_methods(lua_State *L, const bind_type *type, const luaL_Reg *methods)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, type);
	lua_getfield(L, -1, "__index");
	luaL_setfuncs(L, methods, 0);
	lua_pop(L, 2);
}

void **bind_new(lua_State *L, const bind_type *type)
{
	void **box = lua_newuserdatauv(L, sizeof(void *), 1);
	*box = NULL;
	lua_rawgetp(L, LUA_REGISTRYINDEX, type);
	lua_setmetatable(L, -2);
	return box;
}

void *bind_check(lua_State *L, int arg, const bind_type *type)
{
	if (!bind_is(L, arg, type)) luaL_typeerror(L, arg, type->name);
	void **box = lua_touserdata(L, arg);
	if (!*box) luaL_argerror(L, arg, "is closed");
	return *box;
}
