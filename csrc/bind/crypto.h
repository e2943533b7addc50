/* Secrets as other topics take them. */
#ifndef BIND_CRYPTO_H
#define BIND_CRYPTO_H

#include "bind/bind.h"
#include "kms/secret.h"

extern const bind_type bind_secret_type; /* kms_secret */

/* The master secret at `arg`; throws unless it has 32 bytes. */
kms_secret *bind_check_master(lua_State *L, int arg);

#endif
