/* Everything that a policy can use: an allow-list, each library behind a proxy that cannot be written to. */
#include "policy/vm_internal.h"

static void add_library(lua_State *L, const char *name)
{
	vm_lock(L, name);
	lua_setfield(L, -2, name);
}

/* Methods of strings are our string library's; it is all that the state's string type has. */
static void close_string_type(lua_State *L, int members)
{
	lua_pushliteral(L, "");
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, members);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

int vm_open_libraries(lua_State *L)
{
	vm_state *vm = vm_of(L);
	lua_settop(L, 0);
	vm_push_base(L);
	vm_push_string(L);
	close_string_type(L, lua_gettop(L));
	add_library(L, "string");
	vm_push_table(L);
	add_library(L, "table");
	vm_push_math(L);
	add_library(L, "math");
	vm_push_utf8(L);
	add_library(L, "utf8");
	vm_push_kms(L);
	add_library(L, "kms");
	vm_lock(L, "");
	vm->env = luaL_ref(L, LUA_REGISTRYINDEX);
	/* What the libraries left behind: the table of globals with load, and the loaded ones. */
	lua_newtable(L);
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	vm_define_facts(L);
	lua_newtable(L);
	vm->files = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->provided = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->known = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->effects = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}
