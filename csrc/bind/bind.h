/*
 * Results, arguments and userdata of bindings. A binding checks its arguments, calls the core, and pushes the
 * result or the failure: no logic. Misuse throws with the argument's number; an expected failure returns nil,
 * message, code. Lua gets handles, never the bytes of a secret.
 *
 * Functions marked "may throw" leave by longjmp, which frees nothing. So a binding first makes the userdata
 * that will own an object, with its metatable, and the object after it.
 *
 * Threads: the loop's thread.
 */
#ifndef BIND_H
#define BIND_H

#include <lauxlib.h>
#include <lua.h>

#include "kms/kms.h"
#include "kms/view.h"

/* ---- results ------------------------------------------------------------------------------ */

/* Pushes nil, public text, name of the status ("ERR_HEX"); returns 3. */
int bind_fail(lua_State *L, kms_status status);
/* The same with another public text (a member's name, a limit). */
int bind_fail_text(lua_State *L, kms_status status, const char *text);
/* As bind_fail; ERR_SYSTEM says what the system said. In: error - errno after the call; 0: not known. */
int bind_fail_file(lua_State *L, kms_status status, int error);
/* The same with the member at fault before the public text; NULL: as bind_fail. */
int bind_fail_member(lua_State *L, kms_status status, const char *member);
/* Pushes a text, or nil when it is absent; returns 1. */
int bind_push_text(lua_State *L, kms_text text);
/* Pushes "0x" and the digits of public bytes. */
void bind_push_hex(lua_State *L, const uint8_t *bytes, size_t len);
/* Sets a member of the table on top of the stack. */
void bind_set_integer(lua_State *L, const char *name, uint64_t number);
/* true, or the failure. */
int bind_result(lua_State *L, kms_status status);

/* ---- arguments (may throw) --------------------------------------------------------------- */

/* An integer within [min, max]; throws with the argument's number and the bounds. */
lua_Integer bind_arg_integer(lua_State *L, int arg, lua_Integer min, lua_Integer max);
/* A string of exactly `len` bytes. */
const uint8_t *bind_arg_bytes(lua_State *L, int arg, size_t len);
/* A string; an absent text for nil. */
kms_text bind_arg_text(lua_State *L, int arg);
/* An application id as decimal text (ids are unsigned 64-bit, a Lua integer is not). */
uint64_t bind_arg_app_id(lua_State *L, int arg);
/* A wallet address in any accepted form. */
void bind_arg_address(uint8_t address20[20], lua_State *L, int arg);

/* ---- userdata ----------------------------------------------------------------------------- */

/*
 * A type whose userdata holds one pointer, and one user value that keeps alive what the object borrows.
 * `release` frees the pointer (never NULL) and runs once: when the userdata is collected, and if `closable`
 * also at the end of a scope or by the method `close`. Types that other objects borrow are not closable.
 * `methods` may be NULL.
 */
typedef struct bind_type {
	const char *name; /* "kms.store" */
	void (*release)(void *object);
	const luaL_Reg *methods;
	bool closable;
} bind_type;

/* Makes the metatable; `type` must be static. */
void bind_define(lua_State *L, const bind_type *type);
/* Adds methods of another topic to a type that is defined (may throw). */
void bind_add_methods(lua_State *L, const bind_type *type, const luaL_Reg *methods);
/* Pushes an empty userdata of the type and returns where its pointer goes (may throw). */
void **bind_new(lua_State *L, const bind_type *type);
/* Whether argument `arg` is of the type, closed ones included. */
bool bind_is(lua_State *L, int arg, const bind_type *type);
/* The pointer of argument `arg`; throws when it is another type or already closed. */
void *bind_check(lua_State *L, int arg, const bind_type *type);

#endif
