/* Refusals inside sessions, as Lua gives them. */
#ifndef BIND_SESSION_REFUSAL_H
#define BIND_SESSION_REFUSAL_H

#include "bind/bind.h"
#include "kms/operations.h"

/*
 * HTTP status, code, message and seconds to wait (or nil) at `arg` and behind it (may throw). The texts stay
 * on the stack.
 */
kms_refusal bind_arg_refusal(lua_State *L, int arg);

#endif
