#include "bind/options.h"

#include <lauxlib.h>
#include <string.h>

#include "kms/eth_text.h"

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

/* ---- objects, addresses, elements: what is on top of the stack, and the name for it ---------------- */

static void *object_on_top(lua_State *L, int arg, const bind_type *type, const char *name)
{
	if (!bind_is(L, -1, type))
		luaL_argerror(L, arg, lua_pushfstring(L, "%s must be a %s", name, type->name));
	void *object = *(void **)lua_touserdata(L, -1);
	if (!object) luaL_argerror(L, arg, lua_pushfstring(L, "%s is closed", name));
	return object;
}

static void address_on_top(uint8_t address20[20], lua_State *L, int arg, const char *name)
{
	size_t len = 0;
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : "";
	if (kms_address_parse(address20, kms_text_of(text, len)) != KMS_OK)
		luaL_argerror(L, arg, lua_pushfstring(L, "%s is not a wallet address", name));
}

void *bind_option_object(lua_State *L, int arg, const char *name, const bind_type *type)
{
	const char *what = lua_pushfstring(L, "option '%s'", name);
	void *object = NULL;
	if (lua_getfield(L, arg, name) != LUA_TNIL) object = object_on_top(L, arg, type, what);
	lua_remove(L, -2);
	return object;
}

bool bind_option_address(uint8_t address20[20], lua_State *L, int arg, const char *name)
{
	const char *what = lua_pushfstring(L, "option '%s'", name);
	bool present = lua_getfield(L, arg, name) != LUA_TNIL;
	if (present) address_on_top(address20, L, arg, what);
	lua_pop(L, 2);
	return present;
}

/* Pushes an element's name and the element. Returns the name. */
static const char *push_element(lua_State *L, int arg, lua_Integer i)
{
	const char *what = lua_pushfstring(L, "element %I", i);
	lua_rawgeti(L, arg, i);
	return what;
}

const uint8_t *bind_element_bytes(lua_State *L, int arg, lua_Integer i, size_t len)
{
	size_t got = 0;
	const char *what = push_element(L, arg, i);
	const char *bytes = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &got) : NULL;
	if (!bytes || got != len)
		luaL_argerror(L, arg, lua_pushfstring(L, "%s must be %I bytes", what, (lua_Integer)len));
	lua_remove(L, -2);
	return (const uint8_t *)bytes;
}

void *bind_element_object(lua_State *L, int arg, lua_Integer i, const bind_type *type)
{
	void *object = object_on_top(L, arg, type, push_element(L, arg, i));
	lua_remove(L, -2);
	return object;
}

void bind_element_address(uint8_t address20[20], lua_State *L, int arg, lua_Integer i)
{
	address_on_top(address20, L, arg, push_element(L, arg, i));
	lua_pop(L, 2);
}
