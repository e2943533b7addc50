/*
 * The policy VM: a Lua state of its own that runs operators' policies. It reaches nothing: no files, no
 * network, no clock, no other state. Plain data goes in and out as copies.
 *
 * Budgets count work, so that a policy gets the same verdict on every machine. One unit is one of:
 *
 *	an instruction of the VM
 *	32 bytes allocated
 *	16 bytes of text that a library function reads (8 for those of utf8), or 16 steps of kms.match
 *	an argument or a member of a table that a library function visits
 *
 * A call of a hook may spend `instructions` units; loading a file, VM_LOAD_FACTOR times as many. Data that is
 * copied is bounded by its values, bytes and depth, and a source by its bytes and by VM_MAX_JUMP_WORDS.
 *
 * Some work hides inside a single instruction or a single step of the compiler: comparing two long texts
 * of NULs, numbers chosen to collide as keys of a table, passing on thousands of arguments. No count sees
 * it, so there is a safety net below the budgets: CPU time of the thread, VM_NET_NS_PER_UNIT for each unit
 * of the budget. That is a hundred times what a unit takes on an ordinary machine: only code that evades the
 * counts meets it.
 *
 * `host` is the caller's Lua state. Functions marked "may throw" do so in the host; none may be called from
 * inside a running policy.
 *
 * Threads: one at a time per VM.
 */
#ifndef VM_H
#define VM_H

#include <lua.h>

#include "kms/limit.h"
#include "kms/store.h"
#include "kms/view.h"

#define VM_MAX_STRING 65536         /* bytes of a string that the VM can hold */
#define VM_MAX_SOURCE (256 << 10)   /* bytes of a policy file */
#define VM_MAX_NAME 32              /* bytes of a policy's name */
#define VM_MAX_JUMP_WORDS 8192      /* and, or, not, elseif, break, goto, labels; also in comments */
#define VM_MAX_TEXT 512             /* bytes of a reason or a message */
#define VM_MAX_DEPTH 8              /* tables in tables, in plain data */
#define VM_MAX_NODES 50000          /* values in one piece of plain data */
#define VM_MAX_COPIED (4 << 20)     /* bytes of text in one piece of plain data */
#define VM_MAX_EFFECTS 16           /* log lines and counters of a call; further ones are counted */
#define VM_MAX_ARGUMENTS 4          /* of a hook */
#define VM_MAX_RULES 256            /* in the place of a hook */
#define VM_RULE_BYTES 32            /* of a set of rules: rule n is bit (n - 1) % 8 of byte (n - 1) / 8 */
#define VM_LOAD_FACTOR 20           /* a file may spend as much as so many calls while it is loaded */
#define VM_NET_NS_PER_UNIT 2000u    /* CPU time at which the safety net stops a call, */
#define VM_NET_MAX_NS 1000000000ull /* and this at the most */

typedef struct vm_state vm_state;

/* How a call ended. A VM whose call was stopped is as usable as before. */
typedef enum vm_end {
	VM_COMPLETE = 0,
	VM_OVERRUN,  /* it spent its budget, or met the safety net */
	VM_MEMORY,   /* it needed more than the cap, or a string beyond VM_MAX_STRING */
	VM_ERROR,    /* it raised an error */
	VM_NONSENSE, /* its result, or an argument, is not of the right form */
} vm_end;

/* What the result of a hook must be. */
typedef enum vm_kind {
	VM_VERDICT, /* nil or true, false and a reason, or { status, reason, retry_after } */
	VM_NUMBER,  /* nil, or a number that is not negative */
	VM_BAN,     /* nil, or seconds and "calls" or "all" */
	VM_LIST,    /* nil, or a list of wallets or of tables that have one */
	VM_DATA,    /* a table of plain data */
} vm_kind;

typedef struct vm_config {
	size_t max_bytes;
	uint64_t instructions; /* units of work that a call may spend */
	kms_buckets *buckets;  /* borrowed; NULL: kms.limit lets everything through */
	kms_store *store;      /* borrowed; NULL: kms.store knows only what was provided */
	bool trace;            /* remember where a call returned */
} vm_config;

/*
 * Makes a VM with its libraries and no policies.
 * Returns: KMS_OK; ERR_MEMORY.
 * Out: vm - free with vm_free; NULL on failure.
 */
kms_status vm_new(vm_state **vm, const vm_config *config);
void vm_free(vm_state *vm);

/*
 * Compiles and runs a policy file, and keeps the table that it returns under `name`.
 * Returns: VM_COMPLETE; VM_OVERRUN, VM_MEMORY (also when the VM is more than half full afterwards) or
 * VM_ERROR. In: name - at most VM_MAX_NAME bytes, no '.' and no '%'. source - text, at most VM_MAX_SOURCE
 * bytes.
 */
vm_end vm_load(vm_state *vm, const char *name, kms_text source);

/*
 * Pushes a copy of the table that a file returned (may throw). Functions become functions that return the
 * first and the last line of the policy's function. Returns: NULL, or what is wrong (static text) with
 * nothing pushed.
 */
const char *vm_read(lua_State *host, vm_state *vm, const char *name);

/* What a policy can look up: by name, in a table of the VM. */
typedef enum vm_table {
	VM_HELPER_DATA, /* "peers", "store": what kms.peers and kms.store return */
	VM_KNOWN_FACTS, /* by hook: the facts that it has; reading another one raises an error */
} vm_table;

/*
 * Copies the host's value at `index` into a table of the VM (may throw).
 * Returns: VM_COMPLETE; VM_OVERRUN or VM_MEMORY; VM_NONSENSE when the value is no plain data.
 */
vm_end vm_provide(vm_state *vm, lua_State *host, int index, vm_table table, const char *name);

typedef struct vm_hook {
	const char *path; /* "access.derive", "routes.extra.2.handler" */
	vm_kind kind;
	int64_t wall_ms;  /* what kms.now returns */
	uint64_t mono_ms; /* what kms.limit counts by */
	/* Arguments on the host's stack, VM_MAX_ARGUMENTS at most; none when last < first. */
	int first, last;
	/* Borrowed: the set of suspended rules. They are called, but what they refuse goes on. NULL: none. */
	const uint8_t *suspended32;
} vm_hook;

typedef struct vm_decision {
	int rule;
	int let_through_count;
	uint8_t let_through32[VM_RULE_BYTES];
} vm_decision;

/*
 * Calls a hook, or the rules that stand in its place; a hook that is not there has no opinion (true). A
 * suspended rule that fails ends the call like any other: what must not be let through is decided by nobody
 * then. Returns: VM_COMPLETE; any other end. Out: decision - rule: number of the rule that decided, 0 for
 * none. let_through32: the set of suspended rules that refused; let_through_count: how many these are. All
 * zero when the call did not complete.
 */
vm_end vm_call(vm_decision *decision, vm_state *vm, lua_State *host, const vm_hook *hook);

/*
 * After a call that completed: pushes its checked result (may throw).
 * Returns: NULL, or what is wrong (static text) with nothing pushed.
 */
const char *vm_push_result(lua_State *host, vm_state *vm);

/*
 * After a call, complete or not: pushes the list of its log lines and counters, nil when there are none (may
 * throw). `dropped` counts those beyond VM_MAX_EFFECTS.
 */
void vm_push_effects(lua_State *host, vm_state *vm);

/* Of the last load, provide or call: why it did not complete ("access.lua:12: it runs too long"). */
const char *vm_end_text(const vm_state *vm);
/* Of the same: units of work that it spent. */
uint64_t vm_work(const vm_state *vm);
/* Of the last call, with trace: the line of the last return and its file; 0 when there is none. */
int vm_return_line(const char **file, const vm_state *vm);

/* Bytes in use, and the cap. */
size_t vm_bytes(size_t *max_bytes, const vm_state *vm);

#endif
