/*
 * Plain data between the node's state and a policy's: nil, booleans, numbers, strings, and
 * tables of them. Each side gets values of its own; nothing is ever shared.
 */
#include "policy/vm.h"

#include <string.h>

/* An emptied table takes as long to go over as the full one, and can be there many times. */
#define TABLES_A_LOOK 16        /* between two looks at the clock */
#define MAX_COPY_NS 50000000ull /* of this thread's time */

typedef struct copying {
	lua_State *to, *from;
	unsigned nodes, tables;
	size_t bytes; /* of text: a policy can hold one long text a thousand times at no cost */
	uint64_t until_ns;
	bool functions;
} copying;

static const char *copy_value(copying *c, int index, unsigned depth);

/* What stands for a function of a policy: called, it gives the first and the last line. */
static int function_lines(lua_State *host)
{
	lua_pushvalue(host, lua_upvalueindex(1));
	lua_pushvalue(host, lua_upvalueindex(2));
	return 2;
}

static const char *copy_function(copying *c, int index)
{
	lua_Debug ar;
	if (!c->functions || !lua_checkstack(c->from, 1)) return "a function is no plain data";
	lua_pushvalue(c->from, index);
	lua_getinfo(c->from, ">S", &ar);
	lua_pushinteger(c->to, ar.linedefined);
	lua_pushinteger(c->to, ar.lastlinedefined);
	lua_pushcclosure(c->to, function_lines, 2);
	return NULL;
}

/* The member whose key and value are on top of `from`, into the table at `target` of `to`. */
static const char *copy_member(copying *c, int target, unsigned depth)
{
	int key = lua_gettop(c->from) - 1;
	int kind = lua_type(c->from, key);
	if (kind != LUA_TSTRING && !lua_isinteger(c->from, key))
		return "a key is neither text nor a whole number";
	const char *wrong = copy_value(c, key, depth);
	if (wrong) return wrong;
	wrong = copy_value(c, key + 1, depth);
	if (wrong) {
		lua_pop(c->to, 1);
		return wrong;
	}
	lua_rawset(c->to, target);
	return NULL;
}

/* An empty table of the right size, which saves growing it member by member. */
static void push_table_like(copying *c, int index)
{
	int list = (int)lua_rawlen(c->from, index), members = 0;
	for (lua_pushnil(c->from); lua_next(c->from, index) && members < POLICY_MAX_NODES;
	     lua_pop(c->from, 1))
		members++;
	if (members == POLICY_MAX_NODES) lua_pop(c->from, 2);
	if (list > members) list = members;
	lua_createtable(c->to, list, members - list);
}

static bool takes_too_long(copying *c)
{
	if (++c->tables % TABLES_A_LOOK != 0) return false;
	uint64_t now = policy_thread_ns();
	if (c->until_ns == 0) c->until_ns = now + MAX_COPY_NS;
	return now > c->until_ns;
}

static const char *copy_table(copying *c, int index, unsigned depth)
{
	if (depth == POLICY_MAX_DEPTH) return "tables are nested too deeply";
	if (!lua_checkstack(c->from, 4)) return "tables are nested too deeply";
	if (takes_too_long(c)) return "it takes too long to copy";
	luaL_checkstack(c->to, 6, NULL);
	push_table_like(c, index);
	int target = lua_gettop(c->to); /* `to` may be `from` */
	lua_pushnil(c->from);
	while (lua_next(c->from, index)) {
		const char *wrong = copy_member(c, target, depth + 1);
		if (wrong) {
			lua_pop(c->from, 2);
			lua_pop(c->to, 1);
			return wrong;
		}
		lua_pop(c->from, 1);
	}
	return NULL;
}

static const char *copy_string(copying *c, int index)
{
	size_t len;
	const char *text = lua_tolstring(c->from, index, &len);
	if (len > POLICY_MAX_STRING) return "a text is longer than 65536 bytes";
	c->bytes += len;
	if (c->bytes > POLICY_MAX_COPIED) return "it has more than 4 MiB of text";
	lua_pushlstring(c->to, text, len);
	return NULL;
}

static const char *copy_value(copying *c, int index, unsigned depth)
{
	if (++c->nodes > POLICY_MAX_NODES) return "it has too many values";
	switch (lua_type(c->from, index)) {
	case LUA_TNONE:
	case LUA_TNIL:
		lua_pushnil(c->to);
		return NULL;
	case LUA_TBOOLEAN:
		lua_pushboolean(c->to, lua_toboolean(c->from, index));
		return NULL;
	case LUA_TNUMBER:
		if (lua_isinteger(c->from, index))
			lua_pushinteger(c->to, lua_tointeger(c->from, index));
		else
			lua_pushnumber(c->to, lua_tonumber(c->from, index));
		return NULL;
	case LUA_TSTRING:
		return copy_string(c, index);
	case LUA_TTABLE:
		return copy_table(c, index, depth);
	case LUA_TFUNCTION:
		return copy_function(c, index);
	default:
		return "a value is no plain data";
	}
}

const char *policy_copy(lua_State *to, lua_State *from, int index, bool functions)
{
	copying c = { .to = to, .from = from, .functions = functions };
	return copy_value(&c, lua_absindex(from, index), 0);
}

/* ---- facts ------------------------------------------------------------------------------------ */

/* A proxy has two values: the facts, and the names of those that there can be (or nil). */

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
	const char *wrong = policy_copy(L, L, -1, false);
	if (wrong) return luaL_error(L, "%s", wrong);
	lua_remove(L, -2);
	lua_pushnil(L);
	return 3;
}

void policy_define_facts(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "__index", facts_index },
		{ "__newindex", facts_newindex },
		{ "__pairs", facts_pairs },
		{ NULL, NULL },
	};
	policy_vm *vm = policy_vm_of(L);
	luaL_newlib(L, methods);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	vm->facts_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}

void policy_protect_facts(lua_State *L, int known)
{
	policy_vm *vm = policy_vm_of(L);
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
