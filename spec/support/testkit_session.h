/* What clients of sessions need besides testkit.c. */
#ifndef SPEC_TESTKIT_SESSION_H
#define SPEC_TESTKIT_SESSION_H

#include <lua.h>

/* Adds its functions to the module's table on top of the stack. */
void kms_testkit_add_session(lua_State *L);

#endif
