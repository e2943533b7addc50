/* The Nitro Security Module (kms/nsm.h) as a handle. Calls that wait for the device run on the pool. */
#include "bind/bind.h"

#include <string.h>

#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/keys.h"
#include "bind/topics.h"
#include "kms/nsm.h"

static const bind_type nsm_type;

static kms_nsm *check_nsm(lua_State *L)
{
	return bind_check(L, 1, &nsm_type);
}

/* nil, message, code; the message of a refusal has the module's name for it. */
static int fail(lua_State *L, kms_nsm *nsm, kms_status status)
{
	if (status != KMS_ERR_NSM_REFUSED) return bind_fail(L, status);
	const char *text = lua_pushfstring(L, "%s: %s", kms_status_text(status), kms_nsm_refusal(nsm));
	return bind_fail_text(L, status, text);
}

/* nsm:identity() -> wallet, p384 | nil, message, code: new keys. Blocks: for the start only. */
static int nsm_identity(lua_State *L)
{
	kms_nsm *nsm = check_nsm(L);
	kms_wallet **wallet = (kms_wallet **)bind_new(L, &bind_wallet_type);
	kms_p384 **p384 = (kms_p384 **)bind_new(L, &bind_p384_type);
	kms_status status = kms_nsm_identity(wallet, p384, nsm);
	return status == KMS_OK ? 2 : fail(L, nsm, status);
}

/* nsm:describe() -> { module_id, digest, version, max_pcrs, locked_pcrs } | nil, message, code */
static int nsm_describe(lua_State *L)
{
	kms_nsm_description d;
	kms_nsm *nsm = check_nsm(L);
	kms_status status = kms_nsm_describe(&d, nsm);
	if (status != KMS_OK) return fail(L, nsm, status);
	lua_createtable(L, 0, 5);
	lua_pushstring(L, d.module_id);
	lua_setfield(L, -2, "module_id");
	lua_pushstring(L, d.digest);
	lua_setfield(L, -2, "digest");
	lua_pushfstring(L, "%d.%d.%d", (int)d.version[0], (int)d.version[1], (int)d.version[2]);
	lua_setfield(L, -2, "version");
	bind_set_integer(L, "max_pcrs", d.max_pcrs);
	bind_set_integer(L, "locked_pcrs", d.locked_pcrs);
	return 1;
}

/* ---- on the pool -------------------------------------------------------------------------------- */

typedef struct secret_job {
	bind_job job;
	kms_nsm *nsm;
	kms_secret **box; /* of the returned handle */
	kms_status status;
} secret_job;

static void secret_run(bind_job *base)
{
	secret_job *job = (secret_job *)base;
	job->status = kms_nsm_secret(job->box, job->nsm, 32, KMS_TEXT("random"));
}

static int secret_finish(lua_State *L, bind_job *base)
{
	secret_job *job = (secret_job *)base;
	if (job->status != KMS_OK) return fail(L, job->nsm, job->status);
	lua_pushvalue(L, 2);
	return 1;
}

/* nsm:random_secret() -> secret of 32 bytes, from both generators | nil, message, code */
static int nsm_random_secret(lua_State *L)
{
	kms_nsm *nsm = check_nsm(L);
	lua_settop(L, 1);
	kms_secret **box = (kms_secret **)bind_new(L, &bind_secret_type);
	secret_job *job = bind_job_push(L, sizeof(*job), secret_run, secret_finish);
	job->job.heavy = true;
	job->nsm = nsm;
	job->box = box;
	return bind_job_start(L, &job->job);
}

typedef struct attest_job {
	bind_job job;
	kms_nsm *nsm;
	kms_nsm_claims claims; /* borrowed from the caller's stack */
	kms_status status;
	size_t len;
	uint8_t document[KMS_NSM_RESPONSE_MAX];
} attest_job;

static void attest_run(bind_job *base)
{
	attest_job *job = (attest_job *)base;
	kms_buf document = kms_buf_make(KMS_BUF_PLAIN, sizeof(job->document));
	job->status = kms_nsm_attest(&document, job->nsm, &job->claims);
	job->len = document.len;
	if (document.len) memcpy(job->document, document.data, document.len);
	kms_buf_free(&document);
}

static int attest_finish(lua_State *L, bind_job *base)
{
	attest_job *job = (attest_job *)base;
	if (job->status != KMS_OK) return fail(L, job->nsm, job->status);
	lua_pushlstring(L, (const char *)job->document, job->len);
	return 1;
}

/* nsm:attest(nonce, user_data, public_key) -> document | nil, message, code; each may be nil */
static int nsm_attest(lua_State *L)
{
	kms_nsm *nsm = check_nsm(L);
	lua_settop(L, 4);
	kms_text nonce = bind_arg_text(L, 2), user_data = bind_arg_text(L, 3), key = bind_arg_text(L, 4);
	attest_job *job = bind_job_push(L, sizeof(*job), attest_run, attest_finish);
	job->job.heavy = true;
	job->nsm = nsm;
	job->claims.nonce = kms_text_span(nonce);
	job->claims.user_data = kms_text_span(user_data);
	job->claims.public_key = kms_text_span(key);
	return bind_job_start(L, &job->job);
}

/* ---- the handle ----------------------------------------------------------------------------------- */

static void nsm_release(void *object)
{
	kms_nsm_close(object);
}

static const luaL_Reg nsm_methods[] = {
	{ "identity", nsm_identity },
	{ "random_secret", nsm_random_secret },
	{ "attest", nsm_attest },
	{ "describe", nsm_describe },
	{ NULL, NULL },
};

/* Not closable: jobs borrow it. */
static const bind_type nsm_type = { "kms.nsm", nsm_release, nsm_methods, false };

/* nsm_open() -> nsm | nil, message, code */
static int nsm_open(lua_State *L)
{
	kms_nsm **box = (kms_nsm **)bind_new(L, &nsm_type);
	kms_status status = kms_nsm_open(box);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

void bind_add_nsm(lua_State *L)
{
	static const luaL_Reg functions[] = { { "nsm_open", nsm_open }, { NULL, NULL } };
	bind_define(L, &nsm_type);
	luaL_setfuncs(L, functions, 0);
}
