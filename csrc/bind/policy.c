/* kms.policy_vm: operators' policies in a VM of their own (csrc/policy), and the token buckets of kms.limit.
 */
#include "bind/bind.h"

#include <string.h>

#include "bind/options.h"
#include "bind/store.h"
#include "bind/topics.h"
#include "kms/limit.h"
#include "policy/vm.h"

static void vm_release(void *object)
{
	vm_free(object);
}

static void buckets_release(void *object)
{
	kms_buckets_free(object);
}

static const bind_type vm_type;
static const bind_type buckets_type = { "kms.policy_buckets", buckets_release, NULL, false };

static vm_state *check_vm(lua_State *L)
{
	return bind_check(L, 1, &vm_type);
}

/* Pushes nil, what happened, "ERR_POLICY", and which kind of end it was; returns 4. */
static int push_end(lua_State *L, const vm_state *vm, vm_end end)
{
	static const char *const names[] = { "", "overrun", "memory", "error", "nonsense" };
	bind_fail_text(L, KMS_ERR_POLICY, vm_end_text(vm));
	lua_pushstring(L, names[end]);
	return 4;
}

/* vm:load(name, source) -> true | nil, message with file and line, code, kind of end */
static int policy_load(lua_State *L)
{
	vm_state *vm = check_vm(L);
	kms_text source;
	const char *name = luaL_checkstring(L, 2);
	source.text = luaL_checklstring(L, 3, &source.len);
	if (strlen(name) > VM_MAX_NAME || strpbrk(name, ".%"))
		luaL_argerror(L, 2, "not the name of a policy");
	if (source.len > VM_MAX_SOURCE) luaL_argerror(L, 3, "is longer than 256 KiB");
	vm_end end = vm_load(vm, name, source);
	if (end != VM_COMPLETE) return push_end(L, vm, end);
	lua_pushboolean(L, 1);
	return 1;
}

/*
 * vm:read(name) -> plain copy of what the file returned | nil, message, code. Functions of the copy return
 * the first and the last line of the policy's functions that they stand for.
 */
static int policy_read(lua_State *L)
{
	vm_state *vm = check_vm(L);
	const char *wrong = vm_read(L, vm, luaL_checkstring(L, 2));
	return wrong ? bind_fail_text(L, KMS_ERR_POLICY, wrong) : 1;
}

/* Pushes the list of the rules in a set, or nil when it is empty. */
static void push_rules(lua_State *L, const vm_decision *decision)
{
	if (decision->let_through_count == 0) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, decision->let_through_count, 0);
	for (int rule = 1, at = 0; rule <= VM_MAX_RULES; rule++) {
		if (!(decision->let_through32[(rule - 1) / 8] & (1u << (rule - 1) % 8))) continue;
		lua_pushinteger(L, rule);
		lua_rawseti(L, -2, ++at);
	}
}

/* Calls the hook at 2 to 5 with the facts from `first` on; pushes and returns as policy_call says. */
static int call(lua_State *L, int first, const uint8_t *suspended32)
{
	static const char *const kinds[] = { "verdict", "number", "ban", "list", "data", NULL };
	vm_state *vm = check_vm(L);
	vm_decision decision;
	vm_hook hook = { .path = luaL_checkstring(L, 2),
			 .first = first,
			 .last = lua_gettop(L),
			 .suspended32 = suspended32 };
	if (!strchr(hook.path, '.')) luaL_argerror(L, 2, "not the path of a hook");
	hook.kind = (vm_kind)luaL_checkoption(L, 3, NULL, kinds);
	hook.wall_ms = bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	hook.mono_ms = (uint64_t)bind_arg_integer(L, 5, 0, LUA_MAXINTEGER);
	if (hook.last >= hook.first + VM_MAX_ARGUMENTS) luaL_argerror(L, hook.last, "too many");
	vm_end end = vm_call(&decision, vm, L, &hook);
	if (end != VM_COMPLETE) {
		int count = push_end(L, vm, end);
		vm_push_effects(L, vm);
		return count + 1;
	}
	const char *wrong = vm_push_result(L, vm);
	if (wrong) return bind_fail_text(L, KMS_ERR_POLICY, wrong);
	vm_push_effects(L, vm);
	if (decision.rule == 0 && decision.let_through_count == 0) return 2;
	if (decision.rule != 0)
		lua_pushinteger(L, decision.rule);
	else
		lua_pushnil(L);
	push_rules(L, &decision);
	return 4;
}

/*
 * vm:call("access.derive", kind, wall_ms, mono_ms, facts...) -> result, effects, rule | nil, message with
 * file and line, "ERR_POLICY", "overrun" | "memory" | "error" | "nonsense", effects
 *
 * result: true when the policy has no opinion (or no such hook), else what the kind says; effects: list of
 * log lines and counters, or nil; rule: number of the rule in a list of rules, or nil.
 */
static int policy_call(lua_State *L)
{
	return call(L, 6, NULL);
}

/*
 * vm:call_past(path, kind, wall_ms, mono_ms, suspended, facts...) -> as call, and list of the suspended rules
 * that refused, or nil. suspended: a set of rules in 32 bytes (policy/vm.h); these are called, and what they
 * refuse goes on.
 */
static int policy_call_past(lua_State *L)
{
	return call(L, 7, bind_arg_bytes(L, 6, VM_RULE_BYTES));
}

/*
 * vm:provide("peers", list), vm:provide("store", { ["7"] = { keys =, bytes = } }) -> true | nil, message,
 * code: what kms.peers and kms.store return from now on
 */
static int policy_provide(lua_State *L)
{
	static const char *const names[] = { "peers", "store", NULL };
	vm_state *vm = check_vm(L);
	const char *name = names[luaL_checkoption(L, 2, NULL, names)];
	luaL_checktype(L, 3, LUA_TTABLE);
	vm_end end = vm_provide(vm, L, 3, VM_HELPER_DATA, name);
	if (end != VM_COMPLETE) return push_end(L, vm, end);
	lua_pushboolean(L, 1);
	return 1;
}

/* vm:memory() -> bytes in use, cap */
static int policy_memory(lua_State *L)
{
	size_t max;
	lua_pushinteger(L, (lua_Integer)vm_bytes(&max, check_vm(L)));
	lua_pushinteger(L, (lua_Integer)max);
	return 2;
}

/* vm:work() -> units of work that the last call spent (policy/vm.h) */
static int policy_work(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)vm_work(check_vm(L)));
	return 1;
}

/* vm:decided() -> file, line of the last return of the last call (a VM with trace), or nil */
static int policy_decided(lua_State *L)
{
	const char *file;
	int line = vm_return_line(&file, check_vm(L));
	if (line == 0) return 0;
	lua_pushstring(L, file);
	lua_pushinteger(L, line);
	return 2;
}

static const luaL_Reg vm_methods[] = {
	{ "load", policy_load },           { "read", policy_read },       { "call", policy_call },
	{ "call_past", policy_call_past }, { "provide", policy_provide }, { "memory", policy_memory },
	{ "work", policy_work },           { "decided", policy_decided }, { NULL, NULL },
};
static const bind_type vm_type = { "kms.policy_vm", vm_release, vm_methods, true };

/* policy_buckets(max) -> the token buckets of kms.limit, which outlive a VM | nil, message, code */
static int buckets_new(lua_State *L)
{
	size_t max = (size_t)bind_arg_integer(L, 1, 8, 1000000);
	kms_buckets **box = (kms_buckets **)bind_new(L, &buckets_type);
	kms_status status = kms_buckets_new(box, max);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* Takes what the VM borrows from the options at 1; a table in the user value of the VM on top keeps it alive.
 */
static void borrow(vm_config *config, lua_State *L)
{
	lua_newtable(L);
	config->buckets = bind_option_object(L, 1, "buckets", &buckets_type);
	lua_rawseti(L, -2, 1);
	config->store = bind_option_object(L, 1, "store", &bind_store_type);
	lua_rawseti(L, -2, 2);
	lua_setiuservalue(L, -2, 1);
}

/* The option facts: { ["access.derive"] = { app_id = true, ... } }. 0, or the number of results of a failure.
 */
static int provide_known_facts(lua_State *L, vm_state *vm)
{
	int type = lua_getfield(L, 1, "facts"), facts = lua_gettop(L);
	if (type == LUA_TNIL) return 0;
	if (type != LUA_TTABLE) luaL_argerror(L, 1, "option 'facts' must be a table");
	for (lua_pushnil(L); lua_next(L, facts); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING) luaL_argerror(L, 1, "facts by hook");
		vm_end end = vm_provide(vm, L, lua_gettop(L), VM_KNOWN_FACTS, lua_tostring(L, -2));
		if (end != VM_COMPLETE) return push_end(L, vm, end);
	}
	return 0;
}

/*
 * policy_vm{memory =, instructions =, buckets =, store =, facts =, trace =} -> vm | nil, message, code
 * memory: bytes at the most; instructions: units of work of a call (policy/vm.h); buckets: of policy_buckets
 * (nil: kms.limit lets everything through); store: what kms.store counts; facts: names by hook, others raise
 * an error; trace: remember where a call returned.
 */
static int vm_make(lua_State *L)
{
	static const char *const names[] = { "memory", "instructions", "buckets", "store",
					     "facts",  "trace",        NULL };
	bind_options_check(L, 1, names);
	lua_settop(L, 1);
	vm_config config = {
		.max_bytes = (size_t)bind_option_integer(L, 1, "memory", 65536, 1 << 30, 4 << 20),
		.instructions = (uint64_t)bind_option_integer(L, 1, "instructions", 1, 1 << 30, 50000),
	};
	lua_getfield(L, 1, "trace");
	config.trace = lua_toboolean(L, -1);
	lua_settop(L, 1);
	vm_state **box = (vm_state **)bind_new(L, &vm_type);
	borrow(&config, L);
	kms_status status = vm_new(box, &config);
	if (status != KMS_OK) return bind_fail(L, status);
	int failed = provide_known_facts(L, *box);
	if (failed) return failed;
	lua_settop(L, 2);
	return 1;
}

void bind_add_policy(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "policy_vm", vm_make },
		{ "policy_buckets", buckets_new },
		{ NULL, NULL },
	};
	bind_define(L, &vm_type);
	bind_define(L, &buckets_type);
	luaL_setfuncs(L, functions, 0);
}
