/* Facts as a policy sees them: a read-only proxy with two values, the facts, and the names that there can be
 * (or nil). */
#include "policy/vm_internal.h"

static int facts_index(lua_State *L)
{
	lua_getiuservalue(L, 1, 1);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) != LUA_TNIL || lua_type(L, 2) != LUA_TSTRING) return 1;
	lua_getiuservalue(L, 1, 2);
	if (!lua_istable(L, -1)) return 0;
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) == LUA_TNIL) return luaL_error(L, "there is no fact '%s'", lua_tostring(L, 2));
	return 0;
}

static int facts_newindex(lua_State *L)
{
	return luaL_error(L, "facts cannot be changed");
}

/* A policy can hold on to this function and call it with anything; lua_next takes all for a table. */
static int facts_next(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	return lua_next(L, 1) ? 2 : 0;
}

/* Over a copy, so that the facts themselves are in nobody's hands. */
static int facts_pairs(lua_State *L)
{
	lua_pushcfunction(L, facts_next);
	lua_getiuservalue(L, 1, 1);
	const char *wrong = vm_copy(L, vm_of(L), L, -1, VM_FUNCTIONS_REFUSED);
	if (wrong) return luaL_error(L, "%s", wrong);
	lua_remove(L, -2);
	lua_pushnil(L);
	return 3;
}

void vm_define_facts(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "__index", facts_index },
		{ "__newindex", facts_newindex },
		{ "__pairs", facts_pairs },
		{ NULL, NULL },
	};
	vm_state *vm = vm_of(L);
	luaL_newlib(L, methods);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	vm->facts_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}

void vm_protect_facts(lua_State *L, int known)
{
	vm_state *vm = vm_of(L);
	lua_newuserdatauv(L, 0, 2);
	lua_insert(L, -2);
	lua_setiuservalue(L, -2, 1);
	if (known) {
		lua_pushvalue(L, known);
		lua_setiuservalue(L, -2, 2);
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->facts_meta);
	lua_setmetatable(L, -2);
}
