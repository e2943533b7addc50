/* The store as other topics take it. */
#ifndef BIND_STORE_H
#define BIND_STORE_H

#include "bind/bind.h"
#include "kms/store.h"

extern const bind_type bind_store_type; /* kms_store; its other methods: sync_store.c */

#endif
