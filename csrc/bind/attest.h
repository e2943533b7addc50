/* What the two bindings of attestation share. */
#ifndef BIND_ATTEST_H
#define BIND_ATTEST_H

#include "bind/bind.h"
#include "kms/attest.h"

/* Reads the registers { [0] = 48 bytes, ... } in the table on top of the stack (may throw). */
void bind_attest_pcrs(kms_attest_pcrs *pcrs, lua_State *L, int arg);

#endif
