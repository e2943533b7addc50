/* One call of a hook: facts in, a checked verdict and the effects of the helpers out. */
#include "policy/vm_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct calling {
	lua_State *host;
	const vm_hook *hook;
	vm_decision decision;
} calling;

static bool is_suspended(const calling *c, unsigned rule)
{
	const uint8_t *set32 = c->hook->suspended32;
	return set32 && set32[(rule - 1) / 8] & (1u << (rule - 1) % 8);
}

static void let_through(calling *c, unsigned rule)
{
	c->decision.let_through32[(rule - 1) / 8] |= (uint8_t)(1u << (rule - 1) % 8);
	c->decision.let_through_count++;
}

/* Pushes what the path names ("access.derive", "routes.extra.2.handler"): a function, a list of
 * rules, or nil; returns its type. */
static int push_hook(lua_State *L, const vm_state *vm, const calling *c)
{
	int kind = lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	for (const char *part = c->hook->path; kind == LUA_TTABLE && *part;) {
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

/* Facts as a read-only table; a list, which a hook may reorder, as a copy. */
static void push_argument(lua_State *L, calling *c, int arg, int known)
{
	const char *wrong = vm_copy(L, vm_of(L), c->host, arg, VM_FUNCTIONS_REFUSED);
	if (wrong) vm_stop(L, VM_NONSENSE, wrong);
	if (lua_istable(L, -1) && !(c->hook->kind == VM_LIST && arg == c->hook->first))
		vm_protect_facts(L, known);
}

/* Pushes the arguments; returns how many. */
static int push_arguments(lua_State *L, vm_state *vm, calling *c)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->known);
	bool listed = lua_getfield(L, -1, c->hook->path) == LUA_TTABLE;
	int known = listed ? lua_gettop(L) : 0;
	for (int arg = c->hook->first; arg <= c->hook->last; arg++)
		push_argument(L, c, arg, known);
	return c->hook->last - c->hook->first + 1;
}

/* Calls the function on top with `count` values from `first` on, and leaves its verdict instead. */
static void call_function(lua_State *L, vm_state *vm, const calling *c, int first, int count)
{
	vm->hook = lua_gettop(L);
	lua_pushvalue(L, vm->hook);
	for (int n = 0; n < count; n++)
		lua_pushvalue(L, first + n);
	lua_call(L, count, 2);
	vm_check_verdict(L, vm->hook + 1, c->hook->kind);
	lua_remove(L, vm->hook);
}

/* Rules in their order, until one that is not suspended has an opinion. */
static int call_rules(lua_State *L, vm_state *vm, calling *c, int rules, int first, int count)
{
	lua_Unsigned length = lua_rawlen(L, rules);
	if (length > VM_MAX_RULES) return vm_stop(L, VM_NONSENSE, "there are more than 256 rules");
	for (lua_Unsigned i = 1; i <= length; i++) {
		int base = lua_gettop(L);
		if (lua_rawgeti(L, rules, (lua_Integer)i) == LUA_TTABLE) lua_getfield(L, -1, "decide");
		c->decision.rule = (int)i;
		call_function(L, vm, c, first, count);
		if (!lua_isboolean(L, -1)) {
			if (!is_suspended(c, (unsigned)i)) return 1;
			let_through(c, (unsigned)i);
		}
		lua_settop(L, base);
	}
	c->decision.rule = 0;
	lua_pushboolean(L, 1);
	return 1;
}

static int call_hook(lua_State *L)
{
	vm_state *vm = vm_of(L);
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

vm_end vm_call(vm_decision *decision, vm_state *vm, lua_State *host, const vm_hook *hook)
{
	calling c = { .host = host, .hook = hook };
	/* Copying needs room on the host's stack and must not have to ask for it inside the VM. */
	luaL_checkstack(host, 4 * VM_MAX_DEPTH + 8, NULL);
	vm->wall_ms = hook->wall_ms;
	vm->mono_ms = hook->mono_ms;
	vm->in_hook = true;
	vm->effect_count = 0;
	vm_end end = vm_run(vm, vm->instructions, call_hook, &c);
	if (end != VM_COMPLETE) c.decision = (vm_decision){ .rule = 0 };
	*decision = c.decision;
	return end;
}

const char *vm_push_result(lua_State *host, vm_state *vm)
{
	return vm_copy(host, vm, vm->L, 1, VM_FUNCTIONS_REFUSED);
}

void vm_push_effects(lua_State *host, vm_state *vm)
{
	lua_State *L = vm->L;
	if (vm->effect_count == 0) {
		lua_pushnil(host);
		return;
	}
	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->effects);
	unsigned kept = vm->effect_count < VM_MAX_EFFECTS ? vm->effect_count : VM_MAX_EFFECTS;
	lua_createtable(host, (int)kept, 0);
	for (unsigned i = 1; i <= kept; i++) {
		lua_rawgeti(L, 1, (lua_Integer)i);
		if (!vm_copy(host, vm, L, 2, VM_FUNCTIONS_REFUSED)) lua_rawseti(host, -2, (lua_Integer)i);
		lua_settop(L, 1);
	}
	if (vm->effect_count > kept) {
		lua_pushinteger(host, vm->effect_count - kept);
		lua_setfield(host, -2, "dropped");
	}
	lua_settop(L, 0);
}
