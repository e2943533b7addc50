#include "bind/state.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/blocks.h"

/* AddressSanitizer sees the C library's blocks, and not what is cut from them. */
#ifdef __SANITIZE_ADDRESS__

lua_State *bind_state_new(void)
{
	return luaL_newstate();
}

#else

static kms_blocks blocks;

static void *allocate(void *context, void *memory, size_t size, size_t wanted)
{
	return kms_blocks_resize(context, memory, size, wanted);
}

/* An error outside of all protected calls; Lua aborts when this returns. */
static int on_panic(lua_State *L)
{
	const char *text = lua_tostring(L, -1);
	fprintf(stderr, "nova-kms: unprotected error in Lua: %s\n", text ? text : "?");
	return 0;
}

lua_State *bind_state_new(void)
{
	lua_State *L = lua_newstate(allocate, &blocks);
	if (L) lua_atpanic(L, on_panic);
	return L;
}

#endif
