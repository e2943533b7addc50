/* The table library of a policy: what loops over a table is bounded and charged first. */
#include "policy/vm_internal.h"

#include <lualib.h>

#define MAX_SPAN 65536 /* members that one call goes over */
#define MAX_UNPACK 250 /* values: arguments are copied again and again */

static lua_Integer length_of(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	return (lua_Integer)lua_rawlen(L, 1);
}

/* Bounds and charges `from` to `to`. */
static void charge_span(lua_State *L, lua_Integer from, lua_Integer to, lua_Unsigned max, const char *name)
{
	if (from > to) return;
	/* As unsigned: the difference of two integers may not fit one. */
	lua_Unsigned span = (lua_Unsigned)to - (lua_Unsigned)from;
	if (span >= max) luaL_error(L, "table.%s goes over at most %I members", name, (lua_Integer)max);
	vm_charge(L, (size_t)span + 1);
}

static int table_concat(lua_State *L)
{
	lua_Integer len = length_of(L);
	charge_span(L, luaL_optinteger(L, 3, 1), luaL_optinteger(L, 4, len), MAX_SPAN, "concat");
	return vm_call_original(L);
}

/* insert(t, position, value) moves what is behind it; so does remove(t, position). */
static int table_insert(lua_State *L)
{
	lua_Integer len = length_of(L);
	if (lua_gettop(L) == 3) charge_span(L, luaL_checkinteger(L, 2), len, MAX_SPAN, "insert");
	return vm_call_original(L);
}

static int table_remove(lua_State *L)
{
	lua_Integer len = length_of(L);
	charge_span(L, luaL_optinteger(L, 2, len), len, MAX_SPAN, "remove");
	return vm_call_original(L);
}

static int table_move(lua_State *L)
{
	(void)length_of(L);
	charge_span(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3), MAX_SPAN, "move");
	return vm_call_original(L);
}

static int table_unpack(lua_State *L)
{
	lua_Integer len = length_of(L);
	charge_span(L, luaL_optinteger(L, 2, 1), luaL_optinteger(L, 3, len), MAX_UNPACK, "unpack");
	return vm_call_original(L);
}

/* What sorts where the policy gives no function: two long texts take as long as they are. */
static int compare_charged(lua_State *L)
{
	vm_charge_arguments(L);
	lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
	return 1;
}

/* Sorting compares about n log n times; a comparing function pays for itself besides. */
static int table_sort(lua_State *L)
{
	lua_Integer len = length_of(L);
	size_t rounds = 1;
	for (lua_Integer left = len; left > 1; left /= 2)
		rounds++;
	for (; rounds > 0; rounds--)
		charge_span(L, 1, len, MAX_SPAN, "sort");
	if (lua_isnoneornil(L, 2)) {
		lua_settop(L, 1);
		lua_pushcfunction(L, compare_charged);
	}
	return vm_call_original(L);
}

void vm_push_table(lua_State *L)
{
	static const luaL_Reg wrapped[] = {
		{ "concat", table_concat },
		{ "insert", table_insert },
		{ "remove", table_remove },
		{ "move", table_move },
		{ "unpack", table_unpack },
		{ "sort", table_sort },
		{ NULL, NULL },
	};
	static const char *const names[] = { "pack", NULL };
	lua_pushcfunction(L, luaopen_table);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	vm_pick(L, from, names);
	for (const luaL_Reg *w = wrapped; w->name; w++)
		vm_wrap(L, from, w->name, w->func);
	lua_remove(L, from);
}
