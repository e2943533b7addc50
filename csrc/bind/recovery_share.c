/*
 * Shares as handles: what custodians and waiting nodes do with them. Lua sees their public parts, proofs and
 * ciphertext, never their secret part.
 */
#include <string.h>

#include "base/ensure.h"
#include "base/file.h"
#include "base/mem.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/recovery.h"
#include "bind/topics.h"
#include "kms/age.h"
#include "kms/challenge.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/eth_text.h"
#include "kms/wallet.h"

#define MAX_TEXT 512 /* of a nonce and a wallet */

/* ---- shares ------------------------------------------------------------------------------------ */

static void share_release(void *object)
{
	bind_share *share = object;
	kms_secret_unref(share->y32);
	kms_buf_free(&share->bytes);
	kms_heap_free(share);
}

kms_status bind_share_read(bind_share **share, kms_span bytes)
{
	bind_share *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	made->bytes = kms_buf_make(KMS_BUF_GUARDED, KMS_SHARE_BYTES);
	kms_status status = kms_share_read(&made->head, &made->y32, bytes);
	if (status == KMS_OK) status = kms_buf_append(&made->bytes, bytes);
	if (status != KMS_OK) {
		share_release(made);
		return status;
	}
	*share = made;
	return KMS_OK;
}

static void set_hex(lua_State *L, const char *name, const uint8_t *bytes, size_t len)
{
	char digits[2 * KMS_SHARE_HASH];
	kms_hex_encode(digits, kms_span_of(bytes, len));
	lua_pushlstring(L, digits, 2 * len);
	lua_setfield(L, -2, name);
}

/* share:head() -> { set (first 32 digits of its id), threshold, count, x, day, hash (first 48 digits) } */
static int share_head(lua_State *L)
{
	const bind_share *share = bind_check(L, 1, &bind_share_type);
	lua_createtable(L, 0, 6);
	set_hex(L, "set", share->head.set16, sizeof(share->head.set16));
	set_hex(L, "hash", share->head.hash24, sizeof(share->head.hash24));
	bind_set_integer(L, "threshold", share->head.threshold);
	bind_set_integer(L, "count", share->head.count);
	bind_set_integer(L, "x", share->head.x);
	bind_set_integer(L, "day", share->head.day);
	return 1;
}

/* share:proof(text) -> 64 digits | nil, message, code: shows to a node that this is its custodian's share */
static int share_proof(lua_State *L)
{
	uint8_t proof[32];
	char digits[2 * sizeof(proof)];
	const bind_share *share = bind_check(L, 1, &bind_share_type);
	kms_text text = bind_arg_text(L, 2);
	if (!text.text || text.len > MAX_TEXT) luaL_argerror(L, 2, "a text of at most 512 bytes");
	kms_status status = bind_recovery_proof(proof, share->y32, text);
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(digits, KMS_SPAN(proof));
	lua_pushlstring(L, digits, sizeof(digits));
	return 1;
}

/* share:seal(recipient) -> age file to the recipient "age1..." | nil, message, code */
static int share_seal(lua_State *L)
{
	uint8_t key[KMS_X25519_BYTES];
	const bind_share *share = bind_check(L, 1, &bind_share_type);
	kms_text recipient = bind_arg_text(L, 2);
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, KMS_AGE_MAX_FILE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *file = bind_body_check(L, lua_gettop(L));
	kms_status status = kms_age_recipient_parse(key, recipient);
	if (status == KMS_OK) status = kms_age_seal(file, key, kms_buf_span(&share->bytes));
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushlstring(L, (const char *)file->data, file->len);
	return 1;
}

static const luaL_Reg share_methods[] = {
	{ "head", share_head },
	{ "proof", share_proof },
	{ "seal", share_seal },
	{ NULL, NULL },
};
const bind_type bind_share_type = { "kms.share", share_release, share_methods, true };

static kms_status share_of_file(bind_share **share, int fd)
{
	/* One byte more than a share: a longer file is none. */
	DEFER(kms_guarded_release) uint8_t *bytes = kms_guarded_alloc(KMS_SHARE_BYTES + 1);
	size_t got;
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_fd_read(&got, kms_out_of(bytes, KMS_SHARE_BYTES + 1), fd));
	return bind_share_read(share, kms_span_of(bytes, got));
}

/*
 * recovery_read_share(fd) -> share | nil, message, code: reads to the end of a pipe or file straight into
 * guarded memory; ERR_SHARE when that is no share. Blocks.
 */
static int read_share(lua_State *L)
{
	int fd = (int)bind_arg_integer(L, 1, 0, INT32_MAX);
	bind_share **box = (bind_share **)bind_new(L, &bind_share_type);
	kms_status status = share_of_file(box, fd);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- challenges, as a custodian sees them -------------------------------------------------------- */

static const bind_type challenge_type;

static void challenge_release(void *object)
{
	kms_secret_unref(object);
}

/* challenge:answer(body) -> 64 digits | nil, message, code: what goes with the body to the node that made it
 */
static int challenge_answer(lua_State *L)
{
	uint8_t mac[32];
	char digits[2 * sizeof(mac)];
	size_t len;
	const kms_secret *c = bind_check(L, 1, &challenge_type);
	const char *body = luaL_checklstring(L, 2, &len);
	kms_status status = kms_challenge_answer(mac, c, kms_span_of(body, len));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(digits, KMS_SPAN(mac));
	lua_pushlstring(L, digits, sizeof(digits));
	return 1;
}

static const luaL_Reg challenge_methods[] = { { "answer", challenge_answer }, { NULL, NULL } };
static const bind_type challenge_type = { "kms.challenge", challenge_release, challenge_methods, true };

static kms_status challenge_of_file(kms_secret **c, int fd, const uint8_t wallet20[20], uint8_t x)
{
	DEFER(kms_guarded_release) uint8_t *bytes = kms_guarded_alloc(KMS_CHALLENGE_BYTES + 1);
	size_t got;
	ENSURE(bytes, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_fd_read(&got, kms_out_of(bytes, KMS_CHALLENGE_BYTES + 1), fd));
	return kms_challenge_read(c, kms_span_of(bytes, got), wallet20, x);
}

/*
 * recovery_read_challenge(fd, wallet, x) -> challenge | nil, message, code: as recovery_read_share;
 * ERR_CHALLENGE when it is not one of the node with this wallet to custodian x
 */
static int read_challenge(lua_State *L)
{
	uint8_t wallet[20];
	int fd = (int)bind_arg_integer(L, 1, 0, INT32_MAX);
	bind_arg_address(wallet, L, 2);
	uint8_t x = (uint8_t)bind_arg_integer(L, 3, 1, KMS_SHARE_CUSTODIANS);
	kms_secret **box = (kms_secret **)bind_new(L, &challenge_type);
	kms_status status = challenge_of_file(box, fd, wallet, x);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* signer(text, signature) -> wallet that signed the text (EIP-191) | nil, message, code */
static int signer(lua_State *L)
{
	uint8_t sig[65], wallet[20];
	char address[KMS_ADDRESS_TEXT];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	kms_status status = kms_signature_parse(sig, bind_arg_text(L, 2));
	if (status == KMS_OK) status = kms_message_recover(wallet, kms_span_of(text, len), sig);
	if (status != KMS_OK) return bind_fail(L, status);
	kms_address_format(address, wallet);
	lua_pushlstring(L, address, sizeof(address));
	return 1;
}

/* ---- the key of a waiting node ------------------------------------------------------------------ */

static void key_release(void *object)
{
	kms_x25519_free(object);
}

/* key:recipient() -> "age1..." */
static int key_recipient(lua_State *L);
/* key:open_share(file) -> share | nil, message, code: of an age file to this key */
static int key_open_share(lua_State *L);

static const luaL_Reg key_methods[] = {
	{ "recipient", key_recipient },
	{ "open_share", key_open_share },
	{ NULL, NULL },
};
static const bind_type key_type = { "kms.recovery_key", key_release, key_methods, true };

static int key_recipient(lua_State *L)
{
	char text[KMS_AGE_RECIPIENT];
	kms_age_recipient_format(text, kms_x25519_public(bind_check(L, 1, &key_type)));
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

static kms_status open_share(bind_share **share, const kms_x25519 *key, kms_text file)
{
	DEFER(kms_buf_free) kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 2 * KMS_AGE_MAX_PLAIN);
	GUARD(kms_age_open(&plain, key, file));
	return bind_share_read(share, kms_buf_span(&plain));
}

static int key_open_share(lua_State *L)
{
	const kms_x25519 *key = bind_check(L, 1, &key_type);
	size_t len;
	const char *file = luaL_checklstring(L, 2, &len);
	bind_share **box = (bind_share **)bind_new(L, &bind_share_type);
	kms_status status = open_share(box, key, kms_text_of(file, len));
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* recovery_key() -> key | nil, message, code: a fresh one, which nothing outlives */
static int recovery_key(lua_State *L)
{
	kms_x25519 **box = (kms_x25519 **)bind_new(L, &key_type);
	kms_status status = kms_x25519_generate(box);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_recovery_share(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "recovery_read_share", read_share },
		{ "recovery_read_challenge", read_challenge },
		{ "recovery_key", recovery_key },
		{ "signer", signer },
		{ NULL, NULL },
	};
	bind_define(L, &bind_share_type);
	bind_define(L, &key_type);
	bind_define(L, &challenge_type);
	luaL_setfuncs(L, functions, 0);
}
