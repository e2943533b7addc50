/* What the libraries of a policy are made with: proxies, and wrappers that charge for work. */
#include "policy/vm_internal.h"

#define BYTES_PER_UNIT 16 /* of text that a function reads */

static int locked_newindex(lua_State *L)
{
	const char *name = lua_tostring(L, lua_upvalueindex(1));
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	if (*name) return luaL_error(L, "%s.%s cannot be set", name, key);
	return luaL_error(L, "global '%s' cannot be set: make it local", key);
}

static int locked_missing(lua_State *L)
{
	const char *name = lua_tostring(L, lua_upvalueindex(1));
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	return luaL_error(L, "'%s%s%s' does not exist in a policy", name, *name ? "." : "", key);
}

static void set_closure(lua_State *L, const char *field, const char *name, lua_CFunction function)
{
	lua_pushstring(L, name);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, field);
}

/*
 * The proxy is a userdata, which neither rawset nor the table library takes. A name that is
 * missing raises an error, so that a typing mistake is found and not read as nil.
 */
void vm_lock(lua_State *L, const char *name)
{
	int members = lua_gettop(L);
	lua_createtable(L, 0, 1);
	set_closure(L, "__index", name, locked_missing);
	lua_setmetatable(L, members);
	lua_newuserdatauv(L, 0, 0);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, members);
	lua_setfield(L, -2, "__index");
	set_closure(L, "__newindex", name, locked_newindex);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_replace(L, members);
}

void vm_pick(lua_State *L, int from, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, from, *names);
		lua_setfield(L, -2, *names);
	}
}

/* A text that stands for a number is read anew each time, however long it is. */
void vm_charge_arguments(lua_State *L)
{
	int count = lua_gettop(L);
	size_t bytes = 0;
	for (int i = count; i > 0; i--)
		if (lua_type(L, i) == LUA_TSTRING) bytes += lua_rawlen(L, i);
	vm_charge(L, (size_t)count + bytes / BYTES_PER_UNIT);
}

int vm_call_original(lua_State *L)
{
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

int vm_call_charged(lua_State *L)
{
	vm_charge_arguments(L);
	return vm_call_original(L);
}

void vm_wrap(lua_State *L, int from, const char *name, lua_CFunction function)
{
	lua_getfield(L, from, name);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

/* An address of the process would help whoever attacks it, so no value is shown by it. */
void vm_push_shown(lua_State *L, int arg)
{
	int kind = lua_type(L, arg);
	if (kind == LUA_TSTRING || kind == LUA_TNUMBER || kind == LUA_TBOOLEAN || kind == LUA_TNIL)
		luaL_tolstring(L, arg, NULL);
	else
		lua_pushstring(L, kind == LUA_TUSERDATA ? "table" : lua_typename(L, kind));
}
