/* Sessions of callers for Lua, which gets handles and never a key, an ephemeral key or a content. */
#ifndef BIND_SESSION_H
#define BIND_SESSION_H

#include "bind/bind.h"
#include "kms/session_table.h"

extern const bind_type
    bind_sessions_type; /* kms_sessions; more methods: session_opening.c, session_message.c */
extern const bind_type bind_session_type; /* kms_session: a reference */

/* "app" or "peer" (may throw). */
kms_session_kind bind_arg_session_kind(lua_State *L, int arg);

/* The list of sids at `arg`: of the newest ones, as many as an opening names; the rest is zero (may throw).
 */
kms_session_offer bind_arg_ends(lua_State *L, int arg);

/* Pushes what stands for X-KMS-Nonce in a message of a session: hex(salt) ":" seq. */
void bind_push_session_nonce(lua_State *L, const uint8_t salt32[32], uint64_t seq);

#endif
