/* The parser of a connection, for the topics that work on its requests. */
#ifndef BIND_HTTP_H
#define BIND_HTTP_H

#include "bind/bind.h"
#include "net/http.h"

extern const bind_type bind_http_type; /* kms_http */

/* The parser at argument `arg` (may throw). The texts of its request stay until kms_http_next. */
kms_http *bind_http_check(lua_State *L, int arg);

#endif
