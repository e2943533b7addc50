/*
 * Messages in the sessions of other members: opened, and answered or refused. The message inside is a body
 * that sync_parse takes; keys stay in C.
 */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/http.h"
#include "bind/job.h"
#include "bind/session.h"
#include "bind/session_refusal.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/kdf.h"
#include "kms/sync.h"
#include "net/http.h"

#define INLINE_BYTES 16384 /* larger messages are worked on in the pool */

_Static_assert(KMS_REFUSAL_BYTES <= KMS_SESSION_REFUSAL, "room for the longest refusal");

typedef struct member_message {
	kms_session_call *call;
	kms_buf refusal; /* room for one, reserved before the number was marked */
	size_t begin;    /* of the JSON in it */
	size_t size;     /* bytes as received */
	uint64_t time_ms;
	bool has_content;
	bool is_array; /* which holds operations of an application */
	bool answered;
} member_message;

static void message_release(void *object)
{
	member_message *m = object;
	kms_session_call_free(m->call);
	kms_buf_free(&m->refusal);
	kms_heap_free(m);
}

static int message_time_ms(lua_State *L);
static int message_size(lua_State *L);
static int message_is_array(lua_State *L);
static int message_nonce(lua_State *L);
static int message_is_proven(lua_State *L);
static int message_answer(lua_State *L);
static int message_refuse(lua_State *L);

static const luaL_Reg message_methods[] = {
	{ "time_ms", message_time_ms },   { "size", message_size },
	{ "nonce", message_nonce },       { "is_proven", message_is_proven },
	{ "answer", message_answer },     { "refuse", message_refuse },
	{ "is_array", message_is_array }, { NULL, NULL },
};
/* Closing one that was not answered ends the session. */
static const bind_type message_type = { "kms.member_message", message_release, message_methods, true };

static member_message *check_message(lua_State *L)
{
	return bind_check(L, 1, &message_type);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

typedef struct open_job {
	bind_job job;
	kms_session *session; /* argument 1 */
	kms_http *http;       /* argument 2 */
	member_message *message;
	kms_buf *plain;
	uint64_t now_s;
	kms_status status;
	kms_status content_status;
} open_job;

/* The stack of session:open: three arguments, the message, its plaintext. */
#define MESSAGE_INDEX 4
#define PLAIN_INDEX 5

static kms_status open_message(open_job *job)
{
	member_message *m = job->message;
	kms_session_content content;
	kms_span body = kms_buf_span(kms_http_body(job->http));
	m->size = body.len;
	m->refusal = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_buf_append(job->plain, body));
	/* Before the number is marked: whatever comes, there is memory for one refusal. */
	GUARD(kms_session_answer_begin(&m->refusal, KMS_SESSION_REFUSAL));
	m->begin = m->refusal.len;
	GUARD(kms_session_request_open(&m->call, job->plain, job->session, job->now_s));
	job->content_status = kms_session_call_content(&content, m->call);
	if (job->content_status != KMS_OK) return KMS_OK;
	m->time_ms = content.time_ms;
	m->has_content = true;
	m->is_array = content.json.len && content.json.text[0] == '[';
	/* The content that the call knows of is not there any more, and nobody asks it again. */
	kms_session_keep_json(job->plain, &content);
	return KMS_OK;
}

static void open_run(bind_job *base)
{
	open_job *job = (open_job *)base;
	job->status = open_message(job);
}

static int open_finish(lua_State *L, bind_job *base)
{
	const open_job *job = (open_job *)base;
	kms_http_release_body(job->http);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, MESSAGE_INDEX);
	if (job->content_status == KMS_OK) {
		lua_pushvalue(L, PLAIN_INDEX);
		return 2;
	}
	kms_buf_free(job->plain);
	return 1 + bind_fail(L, job->content_status);
}

/*
 * session:open(head, mono_ms) -> message, plain (WIPED) | message, nil, message, code: its content is
 * malformed | nil, message, code Decrypts the collected body of `head`, and releases it: ERR_NOT_FOUND,
 * ERR_POP_NONCE_USED, ERR_DECRYPT, ERR_TRUNCATED and ERR_FIELD_VALUE say that it is no new message of this
 * session.
 */
static int session_open(lua_State *L)
{
	kms_session *session = bind_check(L, 1, &bind_session_type);
	kms_http *http = bind_http_check(L, 2);
	uint64_t now_s = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER) / 1000;
	kms_buf none = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);

	lua_settop(L, MESSAGE_INDEX - 1);
	void **box = bind_new(L, &message_type);
	member_message *message = kms_heap_alloc(1, sizeof(*message));
	if (!message) return bind_fail(L, KMS_ERR_MEMORY);
	*box = message;
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	open_job *job = bind_job_push(L, sizeof(*job), open_run, open_finish);
	size_t size = kms_http_body(http)->len;
	job->session = session;
	job->http = http;
	job->message = message;
	job->plain = bind_body_check(L, PLAIN_INDEX);
	job->now_s = now_s;
	job->job.heavy = size > INLINE_BYTES;
	job->job.is_long = size > BIND_LONG_BYTES;
	return bind_job_start_small(L, &job->job);
}

/* ---- what it says -------------------------------------------------------------------------------------- */

/* message:time_ms() -> when it was sealed: Unix time; nil where its content is malformed */
static int message_time_ms(lua_State *L)
{
	const member_message *m = check_message(L);
	if (!m->has_content) return 0;
	lua_pushinteger(L, m->time_ms > LUA_MAXINTEGER ? LUA_MAXINTEGER : (lua_Integer)m->time_ms);
	return 1;
}

/* message:is_array() -> whether it holds an array: operations of an application, and no message of a member
 */
static int message_is_array(lua_State *L)
{
	lua_pushboolean(L, check_message(L)->is_array);
	return 1;
}

/* message:size() -> bytes as received */
static int message_size(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)check_message(L)->size);
	return 1;
}

/* message:nonce() -> what attestation documents in it are bound to */
static int message_nonce(lua_State *L)
{
	const member_message *m = check_message(L);
	const kms_session *session = kms_session_call_session(m->call);
	bind_push_session_nonce(L, kms_session_salt_of(session), kms_session_call_seq(m->call));
	return 1;
}

static kms_status check_mac(const member_message *m, const kms_sync *parsed, kms_secret *master)
{
	DEFER(kms_secret_release) kms_secret *sync_key = NULL;
	GUARD(kms_sync_key(&sync_key, master));
	return kms_session_mac_check(kms_sync_text(parsed, KMS_SYNC_MAC), sync_key,
				     kms_session_salt_of(kms_session_call_session(m->call)),
				     kms_session_call_seq(m->call));
}

/*
 * message:is_proven(parsed, master_secret) -> whether the member `mac` of what it holds is this message's
 * under that secret | nil, message, code
 */
static int message_is_proven(lua_State *L)
{
	const member_message *m = check_message(L);
	const kms_sync *parsed = bind_check(L, 2, &bind_sync_type);
	kms_status status = check_mac(m, parsed, bind_check_master(L, 3));
	if (status != KMS_OK && status != KMS_ERR_MAC) return bind_fail(L, status);
	lua_pushboolean(L, status == KMS_OK);
	return 1;
}

/* ---- answering ----------------------------------------------------------------------------------------- */

typedef struct answer_job {
	bind_job job;
	member_message *message; /* argument 1 */
	kms_buf **plain;         /* argument 2, held */
	kms_buf *sealed;         /* the result, at SEALED_INDEX of the stack */
	uint64_t wall_ms;
	bool began; /* the one answer of this number is made */
	kms_status status;
} answer_job;

/* The stack of message:answer: three arguments, the result, then what is held. */
#define SEALED_INDEX 4

/* Room for the ciphertext is there before the message counts as answered: until then it can be refused. */
static kms_status seal(answer_job *job)
{
	kms_buf *plain = *job->plain;
	DEFER(kms_buf_free) kms_buf message = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_session_answer_begin(&message, plain->len));
	GUARD(kms_buf_append(&message, kms_buf_span(plain)));
	kms_buf_free(plain);
	GUARD(kms_buf_reserve(job->sealed, message.cap));
	job->began = true;
	GUARD(kms_session_answer_seal(&message, job->message->call, job->wall_ms));
	return kms_buf_append(job->sealed, kms_buf_span(&message));
}

static void answer_run(bind_job *base)
{
	answer_job *job = (answer_job *)base;
	job->status = seal(job);
	if (job->status != KMS_OK && job->began)
		kms_session_end(kms_session_call_session(job->message->call));
}

static int answer_finish(lua_State *L, bind_job *base)
{
	const answer_job *job = (answer_job *)base;
	kms_buf_free(*job->plain);
	job->message->answered = job->began;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, SEALED_INDEX);
	return 1;
}

/*
 * message:answer(plain, wall_ms) -> body, as it is sent | nil, message, code
 * Takes `plain` over. Works once; where there is no memory, the message can still be refused.
 */
static int message_answer(lua_State *L)
{
	member_message *m = check_message(L);
	size_t size = bind_body_check(L, 2)->len;
	uint64_t wall_ms = (uint64_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);
	kms_buf none = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);

	lua_settop(L, SEALED_INDEX - 1);
	if (m->answered) return bind_fail(L, KMS_ERR_STATE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	answer_job *job = bind_job_push(L, sizeof(*job), answer_run, answer_finish);
	job->message = m;
	job->plain = (kms_buf **)bind_hold(L, 2, &bind_body_type);
	job->sealed = bind_body_check(L, SEALED_INDEX);
	job->wall_ms = wall_ms;
	job->job.heavy = size > INLINE_BYTES;
	job->job.is_long = size > BIND_LONG_BYTES;
	return bind_job_start_small(L, &job->job);
}

/*
 * message:refuse(wall_ms, status, code, text, retry_after_s|nil) -> body (text), as it is sent | nil,
 * message, code Works once. After a failure the session has ended.
 */
static int message_refuse(lua_State *L)
{
	member_message *m = check_message(L);
	uint64_t wall_ms = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	kms_refusal refusal = bind_arg_refusal(L, 3);

	if (m->answered) return bind_fail(L, KMS_ERR_STATE);
	m->answered = true;
	m->refusal.len = m->begin;
	kms_status status = kms_refusal_write(&m->refusal, &refusal);
	if (status == KMS_OK) status = kms_session_answer_seal(&m->refusal, m->call, wall_ms);
	if (status != KMS_OK) {
		kms_session_end(kms_session_call_session(m->call));
		return bind_fail(L, status);
	}
	lua_pushlstring(L, (const char *)m->refusal.data, m->refusal.len);
	return 1;
}

void bind_add_session_member(lua_State *L)
{
	static const luaL_Reg methods[] = { { "open", session_open }, { NULL, NULL } };
	bind_define(L, &message_type);
	bind_add_methods(L, &bind_session_type, methods);
}
