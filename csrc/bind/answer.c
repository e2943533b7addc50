/* The answer to a request: work, seal to the registered key, sign. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/job.h"
#include "bind/service.h"
#include "bind/topics.h"

/* Inner answers hold at most a value in base64 and names, or every name of a namespace. */
#define ANSWER_MAX_BYTES ((size_t)256 << 20)
/* Values above this are answered on the pool even when nothing else waits. */
#define ANSWER_INLINE_BYTES 65536

static void body_release(void *object)
{
	kms_buf_free(object);
}

/* A buffer inside the job below; its userdata sees to it that it is freed if Lua throws. */
static const bind_type answer_type = { "kms.answer", body_release, NULL, true };

typedef struct answer_job {
	bind_job job;
	const bind_service *service;
	const kms_request *request; /* argument 2 */
	kms_secret *master;         /* a reference of the job's own while it runs */
	kms_secret *key;            /* of the channel, likewise; NULL where it is new */
	uint64_t app_id;
	uint64_t now_ms;
	uint8_t peer97[KMS_P384_POINT];
	bind_signature signature;
	kms_buf body;
	bool response_signed; /* by authentication */
	char response[KMS_SIGNATURE_TEXT];
	kms_status status;
} answer_job;

/* The answer as plain JSON, which names the exchange where the request did. */
static kms_status carry_out(kms_buf *plain, const answer_job *job)
{
	kms_execution context = { job->app_id, job->master, job->service->store, job->now_ms, { NULL, 0 } };
	if (job->request->pop.text) context.pop = bind_signature_view(&job->signature);
	return kms_request_execute(plain, job->request, &context);
}

static kms_status answer(answer_job *job, kms_buf *plain)
{
	const bind_service *service = job->service;
	kms_text signature = bind_signature_view(&job->signature);

	kms_status status = carry_out(plain, job);
	if (status == KMS_OK && !job->key)
		status = kms_channels_get(&job->key, service->channels, service->p384, job->peer97);
	if (status == KMS_OK)
		status = kms_envelope_seal(&job->body, job->key, kms_p384_public(service->p384),
					   kms_span_of(plain->data, plain->len));
	/* Who named a wallet without proof (development) sent nothing that an answer could be bound to. */
	if (status == KMS_OK && signature.len && !job->response_signed)
		status = kms_response_sign(job->response, service->wallet, signature);
	return status;
}

/* Values and keys are secrets; the names of a listing are not, and can be many. */
static kms_buf plain_of(const kms_request *request)
{
	bool names = request->kind == KMS_REQUEST_LIST;
	return kms_buf_make(names ? KMS_BUF_WIPED : KMS_BUF_GUARDED, ANSWER_MAX_BYTES);
}

static void answer_run(bind_job *base)
{
	answer_job *job = (answer_job *)base;
	kms_buf plain = plain_of(job->request);

	job->status = answer(job, &plain);
	kms_secret_unref(job->key);
	kms_secret_unref(job->master);
	job->key = NULL;
	job->master = NULL;
	kms_buf_free(&plain);
}

static int answer_finish(lua_State *L, bind_job *base)
{
	answer_job *job = (answer_job *)base;

	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushlstring(L, (const char *)job->body.data, job->body.len);
	kms_buf_free(&job->body);
	if (job->signature.len)
		lua_pushlstring(L, job->response, sizeof(job->response));
	else
		lua_pushnil(L);
	return 2;
}

/*
 * Pushes a job for service, request, app_id at 1 to 3 and what the callers below add; its buffer
 * is owned by the userdata below it. NULL where there is no master secret; may throw.
 */
static answer_job *push_job(lua_State *L, int signature_arg)
{
	const bind_service *service = bind_service_check(L, false);
	const kms_request *request = bind_check(L, 2, &bind_request_type);
	uint64_t app_id = bind_arg_app_id(L, 3);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, signature_arg + 1, 0, LUA_MAXINTEGER);

	if (!service->master) return NULL;
	lua_settop(L, signature_arg + 1);
	void **owner = bind_new(L, &answer_type);
	answer_job *job = lua_newuserdatauv(L, sizeof(*job), 0);
	memset(job, 0, sizeof(*job));
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, -3, 1);
	*owner = &job->body;
	job->service = service;
	job->request = request;
	job->app_id = app_id;
	job->now_ms = now_ms;
	bind_arg_signature(&job->signature, L, signature_arg);
	job->job.heavy = request->value.len > ANSWER_INLINE_BYTES || request->kind == KMS_REQUEST_LIST;
	return job;
}

/* What authentication has signed already: argument 7 of answer, or nil. */
static void take_response(lua_State *L, bool *is_signed, char response[KMS_SIGNATURE_TEXT])
{
	*is_signed = !lua_isnoneornil(L, 7);
	if (*is_signed) memcpy(response, bind_arg_bytes(L, 7, KMS_SIGNATURE_TEXT), KMS_SIGNATURE_TEXT);
}

/*
 * service:answer(request, app_id, peer_point97, signature, wall_ms, response signature|nil) -> body,
 * response signature | nil, message, code. `body` is the sealed envelope; the signature is the given
 * one, else made here.
 */
static int service_answer(lua_State *L)
{
	bool is_signed;
	char response[KMS_SIGNATURE_TEXT];
	const bind_service *service = bind_service_check(L, true);
	const uint8_t *peer97 = bind_arg_bytes(L, 4, KMS_P384_POINT);
	take_response(L, &is_signed, response);
	answer_job *job = push_job(L, 5);

	if (!job) return bind_fail(L, KMS_ERR_STATE);
	job->job.run = answer_run;
	job->job.finish = answer_finish;
	job->body = kms_buf_make(KMS_BUF_PLAIN, 2 * ANSWER_MAX_BYTES);
	memcpy(job->peer97, peer97, sizeof(job->peer97));
	job->response_signed = is_signed;
	if (is_signed) memcpy(job->response, response, sizeof(response));
	job->key = kms_channels_find(service->channels, service->p384, job->peer97);
	if (!job->key) job->job.heavy = true;
	job->master = kms_secret_ref(service->master);
	/* A derivation is short, and waits for nobody as what works on the store does. */
	if (is_signed && job->key && job->request->kind == KMS_REQUEST_DERIVE)
		return bind_job_run(L, &job->job);
	return bind_job_start(L, &job->job);
}

/* ---- without keys -------------------------------------------------------------------------------- */

static void work_run(bind_job *base)
{
	answer_job *job = (answer_job *)base;
	job->status = carry_out(&job->body, job);
	kms_secret_unref(job->master);
	job->master = NULL;
}

static int work_finish(lua_State *L, bind_job *base)
{
	answer_job *job = (answer_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	return bind_body_push(L, &job->body) ? 1 : bind_fail(L, KMS_ERR_MEMORY);
}

/*
 * service:work(request, app_id, signature, wall_ms) -> body (guarded; of a listing wiped) with the
 * inner answer, which is another's to seal | nil, message, code
 */
static int service_work(lua_State *L)
{
	answer_job *job = push_job(L, 4);

	if (!job) return bind_fail(L, KMS_ERR_STATE);
	job->job.run = work_run;
	job->job.finish = work_finish;
	job->body = plain_of(job->request);
	job->master = kms_secret_ref(job->service->master);
	/* A stored value can be large, which only reading it shows. */
	if (job->request->kind == KMS_REQUEST_GET) return bind_job_start(L, &job->job);
	return bind_job_start_small(L, &job->job);
}

void bind_add_answer(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "answer", service_answer },
		{ "work", service_work },
		{ NULL, NULL },
	};
	bind_define(L, &answer_type);
	bind_add_methods(L, &bind_service_type, methods);
}
