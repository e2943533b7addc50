/*
 * kms_testkit: the cryptography of honest and hostile clients, on test keys in plain Lua strings.
 * For specs only: a module of its own, not part of the node.
 *
 * It uses OpenSSL and libsecp256k1 directly (only keccak is the core's), so that the core cannot
 * make the same mistake on both sides. It creates no guarded arena and keeps no state.
 * spec/support/crypto.lua loads the node's module first, because OpenSSL accepts an allocator only
 * before its first use.
 *
 * Every function throws on misuse and on failures that no test expects.
 */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <string.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "kms/crypto.h"
#include "testkit_memory.h"
#include "testkit_session.h"

#define POINT 97
#define SCALAR 48
#define SIGNATURE 65
#define TAG 16
#define MAX_OKM 8160

int luaopen_kms_testkit(lua_State *L) __attribute__((visibility("default")));

KMS_DEFINE_RELEASE(bn_release, BIGNUM, BN_clear_free)
KMS_DEFINE_RELEASE(group_release, EC_GROUP, EC_GROUP_free)
KMS_DEFINE_RELEASE(point_release, EC_POINT, EC_POINT_free)
KMS_DEFINE_RELEASE(cipher_release, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
KMS_DEFINE_RELEASE(kdf_release, EVP_KDF, EVP_KDF_free)
KMS_DEFINE_RELEASE(kdf_ctx_release, EVP_KDF_CTX, EVP_KDF_CTX_free)

static const unsigned char *check_bytes(lua_State *L, int arg, size_t want)
{
	size_t len;
	const char *bytes = luaL_checklstring(L, arg, &len);
	if (len != want) luaL_argerror(L, arg, lua_pushfstring(L, "%d bytes expected", (int)want));
	return (const unsigned char *)bytes;
}

static int push(lua_State *L, const unsigned char *bytes, size_t len)
{
	lua_pushlstring(L, (const char *)bytes, len);
	return 1;
}

/* ---- hashes, randomness, text ------------------------------------------------------------- */

/* keccak256(text) -> 32 bytes */
static int kit_keccak256(lua_State *L)
{
	unsigned char digest[32];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	kms_keccak256(digest, kms_span_of(text, len));
	return push(L, digest, sizeof(digest));
}

/* random(len) -> bytes */
static int kit_random(lua_State *L)
{
	luaL_Buffer out;
	size_t len = (size_t)luaL_checkinteger(L, 1), done = 0;
	char *bytes = luaL_buffinitsize(L, &out, len);
	while (done < len) {
		ssize_t got = getrandom(bytes + done, len - done, 0);
		if (got <= 0) return luaL_error(L, "no randomness");
		done += (size_t)got;
	}
	luaL_pushresultsize(&out, len);
	return 1;
}

/* hex(bytes) -> lower-case digits */
static int kit_hex(lua_State *L)
{
	static const char digits[] = "0123456789abcdef";
	luaL_Buffer out;
	size_t len;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &len);
	char *text = luaL_buffinitsize(L, &out, 2 * len);
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	luaL_pushresultsize(&out, 2 * len);
	return 1;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* unhex(digits) -> bytes | nil */
static int kit_unhex(lua_State *L)
{
	luaL_Buffer out;
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	if (len % 2 != 0) return 0;
	char *bytes = luaL_buffinitsize(L, &out, len / 2);
	for (size_t i = 0; i < len / 2; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0) return 0;
		bytes[i] = (char)(high << 4 | low);
	}
	luaL_pushresultsize(&out, len / 2);
	return 1;
}

/* base64(bytes) -> text */
static int kit_base64(lua_State *L)
{
	luaL_Buffer out;
	size_t len;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &len);
	char *text = luaL_buffinitsize(L, &out, len / 3 * 4 + 8);
	luaL_pushresultsize(&out, (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)len));
	return 1;
}

/* unbase64(text) -> bytes | nil */
static int kit_unbase64(lua_State *L)
{
	luaL_Buffer out;
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	size_t padding = len && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;
	if (len == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	unsigned char *bytes = (unsigned char *)luaL_buffinitsize(L, &out, len);
	int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
	if (len % 4 != 0 || got < 0) return 0;
	luaL_pushresultsize(&out, (size_t)got - padding);
	return 1;
}

/* ---- secp256k1 -------------------------------------------------------------------------------- */

static const secp256k1_context *curve(void)
{
	static secp256k1_context *context;
	if (!context) context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	return context;
}

static int push_address(lua_State *L, const secp256k1_pubkey *key)
{
	unsigned char point[65], digest[32];
	size_t len = sizeof(point);
	secp256k1_ec_pubkey_serialize(curve(), point, &len, key, SECP256K1_EC_UNCOMPRESSED);
	kms_keccak256(digest, kms_span_of(point + 1, sizeof(point) - 1));
	return push(L, digest + 12, 20);
}

/* address(key32) -> 20 bytes */
static int kit_address(lua_State *L)
{
	secp256k1_pubkey key;
	if (!secp256k1_ec_pubkey_create(curve(), &key, check_bytes(L, 1, 32)))
		return luaL_argerror(L, 1, "not a private key");
	return push_address(L, &key);
}

/* sign(key32, digest32, high_s) -> r || s || recovery id; high_s: the other, malleable signature */
static int kit_sign(lua_State *L)
{
	secp256k1_ecdsa_recoverable_signature signature;
	const unsigned char *key = check_bytes(L, 1, 32), *digest = check_bytes(L, 2, 32);
	unsigned char out[SIGNATURE];
	int id = 0;

	if (!secp256k1_ecdsa_sign_recoverable(curve(), &signature, digest, key, NULL, NULL))
		return luaL_argerror(L, 1, "not a private key");
	secp256k1_ecdsa_recoverable_signature_serialize_compact(curve(), out, &id, &signature);
	if (lua_toboolean(L, 3)) {
		if (!secp256k1_ec_seckey_negate(curve(), out + 32)) return luaL_error(L, "cannot negate");
		id ^= 1;
	}
	out[64] = (unsigned char)id;
	return push(L, out, sizeof(out));
}

/* recover(digest32, signature65) -> 20 bytes of address | nil */
static int kit_recover(lua_State *L)
{
	secp256k1_ecdsa_recoverable_signature signature;
	secp256k1_pubkey key;
	const unsigned char *digest = check_bytes(L, 1, 32), *bytes = check_bytes(L, 2, SIGNATURE);

	if (bytes[64] > 3) return 0;
	if (!secp256k1_ecdsa_recoverable_signature_parse_compact(curve(), &signature, bytes, bytes[64]) ||
	    !secp256k1_ecdsa_recover(curve(), &key, &signature, digest))
		return 0;
	return push_address(L, &key);
}

/* ---- P-384 ----------------------------------------------------------------------------------- */

static bool public_point(unsigned char point[POINT], const unsigned char scalar[SCALAR])
{
	DEFER(group_release) EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_secp384r1);
	DEFER(bn_release) BIGNUM *number = BN_bin2bn(scalar, SCALAR, NULL);
	DEFER(point_release) EC_POINT *result = group ? EC_POINT_new(group) : NULL;
	return result && number && EC_POINT_mul(group, result, number, NULL, NULL, NULL) == 1 &&
	       EC_POINT_point2oct(group, result, POINT_CONVERSION_UNCOMPRESSED, point, POINT, NULL) == POINT;
}

/* x-coordinate of scalar * peer. */
static bool shared_x(unsigned char x[SCALAR], const unsigned char scalar[SCALAR],
		     const unsigned char peer[POINT])
{
	unsigned char both[POINT];
	DEFER(group_release) EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_secp384r1);
	DEFER(bn_release) BIGNUM *number = BN_bin2bn(scalar, SCALAR, NULL);
	DEFER(point_release) EC_POINT *point = group ? EC_POINT_new(group) : NULL;
	if (!point || !number || EC_POINT_oct2point(group, point, peer, POINT, NULL) != 1 ||
	    EC_POINT_mul(group, point, NULL, point, number, NULL) != 1 ||
	    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, both, POINT, NULL) != POINT)
		return false;
	memcpy(x, both + 1, SCALAR);
	return true;
}

/* p384_point(scalar48) -> 97 bytes */
static int kit_p384_point(lua_State *L)
{
	unsigned char point[POINT];
	if (!public_point(point, check_bytes(L, 1, SCALAR))) return luaL_argerror(L, 1, "not a scalar");
	return push(L, point, sizeof(point));
}

/* ecdh(scalar48, point97) -> 48 bytes */
static int kit_ecdh(lua_State *L)
{
	unsigned char x[SCALAR];
	if (!shared_x(x, check_bytes(L, 1, SCALAR), check_bytes(L, 2, POINT)))
		return luaL_error(L, "no shared point");
	return push(L, x, sizeof(x));
}

/* ---- HKDF-SHA256 and AES-256-GCM ---------------------------------------------------------------- */

static OSSL_PARAM octets(const char *name, const char *bytes, size_t len)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, len);
}

static bool hkdf(unsigned char *okm, size_t okm_len, OSSL_PARAM params[])
{
	DEFER(kdf_release) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	DEFER(kdf_ctx_release) EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	return context && EVP_KDF_derive(context, okm, okm_len, params) == 1;
}

/* hkdf(ikm, salt, info, len) -> bytes */
static int kit_hkdf(lua_State *L)
{
	static char digest[] = "SHA256";
	unsigned char okm[MAX_OKM];
	size_t ikm_len, salt_len, info_len, n = 0;
	const char *ikm = luaL_checklstring(L, 1, &ikm_len);
	const char *salt = luaL_checklstring(L, 2, &salt_len);
	const char *info = luaL_checklstring(L, 3, &info_len);
	lua_Integer len = luaL_checkinteger(L, 4);
	OSSL_PARAM params[5];

	luaL_argcheck(L, len >= 1 && len <= MAX_OKM, 4, "out of range");
	params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[n++] = octets(OSSL_KDF_PARAM_KEY, ikm, ikm_len);
	params[n++] = octets(OSSL_KDF_PARAM_INFO, info, info_len);
	if (salt_len) params[n++] = octets(OSSL_KDF_PARAM_SALT, salt, salt_len);
	params[n] = OSSL_PARAM_construct_end();
	if (!hkdf(okm, (size_t)len, params)) return luaL_error(L, "HKDF failed");
	return push(L, okm, (size_t)len);
}

/* hmac(key, text) -> 32 bytes of HMAC-SHA256 */
static int kit_hmac(lua_State *L)
{
	unsigned char mac[32];
	size_t key_len, len, mac_len = 0;
	const char *key = luaL_checklstring(L, 1, &key_len);
	const char *text = luaL_checklstring(L, 2, &len);
	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_len, (const unsigned char *)text, len,
		       mac, sizeof(mac), &mac_len))
		return luaL_error(L, "HMAC failed");
	return push(L, mac, mac_len);
}

static bool seal(unsigned char *sealed, const unsigned char *key, const unsigned char *iv, const char *plain,
		 size_t len)
{
	int n = 0;
	DEFER(cipher_release) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	return context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, iv) == 1 &&
	       EVP_EncryptUpdate(context, sealed, &n, (const unsigned char *)plain, (int)len) == 1 &&
	       EVP_EncryptFinal_ex(context, sealed + n, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, sealed + len) == 1;
}

static bool unseal(unsigned char *plain, const unsigned char *key, const unsigned char *iv,
		   const char *sealed, size_t len)
{
	int n = 0;
	unsigned char tag[TAG];
	DEFER(cipher_release) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	memcpy(tag, sealed + len, TAG);
	return context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, iv) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
	       EVP_DecryptUpdate(context, plain, &n, (const unsigned char *)sealed, (int)len) == 1 &&
	       EVP_DecryptFinal_ex(context, plain + n, &n) == 1;
}

/* gcm_seal(key32, iv12, plain) -> ciphertext || tag */
static int kit_gcm_seal(lua_State *L)
{
	luaL_Buffer out;
	size_t len;
	const unsigned char *key = check_bytes(L, 1, 32), *iv = check_bytes(L, 2, 12);
	const char *plain = luaL_checklstring(L, 3, &len);
	unsigned char *sealed = (unsigned char *)luaL_buffinitsize(L, &out, len + TAG);
	if (!seal(sealed, key, iv, plain, len)) return luaL_error(L, "cannot encrypt");
	luaL_pushresultsize(&out, len + TAG);
	return 1;
}

/* gcm_open(key32, iv12, sealed) -> plain | nil */
static int kit_gcm_open(lua_State *L)
{
	luaL_Buffer out;
	size_t len;
	const unsigned char *key = check_bytes(L, 1, 32), *iv = check_bytes(L, 2, 12);
	const char *sealed = luaL_checklstring(L, 3, &len);
	if (len < TAG) return 0;
	unsigned char *plain = (unsigned char *)luaL_buffinitsize(L, &out, len);
	if (!unseal(plain, key, iv, sealed, len - TAG)) return 0;
	luaL_pushresultsize(&out, len - TAG);
	return 1;
}

int luaopen_kms_testkit(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "keccak256", kit_keccak256 },
		{ "random", kit_random },
		{ "hex", kit_hex },
		{ "unhex", kit_unhex },
		{ "base64", kit_base64 },
		{ "unbase64", kit_unbase64 },
		{ "address", kit_address },
		{ "sign", kit_sign },
		{ "recover", kit_recover },
		{ "p384_point", kit_p384_point },
		{ "ecdh", kit_ecdh },
		{ "hkdf", kit_hkdf },
		{ "gcm_seal", kit_gcm_seal },
		{ "gcm_open", kit_gcm_open },
		{ "hmac", kit_hmac },
		{ NULL, NULL },
	};
	luaL_newlib(L, functions);
	kms_testkit_add_session(L);
	kms_testkit_add_memory(L);
	return 1;
}
