/*
 * The parts of the policy VM: a Lua state of its own for operator policies, with an allocator
 * that counts, a budget of instructions, an allow-list and plain data in and out.
 *
 * Two states meet here: `host`, the node's, and `L`, the VM's. A function that may throw does so
 * in the state that it was given; nothing throws in the host while the VM runs, since that
 * would unwind through the VM's frames. So the VM's side reads the host's values only by calls
 * that neither throw nor allocate.
 */
#ifndef KMS_POLICY_VM_H
#define KMS_POLICY_VM_H

#include "bind/bind.h"
#include "bind/options.h"
#include "bind/store.h"
#include "bind/topics.h"
#include "kms/limit.h"
#include "kms/store.h"

#define POLICY_MAX_STRING 65536       /* bytes of a string that the VM can hold */
#define POLICY_MAX_SOURCE (256 << 10) /* bytes of a policy file */
#define POLICY_MAX_TEXT 512           /* bytes of a reason or a message */
#define POLICY_MAX_WHERE 80           /* bytes of a file and a line */
#define POLICY_MAX_DEPTH 8            /* tables in tables, in plain data */
#define POLICY_MAX_NODES 50000        /* values in one piece of plain data */
#define POLICY_MAX_COPIED (4 << 20)   /* bytes of text in one piece of plain data */
#define POLICY_MAX_NOTES 16           /* log lines and counters of a call */

/* Why a call did not end by itself. A VM whose call was ended is as usable as before. */
typedef enum policy_end {
	POLICY_RUNS = 0,
	POLICY_OVERRUN,  /* instructions, or what costs as much */
	POLICY_MEMORY,   /* the cap, or a string beyond POLICY_MAX_STRING */
	POLICY_ERROR,    /* it raised an error */
	POLICY_NONSENSE, /* its verdict is none */
} policy_end;

/* What a verdict has to be. */
typedef enum policy_kind {
	POLICY_VERDICT, /* nil or true, false and a reason, or { status, reason, retry_after } */
	POLICY_NUMBER,  /* nil, or a number that is not negative */
	POLICY_BAN,     /* nil, or seconds and "calls" or "all" */
	POLICY_LIST,    /* nil, or a list of wallets or of tables that have one */
	POLICY_DATA,    /* a table of plain data */
} policy_kind;

typedef struct policy_vm {
	lua_State *L;
	/* Memory: what is in use and the cap. */
	size_t bytes, max_bytes;
	unsigned refused; /* allocations that found no room, in this call */
	/* Budget of the running call, in instructions. */
	uint64_t budget, spent;
	unsigned step;     /* instructions until the hook comes next */
	uint64_t cpu_ns;   /* what a call may use of this thread's time at the most */
	uint64_t until_ns; /* the running call's; 0: not looked at yet */
	uint64_t instructions;
	policy_end ended;
	char end_text[POLICY_MAX_TEXT]; /* where and why, once ended */
	char refused_at[POLICY_MAX_WHERE];
	/* What the helpers see. */
	int hook;     /* where on the stack the function is that was called */
	bool in_hook; /* false while a file is loaded */
	int64_t wall_ms;
	uint64_t mono_ms;
	kms_buckets *buckets; /* borrowed, NULL: limits always let through */
	kms_store *store;     /* borrowed, NULL: no counts but those provided */
	unsigned notes;
	bool trace;
	char decided_in[64]; /* file of the last return, with trace */
	int decided_line;
	/* References into the VM's registry. */
	int env, files, facts, provided, noted, facts_meta, known;
} policy_vm;

/* The VM that a state of its own belongs to. */
policy_vm *policy_vm_of(lua_State *L);

/* ---- policy_vm_budget.c: allocator, hook, protected calls ---------------------------------- */

/* The allocator of the state; `context` is the VM. */
void *policy_alloc(void *context, void *block, size_t old_size, size_t new_size);

/*
 * Runs `function` with `context` as light userdata, protected, with a fresh budget of
 * `instructions`. Returns POLICY_RUNS, its results left on the VM's stack from 1 on; or why it
 * ended, the text of it in end_text and the stack empty.
 */
policy_end policy_run(policy_vm *vm, uint64_t instructions, lua_CFunction function, void *context);

/* Forgets how the last call ended, and empties the stack: for reading without a call. */
void policy_rest(policy_vm *vm);

/* CPU time of this thread. */
uint64_t policy_thread_ns(void);

/* Charges work that is done inside one instruction; throws once the budget is spent. */
void policy_charge(lua_State *L, size_t work);

/* Ends the running call from inside: pcall does not hold it. Throws. */
int policy_stop(lua_State *L, policy_end end, const char *text);

/* ---- policy_vm_lib.c, policy_vm_string.c, policy_vm_table.c, policy_vm_kms.c ---------------- */

/* Opens what a policy may use and takes everything else away; in a protected call of L. */
int policy_open_libs(lua_State *L);
/* Each pushes its table. */
void policy_push_string(lua_State *L);
void policy_push_table(lua_State *L);
void policy_push_kms(lua_State *L);
/* Replaces the table on top by a proxy that reads from it and refuses to be changed. */
void policy_lock(lua_State *L, const char *name);
/* Adds functions of a library of Lua's own: the library at `from`, the target on top. */
void policy_pick(lua_State *L, int from, const char *const *names);
/* Charges for the arguments of a function that goes over all of them, and over texts as numbers. */
void policy_charge_arguments(lua_State *L);
/* What a policy sees of a value that has no text: its type, never an address. */
void policy_push_shown(lua_State *L, int arg);

/* ---- policy_vm_copy.c: plain data between two states ---------------------------------------- */

/*
 * Copies the value at `index` of `from` (read without throwing) to the top of `to` (may throw
 * there). Functions become functions of the host that return the lines they cover where
 * `functions` is set, and are refused otherwise. Returns NULL, or what is wrong with the value
 * (static text), with nothing pushed.
 */
const char *policy_copy(lua_State *to, lua_State *from, int index, bool functions);

/* Replaces the table of facts on top of L by a read-only proxy; `known` at an index, or 0. */
void policy_protect_facts(lua_State *L, int known);
/* Defines the proxy's metatable (protected call). */
void policy_define_facts(lua_State *L);

/* ---- policy_vm_verdict.c --------------------------------------------------------------------- */

/*
 * Checks the results from `first` to the top of L and replaces them by one value: true (no
 * opinion), or what the kind says, complete and within bounds. Throws by policy_stop.
 */
void policy_check_verdict(lua_State *L, int first, policy_kind kind);

/* ---- policy_vm_call.c ------------------------------------------------------------------------ */

/* vm:call, of the host (policy_vm.c says what it takes and gives). */
int policy_call(lua_State *host, policy_vm *vm);
/* Pushes nil, what happened, "ERR_POLICY", and which kind of end it was; returns 4. */
int policy_push_end(lua_State *host, const policy_vm *vm);

#endif
