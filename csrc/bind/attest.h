/* What the two attestation bindings share. */
#ifndef KMS_BIND_ATTEST_H
#define KMS_BIND_ATTEST_H

#include "bind/bind.h"
#include "kms/attest.h"

/* A string field of options, NULL where absent; it stays on the stack, so that its bytes stay. */
bool kms_bind_attest_bytes(kms_span *bytes, lua_State *L, int arg, const char *name);

/*
 * Registers in a table { [0] = 48 bytes, ... } on top of the stack (may throw): 32 at the most,
 * numbered from 0.
 */
void kms_bind_attest_pcrs(kms_attest_pcrs *pcrs, lua_State *L, int arg);

/* Roots and documents of a test root: adds to the module table on top of the stack. */
void kms_bind_attest_make(lua_State *L);

#endif
