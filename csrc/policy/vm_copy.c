/*
 * Plain data between the node's state and a policy's: nil, booleans, numbers, strings, and
 * tables of them. Each side gets values of its own; nothing is ever shared.
 */
#include "policy/vm_internal.h"

#include <string.h>

/* Visiting an emptied table takes as long as it took when it was full, and it can be there many times. */
#define TABLES_A_LOOK 16 /* between two looks at the safety net */

typedef struct copying {
	vm_state *vm; /* whose safety net applies */
	lua_State *to, *from;
	unsigned nodes, tables;
	size_t bytes; /* of text: a policy can hold one long text a thousand times at no cost */
	vm_functions functions;
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
	if (c->functions == VM_FUNCTIONS_REFUSED || !lua_checkstack(c->from, 1))
		return "a function is no plain data";
	lua_pushvalue(c->from, index);
	if (c->functions == VM_FUNCTIONS_SHARED) return NULL;
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
	for (lua_pushnil(c->from); lua_next(c->from, index) && members < VM_MAX_NODES; lua_pop(c->from, 1))
		members++;
	if (members == VM_MAX_NODES) lua_pop(c->from, 2);
	if (list > members) list = members;
	lua_createtable(c->to, list, members - list);
}

static bool takes_too_long(copying *c)
{
	return ++c->tables % TABLES_A_LOOK == 0 && vm_net_reached(c->vm);
}

static const char *copy_table(copying *c, int index, unsigned depth)
{
	if (depth == VM_MAX_DEPTH) return "tables are nested too deeply";
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
	if (len > VM_MAX_STRING) return "a text is longer than 65536 bytes";
	c->bytes += len;
	if (c->bytes > VM_MAX_COPIED) return "it has more than 4 MiB of text";
	lua_pushlstring(c->to, text, len);
	return NULL;
}

static const char *copy_value(copying *c, int index, unsigned depth)
{
	if (++c->nodes > VM_MAX_NODES) return "it has too many values";
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

const char *vm_copy(lua_State *to, vm_state *vm, lua_State *from, int index, vm_functions functions)
{
	copying c = { .vm = vm, .to = to, .from = from, .functions = functions };
	return copy_value(&c, lua_absindex(from, index), 0);
}
