/*
 * Random bytes that depend on a seed only: a library for LD_PRELOAD that makes simulations (spec/simulate)
 * replay, and a Lua module that sets the seed. Never part of anything that serves.
 */
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static uint64_t state;

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = state += 0x9E3779B97F4A7C15;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

/* Overrides libc's. */
__attribute__((visibility("default"), noinline)) ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
	(void)flags;
	for (size_t done = 0; done < len; done += 8) {
		uint64_t word = next();
		memcpy((uint8_t *)bytes + done, &word, len - done < 8 ? len - done : 8);
	}
	return (ssize_t)len;
}

/* seed(n): what follows depends on n only. Returns whether this library is preloaded, and not libc's in use.
 */
static int seed(lua_State *L)
{
	uint8_t byte;
	uint64_t before = state;
	ssize_t got = getrandom(&byte, 1, 0);
	lua_pushboolean(L, got == 1 && state != before);
	state = (uint64_t)luaL_checkinteger(L, 1);
	return 1;
}

__attribute__((visibility("default"))) int luaopen_seeded_random(lua_State *L);
int luaopen_seeded_random(lua_State *L)
{
	lua_pushcfunction(L, seed);
	return 1;
}
