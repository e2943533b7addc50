/* The opening of a session on the node's side, in steps; between them a TEE backend opens and seals the
 * envelopes. */
#include <string.h>

#include "bind/body.h"
#include "bind/http.h"
#include "bind/job.h"
#include "bind/service.h"
#include "bind/session.h"
#include "bind/topics.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "kms/crypto.h"
#include "kms/operations.h"
#include "net/http.h"

#define MAX_BODY ((size_t)1 << 20)
#define MAX_GRANT 1024

typedef struct opening {
	kms_session_owner owner;
	kms_buf text;    /* what the caller has signed */
	kms_buf request; /* its body as received */
	kms_session_offer offer;
	kms_x25519 *own; /* this node's ephemeral key, until the session is open */
	kms_session_terms terms;
} opening;

static void opening_release(void *object)
{
	opening *o = object;
	kms_buf_free(&o->text);
	kms_buf_free(&o->request);
	kms_x25519_free(o->own);
	kms_heap_free(o);
}

static int opening_accept(lua_State *L);
static int opening_grant(lua_State *L);

static const luaL_Reg opening_methods[] = {
	{ "accept", opening_accept },
	{ "grant", opening_grant },
	{ NULL, NULL },
};
static const bind_type opening_type = { "kms.session_opening", opening_release, opening_methods, true };

static kms_text header(const kms_http *http, const char *name)
{
	kms_text value;
	(void)kms_http_header(&value, http, name);
	return value;
}

static kms_status fill(opening *o, kms_http *http, const uint8_t own20[20])
{
	uint8_t body32[32];
	bool app = o->owner.kind == KMS_SESSION_APP;
	kms_span body = kms_buf_span(kms_http_body(http));
	GUARD(kms_sha256(body32, body));
	const kms_pop pop = {
		.domain = app ? KMS_POP_APP_SESSION : KMS_POP_PEER_SESSION,
		.nonce = header(http, app ? "x-app-nonce" : "x-kms-nonce"),
		.timestamp = header(http, app ? "x-app-timestamp" : "x-kms-timestamp"),
		.body32 = body32,
	};
	GUARD(kms_buf_append(&o->request, body));
	return kms_pop_text(&o->text, &pop, own20);
}

/*
 * service:session_opening(head, "app"|"peer", wallet, app_id, point97) -> opening | nil, message, code
 * Of an authenticated request, before its body is parsed: copies the body and what was signed. app_id: "0"
 * for a member. point97: the caller's registered key.
 */
static int service_session_opening(lua_State *L)
{
	const bind_service *service = bind_service_check(L, false);
	kms_http *http = bind_http_check(L, 2);
	kms_session_owner owner = { .kind = bind_arg_session_kind(L, 3) };
	bind_arg_address(owner.wallet20, L, 4);
	if (owner.kind == KMS_SESSION_APP) owner.app_id = bind_arg_app_id(L, 5);
	memcpy(owner.point97, bind_arg_bytes(L, 6, KMS_P384_POINT), KMS_P384_POINT);

	if (!service->has_self) return bind_fail(L, KMS_ERR_STATE);
	void **box = bind_new(L, &opening_type);
	opening *o = kms_heap_alloc(1, sizeof(*o));
	if (!o) return bind_fail(L, KMS_ERR_MEMORY);
	*box = o;
	o->owner = owner;
	o->text = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);
	o->request = kms_buf_make(KMS_BUF_PLAIN, MAX_BODY);
	kms_status status = fill(o, http, service->own20);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* service:announce_sessions(have): whether requests that ask are told that this node has sessions. */
static int service_announce_sessions(lua_State *L)
{
	bind_service *service = bind_service_check(L, false);
	luaL_checktype(L, 2, LUA_TBOOLEAN);
	service->has_sessions = lua_toboolean(L, 2);
	return 0;
}

/* opening:accept(plain) -> true | nil, message, code: reads the offer, and takes `plain` over. */
static int opening_accept(lua_State *L)
{
	opening *o = bind_check(L, 1, &opening_type);
	const char *field = NULL;
	kms_buf plain;
	(void)bind_body_check(L, 2);
	bind_body_take(&plain, L, 2);
	kms_status status = kms_session_offer_parse(&o->offer, &field, &plain);
	kms_buf_free(&plain);
	if (status != KMS_OK) return bind_fail_member(L, status, field);
	memcpy(o->terms.peer_e32, o->offer.e32, sizeof(o->terms.peer_e32));
	lua_pushboolean(L, true);
	return 1;
}

static kms_status make_grant(kms_buf *json, opening *o, uint64_t expires_s)
{
	GUARD(kms_x25519_generate(&o->own));
	GUARD(kms_random(KMS_OUT(o->terms.sid16)));
	kms_session_grant grant = { .expires_s = expires_s, .max_operations = KMS_OPERATIONS_MAX };
	memcpy(grant.e32, kms_x25519_public(o->own), sizeof(grant.e32));
	memcpy(grant.sid16, o->terms.sid16, sizeof(grant.sid16));
	return kms_session_grant_write(json, &grant);
}

/* opening:grant(expires_s) -> body (guarded): the answer, to be sealed | nil, message, code. Once. */
static int opening_grant(lua_State *L)
{
	opening *o = bind_check(L, 1, &opening_type);
	uint64_t expires_s = (uint64_t)bind_arg_integer(L, 2, 1, KMS_SESSIONS_TTL_MAX);
	kms_buf none = kms_buf_make(KMS_BUF_GUARDED, MAX_GRANT);

	if (o->own) return bind_fail(L, KMS_ERR_STATE);
	if (!bind_body_push(L, &none)) return bind_fail(L, KMS_ERR_MEMORY);
	kms_status status = make_grant(bind_body_check(L, lua_gettop(L)), o, expires_s);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- the last step --------------------------------------------------------------------------------------
 */

typedef struct open_job {
	bind_job job;
	kms_sessions *sessions; /* argument 1 */
	opening *opening; /* argument 2: nothing else works on it, and its handle closes after the job */
	kms_span answer;  /* in the opening's text buffer, behind what was signed */
	size_t text_len;
	uint64_t now_s;
	kms_status status;
} open_job;

static kms_status open_session(open_job *job)
{
	opening *o = job->opening;
	kms_span text = kms_span_of(o->text.data, job->text_len);
	GUARD(kms_session_salt(o->terms.salt32, text, kms_buf_span(&o->request), job->answer));
	for (size_t i = 0; i < o->offer.ends_count; i++)
		(void)kms_sessions_end_one(job->sessions, o->owner.kind, o->owner.wallet20,
					   o->offer.ends16[i]);
	return kms_sessions_open(job->sessions, &o->own, &o->owner, &o->terms, job->now_s);
}

static void open_run(bind_job *base)
{
	open_job *job = (open_job *)base;
	job->status = open_session(job);
}

static int open_finish(lua_State *L, bind_job *base)
{
	return bind_result(L, ((open_job *)base)->status);
}

/*
 * sessions:open(opening, answer, mono_ms) -> true | nil, message, code
 * Ends the sessions that the offer names, derives the keys and adds the session. answer: the sealed grant as
 * it is sent. Works once.
 */
static int sessions_open(lua_State *L)
{
	size_t len;
	kms_sessions *sessions = bind_check(L, 1, &bind_sessions_type);
	opening *o = bind_check(L, 2, &opening_type);
	const char *answer = luaL_checklstring(L, 3, &len);
	uint64_t now_s = (uint64_t)bind_arg_integer(L, 4, 0, LUA_MAXINTEGER) / 1000;
	size_t text_len = o->text.len;

	if (!o->own) return bind_fail(L, KMS_ERR_STATE);
	lua_settop(L, 4);
	open_job *job = bind_job_push(L, sizeof(*job), open_run, open_finish);
	kms_status status = kms_buf_append(&o->text, kms_span_of(answer, len));
	if (status != KMS_OK) return bind_fail(L, status);
	job->sessions = sessions;
	job->opening = o;
	job->text_len = text_len;
	job->answer = kms_span_of(o->text.data + text_len, len);
	job->now_s = now_s;
	job->job.heavy = true;
	return bind_job_start(L, &job->job);
}

void bind_add_session_opening(lua_State *L)
{
	static const luaL_Reg service_methods[] = { { "session_opening", service_session_opening },
						    { "announce_sessions", service_announce_sessions },
						    { NULL, NULL } };
	static const luaL_Reg sessions_methods[] = { { "open", sessions_open }, { NULL, NULL } };
	bind_define(L, &opening_type);
	bind_add_methods(L, &bind_service_type, service_methods);
	bind_add_methods(L, &bind_sessions_type, sessions_methods);
}
