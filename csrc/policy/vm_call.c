/* One call of a hook: facts in, a checked verdict and the notes of the helpers out. */
#include "policy/vm.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ARGS 4
#define MAX_RULES 256

int policy_push_end(lua_State *host, const policy_vm *vm)
{
	static const char *const names[] = { "", "overrun", "memory", "error", "nonsense" };
	bind_fail_text(host, KMS_ERR_POLICY, vm->end_text);
	lua_pushstring(host, names[vm->ended]);
	return 4;
}

typedef struct calling {
	lua_State *host;
	const char *path;
	policy_kind kind;
	int first_arg, last_arg;
	int rule; /* that decided, in a list of rules; 0: none */
} calling;

/* Pushes what the path names ("access.derive", "routes.extra.2.handler"): a function, a list of
 * rules, or nil; returns its type. */
static int push_hook(lua_State *L, const policy_vm *vm, const calling *c)
{
	int kind = lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	for (const char *part = c->path; kind == LUA_TTABLE && *part;) {
		size_t len = strcspn(part, ".");
		if (*part >= '0' && *part <= '9') {
			kind = lua_rawgeti(L, -1, (lua_Integer)strtol(part, NULL, 10));
		} else {
			lua_pushlstring(L, part, len);
			kind = lua_rawget(L, -2);
		}
		lua_replace(L, -2);
		part += len + (part[len] == '.');
	}
	return kind;
}

/* Facts as a read-only table; what is handed over to be changed (a list) as a copy. */
static void push_argument(lua_State *L, calling *c, int arg, int known)
{
	const char *wrong = policy_copy(L, c->host, arg, false);
	if (wrong) policy_stop(L, POLICY_NONSENSE, wrong);
	if (lua_istable(L, -1) && !(c->kind == POLICY_LIST && arg == c->first_arg))
		policy_protect_facts(L, known);
}

/* Pushes the arguments; returns how many. */
static int push_arguments(lua_State *L, policy_vm *vm, calling *c)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->known);
	bool listed = lua_getfield(L, -1, c->path) == LUA_TTABLE;
	int known = listed ? lua_gettop(L) : 0;
	for (int arg = c->first_arg; arg <= c->last_arg; arg++)
		push_argument(L, c, arg, known);
	return c->last_arg - c->first_arg + 1;
}

/* Calls the function on top with `count` values from `first` on, and leaves its verdict instead. */
static void call_function(lua_State *L, policy_vm *vm, const calling *c, int first, int count)
{
	vm->hook = lua_gettop(L);
	lua_pushvalue(L, vm->hook);
	for (int n = 0; n < count; n++)
		lua_pushvalue(L, first + n);
	lua_call(L, count, 2);
	policy_check_verdict(L, vm->hook + 1, c->kind);
	lua_remove(L, vm->hook);
}

/* Rules in their order, until one has an opinion. */
static int call_rules(lua_State *L, policy_vm *vm, calling *c, int rules, int first, int count)
{
	lua_Unsigned length = lua_rawlen(L, rules);
	if (length > MAX_RULES) return policy_stop(L, POLICY_NONSENSE, "there are more than 256 rules");
	for (lua_Unsigned i = 1; i <= length; i++) {
		int base = lua_gettop(L);
		if (lua_rawgeti(L, rules, (lua_Integer)i) == LUA_TTABLE) lua_getfield(L, -1, "decide");
		c->rule = (int)i;
		call_function(L, vm, c, first, count);
		if (!lua_isboolean(L, -1)) return 1;
		lua_settop(L, base);
	}
	c->rule = 0;
	lua_pushboolean(L, 1);
	return 1;
}

static int call_hook(lua_State *L)
{
	policy_vm *vm = policy_vm_of(L);
	calling *c = lua_touserdata(L, 1);
	int kind = push_hook(L, vm, c);
	int hook = lua_gettop(L);
	if (kind == LUA_TNIL) {
		lua_pushboolean(L, 1);
		return 1;
	}
	int count = push_arguments(L, vm, c);
	int first = lua_gettop(L) - count + 1;
	if (kind == LUA_TTABLE) return call_rules(L, vm, c, hook, first, count);
	lua_pushvalue(L, hook);
	call_function(L, vm, c, first, count);
	return 1;
}

/* Pushes the log lines and counters of the call, nil where there are none; never throws in L. */
static void push_notes(lua_State *host, const policy_vm *vm)
{
	lua_State *L = vm->L;
	if (vm->notes == 0) {
		lua_pushnil(host);
		return;
	}
	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->noted);
	unsigned kept = vm->notes < POLICY_MAX_NOTES ? vm->notes : POLICY_MAX_NOTES;
	lua_createtable(host, (int)kept, 0);
	for (unsigned i = 1; i <= kept; i++) {
		lua_rawgeti(L, 1, (lua_Integer)i);
		if (!policy_copy(host, L, 2, false)) lua_rawseti(host, -2, (lua_Integer)i);
		lua_settop(L, 1);
	}
	if (vm->notes > kept) {
		lua_pushinteger(host, vm->notes - kept);
		lua_setfield(host, -2, "dropped");
	}
	lua_settop(L, 0);
}

static policy_kind check_kind(lua_State *host, int arg)
{
	static const char *const kinds[] = { "verdict", "number", "ban", "list", "data", NULL };
	return (policy_kind)luaL_checkoption(host, arg, NULL, kinds);
}

int policy_call(lua_State *host, policy_vm *vm)
{
	calling c = { .host = host, .path = luaL_checkstring(host, 2), .first_arg = 6 };
	if (!strchr(c.path, '.')) luaL_argerror(host, 2, "not the path of a hook");
	c.kind = check_kind(host, 3);
	vm->wall_ms = bind_arg_integer(host, 4, 0, LUA_MAXINTEGER);
	vm->mono_ms = (uint64_t)bind_arg_integer(host, 5, 0, LUA_MAXINTEGER);
	c.last_arg = lua_gettop(host);
	if (c.last_arg > 5 + MAX_ARGS) luaL_argerror(host, c.last_arg, "too many");
	/* Copying needs room here and must not have to ask for it inside the VM. */
	luaL_checkstack(host, 4 * POLICY_MAX_DEPTH + 8, NULL);
	vm->in_hook = true;
	vm->notes = 0;
	policy_end end = policy_run(vm, vm->instructions, call_hook, &c);
	if (end != POLICY_RUNS) {
		int count = policy_push_end(host, vm);
		push_notes(host, vm);
		return count + 1;
	}
	const char *wrong = policy_copy(host, vm->L, 1, false);
	if (wrong) return bind_fail_text(host, KMS_ERR_POLICY, wrong);
	push_notes(host, vm);
	if (c.rule == 0) return 2;
	lua_pushinteger(host, c.rule);
	return 3;
}
