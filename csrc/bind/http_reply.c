/* Heads of HTTP replies: one call instead of a dozen concatenations in Lua. */
#include "bind/bind.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bind/topics.h"
#include "kms/buf.h"

/* Bytes of the longest head. A reply that fits here with its body is built on the stack. */
#define MAX_HEAD 8192

typedef struct writer {
	lua_State *L; /* for errors */
	char bytes[MAX_HEAD];
	size_t len;
} writer;

static void put(writer *w, const char *bytes, size_t len)
{
	if (len > sizeof(w->bytes) - w->len) luaL_error(w->L, "a head is longer than %d bytes", MAX_HEAD);
	memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
}

static void put_text(writer *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_number(writer *w, uint64_t number)
{
	char storage[KMS_DECIMAL_MAX];
	kms_text digits = kms_decimal_format(storage, number);
	put(w, digits.text, digits.len);
}

/*
 * The current date in the form of RFC 9110 section 5.6.7, made once a second. Only the loop's thread makes
 * heads.
 */
static void put_date(writer *w)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static char line[64];
	static time_t made_s = -1;
	struct tm utc;
	time_t now_s = time(NULL);

	if (now_s != made_s) {
		if (!gmtime_r(&now_s, &utc)) return;
		(void)snprintf(line, sizeof(line), "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n",
			       days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900,
			       utc.tm_hour, utc.tm_min, utc.tm_sec);
		made_s = now_s;
	}
	put_text(w, line);
}

static const char *reason_of(lua_Integer status)
{
	static const struct {
		lua_Integer status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 412, "Precondition Failed" },
		{ 413, "Payload Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status) return reasons[i].reason;
	return "Status";
}

static bool is_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && c != '-') return false;
	}
	return len > 0;
}

/* No control characters: a value must not end its line. */
static bool is_value(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return false;
	return true;
}

/* Writes the header that lua_next left on the stack. Returns whether it is Content-Type. */
static bool put_header(writer *w)
{
	static const char type[] = "Content-Type";
	size_t name_len, value_len;
	lua_State *L = w->L;

	if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "a header name is not text");
	const char *name = lua_tolstring(L, -2, &name_len);
	if (!is_name(name, name_len)) luaL_error(L, "not a header name: %s", name);
	if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "header %s is not text", name);
	const char *value = lua_tolstring(L, -1, &value_len);
	if (!is_value(value, value_len)) luaL_error(L, "a control character in header %s", name);
	put(w, name, name_len);
	put(w, ": ", 2);
	put(w, value, value_len);
	put(w, "\r\n", 2);
	return name_len == sizeof(type) - 1 && memcmp(name, type, name_len) == 0;
}

static bool put_headers(writer *w, int table)
{
	bool typed = false;
	if (lua_isnil(w->L, table)) return false;
	luaL_checktype(w->L, table, LUA_TTABLE);
	lua_pushnil(w->L);
	while (lua_next(w->L, table)) {
		typed = put_header(w) || typed;
		lua_pop(w->L, 1);
	}
	return typed;
}

/*
 * http_head(status, headers|nil, length, close, body|nil) -> the head of a reply, followed by `body`.
 * Throws for an invalid status, name or value.
 */
static int http_head(lua_State *L)
{
	writer w; /* not zeroed: every byte is written before it is read */
	size_t body_len = 0;
	lua_Integer status = bind_arg_integer(L, 1, 200, 599);
	lua_Integer length = bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	const char *body = luaL_optlstring(L, 5, NULL, &body_len);

	lua_settop(L, 5);
	w.L = L;
	w.len = 0;
	put_text(&w, "HTTP/1.1 ");
	put_number(&w, (uint64_t)status);
	put(&w, " ", 1);
	put_text(&w, reason_of(status));
	put_text(&w, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
	put_date(&w);
	bool typed = put_headers(&w, 2);
	if (!typed && length > 0) put_text(&w, "Content-Type: application/json\r\n");
	if (status != 204 && status != 304) {
		put_text(&w, "Content-Length: ");
		put_number(&w, (uint64_t)length);
		put(&w, "\r\n", 2);
	}
	put_text(&w, lua_toboolean(L, 4) ? "Connection: close\r\n\r\n" : "\r\n");
	bool fits = body_len <= sizeof(w.bytes) - w.len;
	if (fits && body) put(&w, body, body_len);
	lua_pushlstring(L, w.bytes, w.len);
	if (fits) return 1;
	lua_pushvalue(L, 5);
	lua_concat(L, 2);
	return 1;
}

void bind_add_http_reply(lua_State *L)
{
	lua_pushcfunction(L, http_head);
	lua_setfield(L, -2, "http_head");
}
