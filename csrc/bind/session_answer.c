/* Messages of a session: refused or executed, and answered. */
#include <string.h>

#include "bind/body.h"
#include "bind/job.h"
#include "bind/service.h"
#include "bind/session_message.h"
#include "bind/session_refusal.h"
#include "bind/topics.h"
#include "base/ensure.h"

/* Answers above this stay in C, and are sent slice by slice. */
#define BODY_STRING_BYTES 65536

/* ---- refusals ----------------------------------------------------------------------------------------- */

kms_refusal bind_arg_refusal(lua_State *L, int arg)
{
	kms_refusal refusal = { .status = (unsigned)bind_arg_integer(L, arg, 200, 599) };
	luaL_checkstring(L, arg + 1);
	luaL_checkstring(L, arg + 2);
	refusal.code = bind_arg_text(L, arg + 1);
	refusal.message = bind_arg_text(L, arg + 2);
	if (!lua_isnoneornil(L, arg + 3))
		refusal.retry_after_s = (uint64_t)bind_arg_integer(L, arg + 3, 0, UINT32_MAX);
	return refusal;
}

/* message:refuse(index, status, code, text, retry_after_s|nil) -> true | nil, message, code: one operation.
 */
static int message_refuse(lua_State *L)
{
	const bind_message *m = bind_check(L, 1, &bind_message_type);
	size_t index = (size_t)bind_arg_integer(L, 2, 1, KMS_OPERATIONS_MAX) - 1;
	kms_refusal refusal = bind_arg_refusal(L, 3);
	return bind_result(L, kms_operations_refuse(m->operations, index, &refusal));
}

/*
 * message:refuse_all(status, code, text, retry_after_s|nil) -> true | nil, message, code
 * One object answers the whole of it. Only before anything is executed.
 */
static int message_refuse_all(lua_State *L)
{
	bind_message *m = bind_message_check(L, BIND_MESSAGE_OPEN);
	kms_refusal refusal = bind_arg_refusal(L, 2);
	if (!m) return bind_fail(L, KMS_ERR_STATE);
	m->answer.len = m->begin;
	m->stage = BIND_MESSAGE_REFUSED;
	return bind_result(L, kms_refusal_write(&m->answer, &refusal));
}

/* ---- execution ------------------------------------------------------------------------------------------
 */

typedef struct execute_job {
	bind_job job;
	bind_message *message;       /* argument 1 */
	const bind_service *service; /* argument 2 */
	kms_execution execution;
	kms_secret *master; /* our reference until the job has run */
	size_t max_answer;
	kms_status status;
} execute_job;

static void execute_run(bind_job *base)
{
	execute_job *job = (execute_job *)base;
	bind_message *m = job->message;
	job->status =
	    kms_operations_execute_some(&m->answer, m->operations, &job->execution, job->max_answer);
	kms_secret_unref(job->master);
	job->master = NULL;
	if (job->status != KMS_OK || kms_operations_are_left(m->operations)) return;
	/* A slow member must not make what it waits for hold guarded memory. */
	kms_operations_forget(m->operations);
	kms_buf_free(&m->plain);
}

static bool has_failed(kms_operations *operations)
{
	for (size_t i = 0; i < kms_operations_count(operations); i++)
		if (kms_operations_at(operations, i)->status != KMS_OK) return true;
	return false;
}

/* Behind what waits for the pool meanwhile: a message may have hundreds of listings. */
static int execute_rest(lua_State *L, execute_job *job)
{
	bind_wait_reserve(L);
	job->master = kms_secret_ref(job->service->master);
	job->execution.master = job->master;
	return bind_job_start(L, &job->job);
}

static int execute_finish(lua_State *L, bind_job *base)
{
	execute_job *job = (execute_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (kms_operations_are_left(job->message->operations)) return execute_rest(L, job);
	job->message->stage = BIND_MESSAGE_EXECUTED;
	lua_pushboolean(L, kms_operations_wrote(job->message->operations));
	lua_pushboolean(L, has_failed(job->message->operations));
	return 2;
}

static kms_status add_size(void *bytes, const kms_record *record)
{
	*(size_t *)bytes += record->value.len;
	return KMS_OK;
}

/* Whether the values that are to be read are much work: only the store knows their sizes. */
static bool reads_much(const bind_message *m, kms_store *store, uint64_t app_id, uint64_t now_ms)
{
	size_t bytes = 0;
	for (size_t i = 0; i < kms_operations_count(m->operations) && bytes <= BIND_MESSAGE_INLINE_BYTES;
	     i++) {
		const kms_request *request = &kms_operations_at(m->operations, i)->request;
		if (request->kind == KMS_REQUEST_GET && request->key.text)
			(void)kms_store_peek(store, app_id, request->key, now_ms, add_size, &bytes);
	}
	return bytes > BIND_MESSAGE_INLINE_BYTES;
}

/*
 * message:execute(service, app_id, wall_ms, max_answer) -> whether something was written, whether something
 * has failed | nil, message, code Executes all operations that were not refused; message:failure says which
 * have failed. A failure here means that none was executed.
 */
static int message_execute(lua_State *L)
{
	bind_message *m = bind_message_check(L, BIND_MESSAGE_OPEN);
	const bind_service *service = bind_check(L, 2, &bind_service_type);
	uint64_t app_id = bind_arg_app_id(L, 3);
	uint64_t now_ms = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	size_t max_answer = (size_t)bind_arg_integer(L, 5, 1, LUA_MAXINTEGER);

	if (!m || !m->operations || !service->master) return bind_fail(L, KMS_ERR_STATE);
	lua_settop(L, 5);
	bool heavy = bind_message_is_heavy(m) || reads_much(m, service->store, app_id, now_ms);
	/* What runs at once needs no memory of its own. */
	execute_job local = { .job = { .run = execute_run, .finish = execute_finish } };
	execute_job *job = heavy ? bind_job_push(L, sizeof(*job), execute_run, execute_finish) : &local;
	job->message = m;
	job->service = service;
	job->max_answer = max_answer;
	job->master = kms_secret_ref(service->master);
	job->execution = (kms_execution){ .app_id = app_id,
					  .master = job->master,
					  .store = service->store,
					  .now_ms = now_ms,
					  .max_list_bytes = service->limits.max_list,
					  .says_status = true };
	job->job.heavy = heavy;
	job->job.is_long = bind_message_is_long(m);
	return bind_job_start_small(L, &job->job);
}

/* ---- the answer -----------------------------------------------------------------------------------------
 */

typedef struct answer_job {
	bind_job job;
	bind_message *message; /* argument 1 */
	kms_buf *body;         /* of a large answer: what it is copied to, at BODY_INDEX of the stack */
	uint64_t copies, wall_ms;
	kms_status status;
} answer_job;

/* The stack of message:answer: three arguments, then the body. */
#define BODY_INDEX 4

static kms_status seal(answer_job *job)
{
	bind_message *m = job->message;
	if (m->stage == BIND_MESSAGE_EXECUTED)
		GUARD(kms_operations_finish(&m->answer, m->operations, job->copies));
	return kms_session_answer_seal(&m->answer, m->call, job->wall_ms);
}

/* Seals, and copies ciphertext that is large: it is public, and leaves guarded memory. */
static void answer_run(bind_job *base)
{
	answer_job *job = (answer_job *)base;
	bind_message *m = job->message;
	job->status = seal(job);
	if (job->status == KMS_OK && job->body)
		job->status = kms_buf_append(job->body, kms_buf_span(&m->answer));
	/* Its number is marked, and will have no answer. */
	if (job->status != KMS_OK) kms_session_end(kms_session_call_session(m->call));
	if (job->body) kms_buf_free(&m->answer);
}

static int answer_finish(lua_State *L, bind_job *base)
{
	answer_job *job = (answer_job *)base;
	const kms_buf *sealed = &job->message->answer;
	if (job->status == KMS_OK && job->body)
		lua_pushvalue(L, BODY_INDEX);
	else if (job->status == KMS_OK)
		lua_pushlstring(L, (const char *)sealed->data, sealed->len);
	int results = job->status == KMS_OK ? 1 : bind_fail(L, job->status);
	bind_message_clear(job->message);
	return results;
}

/* An empty body in its place; NULL without memory. */
static kms_buf *push_body(lua_State *L)
{
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, KMS_SESSION_MAX_CONTENT);
	return bind_body_push(L, &none) ? bind_body_check(L, BODY_INDEX) : NULL;
}

/* Without an answer the session ends. */
static int answer_fail(lua_State *L, bind_message *m, kms_status status)
{
	kms_session_end(kms_session_call_session(m->call));
	bind_message_clear(m);
	return bind_fail(L, status);
}

/*
 * message:answer(wall_ms, copies|nil) -> body: text or, if large, a kms.body | nil, message, code
 * Completes and seals the answer. copies: how many members hold what was written, for each write to say.
 * Works once; after a failure the session has ended.
 */
static int message_answer(lua_State *L)
{
	bind_message *m = bind_check(L, 1, &bind_message_type);
	uint64_t wall_ms = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	uint64_t copies = lua_isnoneornil(L, 3) ? 0 : (uint64_t)bind_arg_integer(L, 3, 1, LUA_MAXINTEGER);

	if (m->stage != BIND_MESSAGE_EXECUTED && m->stage != BIND_MESSAGE_REFUSED)
		return bind_fail(L, KMS_ERR_STATE);
	lua_settop(L, 3);
	bool heavy = m->answer.len > BODY_STRING_BYTES;
	kms_buf *body = heavy ? push_body(L) : NULL;
	if (heavy && !body) return answer_fail(L, m, KMS_ERR_MEMORY);
	answer_job local = { .job = { .run = answer_run, .finish = answer_finish } };
	answer_job *job = heavy ? bind_job_push(L, sizeof(*job), answer_run, answer_finish) : &local;
	job->message = m;
	job->body = body;
	job->wall_ms = wall_ms;
	job->copies = copies;
	job->job.heavy = heavy;
	job->job.is_long = m->answer.len > BIND_LONG_BYTES;
	return bind_job_start_small(L, &job->job);
}

void bind_add_session_answer(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "refuse", message_refuse },
		{ "refuse_all", message_refuse_all },
		{ "execute", message_execute },
		{ "answer", message_answer },
		{ NULL, NULL },
	};
	bind_add_methods(L, &bind_message_type, methods);
}
