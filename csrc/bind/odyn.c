/* Bodies of the Odyn service (kms/odyn.h), from and to body handles. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/body_job.h"
#include "bind/crypto.h"
#include "bind/topics.h"
#include "kms/odyn.h"
#include "base/mem.h"

#define MAX_TX ((size_t)1 << 20)

/* ---- bodies: each a job that takes over the body at argument 1 ---------------------------------- */

/* Pushes such a job (may throw); NULL without memory. */
static bind_body_job *push_job(lua_State *L, int arguments, kms_status (*run)(bind_body_job *job))
{
	lua_settop(L, arguments);
	bind_body_job *job = bind_body_job_new(L, run);
	if (job) bind_body_take(&job->in, L, 1);
	return job;
}

static kms_status plain_run(bind_body_job *job)
{
	return kms_odyn_plain(&job->out, &job->field, &job->in);
}

/*
 * odyn_plain(response, "guarded"|"wiped") -> body with the plaintext | nil, message, code
 * response: of /v1/encryption/decrypt, a wiped body.
 */
static int odyn_plain(lua_State *L)
{
	const kms_buf *response = bind_body_check(L, 1);
	kms_buf_kind kind = bind_arg_memory(L, 2);
	if (response->kind != KMS_BUF_WIPED) return luaL_argerror(L, 1, "is not a wiped body");

	bind_body_job *job = push_job(L, 2, plain_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->out = kms_buf_make(kind, BODY_JOB_MAX_BYTES);
	return bind_body_job_start(L, job, false);
}

static kms_status seal_request_run(bind_body_job *job)
{
	return kms_odyn_encrypt_request(&job->out, kms_buf_text(&job->in), job->key97);
}

/*
 * odyn_seal_request(plain, peer_point97) -> body (wiped) | nil, message, code
 * The request for /v1/encryption/encrypt.
 */
static int odyn_seal_request(lua_State *L)
{
	(void)bind_body_check(L, 1);
	const uint8_t *peer97 = bind_arg_bytes(L, 2, KMS_P384_POINT);

	bind_body_job *job = push_job(L, 2, seal_request_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->out = kms_buf_make(KMS_BUF_WIPED, BODY_JOB_MAX_BYTES);
	memcpy(job->key97, peer97, sizeof(job->key97));
	return bind_body_job_start(L, job, false);
}

static kms_status envelope_run(bind_body_job *job)
{
	return kms_odyn_envelope(&job->field, &job->out, &job->in, job->key97, job->plain_len);
}

/*
 * odyn_envelope(response, own_point97 [, plain_len]) -> body: a canonical envelope | nil, message, code
 * response: of /v1/encryption/encrypt. plain_len: bytes that were sent to be encrypted.
 */
static int odyn_envelope(lua_State *L)
{
	(void)bind_body_check(L, 1);
	const uint8_t *own97 = bind_arg_bytes(L, 2, KMS_P384_POINT);
	size_t plain_len = SIZE_MAX;
	if (!lua_isnoneornil(L, 3)) plain_len = (size_t)bind_arg_integer(L, 3, 0, LUA_MAXINTEGER);

	bind_body_job *job = push_job(L, 3, envelope_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->plain_len = plain_len;
	memcpy(job->key97, own97, sizeof(job->key97));
	return bind_body_job_start(L, job, false);
}

/* ---- storage ------------------------------------------------------------------------------------ */

static kms_status value_run(bind_body_job *job)
{
	return kms_odyn_value(&job->out, &job->field, &job->in);
}

/* odyn_value(response) -> body with the object's bytes | nil, message, code. response: of /v1/s3/get. */
static int odyn_value(lua_State *L)
{
	kms_buf_kind kind = bind_body_check(L, 1)->kind;
	bind_body_job *job = push_job(L, 1, value_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->out = kms_buf_make(kind, BODY_JOB_MAX_BYTES);
	return bind_body_job_start(L, job, false);
}

static kms_status put_request_run(bind_body_job *job)
{
	return kms_odyn_put_request(&job->out, kms_text_from(job->key), kms_buf_span(job->loan.body));
}

/*
 * odyn_put_request(key, body) -> body | nil, message, code
 * The request for /v1/s3/put. `body` is lent to the job, and stays the caller's. key: without a NUL.
 */
static int odyn_put_request(lua_State *L)
{
	const char *key = luaL_checkstring(L, 1);
	(void)bind_body_check(L, 2);
	lua_settop(L, 2);
	bind_body_job *job = bind_body_job_new(L, put_request_run);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->key = key; /* stays on the stack */
	bind_body_lend(&job->loan, L, 2);
	return bind_body_job_start(L, job, false);
}

/* ---- small responses, read without a job --------------------------------------------------------- */

/* odyn_random(response) -> secret of 32 bytes | nil, message, code. response: of /v1/random. */
static int odyn_random(lua_State *L)
{
	const char *field;
	kms_buf *response = bind_body_check(L, 1);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	kms_status status = kms_odyn_secret(box, &field, response);
	return status == KMS_OK ? 1 : bind_fail_member(L, status, field);
}

/*
 * odyn_signature(response, own_wallet) -> "0x" + 130 lower-case digits | nil, message, code.
 * response: of /v1/eth/sign.
 */
static int odyn_signature(lua_State *L)
{
	uint8_t own[20];
	char text[KMS_SIGNATURE_TEXT];
	const char *field;
	kms_buf *response = bind_body_check(L, 1);
	bind_arg_address(own, L, 2);
	kms_status status = kms_odyn_signature(text, &field, response, own);
	if (status != KMS_OK) return bind_fail_member(L, status, field);
	lua_pushlstring(L, text, sizeof(text));
	return 1;
}

/*
 * odyn_transaction(response, own_wallet) -> raw transaction, hash, both hex | nil, message, code.
 * response: of /v1/eth/sign-tx.
 */
static int odyn_transaction(lua_State *L)
{
	uint8_t own[20], hash[32];
	const char *field;
	size_t len = 0;
	kms_buf *response = bind_body_check(L, 1);
	bind_arg_address(own, L, 2);
	/* Copy to memory that Lua owns, so that C owns nothing when a push throws. */
	uint8_t *bytes = lua_newuserdatauv(L, response->len / 2 + 1, 0);
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, MAX_TX);
	kms_status status = kms_odyn_transaction(hash, &field, &raw, response, own);
	if (status == KMS_OK) memcpy(bytes, raw.data, len = raw.len);
	kms_buf_free(&raw);
	if (status != KMS_OK) return bind_fail_member(L, status, field);
	bind_push_hex(L, bytes, len);
	bind_push_hex(L, hash, sizeof(hash));
	return 2;
}

void bind_add_odyn(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "odyn_plain", odyn_plain },
		{ "odyn_seal_request", odyn_seal_request },
		{ "odyn_envelope", odyn_envelope },
		{ "odyn_value", odyn_value },
		{ "odyn_put_request", odyn_put_request },
		{ "odyn_random", odyn_random },
		{ "odyn_signature", odyn_signature },
		{ "odyn_transaction", odyn_transaction },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
