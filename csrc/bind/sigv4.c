/* Signing requests to S3; the secret access key stays in guarded memory. */
#include <stdlib.h>
#include <string.h>

#include "bind/bind.h"
#include "bind/crypto.h"
#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/sigv4.h"

#define PREFIX "AWS4"
#define PREFIX_BYTES (sizeof(PREFIX) - 1)
#define SIGNATURE_BYTES 32

/* The key of signatures: the prefix and what the variable says. */
static kms_status key_from(kms_secret **key, kms_text value)
{
	if (value.len == 0 || value.len > KMS_SECRET_MAX - PREFIX_BYTES) return KMS_ERR_RANGE;
	uint8_t *bytes = kms_guarded_alloc(PREFIX_BYTES + value.len);
	if (!bytes) return KMS_ERR_LOCKED_MEMORY;
	memcpy(bytes, PREFIX, PREFIX_BYTES);
	memcpy(bytes + PREFIX_BYTES, value.text, value.len);
	kms_status status = kms_secret_new(key, kms_span_of(bytes, PREFIX_BYTES + value.len));
	kms_guarded_free(bytes);
	return status;
}

/*
 * sigv4_key(name) -> secret | nil | nil, message, code: moves a secret access key from an environment
 * variable to guarded memory, and wipes the variable, also when it is malformed. nil alone: the variable is
 * not set.
 */
static int sigv4_key(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	char *value = getenv(name);
	if (!value) {
		lua_pushnil(L);
		return 1;
	}
	kms_status status = key_from(box, kms_text_from(value));
	kms_wipe(value, strlen(value));
	unsetenv(name);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* sigv4(key, date, region, service, text) -> signature in hexadecimal | nil, message, code */
static int sigv4(lua_State *L)
{
	uint8_t signature[SIGNATURE_BYTES];
	char text[2 * SIGNATURE_BYTES];
	const kms_secret *key = bind_check(L, 1, &bind_secret_type);
	kms_sigv4_scope scope = { kms_text_from(luaL_checkstring(L, 2)),
				  kms_text_from(luaL_checkstring(L, 3)),
				  kms_text_from(luaL_checkstring(L, 4)) };
	kms_status status = kms_sigv4(signature, key, &scope, kms_text_from(luaL_checkstring(L, 5)));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(text, KMS_SPAN(signature));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

void bind_add_sigv4(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "sigv4_key", sigv4_key },
		{ "sigv4", sigv4 },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
