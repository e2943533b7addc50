/*
 * What a policy may use: bytes, instructions, and as a net under both the thread's CPU time.
 *
 * A count hook alone does not hold: one instruction can copy a long string, compare two, or
 * sort a table. So every byte that is allocated and every loop of a library function is
 * charged to the same budget, and strings are bounded. What is left (comparing long strings,
 * passing many arguments on) is found by the clock, which is looked at between instructions.
 */
#include "policy/vm.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define STEP 100            /* instructions between two looks at the clock */
#define BYTES_PER_CHARGE 32 /* bytes allocated, by instructions charged */
#define MAX_REFUSED 2       /* full collections that a call may cause */

policy_vm *policy_vm_of(lua_State *L)
{
	return *(policy_vm **)lua_getextraspace(L);
}

/* ---- ending a call -------------------------------------------------------------------------- */

static void budget_hook(lua_State *L, lua_Debug *ar);

static int hook_mask(const policy_vm *vm)
{
	return vm->trace ? LUA_MASKCOUNT | LUA_MASKRET : LUA_MASKCOUNT;
}

/* File and line of the innermost Lua function as "access.lua:12: ", or "". Allocates nothing. */
static void find_where(lua_State *L, char *text, size_t size)
{
	lua_Debug ar;
	text[0] = '\0';
	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline <= 0) continue;
		snprintf(text, size, "%s:%d: ", ar.short_src, ar.currentline);
		return;
	}
}

/* From now on the hook comes at each instruction and throws. May be called while allocating. */
static void end_call(policy_vm *vm, policy_end end, const char *text)
{
	if (vm->ended != POLICY_RUNS) return;
	char where[POLICY_MAX_WHERE];
	vm->ended = end;
	find_where(vm->L, where, sizeof(where));
	snprintf(vm->end_text, sizeof(vm->end_text), "%s%s", where, text);
	lua_sethook(vm->L, budget_hook, hook_mask(vm), 1);
}

/* The value that is thrown needs no memory; what it means is in the VM. */
static int throw_end(lua_State *L, policy_vm *vm)
{
	lua_pushlightuserdata(L, vm);
	return lua_error(L);
}

int policy_stop(lua_State *L, policy_end end, const char *text)
{
	policy_vm *vm = policy_vm_of(L);
	end_call(vm, end, text);
	return throw_end(L, vm);
}

/* ---- instructions ---------------------------------------------------------------------------- */

uint64_t policy_thread_ns(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A call that needs more than one step is timed from there on: most never look at the clock. */
static bool out_of_time(policy_vm *vm)
{
	uint64_t now = policy_thread_ns();
	if (vm->until_ns == 0) vm->until_ns = now + vm->cpu_ns;
	return now > vm->until_ns;
}

static bool out_of_budget(policy_vm *vm)
{
	return vm->spent > vm->budget;
}

static void next_step(policy_vm *vm)
{
	/* One more than is left: the hook comes before an instruction, and all of them may run. */
	uint64_t left = vm->budget - vm->spent + 1;
	vm->step = left < STEP ? (unsigned)left : STEP;
	lua_sethook(vm->L, budget_hook, hook_mask(vm), (int)vm->step);
}

static void note_return(lua_State *L, policy_vm *vm, lua_Debug *ar)
{
	lua_getinfo(L, "Sl", ar);
	if (ar->currentline <= 0) return;
	snprintf(vm->decided_in, sizeof(vm->decided_in), "%s", ar->short_src);
	vm->decided_line = ar->currentline;
}

static void budget_hook(lua_State *L, lua_Debug *ar)
{
	policy_vm *vm = policy_vm_of(L);
	if (ar->event == LUA_HOOKRET) {
		note_return(L, vm, ar);
		return;
	}
	if (vm->ended == POLICY_RUNS) {
		vm->spent += vm->step;
		if (out_of_budget(vm) || out_of_time(vm)) end_call(vm, POLICY_OVERRUN, "it runs too long");
	}
	if (vm->ended != POLICY_RUNS) throw_end(L, vm);
	next_step(vm);
}

void policy_charge(lua_State *L, size_t work)
{
	policy_vm *vm = policy_vm_of(L);
	vm->spent += work;
	if (out_of_budget(vm)) policy_stop(L, POLICY_OVERRUN, "it runs too long");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool has_room(policy_vm *vm, size_t growth, size_t new_size, bool string)
{
	if (string && new_size > POLICY_MAX_STRING + 64) {
		end_call(vm, POLICY_MEMORY, "a string is longer than 65536 bytes");
		return false;
	}
	if (vm->ended == POLICY_MEMORY) return false;
	if (growth <= vm->max_bytes - vm->bytes) return true;
	find_where(vm->L, vm->refused_at, sizeof(vm->refused_at));
	/* Lua collects its garbage now and asks again; that often is what a call may cost. */
	if (++vm->refused > MAX_REFUSED) end_call(vm, POLICY_MEMORY, "it needs too much memory");
	return false;
}

void *policy_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
	policy_vm *vm = context;
	size_t held = block ? old_size : 0; /* without a block, old_size is the kind of the object */
	if (new_size == 0) {
		kms_heap_free(block);
		vm->bytes -= held;
		return NULL;
	}
	if (new_size > held) {
		bool running = vm->L != NULL;
		bool string = !block && (old_size & 0xf) == LUA_TSTRING;
		if (running && !has_room(vm, new_size - held, new_size, string)) return NULL;
		vm->spent += (new_size - held) / BYTES_PER_CHARGE;
		if (running && out_of_budget(vm)) end_call(vm, POLICY_OVERRUN, "it runs too long");
	}
	void *moved = kms_heap_resize(block, new_size);
	/* Shrinking never fails, as Lua demands. */
	if (!moved && new_size <= held) return block;
	if (moved) vm->bytes = vm->bytes - held + new_size;
	return moved;
}

/* ---- protected calls -------------------------------------------------------------------------- */

/* Gives an error that is no text, or has no place, one: "access.lua:12: it raised a table". */
static int describe_error(lua_State *L)
{
	policy_vm *vm = policy_vm_of(L);
	if (vm->ended != POLICY_RUNS) return 1;
	if (lua_type(L, 1) == LUA_TSTRING) return 1;
	char where[POLICY_MAX_WHERE];
	find_where(L, where, sizeof(where));
	lua_pushfstring(L, "%sit raised a %s", where, luaL_typename(L, 1));
	return 1;
}

/* What a failed call left on the stack becomes the text of its end. */
static void note_failure(policy_vm *vm, int status)
{
	lua_State *L = vm->L;
	if (vm->ended != POLICY_RUNS) return;
	vm->ended = status == LUA_ERRMEM ? POLICY_MEMORY : POLICY_ERROR;
	if (status == LUA_ERRMEM)
		snprintf(vm->end_text, sizeof(vm->end_text), "%sit needs too much memory", vm->refused_at);
	else if (lua_type(L, -1) == LUA_TSTRING)
		snprintf(vm->end_text, sizeof(vm->end_text), "%s", lua_tostring(L, -1));
	else
		snprintf(vm->end_text, sizeof(vm->end_text), "it raised an error");
}

void policy_rest(policy_vm *vm)
{
	lua_settop(vm->L, 0);
	vm->refused = 0;
	vm->spent = 0;
	vm->until_ns = 0;
	vm->ended = POLICY_RUNS;
	vm->end_text[0] = '\0';
	vm->refused_at[0] = '\0';
}

policy_end policy_run(policy_vm *vm, uint64_t instructions, lua_CFunction function, void *context)
{
	lua_State *L = vm->L;
	policy_rest(vm);
	vm->budget = instructions;
	vm->decided_line = 0;
	next_step(vm);
	lua_pushcfunction(L, describe_error);
	lua_pushcfunction(L, function);
	lua_pushlightuserdata(L, context);
	int status = lua_pcall(L, 1, LUA_MULTRET, 1);
	if (status != LUA_OK) note_failure(vm, status);
	lua_sethook(L, NULL, 0, 0);
	if (vm->ended == POLICY_RUNS) {
		lua_remove(L, 1);
		return POLICY_RUNS;
	}
	lua_settop(L, 0);
	return vm->ended;
}
