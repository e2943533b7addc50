/* The opening of a session with another member, on this node's side, in steps: between them a TEE backend
 * signs, and opens and seals the envelopes. */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "bind/body.h"
#include "bind/job.h"
#include "bind/session.h"
#include "bind/session_caller.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/crypto.h"
#include "kms/pop.h"

#define MAX_OFFER 1024

static void offer_release(void *object)
{
	kms_x25519_free(object);
}

static int offer_accept(lua_State *L);

static const luaL_Reg offer_methods[] = { { "accept", offer_accept }, { NULL, NULL } };
static const bind_type offer_type = { "kms.session_offer", offer_release, offer_methods, true };

/*
 * session_offer(ends) -> offer, plain (guarded): what is sealed to the peer | nil, message, code
 * ends: list of sids that were given up; the last KMS_SESSION_MAX_ENDS are named.
 */
static int session_offer(lua_State *L)
{
	kms_session_offer offer = bind_arg_ends(L, 1);
	kms_buf none = kms_buf_make(KMS_BUF_GUARDED, MAX_OFFER);
	kms_x25519 **own = (kms_x25519 **)bind_new(L, &offer_type);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_status status = kms_x25519_generate(own);
	if (status != KMS_OK) return bind_fail(L, status);
	memcpy(offer.e32, kms_x25519_public(*own), sizeof(offer.e32));
	status = kms_session_offer_write(bind_body_check(L, lua_gettop(L)), &offer);
	return status == KMS_OK ? 2 : bind_fail(L, status);
}

/* session_answer_check(answer_signature, caller_signature, wallet, body text) -> true | nil, message, code */
static int session_answer_check(lua_State *L)
{
	uint8_t node20[20], body32[32];
	kms_text answer = bind_arg_text(L, 1), own = bind_arg_text(L, 2), body = bind_arg_text(L, 4);
	bind_arg_address(node20, L, 3);
	kms_status status = kms_sha256(body32, kms_text_span(body));
	if (status == KMS_OK) status = kms_session_answer_check(answer, own, node20, body32);
	return bind_result(L, status);
}

typedef struct accept_job {
	bind_job job;
	kms_x25519 **own;    /* argument 1, held */
	kms_buf **plain;     /* argument 2, held */
	bind_caller *caller; /* the result, at CALLER_INDEX of the stack */
	kms_text signed_text;
	kms_text request;
	kms_text answer;
	kms_session_grant grant;
	const char *field;
	kms_status status;
} accept_job;

/* The stack of offer:accept: five arguments, then the result. */
#define CALLER_INDEX 6

static kms_status accept_grant(accept_job *job)
{
	kms_session_terms terms;
	GUARD(kms_session_grant_parse(&job->grant, &job->field, *job->plain));
	GUARD(kms_session_salt(terms.salt32, kms_text_span(job->signed_text), kms_text_span(job->request),
			       kms_text_span(job->answer)));
	memcpy(terms.sid16, job->grant.sid16, sizeof(terms.sid16));
	memcpy(terms.peer_e32, job->grant.e32, sizeof(terms.peer_e32));
	return kms_session_caller_new(&job->caller->session, job->own, &terms);
}

static void accept_run(bind_job *base)
{
	accept_job *job = (accept_job *)base;
	job->status = accept_grant(job);
	kms_x25519_free(*job->own);
	*job->own = NULL;
	kms_buf_free(*job->plain);
}

static int accept_finish(lua_State *L, bind_job *base)
{
	const accept_job *job = (accept_job *)base;
	if (job->status != KMS_OK) return bind_fail_member(L, job->status, job->field);
	lua_pushvalue(L, CALLER_INDEX);
	lua_pushinteger(L, (lua_Integer)(job->grant.expires_s & LUA_MAXINTEGER));
	return 2;
}

/*
 * offer:accept(plain, signed_text, request, answer) -> session, expires_s | nil, message, code
 * Reads the opened answer and derives the keys; the texts are those that were signed, sent and received.
 * Works once, and takes `plain` over.
 */
static int offer_accept(lua_State *L)
{
	(void)bind_check(L, 1, &offer_type);
	(void)bind_body_check(L, 2);
	for (int arg = 3; arg < CALLER_INDEX; arg++)
		luaL_checkstring(L, arg);
	lua_settop(L, CALLER_INDEX - 1);
	bind_caller **box = (bind_caller **)bind_new(L, &bind_caller_type);
	*box = kms_heap_alloc(1, sizeof(**box));
	if (!*box) return bind_fail(L, KMS_ERR_MEMORY);
	accept_job *job = bind_job_push(L, sizeof(*job), accept_run, accept_finish);
	job->caller = *box;
	job->signed_text = bind_arg_text(L, 3);
	job->request = bind_arg_text(L, 4);
	job->answer = bind_arg_text(L, 5);
	job->own = (kms_x25519 **)bind_hold(L, 1, &offer_type);
	job->plain = (kms_buf **)bind_hold(L, 2, &bind_body_type);
	job->job.heavy = true;
	return bind_job_start(L, &job->job);
}

void bind_add_session_offer(lua_State *L)
{
	static const luaL_Reg functions[] = { { "session_offer", session_offer },
					      { "session_answer_check", session_answer_check },
					      { NULL, NULL } };
	bind_define(L, &offer_type);
	luaL_setfuncs(L, functions, 0);
}
