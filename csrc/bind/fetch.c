/* HTTP calls to other servers (net/fetch.h). */
#include "bind/fetch.h"

#include <string.h>

#include "bind/body.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "base/mem.h"

#define MAX_TRANSFERS 1024
#define MAX_CONNECTIONS 64
#define MAX_BYTES ((lua_Integer)1 << 31)

/* ---- the fetcher of this process ---------------------------------------------------------------- */

static void fetcher_release(void *object)
{
	kms_fetcher_close(object);
}

static const bind_type fetcher_type = { "kms.fetcher", fetcher_release, NULL, true };
static const char fetcher_key; /* its address is the key in the registry */

kms_status bind_push_fetcher(lua_State *L, kms_fetcher **fetcher)
{
	static const kms_fetcher_limits limits = { MAX_TRANSFERS, MAX_CONNECTIONS };
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &fetcher_key) != LUA_TNIL) {
		*fetcher = *(kms_fetcher **)lua_touserdata(L, -1);
		return *fetcher ? KMS_OK : KMS_ERR_STATE;
	}
	lua_pop(L, 1);
	kms_fetcher **box = (kms_fetcher **)bind_new(L, &fetcher_type);
	kms_status status = kms_fetcher_new(box, bind_loop(L), &limits);
	if (status != KMS_OK) return status;
	*fetcher = *box;
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &fetcher_key);
	return KMS_OK;
}

/*
 * fetch_close() -> true: waiting calls return nil, message, "ERR_STATE", idle connections are
 * closed, and new calls are refused. Repeated: does nothing.
 */
static int fetch_close(lua_State *L)
{
	kms_fetcher *fetcher;
	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status == KMS_OK) {
		*(void **)lua_touserdata(L, -1) = NULL;
		kms_fetcher_close(fetcher);
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* ---- one call ---------------------------------------------------------------------------------------- */

typedef struct call {
	bind_wait wait;
	kms_fetch *fetch;
	bind_body_loan body; /* the request's body, when it is a handle */
	bool handle;         /* return the response's body as a handle */
	bool drops_errors;   /* return an empty body unless the status is 2xx */
} call;

static void call_release(void *object)
{
	call *c = object;
	kms_fetch_free(c->fetch);
	bind_body_drop_loan(&c->body);
	kms_heap_free(c);
}

static const bind_type call_type = { "kms.fetch", call_release, NULL, false };

/* A string without NUL inside: what C sees is what Lua passed. */
static const char *option_text(lua_State *L, const char *name, const char *fallback)
{
	kms_text text = bind_option_text(L, 1, name);
	if (!text.text) return fallback;
	return strlen(text.text) == text.len ? text.text : "\n"; /* never valid */
}

static kms_fetch_direct option_direct(lua_State *L)
{
	kms_text kind = bind_option_text(L, 1, "direct");
	if (!kind.text) return KMS_FETCH_INDIRECT;
	if (strcmp(kind.text, "chain") == 0) return KMS_FETCH_DIRECT_CHAIN;
	if (strcmp(kind.text, "peer") != 0)
		luaL_argerror(L, 1, "option 'direct' must be \"chain\" or \"peer\"");
	return KMS_FETCH_DIRECT_PEER;
}

/* Pushes the option `headers`: a table, or nil. */
static void push_sent_headers(lua_State *L)
{
	int type = lua_getfield(L, 1, "headers");
	if (type != LUA_TNIL && type != LUA_TTABLE) luaL_argerror(L, 1, "option 'headers' must be a table");
}

/* Adds those of the table at an index, or none where there is a nil. */
static kms_status add_headers(kms_fetch *fetch, lua_State *L, int index)
{
	if (lua_isnil(L, index)) return KMS_OK;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		kms_text name, value;
		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
			luaL_argerror(L, 1, "headers must be strings by name");
		name.text = lua_tolstring(L, -2, &name.len);
		value.text = lua_tolstring(L, -1, &value.len);
		kms_status status = kms_fetch_add_header(fetch, name, value);
		if (status != KMS_OK) return status;
	}
	return KMS_OK;
}

/* Adds a header to the table on top; values of one name are joined (RFC 9110 section 5.3). */
static void push_header(lua_State *L, kms_text name, kms_text value)
{
	lua_pushlstring(L, name.text, name.len);
	lua_pushvalue(L, -1);
	if (lua_rawget(L, -3) == LUA_TNIL) {
		lua_pop(L, 1);
		lua_pushlstring(L, value.text, value.len);
	} else {
		lua_pushliteral(L, ", ");
		lua_pushlstring(L, value.text, value.len);
		lua_concat(L, 3);
	}
	lua_rawset(L, -3);
}

static int call_finish(lua_State *L, bind_wait *wait)
{
	call *c = (call *)wait;
	kms_text name, value;
	size_t at = 0;
	kms_status status = kms_fetch_result(c->fetch);

	bind_body_give_back(&c->body);
	if (status != KMS_OK) {
		int count = bind_fail_text(L, status, kms_fetch_detail(c->fetch));
		lua_pushboolean(L, kms_fetch_sent(c->fetch));
		return count + 1;
	}
	kms_buf *body = kms_fetch_body(c->fetch);
	int http_status = kms_fetch_http_status(c->fetch);
	lua_pushinteger(L, http_status);
	bool success = http_status / 100 == 2;
	if (!success && c->drops_errors)
		lua_pushliteral(L, "");
	else if (!c->handle || !success)
		lua_pushlstring(L, (const char *)body->data, body->len);
	else if (!bind_body_push(L, body))
		return bind_fail(L, KMS_ERR_MEMORY);
	lua_newtable(L);
	while (kms_fetch_next_header(&name, &value, &at, c->fetch))
		push_header(L, name, value);
	kms_fetch_free(c->fetch); /* now, rather than at the next collection */
	c->fetch = NULL;
	return 3;
}

static void on_done(void *context)
{
	call *c = context;
	bind_wait_resume(&c->wait);
}

/* The request's body: a string, or a handle. Either stays on the stack. Returns the handle's index, or 0. */
static int set_body(lua_State *L, kms_fetch_request *request)
{
	bool is_handle = lua_getfield(L, 1, "body") == LUA_TUSERDATA;
	lua_pop(L, 1);
	if (!is_handle) {
		request->body = bind_option_text(L, 1, "body");
		return 0;
	}
	const kms_buf *body = bind_option_object(L, 1, "body", &bind_body_type);
	if (!body) return 0; /* a metatable said something else the first time */
	request->body = (kms_text){ body->len ? (const char *)body->data : "", body->len };
	return lua_gettop(L);
}

/*
 * fetch{ url=, method="GET", headers={name = value}, body=, timeout_ms=10000,
 *        connect_timeout_ms=5000, max_bytes=1 MiB, proxy=, check_address=false, wiped=false,
 *        handle=false, unix_socket=, stall_s=0 (no limit), once=false, direct="chain"|"peer" }
 *   -> status, body, headers (by lower-case name) | nil, message, code, sent
 * sent: whether any byte of the request may have reached the server. Waits, so it needs a coroutine. `body`:
 * a string, or a body handle, which is closed to others until the call ends. With `wiped` (secret responses)
 * or `handle` (large ones) the body of a 2xx response is a handle for C functions. Other bodies are error
 * texts: a string with `wiped`, an empty string with `handle`, as they may be just as large.
 */
static int fetch(lua_State *L)
{
	static const char *const names[] = {
		"url",       "method", "headers",       "body",  "timeout_ms", "connect_timeout_ms",
		"max_bytes", "proxy",  "check_address", "wiped", "handle",     "unix_socket",
		"stall_s",   "once",   "direct",        NULL
	};
	kms_fetch_request request = { 0 };
	kms_fetcher *fetcher;

	bind_options_check(L, 1, names);
	lua_settop(L, 1);
	if (!lua_isyieldable(L)) return luaL_error(L, "fetch waits: it needs a coroutine");
	request.timeout_ms = (uint32_t)bind_option_integer(L, 1, "timeout_ms", 1, 3600000, 10000);
	request.connect_timeout_ms =
	    (uint32_t)bind_option_integer(L, 1, "connect_timeout_ms", 1, 3600000, 5000);
	request.stall_s = (uint32_t)bind_option_integer(L, 1, "stall_s", 0, 3600, 0);
	request.max_bytes = (size_t)bind_option_integer(L, 1, "max_bytes", 0, MAX_BYTES, 1 << 20);
	request.check_address = bind_option_boolean(L, 1, "check_address");
	request.wiped = bind_option_boolean(L, 1, "wiped");
	request.once = bind_option_boolean(L, 1, "once");
	/* The strings stay on the stack until the call ends. */
	request.url = option_text(L, "url", NULL);
	if (!request.url) return luaL_argerror(L, 1, "option 'url' is required");
	request.method = option_text(L, "method", "GET");
	request.proxy = option_text(L, "proxy", NULL);
	request.unix_socket = option_text(L, "unix_socket", NULL);
	request.direct = option_direct(L);
	bool handle = bind_option_boolean(L, 1, "handle");

	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status != KMS_OK) return bind_fail(L, status);
	void **box = bind_new(L, &call_type);
	call *c = kms_heap_alloc(1, sizeof(*c));
	if (!c) return bind_fail(L, KMS_ERR_MEMORY);
	*box = c;
	c->wait.finish = call_finish;
	c->handle = handle || request.wiped;
	c->drops_errors = handle;
	bind_wait_reserve(L);
	push_sent_headers(L);
	int headers = lua_gettop(L);
	/* The last option that is read: a metatable can close the body whenever one is. */
	int body = set_body(L, &request);
	status = kms_fetch_new(&c->fetch, &request);
	if (status == KMS_OK) status = add_headers(c->fetch, L, headers);
	if (status == KMS_OK) status = kms_fetch_start(c->fetch, fetcher, on_done, c);
	if (status != KMS_OK) return bind_fail(L, status);
	if (body) bind_body_lend(&c->body, L, body);
	return bind_wait_yield(L, &c->wait);
}

void bind_add_fetch(lua_State *L)
{
	static const luaL_Reg functions[] = { { "fetch", fetch },
					      { "fetch_close", fetch_close },
					      { NULL, NULL } };
	bind_define(L, &fetcher_type);
	bind_define(L, &call_type);
	luaL_setfuncs(L, functions, 0);
}
