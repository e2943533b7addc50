/* A request's body: opened into guarded memory, and read through accessors. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/http.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/service.h"
#include "bind/topics.h"
#include "base/mem.h"
#include "net/http.h"

/* Larger bodies are opened on the pool; for smaller ones the way there would cost more than the work. */
#define OPEN_INLINE_BYTES 16384

static const char *const kinds[] = { "derive", "put", "delete", "get", "list", NULL };

static void request_release(void *object)
{
	kms_request_clear(object);
	kms_heap_free(object);
}

/* Pushes an empty request (may throw); NULL without memory. */
static kms_request *push_request(lua_State *L)
{
	void **box = bind_new(L, &bind_request_type);
	kms_request *request = kms_heap_alloc(1, sizeof(*request));
	*box = request;
	return request;
}

/* ---- open ------------------------------------------------------------------------------------ */

typedef struct open_job {
	bind_job job;
	const bind_service *service;
	kms_request *request; /* the userdata below this one on the stack */
	kms_http *http;       /* argument 2 of open; NULL: the request has the plaintext already */
	kms_request_kind kind;
	uint8_t peer97[KMS_P384_POINT];
	kms_secret *key; /* of the channel: our reference until the job has run; NULL: not cached yet */
	bind_signature signature;
	bool pop_required;
	int request_index;
	const char *field;
	kms_status status;
} open_job;

/* Moves the plaintext into the request. */
static kms_status parse_plain(open_job *job, kms_buf *plain)
{
	kms_status status =
	    kms_request_parse(job->request, &job->field, plain, job->kind, &job->service->limits);
	if (status != KMS_OK) return status;
	return kms_request_check_pop(job->request, bind_signature_view(&job->signature), job->pop_required);
}

static kms_status open_body(open_job *job)
{
	kms_envelope envelope;
	const kms_buf *body = kms_http_body(job->http);
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, body->len);

	kms_status status = kms_envelope_parse(&envelope, (char *)body->data, body->len);
	if (status == KMS_OK) status = kms_envelope_check_sender(&envelope, job->peer97);
	if (status == KMS_OK && !job->key)
		status = kms_channels_get(&job->key, job->service->channels, job->service->p384, job->peer97);
	if (status == KMS_OK) status = kms_envelope_open(&plain, &envelope, job->key);
	kms_secret_unref(job->key);
	job->key = NULL;
	if (status == KMS_OK) status = parse_plain(job, &plain);
	kms_buf_free(&plain);
	return status;
}

static void open_run(bind_job *base)
{
	open_job *job = (open_job *)base;
	job->status = open_body(job);
}

static int open_finish(lua_State *L, bind_job *base)
{
	open_job *job = (open_job *)base;

	if (job->http) kms_http_release_body(job->http);
	if (job->status != KMS_OK) return bind_fail_member(L, job->status, job->field);
	lua_pushvalue(L, job->request_index);
	return 1;
}

/* Pushes a request and the job that fills it (may throw). `pop_required` stands after the signature. */
static open_job *push_open_job(lua_State *L, const bind_service *service, kms_request_kind kind,
			       int signature_arg, void (*run)(bind_job *job))
{
	lua_settop(L, signature_arg + 1);
	kms_request *request = push_request(L);
	if (!request) return NULL;
	open_job *job = bind_job_push(L, sizeof(*job), run, open_finish);
	job->service = service;
	job->request = request;
	job->request_index = signature_arg + 2;
	job->kind = kind;
	job->pop_required = lua_toboolean(L, signature_arg + 1);
	bind_arg_signature(&job->signature, L, signature_arg);
	return job;
}

/*
 * service:open(head, kind, peer_point97, signature, pop_required) -> request | nil, message, code
 * Decrypts and checks the collected body of `head`, and releases it.
 */
static int service_open(lua_State *L)
{
	const bind_service *service = bind_service_check(L, true);
	kms_http *http = bind_http_check(L, 2);
	kms_request_kind kind = (kms_request_kind)luaL_checkoption(L, 3, NULL, kinds);
	const uint8_t *peer97 = bind_arg_bytes(L, 4, KMS_P384_POINT);

	open_job *job = push_open_job(L, service, kind, 5, open_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->http = http;
	memcpy(job->peer97, peer97, sizeof(job->peer97));

	job->key = kms_channels_find(service->channels, service->p384, job->peer97);
	if (job->key && kms_http_body(http)->len <= OPEN_INLINE_BYTES) {
		open_run(&job->job);
		return open_finish(L, &job->job);
	}
	job->job.heavy = true;
	job->job.is_long = kms_http_body(http)->len > BIND_LONG_BYTES;
	return bind_job_start(L, &job->job);
}

static void parse_run(bind_job *base)
{
	open_job *job = (open_job *)base;
	kms_buf plain = job->request->plain;
	job->request->plain = kms_buf_make(KMS_BUF_GUARDED, 0);
	job->status = parse_plain(job, &plain);
}

/*
 * service:parse(plain, kind, signature, pop_required) -> request | nil, message, code
 * Checks a body that a TEE service has decrypted: guarded, taken over.
 */
static int service_parse(lua_State *L)
{
	const bind_service *service = bind_service_check(L, false);
	size_t size = bind_body_check(L, 2)->len;
	kms_request_kind kind = (kms_request_kind)luaL_checkoption(L, 3, NULL, kinds);

	open_job *job = push_open_job(L, service, kind, 4, parse_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->job.heavy = size > OPEN_INLINE_BYTES;
	job->job.is_long = size > BIND_LONG_BYTES;
	bind_body_take(&job->request->plain, L, 2);
	return bind_job_start_small(L, &job->job);
}

/* All keys without argument 3, else its page. */
static kms_status make_list(lua_State *L, kms_request *request)
{
	if (lua_isnoneornil(L, 3)) return kms_request_for_list(request, KMS_NO_TEXT, KMS_NO_TEXT, 0);
	kms_text prefix = bind_option_text(L, 3, "prefix"), after = bind_option_text(L, 3, "after");
	lua_Integer limit =
	    bind_option_integer(L, 3, "limit", LUA_MININTEGER, LUA_MAXINTEGER, KMS_LIST_DEFAULT);
	if (limit < 1 || limit > KMS_LIST_MAX) return KMS_ERR_RANGE;
	return kms_request_for_list(request, prefix, after, (size_t)limit);
}

/*
 * service:request("get", key), service:request("list", page|nil) -> a request without a body | nil, message,
 * code. page: prefix, after, limit, each of which may be nil.
 */
static int service_request(lua_State *L)
{
	kms_request_kind kind = (kms_request_kind)luaL_checkoption(L, 2, NULL, kinds);
	bool list = kind == KMS_REQUEST_LIST;
	kms_text key = list ? KMS_NO_TEXT : bind_arg_text(L, 3);
	kms_status status;

	lua_settop(L, 3);
	if (list && !lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
	if (!list && (kind != KMS_REQUEST_GET || !key.text))
		return luaL_argerror(L, 2, "needs a body, or a key");
	kms_request *request = push_request(L);
	if (!request) return bind_fail(L, KMS_ERR_MEMORY);
	status = list ? make_list(L, request) : kms_request_for_key(request, key);
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushvalue(L, 4);
	return 1;
}

/* ---- accessors: the fields that a policy may see, never a value -------------------------------- */

/* request:path(), :context() of a derive; :key() of the others. Confidential names: not for logs. */
static int request_path(lua_State *L)
{
	return bind_push_text(L, ((kms_request *)bind_check(L, 1, &bind_request_type))->path);
}

static int request_context(lua_State *L)
{
	return bind_push_text(L, ((kms_request *)bind_check(L, 1, &bind_request_type))->context);
}

static int request_key(lua_State *L)
{
	return bind_push_text(L, ((kms_request *)bind_check(L, 1, &bind_request_type))->key);
}

/* request:numbers() -> length (derive), bytes of the value, ttl_ms (put) */
static int request_numbers(lua_State *L)
{
	const kms_request *request = bind_check(L, 1, &bind_request_type);
	lua_pushinteger(L, request->length);
	lua_pushinteger(L, (lua_Integer)request->value.len);
	lua_pushinteger(L, (lua_Integer)request->ttl_ms);
	return 3;
}

/* request:has_pop() -> whether the body has a `pop`, which binds it to its exchange */
static int request_has_pop(lua_State *L)
{
	const kms_request *request = bind_check(L, 1, &bind_request_type);
	lua_pushboolean(L, request->pop.text != NULL);
	return 1;
}

/* request:names_operation() -> whether the body has `op`: results may have members that existing nodes do not
 * give
 */
static int request_names_operation(lua_State *L)
{
	const kms_request *request = bind_check(L, 1, &bind_request_type);
	lua_pushboolean(L, request->names_operation);
	return 1;
}

static const luaL_Reg request_methods[] = {
	{ "path", request_path },
	{ "context", request_context },
	{ "key", request_key },
	{ "numbers", request_numbers },
	{ "has_pop", request_has_pop },
	{ "names_operation", request_names_operation },
	{ NULL, NULL },
};
const bind_type bind_request_type = { "kms.request", request_release, request_methods, true };

void bind_add_request(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "open", service_open },
		{ "parse", service_parse },
		{ "request", service_request },
		{ NULL, NULL },
	};
	bind_define(L, &bind_request_type);
	bind_add_methods(L, &bind_service_type, methods);
}
