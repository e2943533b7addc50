/*
 * The basic functions, math and utf8 of a policy: what could run long inside one instruction charges for its
 * work; what could reach out, load code, look behind a proxy or show an address is not there.
 */
#include "policy/vm_internal.h"

#include <lualib.h>
#include <string.h>

/* ---- basic functions ---------------------------------------------------------------------------- */

static int base_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	vm_push_shown(L, 1);
	return 1;
}

/* As in Lua; a text that is too long for a number is none. */
static int base_tonumber(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > 256) {
		lua_pushnil(L);
		return 1;
	}
	return vm_call_original(L);
}

/* The facts and the libraries are userdata; to a policy they are tables. */
static int base_type(lua_State *L)
{
	luaL_checkany(L, 1);
	int kind = lua_type(L, 1);
	lua_pushstring(L, lua_typename(L, kind == LUA_TUSERDATA ? LUA_TTABLE : kind));
	return 1;
}

/* As in Lua, but what ends a call cannot be caught. */
static int base_pcall(lua_State *L)
{
	vm_state *vm = vm_of(L);
	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
	if (vm->ended == VM_COMPLETE && status == LUA_OK) return lua_gettop(L);
	if (status == LUA_ERRMEM && vm->ended == VM_COMPLETE)
		return vm_stop(L, VM_MEMORY, "it needs too much memory");
	if (vm->ended != VM_COMPLETE) return vm_stop(L, vm->ended, "");
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

void vm_push_base(lua_State *L)
{
	static const char *const names[] = { "assert", "error", "ipairs", "next", "pairs", NULL };
	static const luaL_Reg own[] = {
		{ "tostring", base_tostring },
		{ "type", base_type },
		{ "pcall", base_pcall },
		{ NULL, NULL },
	};
	lua_pushcfunction(L, luaopen_base);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	vm_pick(L, from, names);
	vm_wrap(L, from, "tonumber", base_tonumber);
	vm_wrap(L, from, "select", vm_call_charged); /* it moves its arguments */
	luaL_setfuncs(L, own, 0);
	lua_remove(L, from);
}

/* ---- math and utf8 ------------------------------------------------------------------------------ */

/* Nothing random: the same facts give the same verdict. */
void vm_push_math(lua_State *L)
{
	static const char *const names[] = { "abs", "ceil",       "floor",      "fmod", "huge", "modf",
					     "pi",  "sqrt",       "tointeger",  "type", "ult",  "exp",
					     "log", "maxinteger", "mininteger", NULL };
	lua_pushcfunction(L, luaopen_math);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	vm_pick(L, from, names);
	vm_wrap(L, from, "max", vm_call_charged);
	vm_wrap(L, from, "min", vm_call_charged);
	lua_remove(L, from);
}

/* Charges for the bytes of the text, then does what Lua does. */
static int utf8_charged(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TSTRING) vm_charge(L, lua_rawlen(L, 1) / 8);
	return vm_call_original(L);
}

void vm_push_utf8(lua_State *L)
{
	static const char *const names[] = { "codes", NULL };
	lua_pushcfunction(L, luaopen_utf8);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	vm_pick(L, from, names);
	vm_wrap(L, from, "char", vm_call_charged);
	vm_wrap(L, from, "len", utf8_charged);
	vm_wrap(L, from, "offset", utf8_charged);
	lua_remove(L, from);
}
