/*
 * What the files of the policy VM share. `L` is the VM's state. A function that may throw does so in the
 * state that it was given. Nothing may throw in the host while the VM runs: that would unwind through the
 * VM's frames. So inside the VM the host's values are read only by calls that neither throw nor allocate.
 */
#ifndef VM_INTERNAL_H
#define VM_INTERNAL_H

#include "policy/vm.h"

#include <lauxlib.h>

#define VM_MAX_WHERE 80 /* bytes of a file and a line */

struct vm_state {
	lua_State *L;
	size_t bytes, max_bytes;
	unsigned refused; /* allocations that found no room, in this call */
	unsigned made;    /* blocks, while the state is opened */
	void *stack;      /* the block of L's stack; NULL: not known */
	size_t stack_bytes;
	/* Budget of the running call, in units of work (vm.h). */
	uint64_t instructions; /* of a call; loading may spend more */
	uint64_t budget, spent;
	unsigned step;         /* instructions until the hook comes next */
	uint64_t net_until_ns; /* CPU time at which the safety net stops it; 0: not looked at yet */
	vm_end ended;
	char end_text[VM_MAX_TEXT]; /* where and why */
	bool placed;                /* end_text says where */
	char refused_at[VM_MAX_WHERE];
	/* What the helpers see. */
	int hook;     /* stack index of the function that was called */
	bool in_hook; /* false while a file is loaded */
	int64_t wall_ms;
	uint64_t mono_ms;
	kms_buckets *buckets;
	kms_store *store;
	unsigned effect_count;
	bool trace;
	char return_file[64];
	int return_line;
	/* References into the VM's registry. */
	int env, files, provided, effects, facts_meta, known;
};

/* The VM that a state belongs to. */
vm_state *vm_of(lua_State *L);

/* ---- vm_budget.c: allocator, hook, protected calls ---- */

/* The allocator of the state; `context` is the VM. */
void *vm_alloc(void *context, void *block, size_t old_size, size_t new_size);

/* Makes sure that vm->stack is the block of L's stack, which is empty, or forgets it. */
void vm_check_stack(vm_state *vm);

/*
 * Runs `function` with `context` as light userdata, protected, with a fresh budget. Returns VM_COMPLETE, its
 * results left on the VM's stack from 1 on; or why it ended, the text of it in end_text and the stack empty.
 */
vm_end vm_run(vm_state *vm, uint64_t budget, lua_CFunction function, void *context);

/* Forgets how the last call ended, and empties the stack: for reading without a call. */
void vm_reset(vm_state *vm);

/* Whether the safety net stops what runs; the first look starts its clock. */
bool vm_net_reached(vm_state *vm);

/* Charges units of work that are done inside one instruction; throws once the budget is spent. */
void vm_charge(lua_State *L, size_t work);

/* Ends the running call from inside; pcall cannot catch it. Throws. */
int vm_stop(lua_State *L, vm_end end, const char *text);

/* ---- vm_library.c: what the libraries are made with ---- */

/* Replaces the table on top by a proxy that reads from it and refuses writes and unknown names. */
void vm_lock(lua_State *L, const char *name);
/* Adds functions of one of Lua's own libraries: the library at `from`, the target on top. */
void vm_pick(lua_State *L, int from, const char *const *names);
/* Adds `function` to the table on top, with the library's function of that name as its upvalue. */
void vm_wrap(lua_State *L, int from, const char *name, lua_CFunction function);
/* For vm_wrap: calls the upvalue. */
int vm_call_original(lua_State *L);
/* For vm_wrap: charges for the arguments, then calls the upvalue. */
int vm_call_charged(lua_State *L);
/* Charges for each argument, and for the bytes of those that are text. */
void vm_charge_arguments(lua_State *L);
/* What a policy sees of a value that has no text: its type, never an address. */
void vm_push_shown(lua_State *L, int arg);

/* ---- the libraries: each pushes its table ---- */

void vm_push_base(lua_State *L);
void vm_push_math(lua_State *L);
void vm_push_utf8(lua_State *L);
void vm_push_string(lua_State *L);
void vm_push_table(lua_State *L);
void vm_push_kms(lua_State *L);

/* vm_open.c: opens them and takes everything else away; in a protected call of L. */
int vm_open_libraries(lua_State *L);

/* ---- vm_copy.c, vm_facts.c: plain data ---- */

/* What a copy does with functions. */
typedef enum vm_functions {
	VM_FUNCTIONS_REFUSED,
	VM_FUNCTIONS_AS_LINES, /* functions that return the lines which they cover */
	VM_FUNCTIONS_SHARED,   /* the functions themselves, within one state */
} vm_functions;

/*
 * Copies the value at `index` of `from` (read without throwing) to the top of `to` (may throw there). One of
 * them is the VM's state, or both are. Returns NULL, or what is wrong with the value (static text), with
 * nothing pushed.
 */
const char *vm_copy(lua_State *to, vm_state *vm, lua_State *from, int index, vm_functions functions);

/* Replaces the table of facts on top of L by a read-only proxy; `known` at an index, or 0. */
void vm_protect_facts(lua_State *L, int known);
/* Defines the proxy's metatable (protected call). */
void vm_define_facts(lua_State *L);

/* ---- vm_verdict.c ---- */

/*
 * Checks the results from `first` to the top of L and replaces them by one value: true (no opinion), or what
 * the kind says, complete and within bounds. Throws by vm_stop.
 */
void vm_check_verdict(lua_State *L, int first, vm_kind kind);

#endif
