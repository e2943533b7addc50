/* The application's side of the protocol, as requests of its own and sessions share it. */
#ifndef BIND_CLIENT_H
#define BIND_CLIENT_H

#include "bind/bind.h"
#include "kms/buf.h"
#include "kms/client.h"

extern const bind_type bind_client_type;   /* kms_client; more methods: client_session.c */
extern const bind_type bind_exchange_type; /* kms_exchange */
extern const bind_type bind_value_type;    /* kms_buf, guarded: a file's content */

/* The kind at `kind_arg` and the fields at `arg`, whose texts stay on the stack (may throw). */
kms_request bind_client_request(lua_State *L, int kind_arg, int arg);
/* Pushes an empty value (may throw). Returns: NULL when there is no memory. */
kms_buf *bind_value_push(lua_State *L);
/* Pushes an empty exchange (may throw). Returns: NULL when there is no memory. */
kms_exchange *bind_exchange_push(lua_State *L);
/* Pushes the fields of a result or refusal that are not secret (may throw). */
void bind_exchange_fields(lua_State *L, const kms_exchange *exchange);

#endif
