/* Memory of Lua that ends. */
#include "testkit_memory.h"

#include <lauxlib.h>
#include <stdbool.h>

typedef struct starved {
	lua_Alloc allocate;
	void *opaque;
	lua_Integer left;
} starved;

static void *starved_allocate(void *opaque, void *block, size_t old, size_t size)
{
	starved *s = opaque;
	bool grows = size > (block ? old : 0);
	if (grows && s->left == 0) return NULL;
	if (grows) s->left--;
	return s->allocate(s->opaque, block, old, size);
}

/* starved(n, f, ...) -> whether f(...) came to its end with n allocations of Lua; all further ones fail */
static int kit_starved(lua_State *L)
{
	starved s = { .left = luaL_checkinteger(L, 1) };
	luaL_checktype(L, 2, LUA_TFUNCTION);
	s.allocate = lua_getallocf(L, &s.opaque);
	lua_setallocf(L, starved_allocate, &s);
	int status = lua_pcall(L, lua_gettop(L) - 2, 0, 0);
	lua_setallocf(L, s.allocate, s.opaque);
	if (status != LUA_OK && status != LUA_ERRMEM) return lua_error(L);
	lua_pushboolean(L, status == LUA_OK);
	return 1;
}

void kms_testkit_add_memory(lua_State *L)
{
	lua_pushcfunction(L, kit_starved);
	lua_setfield(L, -2, "starved");
}
