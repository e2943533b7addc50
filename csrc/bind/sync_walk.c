/* Walks through a store, page by page, for snapshot files. */
#include "bind/bind.h"
#include "bind/body.h"
#include "bind/job.h"
#include "bind/store.h"
#include "bind/sync.h"
#include "bind/topics.h"

#define MAX_PAGE ((lua_Integer)1 << 30)

static void walk_release(void *object)
{
	kms_sync_walk_free(object);
}

static const bind_type walk_type;

typedef struct walk_job {
	bind_job job;
	kms_store *store;     /* argument 1 */
	kms_sync_walk **walk; /* in the userdata that is the result, or argument 1, held */
	kms_buf *page;        /* in the body that is the result */
	int index;            /* of the result */
	uint64_t number;      /* since, sequence; or records */
	size_t max_bytes;
	kms_status status;
} walk_job;

/* ---- beginning ------------------------------------------------------------------------------- */

static void begin_run(bind_job *base)
{
	walk_job *job = (walk_job *)base;
	job->status = kms_sync_walk_new(job->walk, &job->number, job->store, job->number);
}

static int begin_finish(lua_State *L, bind_job *base)
{
	const walk_job *job = (walk_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->index);
	lua_pushinteger(L, (lua_Integer)job->number);
	return 2;
}

/* store:walk(since) -> walk through what changed since that number, number for the next one | nil, message,
 * code */
static int store_walk(lua_State *L)
{
	kms_store *store = bind_check(L, 1, &bind_store_type);
	uint64_t since = (uint64_t)bind_arg_integer(L, 2, 0, LUA_MAXINTEGER);
	lua_settop(L, 2);
	kms_sync_walk **walk = (kms_sync_walk **)bind_new(L, &walk_type);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, 3, 1); /* the walk keeps the store */
	walk_job *job = bind_job_push(L, sizeof(*job), begin_run, begin_finish);
	job->job.heavy = true;
	job->store = store;
	job->number = since;
	job->walk = walk;
	job->index = 3;
	return bind_job_start(L, &job->job);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void page_run(bind_job *base)
{
	walk_job *job = (walk_job *)base;
	job->status = kms_sync_walk_page(&job->number, job->page, *job->walk, job->max_bytes);
}

static int page_finish(lua_State *L, bind_job *base)
{
	walk_job *job = (walk_job *)base;
	bind_hold_end(L, 1, (void **)job->walk);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (job->number > 0)
		lua_pushvalue(L, job->index);
	else
		lua_pushboolean(L, 0);
	lua_pushinteger(L, (lua_Integer)job->number);
	return 2;
}

/*
 * walk:page(max_bytes) -> body (WIPED) with the next records, number of records; false, 0 at its end
 *   | nil, message, code
 */
static int walk_page(lua_State *L)
{
	kms_buf empty = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	(void)bind_check(L, 1, &walk_type);
	size_t max_bytes = (size_t)bind_arg_integer(L, 2, 1, MAX_PAGE);
	lua_settop(L, 2);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	walk_job *job = bind_job_push(L, sizeof(*job), page_run, page_finish);
	job->job.is_long = true; /* not in the background: it holds locks that requests wait for */
	job->max_bytes = max_bytes;
	job->index = 3;
	job->page = bind_body_check(L, 3);
	job->walk = (kms_sync_walk **)bind_hold(L, 1, &walk_type);
	return bind_job_start(L, &job->job);
}

static const luaL_Reg walk_methods[] = { { "page", walk_page }, { NULL, NULL } };
static const bind_type walk_type = { "kms.sync_walk", walk_release, walk_methods, false };

void bind_add_sync_walk(lua_State *L)
{
	static const luaL_Reg methods[] = { { "walk", store_walk }, { NULL, NULL } };
	bind_define(L, &walk_type);
	bind_add_methods(L, &bind_store_type, methods);
}
