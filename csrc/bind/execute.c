/* Executes requests: service:reply also seals and signs, service:execute leaves that to a TEE service. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/job.h"
#include "bind/service.h"
#include "bind/topics.h"

/* A result holds at most one value in base64, or every name of a namespace. */
#define RESULT_MAX_BYTES ((size_t)256 << 20)
/* Replies above this stay in C, and are sent slice by slice. */
#define BODY_STRING_BYTES 65536
/* Requests with larger values run on the pool even when nothing else waits. */
#define EXECUTE_INLINE_BYTES 65536

static void body_release(void *object)
{
	kms_buf_free(object);
}

/* Owns the buffer inside the job below, which is then freed even when Lua throws. */
static const bind_type execute_type = { "kms.execute", body_release, NULL, true };

typedef struct execute_job {
	bind_job job;
	const bind_service *service;
	const kms_request *request; /* argument 2 */
	kms_secret *master;         /* our reference until the job has run */
	kms_secret *key;            /* likewise, of the channel; NULL: not cached yet */
	uint64_t app_id;
	uint64_t now_ms;
	uint8_t peer97[KMS_P384_POINT];
	bind_signature signature;
	kms_buf body;         /* the sealed envelope, or the result */
	bool response_signed; /* by authentication */
	char response[KMS_SIGNATURE_TEXT];
	kms_status status;
} execute_job;

/* The result repeats the signature of the exchange when the request did. */
static kms_status execute(kms_buf *result, const execute_job *job)
{
	kms_execution execution = { .app_id = job->app_id,
				    .master = job->master,
				    .store = job->service->store,
				    .now_ms = job->now_ms,
				    .max_list_bytes = job->service->limits.max_list,
				    .has_sessions = job->service->has_sessions };
	if (job->request->pop.text) execution.pop = bind_signature_view(&job->signature);
	return kms_request_execute(result, job->request, &execution);
}

static kms_status execute_and_seal(execute_job *job, kms_buf *result)
{
	const bind_service *service = job->service;
	kms_text signature = bind_signature_view(&job->signature);

	kms_status status = execute(result, job);
	if (status == KMS_OK && !job->key)
		status = kms_channels_get(&job->key, service->channels, service->p384, job->peer97);
	if (status == KMS_OK)
		status = kms_envelope_seal(&job->body, job->key, kms_p384_public(service->p384),
					   kms_buf_span(result));
	/* A caller that only named its wallet (development) has sent no signature to bind the reply to. */
	if (status == KMS_OK && signature.len && !job->response_signed)
		status = kms_response_sign(job->response, service->wallet, signature);
	return status;
}

/* Keys and values are secrets. The names in a list are not, and can be many. */
static kms_buf result_for(const kms_request *request)
{
	bool names_only = request->kind == KMS_REQUEST_LIST;
	return kms_buf_make(names_only ? KMS_BUF_WIPED : KMS_BUF_GUARDED, RESULT_MAX_BYTES);
}

/*
 * Pushes a job for the service, request and app id at 1 to 3; the caller below adds the rest. The
 * userdata below the job owns its buffer. NULL without a master secret. May throw.
 */
static execute_job *push_job(lua_State *L, int signature_arg, void (*run)(bind_job *job),
			     int (*finish)(lua_State *L, bind_job *job))
{
	const bind_service *service = bind_service_check(L, false);
	const kms_request *request = bind_check(L, 2, &bind_request_type);
	uint64_t app_id = bind_arg_app_id(L, 3);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, signature_arg + 1, 0, LUA_MAXINTEGER);

	if (!service->master) return NULL;
	lua_settop(L, signature_arg + 1);
	void **owner = bind_new(L, &execute_type);
	execute_job *job = bind_job_push(L, sizeof(*job), run, finish);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, -3, 1);
	*owner = &job->body;
	job->service = service;
	job->request = request;
	job->app_id = app_id;
	job->now_ms = now_ms;
	bind_arg_signature(&job->signature, L, signature_arg);
	job->job.heavy = request->value.len > EXECUTE_INLINE_BYTES;
	job->job.is_long = request->value.len > BIND_LONG_BYTES || request->kind == KMS_REQUEST_LIST;
	return job;
}

/* ---- with the keys in this process -------------------------------------------------------------- */

static void reply_run(bind_job *base)
{
	execute_job *job = (execute_job *)base;
	kms_buf result = result_for(job->request);

	job->status = execute_and_seal(job, &result);
	kms_secret_unref(job->key);
	kms_secret_unref(job->master);
	job->key = NULL;
	job->master = NULL;
	kms_buf_free(&result);
}

static int reply_finish(lua_State *L, bind_job *base)
{
	execute_job *job = (execute_job *)base;

	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (job->body.len > BODY_STRING_BYTES) {
		if (!bind_body_push(L, &job->body)) return bind_fail(L, KMS_ERR_MEMORY);
	} else {
		lua_pushlstring(L, (const char *)job->body.data, job->body.len);
		kms_buf_free(&job->body);
	}
	if (job->signature.len)
		lua_pushlstring(L, job->response, sizeof(job->response));
	else
		lua_pushnil(L);
	return 2;
}

/* Copies the response signature at argument 7, which authentication may have made already. */
static bool copy_response(char response[KMS_SIGNATURE_TEXT], lua_State *L)
{
	if (lua_isnoneornil(L, 7)) return false;
	memcpy(response, bind_arg_bytes(L, 7, KMS_SIGNATURE_TEXT), KMS_SIGNATURE_TEXT);
	return true;
}

/*
 * service:reply(request, app_id, peer_point97, signature, wall_ms [, response_signature])
 * -> body, response signature | nil, message, code
 * Executes the request and seals the result to the peer. The body is text or, if large, a kms.body. The
 * response signature is the given one, or made here; nil when `signature` is empty.
 */
static int service_reply(lua_State *L)
{
	char response[KMS_SIGNATURE_TEXT];
	const bind_service *service = bind_service_check(L, true);
	const uint8_t *peer97 = bind_arg_bytes(L, 4, KMS_P384_POINT);
	bool is_signed = copy_response(response, L);
	execute_job *job = push_job(L, 5, reply_run, reply_finish);

	if (!job) return bind_fail(L, KMS_ERR_STATE);
	job->body = kms_buf_make(KMS_BUF_PLAIN, 2 * RESULT_MAX_BYTES);
	memcpy(job->peer97, peer97, sizeof(job->peer97));
	job->response_signed = is_signed;
	if (is_signed) memcpy(job->response, response, sizeof(response));
	job->key = kms_channels_find(service->channels, service->p384, job->peer97);
	if (!job->key) job->job.heavy = true;
	job->master = kms_secret_ref(service->master);
	/* What is left of this derive is short, and cannot block as work on the store can. */
	if (is_signed && job->key && job->request->kind == KMS_REQUEST_DERIVE)
		return bind_job_run(L, &job->job);
	return bind_job_start(L, &job->job);
}

/* ---- in steps: with the keys in a TEE service, and for a write that waits for other members -------- */

static void execute_run(bind_job *base)
{
	execute_job *job = (execute_job *)base;
	job->status = execute(&job->body, job);
	kms_secret_unref(job->master);
	job->master = NULL;
}

static int execute_finish(lua_State *L, bind_job *base)
{
	execute_job *job = (execute_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	return bind_body_push(L, &job->body) ? 1 : bind_fail(L, KMS_ERR_MEMORY);
}

/*
 * service:execute(request, app_id, signature, wall_ms) -> body | nil, message, code
 * Executes the request. body: the result, not sealed; guarded, wiped for a list.
 */
static int service_execute(lua_State *L)
{
	execute_job *job = push_job(L, 4, execute_run, execute_finish);

	if (!job) return bind_fail(L, KMS_ERR_STATE);
	job->body = result_for(job->request);
	job->master = kms_secret_ref(job->service->master);
	/* The size of a stored value is known only after reading it. */
	if (job->request->kind == KMS_REQUEST_GET) return bind_job_start(L, &job->job);
	return bind_job_start_small(L, &job->job);
}

/* add_copies(result of service:execute, copies) -> true | nil, message, code: kms_request_add_copies */
static int add_copies(lua_State *L)
{
	kms_buf *result = bind_body_check(L, 1);
	uint64_t copies = (uint64_t)bind_arg_integer(L, 2, 1, LUA_MAXINTEGER);
	return bind_result(L, kms_request_add_copies(result, copies));
}

void bind_add_execute(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "reply", service_reply },
		{ "execute", service_execute },
		{ NULL, NULL },
	};
	lua_pushcfunction(L, add_copies);
	lua_setfield(L, -2, "add_copies");
	bind_define(L, &execute_type);
	bind_add_methods(L, &bind_service_type, methods);
}
