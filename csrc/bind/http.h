/* A request's parser as other topics take it. */
#ifndef BIND_HTTP_H
#define BIND_HTTP_H

#include "bind/bind.h"
#include "net/http.h"

extern const bind_type bind_http_type; /* kms_http */

/* A request's parser (may throw): its texts stay where they are while the request runs. */
kms_http *bind_http_check(lua_State *L, int arg);

#endif
