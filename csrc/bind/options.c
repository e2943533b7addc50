#include "bind/options.h"

#include <lauxlib.h>
#include <string.h>

void bind_options_check(lua_State *L, int arg, const char *const *names)
{
	luaL_checktype(L, arg, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
		const char *const *name = names;
		while (key && *name && strcmp(*name, key) != 0)
			name++;
		if (!key || !*name)
			luaL_argerror(L, arg, lua_pushfstring(L, "unknown option '%s'", key ? key : "?"));
	}
}

lua_Integer bind_option_integer(lua_State *L, int arg, const char *name, lua_Integer min, lua_Integer max,
				lua_Integer fallback)
{
	int is_integer;
	if (lua_getfield(L, arg, name) == LUA_TNIL) {
		lua_pop(L, 1);
		return fallback;
	}
	lua_Integer n = lua_tointegerx(L, -1, &is_integer);
	lua_pop(L, 1);
	if (!is_integer || n < min || n > max)
		luaL_argerror(
		    L, arg, lua_pushfstring(L, "option '%s' must be an integer of %I to %I", name, min, max));
	return n;
}

bool bind_option_boolean(lua_State *L, int arg, const char *name)
{
	int type = lua_getfield(L, arg, name);
	bool value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (type != LUA_TNIL && type != LUA_TBOOLEAN)
		luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be a boolean", name));
	return value;
}

kms_text bind_option_text(lua_State *L, int arg, const char *name)
{
	kms_text text = { NULL, 0 };
	int type = lua_getfield(L, arg, name);
	if (type == LUA_TNIL) return text;
	if (type != LUA_TSTRING)
		luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be a string", name));
	text.text = lua_tolstring(L, -1, &text.len);
	return text;
}
