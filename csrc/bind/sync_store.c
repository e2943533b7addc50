/* What a store has for its peers, as bodies that stay in C. */
#include "bind/bind.h"

#include <string.h>

#include "bind/body.h"
#include "bind/job.h"
#include "bind/options.h"
#include "bind/store.h"
#include "bind/topics.h"
#include "kms/sync.h"

#define MAX_BYTES ((lua_Integer)1 << 40)

typedef struct build_job {
	bind_job job;
	kms_store *store; /* argument 1 */
	kms_buf *body;    /* in the userdata that is the result */
	int body_index;
	kms_text prefix; /* strings on the stack */
	kms_text suffix;
	kms_delta_options options;
	kms_delta delta;
	bool stubs;
	uint64_t records;
	kms_status status;
} build_job;

/* ---- options ------------------------------------------------------------------------------------ */

/* Pushes a string option, which stays on the stack while it is used. */
static kms_text option_text(lua_State *L, const char *name)
{
	kms_text text = { "", 0 };
	int type = lua_getfield(L, 2, name);
	if (type == LUA_TNIL) return text;
	if (type != LUA_TSTRING)
		luaL_argerror(L, 2, lua_pushfstring(L, "option '%s' must be a string", name));
	text.text = lua_tolstring(L, -1, &text.len);
	return text;
}

static bool option_flag(lua_State *L, const char *name)
{
	int type = lua_getfield(L, 2, name);
	bool value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (type != LUA_TNIL && type != LUA_TBOOLEAN)
		luaL_argerror(L, 2, lua_pushfstring(L, "option '%s' must be a boolean", name));
	return value;
}

/* Pushes texts, an empty body of at most `max` bytes, and the job; NULL without memory (may throw). */
static build_job *push_job(lua_State *L, kms_store *store, size_t max)
{
	kms_buf empty = kms_buf_make(KMS_BUF_WIPED, max);
	kms_text prefix = option_text(L, "prefix"), suffix = option_text(L, "suffix");
	if (!bind_body_push(L, &empty)) return NULL;
	int body_index = lua_gettop(L);
	build_job *job = lua_newuserdatauv(L, sizeof(*job), 0);
	memset(job, 0, sizeof(*job));
	job->job.heavy = true;
	job->store = store;
	job->prefix = prefix;
	job->suffix = suffix;
	job->body = *(kms_buf **)lua_touserdata(L, body_index);
	job->body_index = body_index;
	return job;
}

static void release(build_job *job)
{
	kms_buf_free(job->body);
}

/* ---- delta ---------------------------------------------------------------------------------------- */

static kms_status delta_build(build_job *job)
{
	kms_status status = kms_buf_append(job->body, job->prefix.text, job->prefix.len);
	if (status == KMS_OK) status = kms_sync_delta(&job->delta, job->body, job->store, &job->options);
	if (status == KMS_OK) status = kms_buf_append(job->body, job->suffix.text, job->suffix.len);
	return status;
}

static void delta_run(bind_job *base)
{
	build_job *job = (build_job *)base;
	job->status = delta_build(job);
	if (job->status != KMS_OK || job->delta.records == 0) release(job);
}

static int delta_finish(lua_State *L, bind_job *base)
{
	build_job *job = (build_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (job->delta.records > 0)
		lua_pushvalue(L, job->body_index);
	else
		lua_pushboolean(L, 0);
	lua_pushinteger(L, (lua_Integer)job->delta.until);
	lua_pushinteger(L, (lua_Integer)job->delta.records);
	lua_pushinteger(L, (lua_Integer)job->delta.skipped);
	return 4;
}

/*
 * store:delta{ since=0, max_records=1000, max_bytes=1 MiB, max_record_bytes=max_bytes,
 *              local_only=false, except=0, prefix="", suffix="" }
 *   -> body (WIPED): prefix, the data object, suffix; until, records, skipped
 *    | false, until, 0, skipped where there is nothing to send | nil, message, code
 */
static int store_delta(lua_State *L)
{
	static const char *const names[] = { "since",      "max_records", "max_bytes", "max_record_bytes",
					     "local_only", "except",      "prefix",    "suffix",
					     NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);
	kms_delta_options options = { 0 };

	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	options.since = (uint64_t)bind_option_integer(L, 2, "since", 0, LUA_MAXINTEGER, 0);
	options.max_records =
	    (size_t)bind_option_integer(L, 2, "max_records", 1, KMS_DELTA_MAX_RECORDS, 1000);
	options.max_bytes = (size_t)bind_option_integer(L, 2, "max_bytes", 1, MAX_BYTES, 1 << 20);
	options.max_record_bytes = (size_t)bind_option_integer(L, 2, "max_record_bytes", 1, MAX_BYTES,
							       (lua_Integer)options.max_bytes);
	options.except = (uint32_t)bind_option_integer(L, 2, "except", 0, UINT32_MAX, 0);
	options.local_only = option_flag(L, "local_only");
	build_job *job = push_job(L, store, SIZE_MAX);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->job.run = delta_run;
	job->job.finish = delta_finish;
	job->options = options;
	if (kms_store_sequence(store) > options.since) return bind_job_start(L, &job->job);
	job->delta.until = options.since; /* up to date, as at most ticks: not worth a thread */
	return delta_finish(L, &job->job);
}

/* ---- snapshot ---------------------------------------------------------------------------------------- */

static kms_status snapshot_build(build_job *job)
{
	kms_status status = kms_buf_append(job->body, job->prefix.text, job->prefix.len);
	if (status == KMS_OK) status = kms_sync_snapshot(&job->records, job->body, job->store, job->stubs);
	if (status == KMS_OK) status = kms_buf_append(job->body, job->suffix.text, job->suffix.len);
	return status;
}

static void snapshot_run(bind_job *base)
{
	build_job *job = (build_job *)base;
	job->status = snapshot_build(job);
	if (job->status != KMS_OK) release(job);
}

static int snapshot_finish(lua_State *L, bind_job *base)
{
	build_job *job = (build_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->body_index);
	lua_pushinteger(L, (lua_Integer)job->records);
	return 2;
}

/*
 * store:snapshot{ prefix="", suffix="", max_bytes=, stubs=false }
 *   -> body (WIPED): prefix, the data object, suffix, of max_bytes together at most; records
 *    | nil, message, code (ERR_TOO_LARGE)
 */
static int store_snapshot(lua_State *L)
{
	static const char *const names[] = { "prefix", "suffix", "max_bytes", "stubs", NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);

	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	size_t max = (size_t)bind_option_integer(L, 2, "max_bytes", 1, MAX_BYTES, (lua_Integer)512 << 20);
	bool stubs = option_flag(L, "stubs");
	build_job *job = push_job(L, store, max);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->job.run = snapshot_run;
	job->job.finish = snapshot_finish;
	job->stubs = stubs;
	return bind_job_start(L, &job->job);
}

void bind_add_sync_store(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "delta", store_delta },
		{ "snapshot", store_snapshot },
		{ NULL, NULL },
	};
	bind_add_methods(L, &bind_store_type, methods);
}
