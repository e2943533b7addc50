/*
 * The program: settles and hardens the process before anything else runs, then calls lua/main.lua. Lua code
 * comes only from the installation or the source tree beside the program; no environment variable
 * changes where it is loaded from.
 */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <luv/luv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <unistd.h>

#include "bind/job.h"
#include "bind/module.h"
#include "bind/state.h"
#include "kms/process.h"

/* Where Debian installs lua-cjson. */
#ifndef LUA_CPATH_SYSTEM
#define LUA_CPATH_SYSTEM "/usr/lib/x86_64-linux-gnu/lua/5.4/?.so;/usr/lib/aarch64-linux-gnu/lua/5.4/?.so"
#endif

#define FAILED 1 /* exit status (lua/kms/cli/exit.lua) */

/* Where the folder with lua/ can be, seen from the program: installed, in build/, in build/<variant>/. */
static const char *const roots[] = { "../share/nova-kms", "..", "../.." };

/* Finds the folder that holds lua/main.lua; false when there is none. */
static bool find_root(char root[PATH_MAX])
{
	char program[PATH_MAX], candidate[2 * PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (len <= 0) return false;
	program[len] = '\0';
	*strrchr(program, '/') = '\0';
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		snprintf(candidate, sizeof(candidate), "%s/%s/lua/main.lua", program, roots[i]);
		if (access(candidate, R_OK) != 0) continue;
		snprintf(candidate, sizeof(candidate), "%s/%s", program, roots[i]);
		return realpath(candidate, root) != NULL;
	}
	return false;
}

static int traceback(lua_State *L)
{
	luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

/* prepare(root) -> the function that main.lua returns; opens the libraries first. */
static int prepare(lua_State *L)
{
	const char *root = lua_tostring(L, 1);

	/* Ignore LUA_PATH, LUA_CPATH and LUA_INIT of the environment. */
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
	luaL_openlibs(L);
	lua_getglobal(L, "package");
	lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua", root, root);
	lua_setfield(L, -2, "path");
	lua_pushliteral(L, LUA_CPATH_SYSTEM);
	lua_setfield(L, -2, "cpath");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_luv);
	lua_setfield(L, -2, "luv");
	lua_pushcfunction(L, luaopen_kms_native);
	lua_setfield(L, -2, "kms_native");
	lua_settop(L, 1);
	if (luaL_loadfilex(L, lua_pushfstring(L, "%s/lua/main.lua", root), "t") != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	return 1;
}

/* Calls main.lua's function with the root folder and the arguments; its exit status, -1 for an error. */
static int run(lua_State *L, const char *root, int argc, char **argv)
{
	lua_pushcfunction(L, traceback);
	lua_pushcfunction(L, prepare);
	lua_pushstring(L, root);
	if (lua_pcall(L, 1, 1, 1) != LUA_OK) return -1;
	lua_pushstring(L, root);
	lua_createtable(L, argc, 0);
	for (int i = 1; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	if (lua_pcall(L, 2, 1, 1) != LUA_OK) return -1;
	return (int)lua_tointeger(L, -1);
}

static int fail(const char *message)
{
	fprintf(stderr, "nova-kms: %s\n", message);
	return FAILED;
}

/* Ends the process without the destructors of libraries: one of libp11-kit has been seen to wait for ever. */
noreturn static void end(int status)
{
	fflush(NULL);
	_exit(status);
}

int main(int argc, char **argv)
{
	char root[PATH_MAX];

	bool serves = argc > 1 && strcmp(argv[1], "serve") == 0;
	if (kms_process_settle(serves) != KMS_OK) return FAILED; /* nowhere to say why */
	if (kms_process_harden() != KMS_OK) return fail("cannot harden the process");
	if (!find_root(root)) return fail("lua/main.lua is not beside the program");
	lua_State *L = bind_state_new();
	if (!L) return fail("out of memory");
	int status = run(L, root, argc, argv);
	if (status < 0) status = fail(lua_tostring(L, -1));
	bind_jobs_stop();
	lua_close(L);
	end(status);
}
