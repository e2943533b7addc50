/* The answer to a request: work, seal to the registered key, sign. */
#include "bind/service.h"

#include <string.h>

/* Inner answers hold at most a value in base64 and names, or every name of a namespace. */
#define ANSWER_MAX_BYTES ((size_t)256 << 20)
/* Values above this are answered on the pool even when nothing else waits. */
#define ANSWER_INLINE_BYTES 65536

static void body_release(void *object)
{
	kms_buf_free(object);
}

/* A buffer inside the job below; its userdata sees to it that it is freed if Lua throws. */
const kms_bind_type kms_bind_answer_type = { "kms.answer", body_release, NULL, true };

typedef struct answer_job {
	kms_job job;
	const kms_service *service;
	const kms_request *request; /* argument 2 */
	kms_secret *master;         /* a reference of the job's own while it runs */
	kms_secret *key;            /* of the channel, likewise; NULL where it is new */
	uint64_t app_id;
	uint64_t now_ms;
	uint8_t peer97[KMS_P384_POINT];
	kms_signature_text signature;
	kms_buf body;
	char response[KMS_SIGNATURE_TEXT];
	kms_status status;
} answer_job;

static kms_status answer(answer_job *job, kms_buf *plain)
{
	const kms_service *service = job->service;
	kms_answer_context context = { job->app_id, job->master, service->store, job->now_ms, { NULL, 0 } };
	kms_text signature = kms_signature_view(&job->signature);

	if (job->request->pop.text) context.echo_pop = signature;
	kms_status status = kms_answer(plain, job->request, &context);
	if (status == KMS_OK && !job->key)
		status = kms_channels_get(&job->key, service->channels, service->p384, job->peer97);
	if (status == KMS_OK)
		status = kms_envelope_seal(&job->body, job->key, kms_p384_public(service->p384), plain->data,
					   plain->len);
	/* Who named a wallet without proof (development) sent nothing that an answer could be bound to. */
	if (status == KMS_OK && signature.len)
		status = kms_response_sign(job->response, service->wallet, signature);
	return status;
}

static void answer_run(kms_job *base)
{
	answer_job *job = (answer_job *)base;
	bool names = job->request->kind == KMS_REQUEST_LIST;
	kms_buf plain = kms_buf_make(names ? KMS_BUF_WIPED : KMS_BUF_GUARDED, ANSWER_MAX_BYTES);

	job->status = answer(job, &plain);
	kms_secret_unref(job->key);
	kms_secret_unref(job->master);
	job->key = NULL;
	job->master = NULL;
	kms_buf_free(&plain);
}

static int answer_finish(lua_State *L, kms_job *base)
{
	answer_job *job = (answer_job *)base;

	if (job->status != KMS_OK) return kms_bind_fail(L, job->status);
	lua_pushlstring(L, (const char *)job->body.data, job->body.len);
	kms_buf_free(&job->body);
	if (job->signature.len)
		lua_pushlstring(L, job->response, sizeof(job->response));
	else
		lua_pushnil(L);
	return 2;
}

/*
 * service:answer(request, app_id, peer_point97, signature, wall_ms) -> body, response
 * signature | nil, message, code. `body` is the sealed envelope.
 */
int kms_service_answer(lua_State *L)
{
	const kms_service *service = kms_bind_check(L, 1, &kms_bind_service_type);
	const kms_request *request = kms_bind_check(L, 2, &kms_bind_request_type);
	uint64_t app_id = kms_bind_app_id(L, 3);
	const uint8_t *peer97 = kms_bind_bytes(L, 4, KMS_P384_POINT);
	uint64_t now_ms = (uint64_t)kms_bind_integer(L, 6, 0, LUA_MAXINTEGER);

	if (!service->master) return kms_bind_fail(L, KMS_ERR_STATE);
	lua_settop(L, 6);
	void **owner = kms_bind_new(L, &kms_bind_answer_type);
	answer_job *job = lua_newuserdatauv(L, sizeof(*job), 0);
	memset(job, 0, sizeof(*job));
	job->body = kms_buf_make(KMS_BUF_PLAIN, 2 * ANSWER_MAX_BYTES);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, -3, 1);
	*owner = &job->body;
	job->job.run = answer_run;
	job->job.finish = answer_finish;
	job->service = service;
	job->request = request;
	job->app_id = app_id;
	job->now_ms = now_ms;
	memcpy(job->peer97, peer97, sizeof(job->peer97));
	kms_bind_signature(&job->signature, L, 5);

	job->key = kms_channels_find(service->channels, service->p384, job->peer97);
	job->job.heavy =
	    !job->key || request->value_len > ANSWER_INLINE_BYTES || request->kind == KMS_REQUEST_LIST;
	job->master = kms_secret_ref(service->master);
	return kms_job_start(L, &job->job);
}
