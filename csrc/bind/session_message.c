/* Messages of a session: opened, and read through accessors. */
#include "bind/session_message.h"

#include "bind/http.h"
#include "bind/job.h"
#include "bind/service.h"
#include "bind/session.h"
#include "bind/topics.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "net/http.h"

/* Messages with more operations are worked on in the pool. */
#define INLINE_OPERATIONS 16

void bind_message_clear(bind_message *message)
{
	kms_session_call_free(message->call);
	kms_operations_free(message->operations);
	kms_buf_free(&message->plain);
	kms_buf_free(&message->answer);
	*message = (bind_message){ .stage = BIND_MESSAGE_CLOSED };
}

static void message_release(void *object)
{
	bind_message_clear(object);
	kms_heap_free(object);
}

bind_message *bind_message_check(lua_State *L, bind_message_stage stage)
{
	bind_message *message = bind_check(L, 1, &bind_message_type);
	return message->stage == stage ? message : NULL;
}

bool bind_message_is_long(const bind_message *message)
{
	if (message->size > BIND_LONG_BYTES) return true;
	for (size_t i = 0; i < kms_operations_count(message->operations); i++)
		if (kms_operations_at(message->operations, i)->request.kind == KMS_REQUEST_LIST) return true;
	return false;
}

bool bind_message_is_heavy(const bind_message *message)
{
	if (kms_operations_count(message->operations) > INLINE_OPERATIONS) return true;
	return message->size > BIND_MESSAGE_INLINE_BYTES || bind_message_is_long(message);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

typedef struct message_job {
	bind_job job;
	const bind_service *service; /* argument 1 */
	kms_session *session;        /* argument 2 */
	kms_http *http;              /* argument 3 */
	bind_message *message;       /* the userdata below this one */
	uint64_t now_s;
	kms_status status;
} message_job;

static kms_status read_content(bind_message *m, const kms_request_limits *limits)
{
	GUARD(kms_session_call_content(&m->content, m->call));
	/* The JSON lies in the buffer of the request, which is ours to change. */
	size_t offset = (size_t)((const uint8_t *)m->content.json.text - m->plain.data);
	char *json = (char *)m->plain.data + offset;
	return kms_operations_read(&m->operations, json, m->content.json.len, limits);
}

static kms_status open_message(message_job *job)
{
	bind_message *m = job->message;
	kms_span body = kms_buf_span(kms_http_body(job->http));
	m->size = body.len;
	m->plain = kms_buf_make(KMS_BUF_GUARDED, body.len);
	m->answer = kms_buf_make(KMS_BUF_GUARDED, KMS_SESSION_MAX_CONTENT);
	GUARD(kms_buf_append(&m->plain, body));
	/* Before the number is marked: whatever comes, there is memory for one refusal. */
	GUARD(kms_session_answer_begin(&m->answer, KMS_REFUSAL_BYTES));
	m->begin = m->answer.len;
	GUARD(kms_session_request_open(&m->call, &m->plain, job->session, job->now_s));
	m->problem = read_content(m, &job->service->limits);
	if (m->problem == KMS_ERR_FIELD_VALUE) m->field = "number of operations";
	return KMS_OK;
}

static void message_run(bind_job *base)
{
	message_job *job = (message_job *)base;
	job->status = open_message(job);
	if (job->status != KMS_OK) bind_message_clear(job->message);
}

/* The stack of service:session_message: four arguments, then the message. */
#define MESSAGE_INDEX 5

static int message_finish(lua_State *L, bind_job *base)
{
	message_job *job = (message_job *)base;
	kms_http_release_body(job->http);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	const bind_message *m = job->message;
	uint64_t time_ms = m->content.time_ms;
	lua_pushvalue(L, MESSAGE_INDEX);
	lua_pushinteger(L, (lua_Integer)kms_operations_count(m->operations));
	if (!m->content.json.text) return 2;
	lua_pushinteger(L, time_ms > LUA_MAXINTEGER ? LUA_MAXINTEGER : (lua_Integer)time_ms);
	return 3;
}

/*
 * service:session_message(session, head, mono_ms) -> message, operations (0 where its content is malformed),
 * when the caller sealed it (Unix time in ms; nil where nobody can tell) | nil, message, code
 * Decrypts the collected body of `head`, and releases it: ERR_NOT_FOUND, ERR_POP_NONCE_USED, ERR_DECRYPT,
 * ERR_TRUNCATED and ERR_FIELD_VALUE say that it is no new message of this session.
 */
static int service_session_message(lua_State *L)
{
	const bind_service *service = bind_service_check(L, false);
	kms_session *session = bind_check(L, 2, &bind_session_type);
	kms_http *http = bind_http_check(L, 3);
	uint64_t now_s = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER) / 1000;

	lua_settop(L, MESSAGE_INDEX - 1);
	void **box = bind_new(L, &bind_message_type);
	bind_message *message = kms_heap_alloc(1, sizeof(*message));
	if (!message) return bind_fail(L, KMS_ERR_MEMORY);
	*box = message;
	bool heavy = kms_http_body(http)->len > BIND_MESSAGE_INLINE_BYTES;
	/* What runs at once needs no memory of its own. */
	message_job local = { .job = { .run = message_run, .finish = message_finish } };
	message_job *job = heavy ? bind_job_push(L, sizeof(*job), message_run, message_finish) : &local;
	job->service = service;
	job->session = session;
	job->http = http;
	job->message = message;
	job->now_s = now_s;
	job->job.heavy = heavy;
	job->job.is_long = kms_http_body(http)->len > BIND_LONG_BYTES;
	return bind_job_start_small(L, &job->job);
}

/* ---- what it says ---------------------------------------------------------------------------------------
 */

/* message:problem() -> message, code: why it has no operations; nil where it has */
static int message_problem(lua_State *L)
{
	const bind_message *m = bind_check(L, 1, &bind_message_type);
	if (m->problem == KMS_OK) return 0;
	bind_fail_member(L, m->problem, m->field);
	return 2;
}

/* The operation of argument 2, from 1; NULL where there is none. */
static kms_operation *check_operation(lua_State *L, const bind_message *m)
{
	size_t index = (size_t)bind_arg_integer(L, 2, 1, KMS_OPERATIONS_MAX);
	return kms_operations_at(m->operations, index - 1);
}

/* message:failure(index) -> nil: it is not refused, or its failure: message, code */
static int message_failure(lua_State *L)
{
	const kms_operation *operation = check_operation(L, bind_check(L, 1, &bind_message_type));
	kms_status status = operation ? operation->status : KMS_ERR_STATE;
	if (status == KMS_OK) return 0;
	bind_fail_member(L, status, operation ? operation->field : NULL);
	return 2;
}

/* ---- the selected operation, as policies see it: a userdata for each cost a tenth of a derivation ---------
 */

/*
 * message:select(index) -> "derive", "put", "delete", "get" or "list": the accessors below are about this
 * operation, from 1 | nil: it was refused when it was read
 */
static int message_select(lua_State *L)
{
	bind_message *m = bind_check(L, 1, &bind_message_type);
	const kms_operation *operation = check_operation(L, m);
	m->selected = operation && operation->status == KMS_OK ? &operation->request : NULL;
	if (!m->selected) return 0;
	lua_pushstring(L, kms_request_operation(m->selected->kind));
	return 1;
}

static const kms_request *selected(lua_State *L)
{
	const bind_message *m = bind_check(L, 1, &bind_message_type);
	if (!m->selected) luaL_argerror(L, 1, "has no selected operation");
	return m->selected;
}

/* message:path(), :context(), :key(), :numbers(): as those of a request (request.c) */
static int message_path(lua_State *L)
{
	return bind_push_text(L, selected(L)->path);
}

static int message_context(lua_State *L)
{
	return bind_push_text(L, selected(L)->context);
}

static int message_key(lua_State *L)
{
	return bind_push_text(L, selected(L)->key);
}

static int message_numbers(lua_State *L)
{
	const kms_request *request = selected(L);
	lua_pushinteger(L, request->length);
	lua_pushinteger(L, (lua_Integer)request->value.len);
	lua_pushinteger(L, (lua_Integer)request->ttl_ms);
	return 3;
}

static const luaL_Reg message_methods[] = {
	{ "problem", message_problem }, { "failure", message_failure },
	{ "select", message_select },   { "path", message_path },
	{ "context", message_context }, { "key", message_key },
	{ "numbers", message_numbers }, { NULL, NULL },
};
/* Closing wipes and frees what it holds. Without an answer, that ends the session. */
const bind_type bind_message_type = { "kms.session_message", message_release, message_methods, true };

void bind_add_session_message(lua_State *L)
{
	static const luaL_Reg methods[] = { { "session_message", service_session_message }, { NULL, NULL } };
	bind_define(L, &bind_message_type);
	bind_add_methods(L, &bind_service_type, methods);
}
