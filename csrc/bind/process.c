/* The process: start, hardening, clocks, limits. kms/process.h lists what runs in what order. */
#include "bind/process.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "bind/bind.h"
#include "bind/crypto.h"
#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/process.h"
#include "kms/crypto.h"

bool bind_claim_role(bind_role role)
{
	static bind_role claimed; /* loop thread only */
	if (!claimed) claimed = role;
	return claimed == role;
}

/*
 * init(locked_memory_bytes) -> true | nil, message, code: creates the guarded arena (0: as large as
 * the memlock limit allows), then starts crypto and runs the self-test. Call it once, before
 * anything that uses secrets.
 */
static int process_init(lua_State *L)
{
	size_t bytes = (size_t)bind_arg_integer(L, 1, 0, (lua_Integer)1 << 40);
	const char *failed = NULL;

	/* The limit is too low: say so, rather than that a size nobody has set is out of range. */
	size_t grant = bytes ? bytes : kms_guarded_grant();
	kms_status status = !bytes && grant < KMS_GUARDED_MIN_BYTES ? KMS_ERR_MLOCK : kms_guarded_init(grant);
	/* After the arena, which may need all the memory that the process may lock. */
	if (status == KMS_OK) kms_stack_guard();
	if (status == KMS_OK) status = kms_crypto_init();
	if (status == KMS_OK) status = kms_selftest(&failed);
	if (status == KMS_ERR_SELFTEST && failed)
		return bind_fail_text(L, status, lua_pushfstring(L, "self-test failed: %s", failed));
	return bind_result(L, status);
}

/* ready() -> whether init has succeeded in this process. */
static int process_ready(lua_State *L)
{
	lua_pushboolean(L, kms_guarded_ready());
	return 1;
}

/* harden() -> true | nil, message, code: no core dumps, not ptraceable, no new privileges. */
static int process_harden(lua_State *L)
{
	return bind_result(L, kms_process_harden());
}

/*
 * confine() -> whether Landlock is in force too | nil, message, code. Call it before the first
 * thread starts (kms_process_confine).
 */
static int process_confine(lua_State *L)
{
	bool landlock;
	kms_status status = kms_process_confine(&landlock);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushboolean(L, landlock);
	return 1;
}

/*
 * notify(socket, message) -> true | nil, message, code: tells the supervisor (kms_process_notify). ERR_BUSY:
 * it has not read earlier messages yet.
 */
static int process_notify(lua_State *L)
{
	size_t name_len, len;
	const char *name = luaL_checklstring(L, 1, &name_len);
	const char *message = luaL_checklstring(L, 2, &len);
	errno = 0;
	kms_status status = kms_process_notify(kms_text_of(name, name_len), kms_text_of(message, len));
	return status == KMS_OK ? bind_result(L, status) : bind_fail_file(L, status, errno);
}

/*
 * take_env(name, len) -> secret | nil | nil, message, code: moves `len` bytes in hexadecimal from
 * an environment variable to guarded memory. Wipes the variable, also when it is malformed, so
 * that /proc/<pid>/environ no longer shows it. nil alone: the variable is not set.
 */
static int process_take_env(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	size_t len = (size_t)bind_arg_integer(L, 2, 1, 64);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	char *value = getenv(name);

	if (!value) {
		lua_pushnil(L);
		return 1;
	}
	kms_status status = kms_secret_from_hex(box, kms_text_from(value), len);
	kms_wipe(value, strlen(value));
	unsetenv(name);
	if (status != KMS_OK) return bind_fail(L, status);
	return 1;
}

/*
 * env_names() -> list of the names of the environment's variables. Their values, any of which may be a
 * secret, never become Lua strings.
 */
static int process_env_names(lua_State *L)
{
	lua_Integer count = 0;
	lua_newtable(L);
	for (char **variable = environ; variable && *variable; variable++) {
		const char *end = strchr(*variable, '=');
		if (!end) continue;
		lua_pushlstring(L, *variable, (size_t)(end - *variable));
		lua_rawseti(L, -2, ++count);
	}
	return 1;
}

static lua_Integer clock_ms(clockid_t id)
{
	struct timespec t = { 0, 0 };
	clock_gettime(id, &t);
	return (lua_Integer)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* wall_ms() -> Unix time in ms; mono_ms() -> monotonic ms. */
static int process_wall_ms(lua_State *L)
{
	lua_pushinteger(L, clock_ms(CLOCK_REALTIME));
	return 1;
}

static int process_mono_ms(lua_State *L)
{
	lua_pushinteger(L, clock_ms(CLOCK_MONOTONIC));
	return 1;
}

/* raise_nofile() -> limit of open files, raised to the hard limit | nil, message, code */
static int process_raise_nofile(lua_State *L)
{
	struct rlimit limit = { 0, 0 };
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return bind_fail(L, KMS_ERR_SYSTEM);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return bind_fail(L, KMS_ERR_SYSTEM);
	lua_pushinteger(L, limit.rlim_cur == RLIM_INFINITY ? 1 << 20 : (lua_Integer)limit.rlim_cur);
	return 1;
}

/*
 * lock_file(path) -> true | nil, message, code (ERR_BUSY: another process holds it). The lock lasts as long
 * as the process.
 */
static int process_lock_file(lua_State *L)
{
	int fd;
	const char *path = luaL_checkstring(L, 1);
	errno = 0;
	kms_status status = kms_file_lock(&fd, path);
	return status == KMS_OK ? bind_result(L, status) : bind_fail_file(L, status, errno);
}

/* guarded() -> size of the arena, bytes in use */
static int process_guarded(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_guarded_size());
	lua_pushinteger(L, (lua_Integer)kms_guarded_used());
	return 2;
}

/* random_hex(bytes) -> 2 * bytes digits | nil, message, code; for public values such as ids; bytes 1 to 32 */
static int process_random_hex(lua_State *L)
{
	uint8_t bytes[32];
	char text[64];
	size_t len = (size_t)bind_arg_integer(L, 1, 1, sizeof(bytes));
	kms_status status = kms_random(kms_out_of(bytes, len));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(text, kms_span_of(bytes, len));
	lua_pushlstring(L, text, 2 * len);
	return 1;
}

/*
 * name_hash(text) -> 16 digits | nil, message, code: a hash under a key of this process, by which
 * logs name confidential things. The same name gives the same hash until the node restarts.
 */
static int process_name_hash(lua_State *L)
{
	static kms_secret *key; /* lives as long as the process; loop thread only */
	uint8_t mac[32];
	char text[16];
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);

	kms_status status = key ? KMS_OK : kms_secret_random(&key, 32);
	if (status == KMS_OK) status = kms_hmac_sha256(mac, key, kms_span_of(name, len));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(text, kms_span_of(mac, 8));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/*
 * peer_credentials(descriptor) -> uid, pid | nil, message, code: of the process that connected to
 * a Unix socket, at the time it connected
 */
static int process_peer_credentials(lua_State *L)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	int descriptor = (int)bind_arg_integer(L, 1, 0, INT_MAX);

	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || len != sizeof(who))
		return bind_fail(L, KMS_ERR_SYSTEM);
	/* Another kind of socket reports user -1. */
	if (who.uid == (uid_t)-1) return bind_fail(L, KMS_ERR_SYSTEM);
	lua_pushinteger(L, (lua_Integer)who.uid);
	lua_pushinteger(L, (lua_Integer)who.pid);
	return 2;
}

/*
 * file_version(path) -> text that changes when the file is edited or replaced, or gets another owner or mode
 * | nil: there is none. Without the six tables that luv makes of a file's status, since idle nodes look at
 * their policies again and again.
 */
static int process_file_version(lua_State *L)
{
	struct stat status;
	char text[128];
	if (stat(luaL_checkstring(L, 1), &status) != 0) return 0;
	int len =
	    snprintf(text, sizeof(text), "%llu/%lld/%lld.%09ld/%lld.%09ld", (unsigned long long)status.st_ino,
		     (long long)status.st_size, (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
		     (long long)status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
	lua_pushlstring(L, text, (size_t)len);
	return 1;
}

void bind_add_process(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "init", process_init },
		{ "ready", process_ready },
		{ "harden", process_harden },
		{ "confine", process_confine },
		{ "notify", process_notify },
		{ "take_env", process_take_env },
		{ "env_names", process_env_names },
		{ "wall_ms", process_wall_ms },
		{ "mono_ms", process_mono_ms },
		{ "lock_file", process_lock_file },
		{ "raise_nofile", process_raise_nofile },
		{ "file_version", process_file_version },
		{ "guarded", process_guarded },
		{ "random_hex", process_random_hex },
		{ "name_hash", process_name_hash },
		{ "peer_credentials", process_peer_credentials },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
