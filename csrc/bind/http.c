/*
 * HTTP input for Lua: native.http_parser and its events (net/http.h). One call takes input and
 * returns what the server needs of a request.
 */
#include "bind/http.h"

#include <limits.h>
#include <sys/socket.h>

#include "bind/topics.h"
#include "net/http.h"

#define MAX_FRONT 64 /* bytes of a body that are looked at before it is read */

static void http_release(void *object)
{
	kms_http_free(object);
}

kms_http *bind_http_check(lua_State *L, int arg)
{
	return bind_check(L, arg, &bind_http_type);
}

static int push_request(lua_State *L, const kms_http_request *request)
{
	lua_pushliteral(L, "request");
	bind_push_text(L, request->method);
	bind_push_text(L, request->path);
	bind_push_text(L, request->query);
	lua_pushboolean(L, request->keep_alive);
	lua_pushboolean(L, request->framing != KMS_HTTP_NO_BODY);
	lua_pushboolean(L, request->rare_headers);
	if (request->framing == KMS_HTTP_CHUNKED)
		lua_pushnil(L);
	else
		lua_pushinteger(L, (lua_Integer)request->length);
	return 8;
}

static int push_refusal(lua_State *L, const kms_http_refusal *refusal)
{
	lua_pushliteral(L, "refused");
	lua_pushinteger(L, refusal->status);
	lua_pushstring(L, refusal->code);
	lua_pushstring(L, refusal->message);
	return 4;
}

/*
 * An event, as results:
 *   nil, bytes read ahead                                nothing new
 *   "request", method, path, query, keep_alive, has_body, rare_headers, length
 *                                                        a head (http.h); query is nil without '?'; length:
 *                                                        announced bytes of the body, nil for a chunked one
 *   "body"                                               the body is complete
 *   "refused", HTTP status, code, message                reply with this, then close
 */
static int push_event(lua_State *L, const kms_http *http, kms_http_event event)
{
	switch (event) {
	case KMS_HTTP_REQUEST:
		return push_request(L, kms_http_get_request(http));
	case KMS_HTTP_BODY:
		lua_pushliteral(L, "body");
		return 1;
	case KMS_HTTP_REFUSED:
		return push_refusal(L, kms_http_get_refusal(http));
	case KMS_HTTP_MORE:
		break;
	}
	lua_pushnil(L);
	lua_pushinteger(L, (lua_Integer)kms_http_ahead(http));
	return 2;
}

/* parser:feed(bytes) -> event: takes input. */
static int http_feed(lua_State *L)
{
	size_t len;
	kms_http *http = bind_http_check(L, 1);
	const char *bytes = luaL_checklstring(L, 2, &len);
	return push_event(L, http, kms_http_feed(http, kms_span_of(bytes, len)));
}

/*
 * parser:read(socket, max) -> bytes, event: takes input from a descriptor without waiting, at most `max` and
 * 65536 bytes. 0 bytes and no event where there is none, and at its end. A large body that went through Lua
 * would have its collector run for as long as dozens of small requests.
 */
static int http_read(lua_State *L)
{
	static uint8_t slice[65536]; /* loop thread only */
	kms_http *http = bind_http_check(L, 1);
	int socket = (int)bind_arg_integer(L, 2, 0, INT_MAX);
	size_t max = (size_t)bind_arg_integer(L, 3, 1, sizeof(slice));
	ssize_t len = recv(socket, slice, max, MSG_DONTWAIT);

	lua_pushinteger(L, len > 0 ? len : 0);
	if (len <= 0) return 1;
	return 1 + push_event(L, http, kms_http_feed(http, kms_span_of(slice, (size_t)len)));
}

/* parser:next() -> event: ends the request and frees its texts and body. */
static int http_next(lua_State *L)
{
	kms_http *http = bind_http_check(L, 1);
	return push_event(L, http, kms_http_next(http));
}

/*
 * parser:read_body(limit, caller|nil, is_member) -> event: collects the body in C, at most `limit` bytes.
 * `caller`: text that tells callers apart, each of which has a share of the memory of bodies.
 */
static int http_read_body(lua_State *L)
{
	kms_http *http = bind_http_check(L, 1);
	size_t limit = (size_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	kms_http_body_owner owner = { .is_member = lua_toboolean(L, 4) };
	if (!lua_isnoneornil(L, 3)) owner.caller = bind_arg_text(L, 3);
	return push_event(L, http, kms_http_read_body(http, limit, owner));
}

/* parser:has_front(bytes) -> whether the first bytes of a body have arrived before it is read, or never will.
 */
static int http_has_front(lua_State *L)
{
	uint8_t front[MAX_FRONT];
	size_t got;
	const kms_http *http = bind_http_check(L, 1);
	size_t want = (size_t)bind_arg_integer(L, 2, 1, MAX_FRONT);
	lua_pushboolean(L, kms_http_body_front(front, &got, http, want));
	return 1;
}

/* parser:drain(max) -> event: discards the rest of the body, at most `max` bytes. */
static int http_drain(lua_State *L)
{
	kms_http *http = bind_http_check(L, 1);
	size_t max = (size_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	return push_event(L, http, kms_http_drain(http, max));
}

/* parser:drainable(max) -> whether drain(max) can succeed. */
static int http_drainable(lua_State *L)
{
	kms_http *http = bind_http_check(L, 1);
	size_t max = (size_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	lua_pushboolean(L, kms_http_drainable(http, max));
	return 1;
}

/*
 * parser:header(name) -> value or nil, number of fields. The values of several fields are joined
 * with ", " in their order (RFC 9110 section 5.3), so that no caller overlooks one.
 */
static int http_header(lua_State *L)
{
	kms_text value;
	kms_http *http = bind_http_check(L, 1);
	const char *name = luaL_checkstring(L, 2);
	unsigned count = kms_http_header(&value, http, name);
	bind_push_text(L, value);
	for (unsigned i = 1; i < count; i++) {
		kms_http_header_nth(&value, http, name, i);
		lua_pushliteral(L, ", ");
		bind_push_text(L, value);
		lua_concat(L, 3);
	}
	lua_pushinteger(L, (lua_Integer)count);
	return 2;
}

/* parser:host() -> host and port that the request is for: its target's, else those of Host; or nil. */
static int http_host(lua_State *L)
{
	const kms_http_request *request = kms_http_get_request(bind_http_check(L, 1));
	bind_push_text(L, request ? request->host : KMS_NO_TEXT);
	return 1;
}

/* parser:expects_continue() -> whether the client waits for status 100 before it sends the body. */
static int http_expects_continue(lua_State *L)
{
	const kms_http_request *request = kms_http_get_request(bind_http_check(L, 1));
	lua_pushboolean(L, request && request->expects_continue);
	return 1;
}

/* parser:release_body(): frees the body earlier than next() does. */
static int http_release_body(lua_State *L)
{
	kms_http_release_body(bind_http_check(L, 1));
	return 0;
}

/* parser:release(): frees the head and the body earlier than next() does. */
static int http_release_head(lua_State *L)
{
	kms_http_release(bind_http_check(L, 1));
	return 0;
}

/*
 * parser:body() -> the collected body as a string. Only for small bodies without secrets (tests,
 * plain JSON): services take the body in C.
 */
static int http_body(lua_State *L)
{
	const kms_buf *body = kms_http_body(bind_http_check(L, 1));
	lua_pushlstring(L, body->len ? (const char *)body->data : "", body->len);
	return 1;
}

static const luaL_Reg http_methods[] = {
	{ "feed", http_feed },
	{ "read", http_read },
	{ "next", http_next },
	{ "read_body", http_read_body },
	{ "has_front", http_has_front },
	{ "drain", http_drain },
	{ "drainable", http_drainable },
	{ "header", http_header },
	{ "host", http_host },
	{ "expects_continue", http_expects_continue },
	{ "release_body", http_release_body },
	{ "release", http_release_head },
	{ "body", http_body },
	{ NULL, NULL },
};
const bind_type bind_http_type = { "kms.http", http_release, http_methods, true };

/*
 * http_parser(max_header_bytes, max_line_bytes, client) -> parser | nil, message, code: the last two may be
 * nil. `client`: text that tells clients apart, each of which has a share of the memory of long request
 * lines.
 */
static int http_new(lua_State *L)
{
	kms_http_head_limits limits = { .line = KMS_HTTP_SHORT_LINE };
	limits.fields = (size_t)bind_arg_integer(L, 1, KMS_HTTP_MIN_FIELDS, KMS_HTTP_MAX_FIELDS);
	if (!lua_isnoneornil(L, 2))
		limits.line = (size_t)bind_arg_integer(L, 2, KMS_HTTP_SHORT_LINE, KMS_HTTP_MAX_LINE);
	kms_text client = lua_isnoneornil(L, 3) ? KMS_NO_TEXT : bind_arg_text(L, 3);
	kms_http **box = (kms_http **)bind_new(L, &bind_http_type);
	kms_status status = kms_http_new(box, limits, client);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

static int push_decoded(lua_State *L, kms_text text, bool plus_is_space)
{
	luaL_Buffer buffer;
	size_t len;
	uint8_t *bytes = (uint8_t *)luaL_buffinitsize(L, &buffer, text.len);
	kms_status status = kms_http_decode(bytes, &len, text, plus_is_space);
	luaL_pushresultsize(&buffer, len);
	return status == KMS_OK ? 1 : bind_fail_text(L, status, "malformed percent-escape");
}

/* percent_decode(text, plus_is_space) -> bytes | nil, message, code */
static int percent_decode(lua_State *L)
{
	luaL_checkstring(L, 1);
	return push_decoded(L, bind_arg_text(L, 1), lua_toboolean(L, 2));
}

/*
 * http_query(query, name) -> decoded value of the first parameter of this name or nil, number of
 * them | nil, message, code. Names are compared without decoding; '+' in a value is a space. `query`
 * may be nil.
 */
static int http_query(lua_State *L)
{
	kms_text query = bind_arg_text(L, 1), found = { NULL, 0 }, value;
	luaL_checkstring(L, 2);
	kms_text name = bind_arg_text(L, 2);
	unsigned count = 0;
	while (kms_http_query_next(&value, &query, name))
		if (count++ == 0) found = value;
	if (found.text && push_decoded(L, found, true) != 1) return 3;
	if (!found.text) lua_pushnil(L);
	lua_pushinteger(L, (lua_Integer)count);
	return 2;
}

/*
 * http_body_limits(total, share, small_reserve, member_reserve): bounds the memory of all request bodies, in
 * bytes (kms_http_body_limits).
 */
static int http_body_limits(lua_State *L)
{
	kms_http_body_limits limits = {
		.total = (size_t)bind_arg_integer(L, 1, 0, LUA_MAXINTEGER),
		.share = (size_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER),
		.small_reserve = (size_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER),
		.member_reserve = (size_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER),
	};
	kms_status status = kms_http_set_body_limits(limits);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushboolean(L, true);
	return 1;
}

/* http_body_in_flight() -> bytes that request bodies hold now. */
static int http_body_in_flight(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_http_body_in_flight());
	return 1;
}

/* http_lines_in_flight() -> bytes that long request lines hold now. */
static int http_lines_in_flight(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)kms_http_lines_in_flight());
	return 1;
}

void bind_add_http(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "http_parser", http_new },
		{ "percent_decode", percent_decode },
		{ "http_query", http_query },
		{ "http_body_limits", http_body_limits },
		{ "http_body_in_flight", http_body_in_flight },
		{ "http_lines_in_flight", http_lines_in_flight },
		{ NULL, NULL },
	};
	bind_define(L, &bind_http_type);
	luaL_setfuncs(L, functions, 0);
}
