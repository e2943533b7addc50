/*
 * What a hook may return. Everything else is nonsense, and the caller decides what that means
 * (a refusal, or the shipped default), so that a mistake never widens anything.
 */
#include "policy/vm_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_REASON 512
#define MAX_RETRY_S 86400
#define MAX_NUMBER 1e15
#define MAX_BAN_S (30 * 86400)
#define MAX_LIST 4096

/* The hook has returned: what can be named is where it begins. */
static void nonsense(lua_State *L, const char *text)
{
	char located[VM_MAX_TEXT];
	lua_Debug ar;
	int hook = vm_of(L)->hook;
	if (lua_isfunction(L, hook)) {
		lua_pushvalue(L, hook);
		lua_getinfo(L, ">S", &ar);
		snprintf(located, sizeof(located), "%s:%d: %s", ar.short_src, ar.linedefined, text);
		text = located;
	}
	vm_stop(L, VM_NONSENSE, text);
}

/* A refusal { status = } is made on top. */
static void push_refusal(lua_State *L, lua_Integer status)
{
	lua_createtable(L, 0, 3);
	lua_pushinteger(L, status);
	lua_setfield(L, -2, "status");
}

/* Puts the reason at `index` into the refusal on top, where it is text. */
static void set_reason(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TSTRING) return;
	if (lua_rawlen(L, index) > MAX_REASON) nonsense(L, "its reason is longer than 512 bytes");
	lua_pushvalue(L, index);
	lua_setfield(L, -2, "reason");
}

static void check_members(lua_State *L, int index)
{
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
		if (strcmp(key, "status") != 0 && strcmp(key, "reason") != 0 &&
		    strcmp(key, "retry_after") != 0)
			nonsense(L, "its verdict has a member that is not status, reason or retry_after");
	}
}

static void push_full_verdict(lua_State *L, int index)
{
	int is_integer;
	check_members(L, index);
	lua_getfield(L, index, "status");
	lua_Integer status = lua_tointegerx(L, -1, &is_integer);
	if (lua_type(L, -1) != LUA_TNUMBER || !is_integer ||
	    (status != 403 && status != 429 && status != 503))
		nonsense(L, "the status of its verdict is not 403, 429 or 503");
	push_refusal(L, status);
	if (lua_getfield(L, index, "reason") != LUA_TNIL && lua_type(L, -1) != LUA_TSTRING)
		nonsense(L, "the reason of its verdict is no text");
	lua_insert(L, -2);
	set_reason(L, lua_gettop(L) - 1);
	if (lua_getfield(L, index, "retry_after") != LUA_TNIL) {
		lua_Number wait = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
		if (!(wait >= 0 && wait <= MAX_RETRY_S))
			nonsense(L, "retry_after of its verdict is not 0 to 86400 seconds");
		lua_Integer whole = (lua_Integer)wait;
		lua_pushinteger(L, whole + (wait > (lua_Number)whole));
		lua_setfield(L, -3, "retry_after");
	}
	lua_pop(L, 1);
}

static void push_verdict(lua_State *L, int first)
{
	switch (lua_type(L, first)) {
	case LUA_TNIL:
	case LUA_TNONE:
		lua_pushboolean(L, 1);
		return;
	case LUA_TBOOLEAN:
		if (lua_toboolean(L, first)) {
			lua_pushboolean(L, 1);
			return;
		}
		push_refusal(L, 403);
		set_reason(L, first + 1);
		return;
	case LUA_TTABLE:
		push_full_verdict(L, first);
		return;
	default:
		nonsense(L, "its verdict is neither true, false nor a table");
	}
}

static lua_Number check_number(lua_State *L, int index, lua_Number max, const char *text)
{
	lua_Number n = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : -1;
	if (!(n >= 0 && n <= max)) nonsense(L, text);
	return n;
}

static void push_number(lua_State *L, int first)
{
	check_number(L, first, MAX_NUMBER, "it does not return a number from 0 up");
	lua_pushvalue(L, first);
}

static void push_ban(lua_State *L, int first)
{
	lua_Number seconds = check_number(L, first, MAX_BAN_S, "a ban is not 0 to 2592000 seconds");
	const char *scope = lua_type(L, first + 1) == LUA_TSTRING ? lua_tostring(L, first + 1) : "";
	bool all = strcmp(scope, "all") == 0;
	if (!all && strcmp(scope, "calls") != 0)
		nonsense(L, "the scope of a ban is not \"calls\" or \"all\"");
	lua_createtable(L, 0, 2);
	lua_pushnumber(L, seconds);
	lua_setfield(L, -2, "seconds");
	/* Not what was given: that may go on behind a NUL. */
	lua_pushstring(L, all ? "all" : "calls");
	lua_setfield(L, -2, "scope");
}

/* A list of wallets: as texts, or of tables that have one (what was given to the hook). */
static void push_list(lua_State *L, int first)
{
	if (!lua_istable(L, first)) nonsense(L, "it does not return a list");
	lua_Unsigned count = lua_rawlen(L, first);
	if (count > MAX_LIST) nonsense(L, "its list has more than 4096 members");
	lua_createtable(L, (int)count, 0);
	for (lua_Unsigned i = 1; i <= count; i++) {
		lua_rawgeti(L, first, (lua_Integer)i);
		if (lua_istable(L, -1)) {
			lua_getfield(L, -1, "wallet");
			lua_remove(L, -2);
		}
		if (lua_type(L, -1) != LUA_TSTRING) nonsense(L, "its list has a member that is no peer");
		lua_rawseti(L, -2, (lua_Integer)i);
	}
}

static void push_data(lua_State *L, int first)
{
	if (!lua_istable(L, first)) nonsense(L, "it does not return a table");
	const char *wrong = vm_copy(L, vm_of(L), L, first, VM_FUNCTIONS_REFUSED);
	if (wrong) nonsense(L, wrong);
}

void vm_check_verdict(lua_State *L, int first, vm_kind kind)
{
	static void (*const push[])(lua_State *, int) = { push_verdict, push_number, push_ban, push_list,
							  push_data };
	if (lua_gettop(L) < first) lua_settop(L, first);
	if (kind != VM_VERDICT && kind != VM_DATA && lua_isnil(L, first))
		lua_pushboolean(L, 1);
	else
		push[kind](L, first);
	lua_replace(L, first);
	lua_settop(L, first);
}
