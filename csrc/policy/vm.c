/* The policy VM as the node's Lua sees it: make, load, look at, call (policy_vm.h). */
#include "policy/vm.h"

#include <string.h>

#include "base/mem.h"

#define LOAD_FACTOR 20  /* a file may take as much as so many calls while it is loaded */
#define PIECE_BYTES 256 /* of a file, between two looks at the clock while it is compiled */
#define COMPILE_NS 100000000ull

static void vm_release(void *object)
{
	policy_vm *vm = object;
	if (vm->L) lua_close(vm->L);
	kms_heap_free(vm);
}

static const bind_type vm_type;

static policy_vm *check_vm(lua_State *host)
{
	return bind_check(host, 1, &vm_type);
}

/* ---- load --------------------------------------------------------------------------------------- */

typedef struct loading {
	const char *name, *source;
	size_t source_len; /* of what is still to be read */
	uint64_t until_ns;
} loading;

/*
 * Lua's compiler goes back over what it has read (a chain of `and` takes the square of its length)
 * without an instruction that the budget could count; between two pieces is where it can be stopped.
 */
static const char *read_piece(lua_State *L, void *context, size_t *size)
{
	loading *l = context;
	if (policy_thread_ns() > l->until_ns) policy_stop(L, POLICY_OVERRUN, "it takes too long to compile");
	const char *piece = l->source;
	*size = l->source_len < PIECE_BYTES ? l->source_len : PIECE_BYTES;
	l->source += *size;
	l->source_len -= *size;
	return piece;
}

/* Runs a file in the policies' environment and keeps the table that it returns. */
static int load_file(lua_State *L)
{
	policy_vm *vm = policy_vm_of(L);
	loading *l = lua_touserdata(L, 1);
	const char *chunk = lua_pushfstring(L, "=%s.lua", l->name);
	/* "t": bytecode could do anything to this process. */
	if (lua_load(L, read_piece, l, chunk, "t") != LUA_OK) return lua_error(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->env);
	lua_setupvalue(L, -2, 1);
	lua_call(L, 0, 1);
	if (!lua_istable(L, -1)) return luaL_error(L, "%s.lua does not return a table", l->name);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	lua_insert(L, -2);
	lua_setfield(L, -2, l->name);
	/* What is not needed any more must not count as what the file needs. */
	lua_gc(L, LUA_GCCOLLECT);
	if (vm->bytes > vm->max_bytes / 2)
		return policy_stop(L, POLICY_MEMORY, "it holds more than half of the memory");
	return 0;
}

/* vm:load(name, source) -> true | nil, message with file and line, code, kind of end */
static int vm_load(lua_State *host)
{
	policy_vm *vm = check_vm(host);
	loading l = { luaL_checkstring(host, 2), NULL, 0, policy_thread_ns() + COMPILE_NS };
	l.source = luaL_checklstring(host, 3, &l.source_len);
	if (strlen(l.name) > 32 || strpbrk(l.name, ".%")) luaL_argerror(host, 2, "not the name of a policy");
	if (l.source_len > POLICY_MAX_SOURCE) luaL_argerror(host, 3, "is longer than 256 KiB");
	vm->in_hook = false;
	if (policy_run(vm, vm->instructions * LOAD_FACTOR, load_file, &l) != POLICY_RUNS)
		return policy_push_end(host, vm);
	lua_pushboolean(host, 1);
	return 1;
}

/* vm:read(name) -> plain copy of what the file returned | nil, message: functions of the copy
 * return the first and the last line of the policy's functions that they stand for */
static int vm_read(lua_State *host)
{
	policy_vm *vm = check_vm(host);
	const char *name = luaL_checkstring(host, 2);
	lua_State *L = vm->L;
	policy_rest(vm);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	/* No lua_getfield: making a string of the name could throw here. */
	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		if (strcmp(lua_tostring(L, 2), name) != 0) continue;
		const char *wrong = policy_copy(host, L, 3, true);
		lua_settop(L, 0);
		return wrong ? bind_fail_text(host, KMS_ERR_POLICY, wrong) : 1;
	}
	return bind_fail_text(host, KMS_ERR_POLICY, "not loaded");
}

/*
 * vm:call("access.derive", kind, wall_ms, mono_ms, facts...) -> result, notes, rule: true where
 * the policy has no opinion (or no such hook), else what the kind says; notes: list of log lines
 * and counters or nil; rule: its number in a list of rules
 *	| nil, message with file and line, "ERR_POLICY", "overrun" | "memory" | "error" | "nonsense",
 *	  notes
 */
static int vm_call(lua_State *host)
{
	return policy_call(host, check_vm(host));
}

/* ---- what helpers see, and what can be asked ------------------------------------------------------ */

typedef struct providing {
	lua_State *host;
	const char *name;
	int value, into; /* of the host; reference of the VM */
	const char *wrong;
} providing;

static int provide(lua_State *L)
{
	providing *p = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, p->into);
	p->wrong = policy_copy(L, p->host, p->value, false);
	if (!p->wrong) lua_setfield(L, -2, p->name);
	return 0;
}

/* Copies the value at `arg` of the host into a table of the VM; 0, or 4 results of a failure. */
static int provide_value(lua_State *host, policy_vm *vm, int into, const char *name, int arg)
{
	providing p = { host, name, arg, into, NULL };
	luaL_checkstack(host, 4 * POLICY_MAX_DEPTH + 8, NULL);
	if (policy_run(vm, vm->instructions * LOAD_FACTOR, provide, &p) != POLICY_RUNS)
		return policy_push_end(host, vm);
	return p.wrong ? bind_fail_text(host, KMS_ERR_POLICY, p.wrong) : 0;
}

/* vm:provide("peers", list), vm:provide("store", { ["7"] = { keys =, bytes = } }) -> true | nil,
 * message, code: what kms.peers and kms.store answer from now on */
static int vm_provide(lua_State *host)
{
	static const char *const names[] = { "peers", "store", NULL };
	policy_vm *vm = check_vm(host);
	const char *name = names[luaL_checkoption(host, 2, NULL, names)];
	luaL_checktype(host, 3, LUA_TTABLE);
	int failed = provide_value(host, vm, vm->provided, name, 3);
	if (failed) return failed;
	lua_pushboolean(host, 1);
	return 1;
}

/* vm:memory() -> bytes in use, cap */
static int vm_memory(lua_State *host)
{
	policy_vm *vm = check_vm(host);
	lua_pushinteger(host, (lua_Integer)vm->bytes);
	lua_pushinteger(host, (lua_Integer)vm->max_bytes);
	return 2;
}

/* vm:decided() -> file, line of the last return of the last call (a VM with trace), or nil */
static int vm_decided(lua_State *host)
{
	policy_vm *vm = check_vm(host);
	if (vm->decided_line == 0) return 0;
	lua_pushstring(host, vm->decided_in);
	lua_pushinteger(host, vm->decided_line);
	return 2;
}

static const luaL_Reg vm_methods[] = {
	{ "load", vm_load },     { "read", vm_read },       { "call", vm_call }, { "provide", vm_provide },
	{ "memory", vm_memory }, { "decided", vm_decided }, { NULL, NULL },
};
static const bind_type vm_type = { "kms.policy_vm", vm_release, vm_methods, true };

/* ---- make ------------------------------------------------------------------------------------------ */

static void buckets_release(void *object)
{
	kms_buckets_free(object);
}

static const bind_type buckets_type = { "kms.policy_buckets", buckets_release, NULL, false };

/* policy_buckets(max) -> the token buckets of kms.limit, which outlive a VM | nil, message, code */
static int buckets_new(lua_State *host)
{
	size_t max = (size_t)bind_arg_integer(host, 1, 8, 1000000);
	kms_buckets **box = (kms_buckets **)bind_new(host, &buckets_type);
	kms_status status = kms_buckets_new(box, max);
	return status == KMS_OK ? 1 : bind_fail(host, status);
}

static kms_status vm_open(policy_vm *vm)
{
	lua_State *L = lua_newstate(policy_alloc, vm);
	if (!L) return KMS_ERR_MEMORY;
	*(policy_vm **)lua_getextraspace(L) = vm;
	vm->L = L;
	return policy_run(vm, vm->instructions * LOAD_FACTOR, policy_open_libs, NULL) == POLICY_RUNS
		   ? KMS_OK
		   : KMS_ERR_MEMORY;
}

/* Objects that the VM borrows, kept alive by a table in its user value. */
static void borrow(lua_State *host, policy_vm *vm)
{
	lua_newtable(host);
	lua_getfield(host, 1, "buckets");
	vm->buckets = bind_check_optional(host, lua_gettop(host), &buckets_type);
	lua_rawseti(host, -2, 1);
	lua_getfield(host, 1, "store");
	vm->store = bind_check_optional(host, lua_gettop(host), &bind_store_type);
	lua_rawseti(host, -2, 2);
	lua_setiuservalue(host, -2, 1);
}

/* Which facts each hook can see: { ["access.derive"] = { app_id = true, ... } }. */
static int set_known(lua_State *host, policy_vm *vm)
{
	if (lua_getfield(host, 1, "facts") == LUA_TNIL) return 0;
	int facts = lua_gettop(host);
	luaL_checktype(host, facts, LUA_TTABLE);
	for (lua_pushnil(host); lua_next(host, facts); lua_pop(host, 1)) {
		if (lua_type(host, -2) != LUA_TSTRING) luaL_argerror(host, 1, "facts by hook");
		int failed = provide_value(host, vm, vm->known, lua_tostring(host, -2), lua_gettop(host));
		if (failed) return failed;
	}
	lua_settop(host, facts - 1);
	return 0;
}

/*
 * policy_vm{memory =, instructions =, cpu_ms =, buckets =, store =, facts =, trace =} -> vm | nil,
 * message, code. memory: bytes at the most; instructions: of a call; cpu_ms: a net under both;
 * buckets: of policy_buckets (nil: kms.limit lets everything through); store: what kms.store counts;
 * facts: names by hook, others raise an error; trace: remember where a call returned.
 */
static int vm_new(lua_State *host)
{
	static const char *const names[] = { "memory", "instructions", "cpu_ms", "buckets",
					     "store",  "facts",        "trace",  NULL };
	bind_options_check(host, 1, names);
	lua_settop(host, 1);
	size_t memory = (size_t)bind_option_integer(host, 1, "memory", 65536, 1 << 30, 4 << 20);
	uint64_t instructions = (uint64_t)bind_option_integer(host, 1, "instructions", 1, 1 << 30, 50000);
	uint64_t cpu_ms = (uint64_t)bind_option_integer(host, 1, "cpu_ms", 1, 10000, 20);
	void **box = bind_new(host, &vm_type);
	policy_vm *vm = kms_heap_alloc(1, sizeof(*vm));
	if (!vm) return bind_fail(host, KMS_ERR_MEMORY);
	*box = vm;
	vm->max_bytes = memory;
	vm->instructions = instructions;
	vm->cpu_ns = cpu_ms * 1000000;
	borrow(host, vm);
	kms_status status = vm_open(vm);
	if (status != KMS_OK) return bind_fail(host, status);
	int failed = set_known(host, vm);
	if (failed) return failed;
	lua_getfield(host, 1, "trace");
	vm->trace = lua_toboolean(host, -1);
	lua_settop(host, 2);
	return 1;
}

void bind_add_policy(lua_State *host)
{
	static const luaL_Reg functions[] = {
		{ "policy_vm", vm_new },
		{ "policy_buckets", buckets_new },
		{ NULL, NULL },
	};
	bind_define(host, &vm_type);
	bind_define(host, &buckets_type);
	luaL_setfuncs(host, functions, 0);
}
