/* Secret handles and public hashes. */
#include "bind/crypto.h"

#include <errno.h>

#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/kdf.h"
#include "kms/keyfile.h"

static void secret_release(void *object)
{
	kms_secret_unref(object);
}

/* secret:keccak256() -> "0x" + 64 digits: what KMSRegistry publishes of a master secret. */
static int secret_keccak256(lua_State *L)
{
	const kms_secret *secret = bind_check(L, 1, &bind_secret_type);
	uint8_t digest[32];
	char text[66] = "0x";
	kms_secret_keccak256(digest, secret);
	kms_hex_encode(text + 2, KMS_SPAN(digest));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/* secret:equals(other) -> boolean, in constant time. */
static int secret_equals(lua_State *L)
{
	const kms_secret *a = bind_check(L, 1, &bind_secret_type);
	const kms_secret *b = bind_check(L, 2, &bind_secret_type);
	lua_pushboolean(L, kms_secret_equal(a, b));
	return 1;
}

static const luaL_Reg secret_methods[] = {
	{ "keccak256", secret_keccak256 },
	{ "equals", secret_equals },
	{ NULL, NULL },
};

const bind_type bind_secret_type = { "kms.secret", secret_release, secret_methods, true };

kms_secret *bind_check_master(lua_State *L, int arg)
{
	kms_secret *master = bind_check(L, arg, &bind_secret_type);
	if (kms_secret_len(master) != KMS_MASTER_BYTES) luaL_argerror(L, arg, "a master secret has 32 bytes");
	return master;
}

/* secret_random(len) -> secret of 1 to 64 bytes | nil, message, code */
static int secret_random(lua_State *L)
{
	size_t len = (size_t)bind_arg_integer(L, 1, 1, 64);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	kms_status status = kms_secret_random(box, len);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* seed_load(path), seed_create(path) -> secret | nil, message, code (kms/keyfile.h) */
static int seed_load(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	errno = 0;
	kms_status status = kms_seed_load(box, path);
	return status == KMS_OK ? 1 : bind_fail_file(L, status, errno);
}

static int seed_create(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	errno = 0;
	kms_status status = kms_seed_create(box, path);
	return status == KMS_OK ? 1 : bind_fail_file(L, status, errno);
}

/* sealfile_save(path, secret, seed) -> true | nil, message, code */
static int sealfile_save(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	const kms_secret *secret = bind_check(L, 2, &bind_secret_type);
	const kms_secret *seed = bind_check(L, 3, &bind_secret_type);
	return bind_result(L, kms_sealfile_save(path, secret, seed));
}

/* sealfile_load(path, seed) -> secret | nil, message, code */
static int sealfile_load(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	const kms_secret *seed = bind_check(L, 2, &bind_secret_type);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	kms_status status = kms_sealfile_load(box, path, seed);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* hex_encode(bytes) -> lower-case digits; hex_decode(text) -> bytes | nil, message, code. Public data. */
static int hex_encode(lua_State *L)
{
	size_t len;
	const char *bytes = luaL_checklstring(L, 1, &len);
	luaL_Buffer buffer;
	kms_hex_encode(luaL_buffinitsize(L, &buffer, 2 * len), kms_span_of(bytes, len));
	luaL_pushresultsize(&buffer, 2 * len);
	return 1;
}

static int hex_decode(lua_State *L)
{
	kms_text text;
	luaL_Buffer buffer;
	text.text = luaL_checklstring(L, 1, &text.len);
	text = kms_hex_strip(text);
	size_t len = text.len / 2;
	kms_status status = kms_hex_decode(kms_out_of(luaL_buffinitsize(L, &buffer, len + 1), len), text);
	if (status != KMS_OK) return bind_fail(L, status);
	luaL_pushresultsize(&buffer, len);
	return 1;
}

void bind_add_crypto(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "secret_random", secret_random }, { "seed_load", seed_load },
		{ "seed_create", seed_create },     { "sealfile_save", sealfile_save },
		{ "sealfile_load", sealfile_load }, { "hex_encode", hex_encode },
		{ "hex_decode", hex_decode },       { NULL, NULL },
	};
	bind_define(L, &bind_secret_type);
	luaL_setfuncs(L, functions, 0);
}
