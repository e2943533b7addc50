/* What the bindings of sync share: sync.c (messages), sync_secret.c, sync_store.c. */
#ifndef KMS_BIND_SYNC_H
#define KMS_BIND_SYNC_H

#include "bind/bind.h"
#include "kms/sync.h"

extern const kms_bind_type kms_bind_sync_type; /* kms_sync */

/*
 * What a job works on is out of Lua's reach meanwhile, in a userdata of its own on top of the
 * stack: another coroutine finds the argument closed and cannot free it (may throw, before
 * anything is moved).
 */
void **kms_bind_hold(lua_State *L, int arg, const kms_bind_type *type);
void kms_bind_hold_end(lua_State *L, int arg, void **held);
/* A reference of the job's own; dropped as soon as the work is done, on any thread. */
kms_secret **kms_bind_hold_secret(lua_State *L, kms_secret *secret);
void kms_bind_drop_secret(kms_secret **held);

int kms_message_unseal(lua_State *L);
int kms_bind_master_seal(lua_State *L);
int kms_bind_p384_generate(lua_State *L);

/* Methods of a store. */
int kms_store_delta(lua_State *L);
int kms_store_snapshot(lua_State *L);

#endif
