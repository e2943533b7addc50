/*
 * The cryptography of sessions for test clients, on test keys in plain Lua strings: OpenSSL directly, none of
 * the core.
 */
#include "testkit_session.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/ensure.h"

#define KEY 32
#define IV 12
#define TAG 16

KMS_DEFINE_RELEASE(pkey_release, EVP_PKEY, EVP_PKEY_free)
KMS_DEFINE_RELEASE(pkey_ctx_release, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
KMS_DEFINE_RELEASE(cipher_release, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

static const unsigned char *check_bytes(lua_State *L, int arg, size_t want)
{
	size_t len;
	const char *bytes = luaL_checklstring(L, arg, &len);
	if (len != want) luaL_argerror(L, arg, lua_pushfstring(L, "%d bytes expected", (int)want));
	return (const unsigned char *)bytes;
}

/* sha256(text) -> 32 bytes */
static int kit_sha256(lua_State *L)
{
	unsigned char digest[32];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	if (!EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL)) return luaL_error(L, "SHA-256 failed");
	lua_pushlstring(L, (const char *)digest, sizeof(digest));
	return 1;
}

/* x25519_public(scalar32) -> 32 bytes */
static int kit_x25519_public(lua_State *L)
{
	unsigned char out[KEY];
	size_t len = sizeof(out);
	const unsigned char *scalar = check_bytes(L, 1, KEY);
	DEFER(pkey_release) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, KEY);
	if (!key || EVP_PKEY_get_raw_public_key(key, out, &len) != 1) return luaL_error(L, "X25519 failed");
	lua_pushlstring(L, (const char *)out, len);
	return 1;
}

static bool agree(unsigned char *out, const unsigned char *scalar, const unsigned char *peer)
{
	size_t len = KEY;
	DEFER(pkey_release) EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, KEY);
	DEFER(pkey_release) EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, KEY);
	DEFER(pkey_ctx_release) EVP_PKEY_CTX *context = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	return other && context && EVP_PKEY_derive_init(context) == 1 &&
	       EVP_PKEY_derive_set_peer(context, other) == 1 && EVP_PKEY_derive(context, out, &len) == 1;
}

/* x25519(scalar32, peer32) -> 32 bytes | nil: it is zero */
static int kit_x25519(lua_State *L)
{
	unsigned char out[KEY];
	if (!agree(out, check_bytes(L, 1, KEY), check_bytes(L, 2, KEY))) return 0;
	lua_pushlstring(L, (const char *)out, sizeof(out));
	return 1;
}

/* Encrypts or decrypts; `tag` is what is written or expected. */
static bool crypt_gcm(lua_State *L, unsigned char *out, unsigned char *tag, const unsigned char *in,
		      size_t len, int encrypt)
{
	size_t aad_len;
	int n = 0;
	const unsigned char *key = check_bytes(L, 1, KEY), *iv = check_bytes(L, 2, IV);
	const char *aad = luaL_checklstring(L, 3, &aad_len);
	DEFER(cipher_release) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	if (!context || EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key, iv, encrypt) != 1)
		return false;
	if (!encrypt && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, tag) != 1) return false;
	if (EVP_CipherUpdate(context, NULL, &n, (const unsigned char *)aad, (int)aad_len) != 1) return false;
	if (EVP_CipherUpdate(context, out, &n, in, (int)len) != 1) return false;
	if (EVP_CipherFinal_ex(context, out + n, &n) != 1) return false;
	return !encrypt || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
}

/* aead_seal(key32, iv12, additional data, plain) -> ciphertext || tag: AES-256-GCM */
static int kit_aead_seal(lua_State *L)
{
	luaL_Buffer buffer;
	size_t len;
	const unsigned char *plain = (const unsigned char *)luaL_checklstring(L, 4, &len);
	unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &buffer, len + TAG);
	if (!crypt_gcm(L, out, out + len, plain, len, 1)) return luaL_error(L, "cannot encrypt");
	luaL_pushresultsize(&buffer, len + TAG);
	return 1;
}

/* aead_open(key32, iv12, additional data, sealed) -> plain | nil */
static int kit_aead_open(lua_State *L)
{
	luaL_Buffer buffer;
	size_t len;
	unsigned char tag[TAG];
	const unsigned char *sealed = (const unsigned char *)luaL_checklstring(L, 4, &len);
	if (len < TAG) return 0;
	memcpy(tag, sealed + len - TAG, TAG);
	unsigned char *out = (unsigned char *)luaL_buffinitsize(L, &buffer, len);
	if (!crypt_gcm(L, out, tag, sealed, len - TAG, 0)) return 0;
	luaL_pushresultsize(&buffer, len - TAG);
	return 1;
}

void kms_testkit_add_session(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "sha256", kit_sha256 },       { "x25519_public", kit_x25519_public },
		{ "x25519", kit_x25519 },       { "aead_seal", kit_aead_seal },
		{ "aead_open", kit_aead_open }, { NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
