/* The fetcher of this process, shared by single calls (fetch.c) and endpoints (endpoint.c). */
#ifndef BIND_FETCH_H
#define BIND_FETCH_H

#include "bind/bind.h"
#include "net/fetch.h"

/* Pushes the fetcher; the first call creates it (may throw). ERR_STATE once it is closed. */
kms_status bind_push_fetcher(lua_State *L, kms_fetcher **fetcher);

#endif
