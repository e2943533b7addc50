/*
 * The budgets of a policy (vm.h): bytes, units of work, and the safety net.
 *
 * A count of instructions alone does not hold: one instruction can copy a long string or sort a table. So
 * allocations and loops of library functions are charged to the same budget, and strings are bounded.
 */
#include "policy/vm_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define STEP 100          /* instructions between two looks at the budget */
#define BYTES_PER_UNIT 32 /* allocated */
#define MAX_REFUSED 2     /* full collections that a call may cause */

vm_state *vm_of(lua_State *L)
{
	return *(vm_state **)lua_getextraspace(L);
}

/* ---- ending a call -------------------------------------------------------------------------- */

static void budget_hook(lua_State *L, lua_Debug *ar);

static int hook_mask(const vm_state *vm)
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

/* Puts the place before the text of the end, unless it is there. */
static void place_end(vm_state *vm)
{
	if (vm->placed) return;
	char where[VM_MAX_WHERE];
	find_where(vm->L, where, sizeof(where));
	size_t len = strlen(where), kept = strnlen(vm->end_text, sizeof(vm->end_text) - 1 - len);
	memmove(vm->end_text + len, vm->end_text, kept);
	memcpy(vm->end_text, where, len);
	vm->end_text[len + kept] = '\0';
	vm->placed = true;
}

/*
 * From now on the hook runs before each instruction and throws. May be called while allocating. Does not look
 * at the stack: place_end does.
 */
static void end_call(vm_state *vm, vm_end end, const char *text)
{
	if (vm->ended != VM_COMPLETE) return;
	vm->ended = end;
	snprintf(vm->end_text, sizeof(vm->end_text), "%s", text);
	lua_sethook(vm->L, budget_hook, hook_mask(vm), 1);
}

/* The value that is thrown needs no memory; what it means is in the VM. */
static int throw_end(lua_State *L, vm_state *vm)
{
	lua_pushlightuserdata(L, vm);
	return lua_error(L);
}

int vm_stop(lua_State *L, vm_end end, const char *text)
{
	vm_state *vm = vm_of(L);
	end_call(vm, end, text);
	place_end(vm);
	return throw_end(L, vm);
}

/* ---- instructions ---------------------------------------------------------------------------- */

static uint64_t thread_ns(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Calls that take a single step, which most do, never look at the clock. */
bool vm_net_reached(vm_state *vm)
{
	uint64_t now = thread_ns();
	uint64_t allowed = vm->budget * VM_NET_NS_PER_UNIT;
	if (vm->net_until_ns == 0)
		vm->net_until_ns = now + (allowed < VM_NET_MAX_NS ? allowed : VM_NET_MAX_NS);
	return now > vm->net_until_ns;
}

static bool out_of_budget(vm_state *vm)
{
	return vm->spent > vm->budget;
}

static void next_step(vm_state *vm)
{
	/* One more than is left: the hook comes before an instruction, and all of them may run. */
	uint64_t left = vm->budget - vm->spent + 1;
	vm->step = left < STEP ? (unsigned)left : STEP;
	lua_sethook(vm->L, budget_hook, hook_mask(vm), (int)vm->step);
}

static void remember_return(lua_State *L, vm_state *vm, lua_Debug *ar)
{
	lua_getinfo(L, "Sl", ar);
	if (ar->currentline <= 0) return;
	snprintf(vm->return_file, sizeof(vm->return_file), "%s", ar->short_src);
	vm->return_line = ar->currentline;
}

static void budget_hook(lua_State *L, lua_Debug *ar)
{
	vm_state *vm = vm_of(L);
	if (ar->event == LUA_HOOKRET) {
		remember_return(L, vm, ar);
		return;
	}
	if (vm->ended == VM_COMPLETE) {
		vm->spent += vm->step;
		if (out_of_budget(vm) || vm_net_reached(vm)) end_call(vm, VM_OVERRUN, "it runs too long");
	}
	if (vm->ended != VM_COMPLETE) {
		place_end(vm);
		throw_end(L, vm);
	}
	next_step(vm);
}

void vm_charge(lua_State *L, size_t work)
{
	vm_state *vm = vm_of(L);
	vm->spent += work;
	if (out_of_budget(vm)) vm_stop(L, VM_OVERRUN, "it runs too long");
}

/* ---- memory ---------------------------------------------------------------------------------- */

#define STACK_MADE 2 /* lua_newstate makes the state's own block and then that of its stack */

void vm_check_stack(vm_state *vm)
{
	const void *mark = vm;
	lua_pushlightuserdata(vm->L, vm);
	if (vm->stack && !memmem(vm->stack, vm->stack_bytes, &mark, sizeof(mark))) vm->stack = NULL;
	lua_settop(vm->L, 0);
}

/* Whether a block that is resized, or made (NULL), is that of L's stack. */
static bool is_stack(vm_state *vm, const void *block)
{
	if (block) return block == vm->stack;
	return !vm->L && ++vm->made == STACK_MADE;
}

/*
 * Whether the stack can be looked at while a block is resized, or made (NULL). From Lua 5.4.5 on it holds no
 * pointers while its own block is resized. A new block is not it.
 */
static bool has_stack(const vm_state *vm, const void *block)
{
	return !block || (vm->stack && block != vm->stack);
}

/* Where the stack cannot be looked at, the hook says later where that was. */
static void end_in_allocator(vm_state *vm, const void *block, vm_end end, const char *text)
{
	end_call(vm, end, text);
	if (has_stack(vm, block)) place_end(vm);
}

/* In: block - that is resized, or NULL. string - whether the new one is a string's. */
static bool has_room(vm_state *vm, const void *block, size_t growth, size_t new_size, bool string)
{
	if (string && new_size > VM_MAX_STRING + 64) {
		end_in_allocator(vm, block, VM_MEMORY, "a string is longer than 65536 bytes");
		return false;
	}
	if (vm->ended == VM_MEMORY) return false;
	if (growth <= vm->max_bytes - vm->bytes) return true;
	if (has_stack(vm, block)) find_where(vm->L, vm->refused_at, sizeof(vm->refused_at));
	/* Lua collects its garbage now and asks again; that often is what a call may cost. */
	if (++vm->refused > MAX_REFUSED) end_in_allocator(vm, block, VM_MEMORY, "it needs too much memory");
	return false;
}

void *vm_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
	vm_state *vm = context;
	size_t held = block ? old_size : 0; /* without a block, old_size is the kind of the object */
	if (new_size == 0) {
		kms_heap_free(block);
		vm->bytes -= held;
		return NULL;
	}
	if (new_size > held) {
		bool running = vm->L != NULL;
		bool string = !block && (old_size & 0xf) == LUA_TSTRING;
		if (running && !has_room(vm, block, new_size - held, new_size, string)) return NULL;
		vm->spent += (new_size - held) / BYTES_PER_UNIT;
		if (running && out_of_budget(vm)) end_in_allocator(vm, block, VM_OVERRUN, "it runs too long");
	}
	bool stack = is_stack(vm, block);
	void *moved = kms_heap_resize(block, new_size);
	/* Shrinking never fails, as Lua demands. */
	if (!moved && new_size <= held) return block;
	if (!moved) return NULL;
	vm->bytes = vm->bytes - held + new_size;
	if (stack) {
		vm->stack = moved;
		vm->stack_bytes = new_size;
	}
	return moved;
}

/* ---- protected calls -------------------------------------------------------------------------- */

/* Gives an error that is no text, or has no place, one: "access.lua:12: it raised a table". */
static int describe_error(lua_State *L)
{
	vm_state *vm = vm_of(L);
	if (vm->ended != VM_COMPLETE) return 1;
	if (lua_type(L, 1) == LUA_TSTRING) return 1;
	char where[VM_MAX_WHERE];
	find_where(L, where, sizeof(where));
	lua_pushfstring(L, "%sit raised a %s", where, luaL_typename(L, 1));
	return 1;
}

/* What a failed call left on the stack becomes the text of its end. */
static void remember_failure(vm_state *vm, int status)
{
	lua_State *L = vm->L;
	if (vm->ended != VM_COMPLETE) return;
	vm->ended = status == LUA_ERRMEM ? VM_MEMORY : VM_ERROR;
	if (status == LUA_ERRMEM)
		snprintf(vm->end_text, sizeof(vm->end_text), "%sit needs too much memory", vm->refused_at);
	else if (lua_type(L, -1) == LUA_TSTRING)
		snprintf(vm->end_text, sizeof(vm->end_text), "%s", lua_tostring(L, -1));
	else
		snprintf(vm->end_text, sizeof(vm->end_text), "it raised an error");
}

void vm_reset(vm_state *vm)
{
	lua_settop(vm->L, 0);
	vm->refused = 0;
	vm->spent = 0;
	vm->net_until_ns = 0;
	vm->ended = VM_COMPLETE;
	vm->end_text[0] = '\0';
	vm->placed = false;
	vm->refused_at[0] = '\0';
}

vm_end vm_run(vm_state *vm, uint64_t budget, lua_CFunction function, void *context)
{
	lua_State *L = vm->L;
	vm_reset(vm);
	vm->budget = budget;
	vm->return_line = 0;
	next_step(vm);
	lua_pushcfunction(L, describe_error);
	lua_pushcfunction(L, function);
	lua_pushlightuserdata(L, context);
	int status = lua_pcall(L, 1, LUA_MULTRET, 1);
	if (status != LUA_OK) remember_failure(vm, status);
	lua_sethook(L, NULL, 0, 0);
	if (vm->ended == VM_COMPLETE) {
		lua_remove(L, 1);
		return VM_COMPLETE;
	}
	lua_settop(L, 0);
	return vm->ended;
}
