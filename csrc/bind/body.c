/* Bodies that stay in C. */
#include "bind/body.h"

#include <limits.h>
#include <sys/socket.h>

#include "bind/topics.h"
#include "base/mem.h"

#define MAX_TEXT ((size_t)1 << 30)

static void body_release(void *object)
{
	kms_buf_free(object);
	kms_heap_free(object);
}

kms_buf *bind_body_check(lua_State *L, int arg)
{
	return bind_check(L, arg, &bind_body_type);
}

bool bind_body_push(lua_State *L, kms_buf *body)
{
	void **box = bind_new(L, &bind_body_type);
	kms_buf *owned = kms_heap_alloc(1, sizeof(*owned));
	if (!owned) return false;
	*owned = *body;
	*body = kms_buf_make(body->kind, body->max);
	*box = owned;
	return true;
}

kms_buf_kind bind_arg_memory(lua_State *L, int arg)
{
	static const char *const kinds[] = { "guarded", "wiped", NULL };
	return luaL_checkoption(L, arg, NULL, kinds) == 0 ? KMS_BUF_GUARDED : KMS_BUF_WIPED;
}

/* Empties a handle; the caller owns its buffer. */
static kms_buf *detach(lua_State *L, int arg)
{
	void **box = lua_touserdata(L, arg);
	kms_buf *body = *box;
	*box = NULL;
	return body;
}

void bind_body_take(kms_buf *body, lua_State *L, int arg)
{
	kms_buf *owned = detach(L, arg);
	*body = *owned;
	kms_heap_free(owned);
}

void bind_body_lend(bind_body_loan *loan, lua_State *L, int arg)
{
	loan->box = lua_touserdata(L, arg);
	loan->body = detach(L, arg);
}

void bind_body_give_back(bind_body_loan *loan)
{
	if (loan->body) *loan->box = loan->body;
	loan->body = NULL;
}

void bind_body_drop_loan(bind_body_loan *loan)
{
	if (loan->body) body_release(loan->body);
	loan->body = NULL;
}

/* body:len() -> bytes */
static int body_len(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)bind_body_check(L, 1)->len);
	return 1;
}

/*
 * At most as many bytes as argument `arg + 1` says from the position that argument `arg` says (1 is the
 * first). Throws for a wiped or guarded body: only public bytes leave.
 */
static kms_span arg_slice(lua_State *L, int arg)
{
	const kms_buf *body = bind_body_check(L, 1);
	size_t from = (size_t)bind_arg_integer(L, arg, 1, LUA_MAXINTEGER) - 1;
	size_t count = (size_t)bind_arg_integer(L, arg + 1, 0, LUA_MAXINTEGER);
	if (body->kind != KMS_BUF_PLAIN) luaL_argerror(L, 1, "is not a public body");
	size_t left = from < body->len ? body->len - from : 0;
	if (count > left) count = left;
	return count ? kms_span_of(body->data + from, count) : kms_text_span(kms_text_of("", 0));
}

/* body:slice(from, count) -> text */
static int body_slice(lua_State *L)
{
	kms_span slice = arg_slice(L, 2);
	lua_pushlstring(L, (const char *)slice.bytes, slice.len);
	return 1;
}

/* body:send(socket, from, count) -> number of bytes that a descriptor took without waiting; 0 also where it
 * failed. Unlike a slice, they need no copy in Lua, whose collector would take longer than sending them. */
static int body_send(lua_State *L)
{
	int socket = (int)bind_arg_integer(L, 2, 0, INT_MAX);
	kms_span slice = arg_slice(L, 3);
	ssize_t sent = send(socket, slice.bytes, slice.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	lua_pushinteger(L, sent > 0 ? sent : 0);
	return 1;
}

static const luaL_Reg body_methods[] = {
	{ "len", body_len },
	{ "slice", body_slice },
	{ "send", body_send },
	{ NULL, NULL },
};
const bind_type bind_body_type = { "kms.body", body_release, body_methods, true };

/* text_body(text) -> body (wiped) with the bytes of a string | nil, message, code */
static int text_body(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	kms_buf none = kms_buf_make(KMS_BUF_WIPED, MAX_TEXT);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_status status = kms_buf_append(bind_body_check(L, lua_gettop(L)), kms_span_of(text, len));
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_body(lua_State *L)
{
	bind_define(L, &bind_body_type);
	lua_pushcfunction(L, text_body);
	lua_setfield(L, -2, "text_body");
}
