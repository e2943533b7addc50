/* Wallets, P-384 keys, channels. */
#include "bind/keys.h"

#include "bind/crypto.h"
#include "bind/topics.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/keyfile.h"

static void push_address(lua_State *L, const uint8_t address20[20])
{
	char text[KMS_ADDRESS_TEXT];
	kms_address_format(text, address20);
	lua_pushlstring(L, text, sizeof(text));
}

static void wallet_release(void *object)
{
	kms_wallet_free(object);
}

/* wallet:address() -> "0x" + 40 lower-case digits */
static int wallet_address(lua_State *L)
{
	uint8_t address[20];
	kms_wallet_address(address, bind_check(L, 1, &bind_wallet_type));
	push_address(L, address);
	return 1;
}

/* wallet:sign(text) -> "0x" + 130 lower-case digits: EIP-191, v 27 or 28 | nil, message, code */
static int wallet_sign(lua_State *L)
{
	uint8_t sig[65];
	char text[KMS_SIGNATURE_TEXT];
	size_t len;
	const kms_wallet *wallet = bind_check(L, 1, &bind_wallet_type);
	const char *message = luaL_checklstring(L, 2, &len);
	kms_status status = kms_wallet_sign_message(sig, wallet, kms_span_of(message, len));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_signature_format(text, sig);
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

static const luaL_Reg wallet_methods[] = { { "address", wallet_address },
					   { "sign", wallet_sign },
					   { NULL, NULL } };
const bind_type bind_wallet_type = { "kms.wallet", wallet_release, wallet_methods, false };

static void p384_release(void *object)
{
	kms_p384_free(object);
}

/* p384:public_der() -> 120 bytes of SubjectPublicKeyInfo */
static int p384_public_der(lua_State *L)
{
	uint8_t der[KMS_P384_DER];
	kms_p384_der(der, kms_p384_public(bind_check(L, 1, &bind_p384_type)));
	lua_pushlstring(L, (const char *)der, sizeof(der));
	return 1;
}

static const luaL_Reg p384_methods[] = { { "public_der", p384_public_der }, { NULL, NULL } };
const bind_type bind_p384_type = { "kms.p384", p384_release, p384_methods, false };

static void channels_release(void *object)
{
	kms_channels_free(object);
}

/* channels:count() -> keys held */
static int channels_count(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_channels_count(bind_check(L, 1, &bind_channels_type)));
	return 1;
}

static const luaL_Reg channels_methods[] = { { "count", channels_count }, { NULL, NULL } };
const bind_type bind_channels_type = { "kms.channels", channels_release, channels_methods, false };

/* channels(max) -> cache of channel keys, 1 to 65536 of them */
static int channels_new(lua_State *L)
{
	size_t max = (size_t)bind_arg_integer(L, 1, 1, 65536);
	kms_channels **box = (kms_channels **)bind_new(L, &bind_channels_type);
	kms_status status = kms_channels_new(box, max);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* identity(seed) -> wallet, p384 | nil, message, code (kms_seed_identity) */
static int identity(lua_State *L)
{
	const kms_secret *seed = bind_check(L, 1, &bind_secret_type);
	kms_wallet **wallet = (kms_wallet **)bind_new(L, &bind_wallet_type);
	kms_p384 **p384 = (kms_p384 **)bind_new(L, &bind_p384_type);
	kms_status status = kms_seed_identity(wallet, p384, seed);
	return status == KMS_OK ? 2 : bind_fail(L, status);
}

/* address(text) -> canonical wallet text | nil, message, code */
static int address(lua_State *L)
{
	uint8_t address20[20];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	kms_status status = kms_address_parse(address20, kms_text_of(text, len));
	if (status != KMS_OK) return bind_fail(L, status);
	push_address(L, address20);
	return 1;
}

/* peer_point(key) -> 97-byte point of an accepted teePubkey (DER or point) | nil, message, code */
static int peer_point(lua_State *L)
{
	uint8_t point[KMS_P384_POINT];
	size_t len;
	const char *key = luaL_checklstring(L, 1, &len);
	kms_status status = kms_p384_point_parse(point, kms_span_of(key, len));
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, (const char *)point, sizeof(point));
	return 1;
}

void bind_add_keys(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "channels", channels_new }, { "identity", identity }, { "address", address },
		{ "peer_point", peer_point }, { NULL, NULL },
	};
	bind_define(L, &bind_wallet_type);
	bind_define(L, &bind_p384_type);
	bind_define(L, &bind_channels_type);
	luaL_setfuncs(L, functions, 0);
}
