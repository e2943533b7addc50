/*
 * What a policy may use: an allow-list, each library behind a proxy that cannot be written to.
 * Functions that could run long inside one instruction are our own and charge for their work;
 * those that could reach out, load code, look behind a proxy or show an address are not there.
 */
#include "policy/vm.h"

#include <lualib.h>
#include <string.h>

#define BYTES_PER_CHARGE 16 /* of text that a function goes over */

/* ---- proxies ---------------------------------------------------------------------------------- */

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
void policy_lock(lua_State *L, const char *name)
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

void policy_pick(lua_State *L, int from, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, from, *names);
		lua_setfield(L, -2, *names);
	}
}

/* A text that stands for a number is read anew each time, however long it is. */
void policy_charge_arguments(lua_State *L)
{
	int count = lua_gettop(L);
	size_t bytes = 0;
	for (int i = count; i > 0; i--)
		if (lua_type(L, i) == LUA_TSTRING) bytes += lua_rawlen(L, i);
	policy_charge(L, (size_t)count + bytes / BYTES_PER_CHARGE);
}

/* Charges for what is given, then does what Lua's own function does. */
static int charged(lua_State *L)
{
	lua_CFunction original = lua_tocfunction(L, lua_upvalueindex(1));
	policy_charge_arguments(L);
	return original(L);
}

/* ---- basic functions ---------------------------------------------------------------------------- */

/* An address of the process would help whoever attacks it, so no value is shown by it. */
void policy_push_shown(lua_State *L, int arg)
{
	int kind = lua_type(L, arg);
	if (kind == LUA_TSTRING || kind == LUA_TNUMBER || kind == LUA_TBOOLEAN || kind == LUA_TNIL)
		luaL_tolstring(L, arg, NULL);
	else
		lua_pushstring(L, kind == LUA_TUSERDATA ? "table" : lua_typename(L, kind));
}

static int base_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	policy_push_shown(L, 1);
	return 1;
}

/* As in Lua; a text that is too long for a number is none. */
static int base_tonumber(lua_State *L)
{
	lua_CFunction original = lua_tocfunction(L, lua_upvalueindex(1));
	if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > 256) {
		lua_pushnil(L);
		return 1;
	}
	return original(L);
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
	policy_vm *vm = policy_vm_of(L);
	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
	if (vm->ended == POLICY_RUNS && status == LUA_OK) return lua_gettop(L);
	if (status == LUA_ERRMEM && vm->ended == POLICY_RUNS)
		return policy_stop(L, POLICY_MEMORY, "it needs too much memory");
	if (vm->ended != POLICY_RUNS) return policy_stop(L, vm->ended, "");
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static void wrap(lua_State *L, int from, const char *name, lua_CFunction function)
{
	lua_getfield(L, from, name);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

static void push_base(lua_State *L)
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
	policy_pick(L, from, names);
	wrap(L, from, "tonumber", base_tonumber);
	wrap(L, from, "select", charged); /* it moves its arguments */
	luaL_setfuncs(L, own, 0);
	lua_remove(L, from);
}

/* ---- math and utf8 ------------------------------------------------------------------------------ */

/* Nothing random: the same facts give the same verdict. */
static void push_math(lua_State *L)
{
	static const char *const names[] = { "abs", "ceil",       "floor",      "fmod", "huge", "modf",
					     "pi",  "sqrt",       "tointeger",  "type", "ult",  "exp",
					     "log", "maxinteger", "mininteger", NULL };
	lua_pushcfunction(L, luaopen_math);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	policy_pick(L, from, names);
	wrap(L, from, "max", charged);
	wrap(L, from, "min", charged);
	lua_remove(L, from);
}

/* Charges for the bytes of the text, then does what Lua does. */
static int utf8_charged(lua_State *L)
{
	lua_CFunction original = lua_tocfunction(L, lua_upvalueindex(1));
	if (lua_type(L, 1) == LUA_TSTRING) policy_charge(L, lua_rawlen(L, 1) / 8);
	return original(L);
}

static void push_utf8(lua_State *L)
{
	static const char *const names[] = { "codes", NULL };
	lua_pushcfunction(L, luaopen_utf8);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	policy_pick(L, from, names);
	wrap(L, from, "char", charged);
	wrap(L, from, "len", utf8_charged);
	wrap(L, from, "offset", utf8_charged);
	lua_remove(L, from);
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static void add_library(lua_State *L, const char *name)
{
	policy_lock(L, name);
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

int policy_open_libs(lua_State *L)
{
	policy_vm *vm = policy_vm_of(L);
	lua_settop(L, 0);
	push_base(L);
	policy_push_string(L);
	close_string_type(L, lua_gettop(L));
	add_library(L, "string");
	policy_push_table(L);
	add_library(L, "table");
	push_math(L);
	add_library(L, "math");
	push_utf8(L);
	add_library(L, "utf8");
	policy_push_kms(L);
	add_library(L, "kms");
	policy_lock(L, "");
	vm->env = luaL_ref(L, LUA_REGISTRYINDEX);
	/* What the libraries left behind: the table of globals with load, and the loaded ones. */
	lua_newtable(L);
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	policy_define_facts(L);
	lua_newtable(L);
	vm->files = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->provided = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->known = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_newtable(L);
	vm->noted = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}
