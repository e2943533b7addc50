/* What the bindings of sync share: messages (sync.c), and what holds arguments of jobs. */
#ifndef BIND_SYNC_H
#define BIND_SYNC_H

#include "bind/bind.h"
#include "kms/sync.h"

extern const bind_type bind_sync_type; /* kms_sync; its other methods: sync_secret.c */

/*
 * What a job works on is out of Lua's reach meanwhile, in a userdata of its own on top of the
 * stack: another coroutine finds the argument closed and cannot free it (may throw, before
 * anything is moved).
 */
void **bind_hold(lua_State *L, int arg, const bind_type *type);
void bind_hold_end(lua_State *L, int arg, void **held);
/* A reference of the job's own; dropped as soon as the work is done, on any thread. */
kms_secret **bind_hold_secret(lua_State *L, kms_secret *secret);
void bind_drop_secret(kms_secret **held);

#endif
