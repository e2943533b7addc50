/* What specs of bindings need besides testkit.c. */
#ifndef SPEC_TESTKIT_MEMORY_H
#define SPEC_TESTKIT_MEMORY_H

#include <lua.h>

/* Adds its function to the module's table on top of the stack. */
void kms_testkit_add_memory(lua_State *L);

#endif
