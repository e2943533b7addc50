/* The string library of a policy: without patterns, and nothing that is long for its length. */
#include "policy/vm_internal.h"

#include <lualib.h>
#include <string.h>

/* s:byte(i, j): as in Lua, of at most 250 bytes, since each becomes a value on the stack. */
static int string_byte(lua_State *L)
{
	lua_Integer len = (lua_Integer)(luaL_checkstring(L, 1), lua_rawlen(L, 1));
	lua_Integer from = luaL_optinteger(L, 2, 1);
	lua_Integer to = luaL_optinteger(L, 3, from);
	if (from < 0) from = from < -len ? 1 : len + from + 1;
	if (to < 0) to = to < -len ? 0 : len + to + 1;
	if (to > len) to = len;
	if (from < 1) from = 1;
	if (to - from >= 250) return luaL_error(L, "string.byte gives at most 250 bytes at once");
	return vm_call_original(L);
}

/* The result is measured before it is made, and a loop over nothing never begins. */
static int string_rep(lua_State *L)
{
	size_t len, separator;
	(void)luaL_checklstring(L, 1, &len);
	lua_Integer n = luaL_checkinteger(L, 2);
	(void)luaL_optlstring(L, 3, "", &separator);
	if (n <= 0 || len + separator == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if (len + separator > VM_MAX_STRING || (size_t)n > VM_MAX_STRING / (len + separator))
		return luaL_error(L, "string.rep makes at most 65536 bytes");
	return vm_call_original(L);
}

/*
 * string.find(s, text, init, plain): where a text is in another. Without `plain`, a text that
 * would be a pattern is refused, so that it is not silently searched for as it stands.
 */
static int string_find(lua_State *L)
{
	size_t len, wanted;
	const char *text = luaL_checklstring(L, 1, &len);
	const char *needle = luaL_checklstring(L, 2, &wanted);
	lua_Integer init = luaL_optinteger(L, 3, 1);
	if (!lua_toboolean(L, 4) && strpbrk(needle, "^$*+?.([%-"))
		return luaL_error(
		    L, "there are no patterns here: use string.find(text, what, 1, true) or kms.match");
	if (init < 0) init = init < -(lua_Integer)len ? 1 : (lua_Integer)len + init + 1;
	if (init == 0) init = 1;
	vm_charge_arguments(L);
	size_t from = (size_t)init - 1;
	const char *found = from > len ? NULL : memmem(text + from, len - from, needle, wanted);
	if (!found) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, found - text + 1);
	lua_pushinteger(L, found - text + (lua_Integer)wanted);
	return 2;
}

/* As in Lua without %p, which shows an address; tables and functions are shown by their type. */
static int string_format(lua_State *L)
{
	size_t len;
	const char *at = luaL_checklstring(L, 1, &len);
	const char *end = at + len;
	while ((at = memchr(at, '%', (size_t)(end - at))) != NULL) {
		at++;
		if (*at != '%') at += strspn(at, "-+ #0123456789.");
		if (*at == 'p') return luaL_error(L, "there is no '%%p' here");
		if (at < end) at++;
	}
	int count = lua_gettop(L);
	for (int i = 2; i <= count; i++) {
		if (lua_type(L, i) <= LUA_TSTRING && lua_type(L, i) != LUA_TLIGHTUSERDATA) continue;
		vm_push_shown(L, i);
		lua_replace(L, i);
	}
	vm_charge_arguments(L);
	return vm_call_original(L);
}

void vm_push_string(lua_State *L)
{
	static const char *const names[] = { "len", "sub", NULL };
	lua_pushcfunction(L, luaopen_string);
	lua_call(L, 0, 1);
	int from = lua_gettop(L);
	lua_newtable(L);
	vm_pick(L, from, names);
	vm_wrap(L, from, "char", vm_call_charged);
	vm_wrap(L, from, "lower", vm_call_charged);
	vm_wrap(L, from, "upper", vm_call_charged);
	vm_wrap(L, from, "reverse", vm_call_charged);
	vm_wrap(L, from, "byte", string_byte);
	vm_wrap(L, from, "rep", string_rep);
	vm_wrap(L, from, "format", string_format);
	lua_pushcfunction(L, string_find);
	lua_setfield(L, -2, "find");
	lua_remove(L, from);
}
