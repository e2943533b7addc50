/* The store's hash tree: its key, and what outsiders see of it. */
#include "bind/bind.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/store.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "kms/tree.h"

/* ---- the tree's key --------------------------------------------------------------------------- */

#define BUILD_RECORDS 4096 /* of a job: a few milliseconds */

typedef struct key_job {
	bind_job job;
	kms_store *store;
	kms_secret **master;
	bool more;
	kms_status status;
} key_job;

static void key_run(bind_job *base)
{
	key_job *job = (key_job *)base;
	job->status = kms_tree_set_key(&job->more, job->store, *job->master, BUILD_RECORDS);
	bind_drop_secret(job->master);
}

static int key_finish(lua_State *L, bind_job *base)
{
	const key_job *job = (key_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushboolean(L, !job->more);
	return 1;
}

/*
 * store:tree_key(master) -> whether the hash tree is built under this master secret | nil, message, code:
 * begins to build it, or goes on with that
 */
static int store_tree_key(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	kms_secret *master = bind_check(L, 2, &bind_secret_type);
	lua_settop(L, 2);
	key_job *job = bind_job_push(L, sizeof(*job), key_run, key_finish);
	job->job.heavy = !kms_tree_is_settled(store);
	job->store = store;
	job->master = bind_hold_secret(L, master);
	return bind_job_start_small(L, &job->job);
}

/* ---- what outsiders see ---------------------------------------------------------------------- */

typedef struct show_job {
	bind_job job;
	kms_store *store; /* argument 1 */
	kms_span nonce;   /* argument 2 */
	uint32_t hour;
	uint8_t mac32[32];
	kms_status status;
} show_job;

static void show_run(bind_job *base)
{
	show_job *job = (show_job *)base;
	job->status = kms_tree_show(job->mac32, job->store, job->hour, job->nonce);
}

static int show_finish(lua_State *L, bind_job *base)
{
	const show_job *job = (show_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushlstring(L, (const char *)job->mac32, sizeof(job->mac32));
	return 1;
}

/* store:show_tree(nonce, hour) -> 32 bytes that are the same for stores that hold the same, from that hour of
 * deaths on | nil, message, code */
static int store_show_tree(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	kms_text nonce = bind_arg_text(L, 2);
	uint32_t hour = (uint32_t)bind_arg_integer(L, 3, 1, UINT32_MAX);
	lua_settop(L, 3);
	show_job *job = bind_job_push(L, sizeof(*job), show_run, show_finish);
	job->job.heavy = true;
	job->store = store;
	job->nonce = kms_text_span(nonce);
	job->hour = hour;
	return bind_job_start(L, &job->job);
}

/* ---- digests, step by step -------------------------------------------------------------------- */

#define TIDY_LEAVES 2048 /* about a millisecond */

typedef struct tidy_job {
	bind_job job;
	kms_store *store;
	bool more;
	kms_status status;
} tidy_job;

static void tidy_run(bind_job *base)
{
	tidy_job *job = (tidy_job *)base;
	job->status = kms_tree_tidy(&job->more, job->store, TIDY_LEAVES);
}

static int tidy_finish(lua_State *L, bind_job *base)
{
	const tidy_job *job = (tidy_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushboolean(L, job->more);
	return 1;
}

/* store:tidy_tree() -> whether digests are left to compute | nil, message, code: computes some of them */
static int store_tidy_tree(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	lua_settop(L, 1);
	tidy_job *job = bind_job_push(L, sizeof(*job), tidy_run, tidy_finish);
	job->job.heavy = !kms_tree_is_settled(store);
	job->store = store;
	return bind_job_start_small(L, &job->job);
}

/* store:tree_hour(now) -> the first hour that this store names */
static int store_tree_hour(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	lua_pushinteger(L, kms_tree_first_hour(store, (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER)));
	return 1;
}

void bind_add_tree(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "tree_key", store_tree_key },
		{ "tidy_tree", store_tidy_tree },
		{ "show_tree", store_show_tree },
		{ "tree_hour", store_tree_hour },
		{ NULL, NULL },
	};
	bind_add_methods(L, &bind_store_type, methods);
}
