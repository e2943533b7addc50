/*
 * Calls that are repeated: an endpoint keeps its transfers for reuse, and gives Lua only the status and body
 * of a response. A call costs half as much as one by native.fetch, one in clear to a literal address a sixth.
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

/* The user value is a table that keeps the texts alive, with idle calls at 1, 2, ... */
typedef struct endpoint {
	kms_fetch_request request;
	kms_text content_type;
	int idle_count;
} endpoint;

/* The stack of endpoint:call: endpoint, body, limit, fetcher, then the call's userdata. */
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

/* Keeps the call for reuse (may throw: its transfer has ended). */
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
		if (http_status / 100 != 2) {
			/* The body of an error could repeat the secrets in the request. */
			kms_buf_free(kms_fetch_body(c->fetch));
			lua_pushnil(L);
		} else if (!bind_body_push(L, kms_fetch_body(c->fetch))) {
			results = bind_fail(L, KMS_ERR_MEMORY);
		}
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
	request.body = body;
	kms_status status = kms_fetch_new(&c->fetch, &request);
	if (status == KMS_OK && e->content_type.text)
		status = kms_fetch_add_header(c->fetch, KMS_TEXT("Content-Type"), e->content_type);
	return status;
}

/* Pushes a call that is ready to start, an idle or a new one. NULL without memory. */
static call *push_call(lua_State *L, endpoint *e)
{
	call *c;
	if (e->idle_count) {
		lua_getiuservalue(L, 1, 1);
		lua_rawgeti(L, -1, e->idle_count);
		lua_pushboolean(L, 0); /* its place: what a throw leaves behind is collected */
		lua_rawseti(L, -3, e->idle_count--);
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
 * endpoint:call(body|nil, max_bytes) -> HTTP status, body (nil unless the status is 2xx) | nil, message,
 * code. Waits, so it needs a coroutine. body: a string, or a body handle, which is closed to others until
 * the call is over; each call of an endpoint has one, or none has.
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
		body = kms_buf_text(bind_body_check(L, 2));
	else
		body = bind_arg_text(L, 2);
	if (is_handle && !body.len) body.text = "";
	lua_settop(L, 3);
	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status != KMS_OK) return bind_fail(L, status);
	bind_wait_reserve(L);
	call *c = push_call(L, e);
	if (!c) return bind_fail(L, KMS_ERR_MEMORY);
	if (!c->fetch) status = new_fetch(c, e, body);
	if (status == KMS_OK) status = kms_fetch_reuse(c->fetch, body, max_bytes);
	if (status == KMS_OK) status = kms_fetch_start(c->fetch, fetcher, on_done, c);
	if (status != KMS_OK) return bind_fail(L, status);
	if (is_handle) bind_body_lend(&c->body, L, 2);
	return bind_wait_yield(L, &c->wait);
}

#define KEPT_INDEX 3 /* the table that keeps an endpoint's texts alive */

/* A text option; with a NUL inside it becomes one that is never valid. */
static const char *option(lua_State *L, const char *name, const char *fallback)
{
	kms_text text = bind_option_text(L, 1, name);
	if (!text.text) return fallback;
	lua_setfield(L, KEPT_INDEX, name);
	return strlen(text.text) == text.len ? text.text : "\n";
}

/* Whether these options make a valid call. */
static kms_status check(lua_State *L, const endpoint *e)
{
	kms_fetcher *fetcher;
	call probe = { 0 };
	kms_status status = bind_push_fetcher(L, &fetcher);
	if (status == KMS_OK) status = new_fetch(&probe, e, KMS_NO_TEXT);
	kms_fetch_free(probe.fetch);
	return status;
}

/*
 * endpoint{ url=, method="GET", content_type=, timeout_ms=10000, wiped=false } -> endpoint |
 * nil, message, code. wiped: responses are secret.
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
	e->content_type = kms_text_from(option(L, "content_type", NULL));
	e->request.timeout_ms = (uint32_t)bind_option_integer(L, 1, "timeout_ms", 1, 3600000, 10000);
	e->request.connect_timeout_ms = e->request.timeout_ms;
	e->request.direct = KMS_FETCH_DIRECT_SERVICE;
	e->request.wiped = bind_option_boolean(L, 1, "wiped");
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
