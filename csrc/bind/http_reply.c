/*
 * HTTP replies: one call instead of a dozen concatenations in Lua. What a socket takes at once never becomes
 * a string: that is a fifth of the garbage of a small request.
 */
#include "bind/body.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bind/topics.h"
#include "kms/buf.h"

#define MAX_HEAD 8192 /* bytes of the longest head */

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

/* Writes the head whose status, headers, length of the body and whether the connection closes are at 1 to 4.
 */
static void put_head(writer *w, lua_State *L)
{
	lua_Integer status = bind_arg_integer(L, 1, 200, 599);
	lua_Integer length = bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);

	w->L = L;
	w->len = 0;
	put_text(w, "HTTP/1.1 ");
	put_number(w, (uint64_t)status);
	put(w, " ", 1);
	put_text(w, reason_of(status));
	put_text(w, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
	put_date(w);
	bool typed = put_headers(w, 2);
	if (!typed && length > 0) put_text(w, "Content-Type: application/json\r\n");
	if (status != 204 && status != 304) {
		put_text(w, "Content-Length: ");
		put_number(w, (uint64_t)length);
		put(w, "\r\n", 2);
	}
	put_text(w, lua_toboolean(L, 4) ? "Connection: close\r\n\r\n" : "\r\n");
}

/*
 * http_head(status, headers|nil, length, close) -> the head of a reply. Throws for an invalid status, name or
 * value.
 */
static int http_head(lua_State *L)
{
	writer w; /* not zeroed: every byte is written before it is read */
	lua_settop(L, 4);
	put_head(&w, L);
	lua_pushlstring(L, w.bytes, w.len);
	return 1;
}

/* Pushes what is behind the first `sent` bytes of a head and a body. */
static void push_unsent(lua_State *L, const writer *head, kms_text body, size_t sent)
{
	size_t of_head = sent < head->len ? sent : head->len, of_body = sent - of_head;
	lua_pushlstring(L, head->bytes + of_head, head->len - of_head);
	lua_pushlstring(L, body.text + of_body, body.len - of_body);
	lua_concat(L, 2);
}

/* The body that argument `arg` is, a string or a handle. Throws for a wiped or guarded one: only public bytes
 * leave. */
static kms_text arg_body(lua_State *L, int arg)
{
	kms_text text;
	if (lua_type(L, arg) == LUA_TUSERDATA) {
		const kms_buf *body = bind_body_check(L, arg);
		if (body->kind != KMS_BUF_PLAIN) luaL_argerror(L, arg, "is not a public body");
		return kms_text_of(body->len ? (const char *)body->data : "", body->len);
	}
	text.text = luaL_checklstring(L, arg, &text.len);
	return text;
}

/*
 * http_send(status, headers|nil, length, close, socket, body) -> nil: all of it is sent | text that the
 * socket does not take now, or fails to take
 *
 * Sends the head that http_head makes, and `body` behind it, without waiting. body: a string, or a handle,
 * which stays open.
 */
static int http_send(lua_State *L)
{
	writer w; /* not zeroed: every byte is written before it is read */
	int socket = (int)bind_arg_integer(L, 5, 0, INT_MAX);
	kms_text body = arg_body(L, 6);

	lua_settop(L, 6);
	put_head(&w, L);
	/* The kernel changes nothing of it; iovec has no const. */
	struct iovec parts[2] = { { w.bytes, w.len }, { (void *)(uintptr_t)body.text, body.len } };
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t result = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	size_t sent = result > 0 ? (size_t)result : 0;
	if (sent == w.len + body.len) return 0;
	push_unsent(L, &w, body, sent);
	return 1;
}

void bind_add_http_reply(lua_State *L)
{
	lua_pushcfunction(L, http_head);
	lua_setfield(L, -2, "http_head");
	lua_pushcfunction(L, http_send);
	lua_setfield(L, -2, "http_send");
}
