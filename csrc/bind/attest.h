/* What the two attestation bindings share. */
#ifndef BIND_ATTEST_H
#define BIND_ATTEST_H

#include "bind/bind.h"
#include "kms/attest.h"

/* A string field of options, NULL where absent; it stays on the stack, so that its bytes stay. */
bool bind_attest_bytes(kms_span *bytes, lua_State *L, int arg, const char *name);

/*
 * Registers in a table { [0] = 48 bytes, ... } on top of the stack (may throw): 32 at the most,
 * numbered from 0.
 */
void bind_attest_pcrs(kms_attest_pcrs *pcrs, lua_State *L, int arg);

#endif
