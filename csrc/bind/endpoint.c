/*
 * A call that is made again and again: its transfers are kept and used anew, and nothing of an
 * answer but status and body comes to Lua. Costs half of what native.fetch does.
 */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/fetch.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "base/mem.h"

#define MAX_IDLE 64
#define MAX_BYTES ((lua_Integer)1 << 32)

/* Its user value is a table that keeps its texts alive, and idle calls at 1, 2, ... */
typedef struct endpoint {
	kms_fetch_request request;
	kms_text content_type;
	int idle_count;
} endpoint;

/* Stack of endpoint:call: endpoint, body, limit, fetcher, then the call's userdata. */
#define CALL_INDEX 5

typedef struct call {
	bind_wait wait;
	kms_fetch *fetch;
	bind_body_loan body;
	endpoint *home; /* at 1 of the same stack */
} call;

/* ---- calls ------------------------------------------------------------------------------------ */

static void call_release(void *object)
{
	call *c = object;
	kms_fetch_free(c->fetch);
	bind_body_drop_loan(&c->body);
	kms_heap_free(c);
}

static const bind_type call_type = { "kms.endpoint.call", call_release, NULL, false };

/* Keeps the call for another time (may throw: nothing is under way then). */
static void put_back(lua_State *L, endpoint *home)
{
	if (home->idle_count == MAX_IDLE) return;
	lua_getiuservalue(L, 1, 1);
	lua_pushvalue(L, CALL_INDEX);
	lua_rawseti(L, -2, home->idle_count + 1);
	lua_pop(L, 1);
	home->idle_count++;
}

static int call_finish(lua_State *L, bind_wait *wait)
{
	call *c = (call *)wait;
	int results = 2;
	kms_status status = kms_fetch_result(c->fetch);

	bind_body_give_back(&c->body);
	if (status != KMS_OK) {
		results = bind_fail_text(L, status, kms_fetch_detail(c->fetch));
	} else {
		int http_status = kms_fetch_http_status(c->fetch);
		lua_pushinteger(L, http_status);
		/* The text of an error could repeat what was sent. */
		if (http_status / 100 != 2)
			lua_pushnil(L);
		else if (!bind_body_push(L, kms_fetch_body(c->fetch)))
			results = bind_fail(L, KMS_ERR_MEMORY);
	}
	put_back(L, c->home);
	return results;
}

static void on_done(void *context)
{
	call *c = context;
	bind_wait_resume(&c->wait);
}

static kms_status new_fetch(call *c, const endpoint *e, kms_text body)
{
	kms_fetch_request request = e->request;
	kms_text name = { "Content-Type", strlen("Content-Type") };
	request.body = body;
	kms_status status = kms_fetch_new(&c->fetch, &request);
	if (status == KMS_OK && e->content_type.text)
		status = kms_fetch_add_header(c->fetch, name, e->content_type);
	return status;
}

/* Pushes a call that is ready to start: an idle one, or one more. NULL: no memory. */
static call *push_call(lua_State *L, endpoint *e)
{
	call *c;
	if (e->idle_count) {
		lua_getiuservalue(L, 1, 1);
		lua_rawgeti(L, -1, e->idle_count--);
		lua_remove(L, -2);
		c = *(call **)lua_touserdata(L, -1);
	} else {
		void **box = bind_new(L, &call_type);
		c = kms_heap_alloc(1, sizeof(*c));
		*box = c;
	}
	if (!c) return NULL;
	c->wait.finish = call_finish;
	c->home = e;
	return c;
}

/* ---- endpoints -------------------------------------------------------------------------------- */

static void endpoint_release(void *object)
{
	kms_heap_free(object);
}

static int endpoint_call(lua_State *L);

static const luaL_Reg endpoint_methods[] = { { "call", endpoint_call }, { NULL, NULL } };
static const bind_type endpoint_type = { "kms.endpoint", endpoint_release, endpoint_methods, false };

/*
 * endpoint:call(body|nil, max_bytes) -> HTTP status, body handle (nil unless the status is 2xx) |
 * nil, message, code. Waits: needs a coroutine. body: a string, or a body handle, which nobody else
 * can use until the call is over; given to each call of an endpoint, or to none.
 */
static int endpoint_call(lua_State *L)
{
	kms_fetcher *fetcher;
	kms_text body = { NULL, 0 };
	endpoint *e = bind_check(L, 1, &endpoint_type);
	size_t max_bytes = (size_t)bind_arg_integer(L, 3, 0, MAX_BYTES);
	bool is_handle = lua_type(L, 2) == LUA_TUSERDATA;

	if (!lua_isyieldable(L)) return luaL_error(L, "a call waits: it needs a coroutine");
	if (is_handle)
		body = (kms_text){ (const char *)bind_body_check(L, 2)->data, bind_body_check(L, 2)->len };
	else
		body = bind_arg_text(L, 2);
	if (is_handle && !body.len) body.text = "";
	lua_settop(L, 3);
	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status != KMS_OK) return bind_fail(L, status);
	call *c = push_call(L, e);
	if (!c) return bind_fail(L, KMS_ERR_MEMORY);
	if (!c->fetch) status = new_fetch(c, e, body);
	if (status == KMS_OK) status = kms_fetch_reuse(c->fetch, body, max_bytes);
	if (status == KMS_OK) status = kms_fetch_start(c->fetch, fetcher, on_done, c);
	if (status != KMS_OK) return bind_fail(L, status);
	if (is_handle) bind_body_lend(&c->body, L, 2);
	return bind_wait_yield(L, &c->wait);
}

#define KEPT_INDEX 3 /* of the table that keeps an endpoint's texts alive */

/* A text option without NUL inside. */
static const char *option(lua_State *L, const char *name, const char *fallback)
{
	size_t len;
	if (lua_getfield(L, 1, name) == LUA_TNIL) return fallback;
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_argerror(L, 1, lua_pushfstring(L, "option '%s' must be a string", name));
	const char *text = lua_tolstring(L, -1, &len);
	lua_setfield(L, KEPT_INDEX, name);
	return strlen(text) == len ? text : "\n"; /* never valid */
}

/* Whether calls can be made of the options at all. */
static kms_status check(lua_State *L, const endpoint *e)
{
	kms_fetcher *fetcher;
	call probe = { 0 };
	kms_text none = { NULL, 0 };
	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status == KMS_OK) status = new_fetch(&probe, e, none);
	kms_fetch_free(probe.fetch);
	return status;
}

/*
 * endpoint{ url=, method="GET", content_type=, timeout_ms=10000, wiped=false } -> endpoint |
 * nil, message, code. wiped: what it answers is a secret.
 */
static int endpoint_new(lua_State *L)
{
	static const char *const names[] = { "url", "method", "content_type", "timeout_ms", "wiped", NULL };
	bind_options_check(L, 1, names);
	lua_settop(L, 1);
	void **box = bind_new(L, &endpoint_type);
	lua_newtable(L);
	lua_pushvalue(L, KEPT_INDEX);
	lua_setiuservalue(L, 2, 1);
	endpoint *e = kms_heap_alloc(1, sizeof(*e));
	if (!e) return bind_fail(L, KMS_ERR_MEMORY);
	*box = e;
	e->request.url = option(L, "url", NULL);
	if (!e->request.url) return luaL_argerror(L, 1, "option 'url' is required");
	e->request.method = option(L, "method", "GET");
	e->content_type.text = option(L, "content_type", NULL);
	if (e->content_type.text) e->content_type.len = strlen(e->content_type.text);
	e->request.timeout_ms = (uint32_t)bind_option_integer(L, 1, "timeout_ms", 1, 3600000, 10000);
	e->request.connect_timeout_ms = e->request.timeout_ms;
	lua_getfield(L, 1, "wiped");
	e->request.wiped = lua_toboolean(L, -1);
	kms_status status = check(L, e);
	lua_settop(L, 2);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_endpoint(lua_State *L)
{
	bind_define(L, &endpoint_type);
	bind_define(L, &call_type);
	lua_pushcfunction(L, endpoint_new);
	lua_setfield(L, -2, "endpoint");
}
