/* What the program and Lua's loader call: the only name that kms_native.so exports. */
#ifndef BIND_MODULE_H
#define BIND_MODULE_H

#include <lua.h>

/* Pushes the module's table (may throw); returns 1. */
__attribute__((visibility("default"))) int luaopen_kms_native(lua_State *L);

#endif
