/* The fetcher of this process, which one-off calls (fetch.c) and endpoints share. */
#ifndef BIND_FETCH_H
#define BIND_FETCH_H

#include "bind/bind.h"
#include "net/fetch.h"

/* Pushes the fetcher's userdata, made at the first call (may throw). ERR_STATE: it was closed. */
kms_status bind_push_fetcher(lua_State *L, kms_fetcher **fetcher);

#endif
