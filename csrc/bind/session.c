/* The table of sessions, and one session found in it. */
#include "bind/session.h"

#include <string.h>

#include "bind/http.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/eth_text.h"
#include "net/http.h"

static void sessions_release(void *object)
{
	kms_sessions_free(object);
}

static void session_release(void *object)
{
	kms_session_unref(object);
}

kms_session_kind bind_arg_session_kind(lua_State *L, int arg)
{
	static const char *const kinds[] = { "app", "peer", NULL };
	return (kms_session_kind)luaL_checkoption(L, arg, NULL, kinds);
}

kms_session_offer bind_arg_ends(lua_State *L, int arg)
{
	kms_session_offer ends = { 0 };
	luaL_checktype(L, arg, LUA_TTABLE);
	lua_Integer count = (lua_Integer)lua_rawlen(L, arg);
	lua_Integer first = count > KMS_SESSION_MAX_ENDS ? count - KMS_SESSION_MAX_ENDS + 1 : 1;
	for (lua_Integer i = first; i <= count; i++) {
		const uint8_t *sid16 = bind_element_bytes(L, arg, i, KMS_SESSION_SID);
		memcpy(ends.ends16[ends.ends_count++], sid16, KMS_SESSION_SID);
		lua_pop(L, 1);
	}
	return ends;
}

void bind_push_session_nonce(lua_State *L, const uint8_t salt32[32], uint64_t seq)
{
	char digits[2 * 32];
	kms_hex_encode(digits, kms_span_of(salt32, 32));
	lua_pushlstring(L, digits, sizeof(digits));
	lua_pushfstring(L, "%s:%I", lua_tostring(L, -1), (lua_Integer)seq);
}

static uint64_t arg_seconds(lua_State *L, int arg)
{
	return (uint64_t)bind_arg_integer(L, arg, 0, LUA_MAXINTEGER) / 1000;
}

/* ---- the table ---------------------------------------------------------------------------------------- */

/* sessions:counts() -> open sessions of applications, of members */
static int sessions_counts(lua_State *L)
{
	kms_sessions *sessions = bind_check(L, 1, &bind_sessions_type);
	lua_pushinteger(L, (lua_Integer)kms_sessions_count(sessions, KMS_SESSION_APP));
	lua_pushinteger(L, (lua_Integer)kms_sessions_count(sessions, KMS_SESSION_PEER));
	return 2;
}

/* sessions:expire(mono_ms) -> how many ended, at most 256 a call */
static int sessions_expire(lua_State *L)
{
	kms_sessions *sessions = bind_check(L, 1, &bind_sessions_type);
	lua_pushinteger(L, (lua_Integer)kms_sessions_expire(sessions, arg_seconds(L, 2)));
	return 1;
}

/* sessions:end_wallet("app"|"peer", wallet) -> how many ended */
static int sessions_end_wallet(lua_State *L)
{
	uint8_t wallet20[20];
	kms_sessions *sessions = bind_check(L, 1, &bind_sessions_type);
	kms_session_kind kind = bind_arg_session_kind(L, 2);
	bind_arg_address(wallet20, L, 3);
	lua_pushinteger(L, (lua_Integer)kms_sessions_end_wallet(sessions, kind, wallet20));
	return 1;
}

static int push_owner(lua_State *L, const kms_session_owner *owner)
{
	char wallet[KMS_ADDRESS_TEXT], storage[KMS_DECIMAL_MAX];
	kms_text app_id = kms_decimal_format(storage, owner->app_id);
	lua_pushstring(L, owner->kind == KMS_SESSION_APP ? "app" : "peer");
	kms_address_format(wallet, owner->wallet20);
	lua_pushlstring(L, wallet, sizeof(wallet));
	lua_pushlstring(L, app_id.text, app_id.len);
	return 3;
}

/*
 * sessions:find(head, mono_ms) -> session, "app" or "peer", wallet, app id as text | false | nil, message,
 * code
 *
 * The session that the message in `head` names, whose body is not read yet: its front is enough; and whose it
 * is. false: the front has not arrived. ERR_NOT_FOUND where there is none, ERR_TRUNCATED and
 * ERR_FIELD_VALUE for what begins as no message does.
 */
static int sessions_find(lua_State *L)
{
	uint8_t sid16[KMS_SESSION_SID], front[KMS_SESSION_HEAD];
	uint64_t seq;
	size_t got;
	kms_sessions *sessions = bind_check(L, 1, &bind_sessions_type);
	const kms_http *http = bind_http_check(L, 2);
	uint64_t now_s = arg_seconds(L, 3);

	if (!kms_http_body_front(front, &got, http, sizeof(front))) {
		lua_pushboolean(L, false);
		return 1;
	}
	kms_status status = kms_session_head_parse(sid16, &seq, kms_span_of(front, got));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_session **box = (kms_session **)bind_new(L, &bind_session_type);
	status = kms_sessions_find(box, sessions, sid16, now_s);
	if (status != KMS_OK) return bind_fail(L, status);
	return 1 + push_owner(L, kms_session_owner_of(*box));
}

static const luaL_Reg sessions_methods[] = {
	{ "counts", sessions_counts },
	{ "expire", sessions_expire },
	{ "end_wallet", sessions_end_wallet },
	{ "find", sessions_find },
	{ NULL, NULL },
};
const bind_type bind_sessions_type = { "kms.sessions", sessions_release, sessions_methods, false };

/* sessions{ max=, per_wallet=, ttl_s= } -> table | nil, message, code */
static int sessions_new(lua_State *L)
{
	static const char *const names[] = { "max", "per_wallet", "ttl_s", NULL };
	bind_options_check(L, 1, names);
	kms_sessions_config config = {
		.max = (size_t)bind_option_integer(L, 1, "max", 1, KMS_SESSIONS_MAX, KMS_SESSIONS_MAX),
		.per_wallet =
		    (unsigned)bind_option_integer(L, 1, "per_wallet", 1, KMS_SESSIONS_PER_WALLET, 8),
		.ttl_s = (unsigned)bind_option_integer(L, 1, "ttl_s", 4, KMS_SESSIONS_TTL_MAX, 3600),
	};
	kms_sessions **box = (kms_sessions **)bind_new(L, &bind_sessions_type);
	kms_status status = kms_sessions_new(box, &config);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- one session -------------------------------------------------------------------------------------- */

static const kms_session_owner *owner_of(lua_State *L)
{
	return kms_session_owner_of(bind_check(L, 1, &bind_session_type));
}

/* session:owner() -> "app" or "peer", wallet, app id as text */
static int session_owner(lua_State *L)
{
	return push_owner(L, owner_of(L));
}

/* session:is_for(point97) -> whether it was opened under this registered key */
static int session_is_for(lua_State *L)
{
	const kms_session_owner *owner = owner_of(L);
	const uint8_t *point97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	lua_pushboolean(L, memcmp(owner->point97, point97, KMS_P384_POINT) == 0); /* public */
	return 1;
}

/* session:finish(): ends it. Messages that were opened may still be answered. */
static int session_finish(lua_State *L)
{
	kms_session_end(bind_check(L, 1, &bind_session_type));
	return 0;
}

static const luaL_Reg session_methods[] = {
	{ "owner", session_owner },
	{ "is_for", session_is_for },
	{ "finish", session_finish },
	{ NULL, NULL },
};
const bind_type bind_session_type = { "kms.session", session_release, session_methods, true };

void bind_add_session(lua_State *L)
{
	bind_define(L, &bind_sessions_type);
	bind_define(L, &bind_session_type);
	lua_pushcfunction(L, sessions_new);
	lua_setfield(L, -2, "sessions");
}
