/*
 * The cryptography of the fake Odyn service (lua/devnet/odyn.lua), for specs and development networks only.
 * A TEE service gets plaintext as JSON text, so this gives plaintext to Lua. A process that is a node
 * cannot use it.
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

typedef struct odyn_fake {
	const kms_wallet *wallet; /* kept alive by the user value, like p384 */
	const kms_p384 *p384;
	kms_channels *channels;
	kms_buf scratch; /* owned here, so that it is freed when a push throws */
} odyn_fake;

static void fake_release(void *object)
{
	odyn_fake *fake = object;
	kms_channels_free(fake->channels);
	kms_buf_free(&fake->scratch);
	kms_heap_free(fake);
}

static int fake_open(lua_State *L);
static int fake_seal(lua_State *L);
static int fake_public(lua_State *L);

static const luaL_Reg fake_methods[] = {
	{ "open", fake_open },
	{ "seal", fake_seal },
	{ "public", fake_public },
	{ NULL, NULL },
};
static const bind_type fake_type = { "kms.odyn_fake", fake_release, fake_methods, false };

/* Arguments: fake, peer_point97, iv, text. Pushes what `work` makes of the text under the channel key. */
static int convert(lua_State *L, kms_buf_kind kind,
		   kms_status (*work)(kms_buf *out, const uint8_t key32[32], const uint8_t iv12[12],
				      kms_text text))
{
	kms_secret *key;
	kms_text text = { NULL, 0 };
	odyn_fake *fake = bind_check(L, 1, &fake_type);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	const uint8_t *iv = bind_arg_bytes(L, 3, KMS_GCM_IV);
	text.text = luaL_checklstring(L, 4, &text.len);

	kms_status status = kms_channels_get(&key, fake->channels, fake->p384, peer97);
	if (status != KMS_OK) return bind_fail(L, status);
	kms_buf_free(&fake->scratch); /* of a call that has thrown */
	fake->scratch = kms_buf_make(kind, MAX_BYTES);
	status = work(&fake->scratch, kms_secret_bytes(key), iv, text);
	kms_secret_unref(key);
	if (status == KMS_OK)
		lua_pushlstring(L, fake->scratch.len ? (char *)fake->scratch.data : "", fake->scratch.len);
	kms_buf_free(&fake->scratch);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* fake:open(peer_point97, iv, ciphertext and tag in hex) -> plaintext | nil, message, code */
static int fake_open(lua_State *L)
{
	return convert(L, KMS_BUF_WIPED, kms_gcm_open_hex);
}

static kms_status seal_text(kms_buf *hex, const uint8_t key32[32], const uint8_t iv12[12], kms_text plain)
{
	return kms_gcm_seal_hex(hex, key32, iv12, kms_text_span(plain));
}

/* fake:seal(peer_point97, iv, plaintext) -> ciphertext and tag in hex | nil, message, code */
static int fake_seal(lua_State *L)
{
	return convert(L, KMS_BUF_PLAIN, seal_text);
}

/* fake:public() -> the wallet's public point (65 bytes), the teePubkey's DER in base64 */
static int fake_public(lua_State *L)
{
	uint8_t point[65], der[KMS_P384_DER];
	char text[4 * KMS_P384_DER / 3];
	const odyn_fake *fake = bind_check(L, 1, &fake_type);
	kms_status status = kms_wallet_public(point, fake->wallet);
	if (status != KMS_OK) return bind_fail(L, status);
	kms_p384_der(der, kms_p384_public(fake->p384));
	size_t len = kms_base64_encode(text, KMS_SPAN(der));
	lua_pushlstring(L, (const char *)point, sizeof(point));
	lua_pushlstring(L, text, len);
	return 2;
}

/* odyn_fake(wallet, p384) -> fake | nil, message, code. Throws in a process that is a node. */
static int fake_new(lua_State *L)
{
	const kms_wallet *wallet = bind_check(L, 1, &bind_wallet_type);
	const kms_p384 *p384 = bind_check(L, 2, &bind_p384_type);
	if (!bind_claim_role(BIND_ROLE_FAKE)) return luaL_error(L, "this process is a node");
	void **box = bind_new(L, &fake_type);
	lua_createtable(L, 2, 0);
	for (int i = 1; i <= 2; i++) {
		lua_pushvalue(L, i);
		lua_rawseti(L, -2, i);
	}
	lua_setiuservalue(L, -2, 1);
	odyn_fake *fake = kms_heap_alloc(1, sizeof(*fake));
	if (!fake) return bind_fail(L, KMS_ERR_MEMORY);
	*box = fake;
	fake->wallet = wallet;
	fake->p384 = p384;
	kms_status status = kms_channels_new(&fake->channels, 1024);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_odyn_fake(lua_State *L)
{
	bind_define(L, &fake_type);
	lua_pushcfunction(L, fake_new);
	lua_setfield(L, -2, "odyn_fake");
}
