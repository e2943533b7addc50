/*
 * A session that this node has opened with another member (kms/session.h), and its messages. Lua gets handles
 * and public numbers; keys and contents stay in C. Its opening: session_offer.c.
 */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/session.h"
#include "bind/session_caller.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/codec.h"
#include "kms/kdf.h"

#define MAC_DIGITS 64
#define INLINE_BYTES 16384 /* larger messages are worked on in the pool */

static void caller_release(void *object)
{
	bind_caller *c = object;
	kms_session_caller_free(c->session);
	kms_heap_free(c);
}

static void end_if_finished(bind_caller *c)
{
	if (!c->finished || c->jobs > 0) return;
	kms_session_caller_free(c->session);
	c->session = NULL;
}

static int caller_take(lua_State *L);
static int caller_nonce(lua_State *L);
static int caller_mac(lua_State *L);
static int caller_seal(lua_State *L);
static int caller_open(lua_State *L);
static int caller_sid(lua_State *L);
static int caller_finish(lua_State *L);

static const luaL_Reg caller_methods[] = {
	{ "take", caller_take },     { "nonce", caller_nonce },
	{ "mac", caller_mac },       { "seal", caller_seal },
	{ "open", caller_open },     { "sid", caller_sid },
	{ "finish", caller_finish }, { NULL, NULL },
};
const bind_type bind_caller_type = { "kms.session_caller", caller_release, caller_methods, false };

/* NULL: it has ended. */
static bind_caller *check_open(lua_State *L)
{
	bind_caller *c = bind_check(L, 1, &bind_caller_type);
	return c->finished ? NULL : c;
}

static uint64_t arg_seq(lua_State *L, int arg)
{
	return (uint64_t)bind_arg_integer(L, arg, 1, (lua_Integer)KMS_SESSION_MAX_SEQ);
}

/* session:sid() -> its 16 bytes, which are public | nil, message, code: it has ended */
static int caller_sid(lua_State *L)
{
	const bind_caller *c = check_open(L);
	if (!c) return bind_fail(L, KMS_ERR_STATE);
	lua_pushlstring(L, (const char *)kms_session_caller_sid(c->session), KMS_SESSION_SID);
	return 1;
}

/* session:finish(): ends it. Its keys are erased once no job uses them. */
static int caller_finish(lua_State *L)
{
	bind_caller *c = bind_check(L, 1, &bind_caller_type);
	c->finished = true;
	end_if_finished(c);
	return 0;
}

/* session:take() -> the number of the next message | nil, message, code: none is left, or it has ended */
static int caller_take(lua_State *L)
{
	uint64_t seq;
	bind_caller *c = check_open(L);
	kms_status status = c ? kms_session_caller_take(&seq, c->session) : KMS_ERR_STATE;
	if (status != KMS_OK) return bind_fail(L, status);
	lua_pushinteger(L, (lua_Integer)seq);
	return 1;
}

/* session:nonce(seq) -> what attestation documents of this message are bound to | nil, message, code */
static int caller_nonce(lua_State *L)
{
	const bind_caller *c = check_open(L);
	uint64_t seq = arg_seq(L, 2);
	if (!c) return bind_fail(L, KMS_ERR_STATE);
	bind_push_session_nonce(L, kms_session_caller_salt(c->session), seq);
	return 1;
}

static kms_status make_mac(uint8_t mac32[32], kms_secret *master, const bind_caller *c, uint64_t seq)
{
	DEFER(kms_secret_release) kms_secret *sync_key = NULL;
	ENSURE(c, KMS_ERR_STATE);
	GUARD(kms_sync_key(&sync_key, master));
	return kms_session_mac(mac32, sync_key, kms_session_caller_salt(c->session), seq);
}

/* session:mac(master_secret, seq) -> 64 digits, the member `mac` of this message | nil, message, code */
static int caller_mac(lua_State *L)
{
	uint8_t mac32[32];
	char digits[MAC_DIGITS];
	const bind_caller *c = check_open(L);
	kms_secret *master = bind_check_master(L, 2);
	kms_status status = make_mac(mac32, master, c, arg_seq(L, 3));
	if (status != KMS_OK) return bind_fail(L, status);
	kms_hex_encode(digits, KMS_SPAN(mac32));
	lua_pushlstring(L, digits, sizeof(digits));
	return 1;
}

/* ---- its messages -------------------------------------------------------------------------------------- */

/* Makes one body of another one. */
typedef struct move_job {
	bind_job job;
	bind_caller *caller; /* argument 1 */
	kms_buf **from;      /* argument 3, held */
	kms_buf *to;         /* the result, at TO_INDEX of the stack */
	uint64_t seq;
	uint64_t time_ms;
	kms_session_refused refused; /* its status is 0: it is none */
	kms_status status;
} move_job;

/* The stack of session:seal and session:open: four arguments, the result, then what is held. */
#define TO_INDEX 5

static kms_status seal(move_job *job)
{
	kms_buf *from = *job->from;
	DEFER(kms_buf_free) kms_buf message = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_session_request_begin(&message, from->len));
	GUARD(kms_buf_append(&message, kms_buf_span(from)));
	kms_buf_free(from);
	GUARD(kms_session_request_seal(&message, job->caller->session, job->seq, job->time_ms));
	return kms_buf_append(job->to, kms_buf_span(&message));
}

static kms_status open_answer(move_job *job)
{
	kms_session_content content;
	DEFER(kms_buf_free) kms_buf message = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	GUARD(kms_buf_append(&message, kms_buf_span(*job->from)));
	kms_buf_free(*job->from);
	GUARD(kms_session_answer_open(&content, &message, job->caller->session, job->seq));
	kms_status status = kms_session_refused_read(&job->refused, content.json);
	ENSURE(status == KMS_OK || status == KMS_ERR_NOT_FOUND, status);
	kms_session_keep_json(&message, &content);
	*job->to = message;
	message = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	return KMS_OK;
}

static void seal_run(bind_job *base)
{
	move_job *job = (move_job *)base;
	job->status = seal(job);
}

static void open_run(bind_job *base)
{
	move_job *job = (move_job *)base;
	job->status = open_answer(job);
}

static void push_refused(lua_State *L, const kms_session_refused *refused)
{
	lua_createtable(L, 0, 4);
	bind_set_integer(L, "status", refused->status);
	if (refused->retry_after_s) bind_set_integer(L, "retry_after_s", refused->retry_after_s);
	lua_pushlstring(L, refused->code, refused->code_len);
	lua_setfield(L, -2, "code");
	lua_pushlstring(L, refused->message, refused->message_len);
	lua_setfield(L, -2, "message");
}

static int move_finish(lua_State *L, bind_job *base)
{
	const move_job *job = (move_job *)base;
	job->caller->jobs--;
	end_if_finished(job->caller);
	kms_buf_free(*job->from);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (job->refused.status) {
		kms_buf_free(job->to);
		lua_pushboolean(L, false);
		push_refused(L, &job->refused);
		return 2;
	}
	lua_pushvalue(L, TO_INDEX);
	return 1;
}

/* Starts a job that takes the body at argument 3 over; `time_ms` is argument 4. */
static int move(lua_State *L, void (*run)(bind_job *job), kms_buf_kind kind)
{
	bind_caller *c = check_open(L);
	uint64_t seq = arg_seq(L, 2);
	size_t size = bind_body_check(L, 3)->len;
	uint64_t time_ms = lua_isnoneornil(L, 4) ? 0 : (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER);
	kms_buf none = kms_buf_make(kind, SIZE_MAX);

	lua_settop(L, TO_INDEX - 1);
	if (!c) return bind_fail(L, KMS_ERR_STATE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_buf *to = bind_body_check(L, TO_INDEX);
	move_job *job = bind_job_push(L, sizeof(*job), run, move_finish);
	job->from = (kms_buf **)bind_hold(L, 3, &bind_body_type);
	job->to = to;
	job->caller = c;
	job->seq = seq;
	job->time_ms = time_ms;
	job->job.heavy = size > INLINE_BYTES;
	job->job.is_long = size > BIND_LONG_BYTES;
	c->jobs++;
	return bind_job_start_small(L, &job->job);
}

/* session:seal(seq, plain, wall_ms) -> body, as it is sent | nil, message, code. Takes `plain` over. */
static int caller_seal(lua_State *L)
{
	return move(L, seal_run, KMS_BUF_PLAIN);
}

/*
 * session:open(seq, body) -> plain (WIPED) | false, { status, code, message, retry_after_s }: a refusal |
 * nil, message, code: not the answer to this message. Takes `body` over.
 */
static int caller_open(lua_State *L)
{
	return move(L, open_run, KMS_BUF_WIPED);
}

void bind_add_session_caller(lua_State *L)
{
	bind_define(L, &bind_caller_type);
}
