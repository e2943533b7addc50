/*
 * For the Odyn double of specs and development networks alone (lua/devnet/odyn.lua): it stands
 * on the other side of HTTP, where plaintext is JSON text. A process that has made a service, a
 * node, cannot use this.
 */
#include "bind/bind.h"

#include <string.h>

#include "bind/keys.h"
#include "bind/process.h"
#include "bind/topics.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/envelope.h"

#define MAX_BYTES ((size_t)1 << 30)

typedef struct odyn_double {
	const kms_wallet *wallet; /* with p384 kept alive by the user value */
	const kms_p384 *p384;
	kms_channels *channels;
	kms_buf scratch; /* owned here, so that nothing is lost where pushing throws */
} odyn_double;

static void double_release(void *object)
{
	odyn_double *d = object;
	kms_channels_free(d->channels);
	kms_buf_free(&d->scratch);
	kms_heap_free(d);
}

static int double_open(lua_State *L);
static int double_seal(lua_State *L);
static int double_public(lua_State *L);

static const luaL_Reg double_methods[] = {
	{ "open", double_open },
	{ "seal", double_seal },
	{ "public", double_public },
	{ NULL, NULL },
};
static const bind_type double_type = { "kms.double", double_release, double_methods, false };

static int push_scratch(lua_State *L, odyn_double *d, kms_status status)
{
	if (status == KMS_OK)
		lua_pushlstring(L, d->scratch.len ? (char *)d->scratch.data : "", d->scratch.len);
	kms_buf_free(&d->scratch);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* double:open(peer_point97, iv, ciphertext and tag in hex) -> plaintext | nil, message, code */
static int double_open(lua_State *L)
{
	kms_secret *key;
	size_t len;
	odyn_double *d = bind_check(L, 1, &double_type);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	const uint8_t *iv = bind_arg_bytes(L, 3, KMS_GCM_IV);
	const char *hex = luaL_checklstring(L, 4, &len);

	kms_status status = kms_channels_get(&key, d->channels, d->p384, peer97);
	if (status != KMS_OK) return bind_fail(L, status);
	d->scratch = kms_buf_make(KMS_BUF_WIPED, MAX_BYTES);
	status = kms_gcm_open_hex(&d->scratch, kms_secret_bytes(key), iv, kms_text_of(hex, len));
	kms_secret_unref(key);
	return push_scratch(L, d, status);
}

/* double:seal(peer_point97, iv, plaintext) -> ciphertext and tag in hex | nil, message, code */
static int double_seal(lua_State *L)
{
	kms_secret *key;
	size_t len;
	odyn_double *d = bind_check(L, 1, &double_type);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	const uint8_t *iv = bind_arg_bytes(L, 3, KMS_GCM_IV);
	const char *plain = luaL_checklstring(L, 4, &len);

	kms_status status = kms_channels_get(&key, d->channels, d->p384, peer97);
	if (status != KMS_OK) return bind_fail(L, status);
	d->scratch = kms_buf_make(KMS_BUF_PLAIN, MAX_BYTES);
	status = kms_gcm_seal_hex(&d->scratch, kms_secret_bytes(key), iv, kms_span_of(plain, len));
	kms_secret_unref(key);
	return push_scratch(L, d, status);
}

/* double:public() -> wallet's public point (65 bytes), teePubkey in base64 of its DER */
static int double_public(lua_State *L)
{
	uint8_t point[65], der[KMS_P384_DER];
	char text[4 * KMS_P384_DER / 3];
	const odyn_double *d = bind_check(L, 1, &double_type);
	kms_status status = kms_wallet_public(point, d->wallet);
	if (status != KMS_OK) return bind_fail(L, status);
	kms_p384_der(der, kms_p384_public(d->p384));
	size_t len = kms_base64_encode(text, KMS_SPAN(der));
	lua_pushlstring(L, (const char *)point, sizeof(point));
	lua_pushlstring(L, text, len);
	return 2;
}

/* odyn_double(wallet, p384) -> double | nil, message, code. Throws in a process that is a node. */
static int double_new(lua_State *L)
{
	const kms_wallet *wallet = bind_check(L, 1, &bind_wallet_type);
	const kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	if (!bind_claim_role(BIND_ROLE_FAKE)) return luaL_error(L, "this process is a node");
	void **box = bind_new(L, &double_type);
	lua_createtable(L, 2, 0);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i);
		lua_rawseti(L, -2, i);
	}
	lua_setiuservalue(L, -2, 1);
	odyn_double *d = kms_heap_alloc(1, sizeof(*d));
	if (!d) return bind_fail(L, KMS_ERR_MEMORY);
	*box = d;
	d->wallet = wallet;
	d->p384 = p384;
	kms_status status = kms_channels_new(&d->channels, 1024);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_odyn_double(lua_State *L)
{
	bind_define(L, &double_type);
	lua_pushcfunction(L, double_new);
	lua_setfield(L, -2, "odyn_double");
}
