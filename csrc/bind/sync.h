/* Sync messages, and arguments that jobs hold. */
#ifndef BIND_SYNC_H
#define BIND_SYNC_H

#include "bind/bind.h"
#include "kms/sync.h"

extern const bind_type bind_sync_type; /* kms_sync; its other methods: sync_choice.c, sync_secret.c */

/*
 * Moves the object of argument `arg` into a userdata of its own on top of the stack, until bind_hold_end
 * moves it back: while a job works on it, other coroutines find the argument closed and cannot free it.
 * May throw, before anything is moved.
 */
void **bind_hold(lua_State *L, int arg, const bind_type *type);
void bind_hold_end(lua_State *L, int arg, void **held);
/* A reference of the job's own, which the job drops on any thread as soon as its work is done (may throw). */
kms_secret **bind_hold_secret(lua_State *L, kms_secret *secret);
void bind_drop_secret(kms_secret **held);

#endif
