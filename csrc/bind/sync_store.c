/* Methods of the store that build messages to peers, as bodies that stay in C. */
#include "bind/bind.h"

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
	kms_text prefix; /* strings on the stack; may be absent */
	kms_text suffix;
	kms_status (*build)(struct build_job *job); /* appends the data object */
	kms_delta_options options;
	kms_delta delta;
	unsigned extras;
	uint64_t records;
	kms_status status;
} build_job;

static kms_status build_all(build_job *job)
{
	kms_status status = kms_buf_append(job->body, kms_text_span(job->prefix));
	if (status == KMS_OK) status = job->build(job);
	if (status == KMS_OK) status = kms_buf_append(job->body, kms_text_span(job->suffix));
	return status;
}

static void build_run(bind_job *base)
{
	build_job *job = (build_job *)base;
	job->status = build_all(job);
	if (job->status != KMS_OK) kms_buf_free(job->body);
}

/*
 * Pushes the options' texts at 2, an empty body of at most `max` bytes, and the job; NULL without memory (may
 * throw).
 */
static build_job *push_job(lua_State *L, kms_store *store, size_t max,
			   int (*finish)(lua_State *L, bind_job *job))
{
	kms_buf empty = kms_buf_make(KMS_BUF_WIPED, max);
	kms_text prefix = bind_option_text(L, 2, "prefix"), suffix = bind_option_text(L, 2, "suffix");
	if (!bind_body_push(L, &empty)) return NULL;
	int body_index = lua_gettop(L);
	build_job *job = bind_job_push(L, sizeof(*job), build_run, finish);
	job->job.heavy = true;
	job->store = store;
	job->prefix = prefix;
	job->suffix = suffix;
	job->body = *(kms_buf **)lua_touserdata(L, body_index);
	job->body_index = body_index;
	return job;
}

/* ---- delta ----------------------------------------------------------------------------------- */

static kms_status delta_build(build_job *job)
{
	return kms_sync_delta(&job->delta, job->body, job->store, &job->options);
}

static int delta_finish(lua_State *L, bind_job *base)
{
	build_job *job = (build_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	if (job->delta.records > 0) {
		lua_pushvalue(L, job->body_index);
	} else {
		kms_buf_free(job->body);
		lua_pushboolean(L, 0);
	}
	lua_pushinteger(L, (lua_Integer)job->delta.until);
	lua_pushinteger(L, (lua_Integer)job->delta.records);
	lua_pushinteger(L, (lua_Integer)job->delta.skipped);
	return 4;
}

static kms_delta_options delta_options(lua_State *L)
{
	kms_delta_options options = { 0 };
	options.since = (uint64_t)bind_option_integer(L, 2, "since", 0, LUA_MAXINTEGER, 0);
	options.through = (uint64_t)bind_option_integer(L, 2, "through", 0, LUA_MAXINTEGER, 0);
	options.max_records =
	    (size_t)bind_option_integer(L, 2, "max_records", 1, KMS_DELTA_MAX_RECORDS, 1000);
	options.max_bytes = (size_t)bind_option_integer(L, 2, "max_bytes", 1, MAX_BYTES, 1 << 20);
	options.max_record_bytes = (size_t)bind_option_integer(L, 2, "max_record_bytes", 1, MAX_BYTES,
							       (lua_Integer)options.max_bytes);
	options.except = (uint32_t)bind_option_integer(L, 2, "except", 0, UINT32_MAX, 0);
	options.local_only = bind_option_boolean(L, 2, "local_only");
	options.fingerprints = bind_option_boolean(L, 2, "fingerprints");
	options.base64 = bind_option_boolean(L, 2, "base64");
	return options;
}

/*
 * store:delta{ since=0, through=the newest, max_records=1000, max_bytes=1 MiB, max_record_bytes=max_bytes,
 *              local_only=false, fingerprints=false, base64=false, except=0, prefix="", suffix="" }
 *   -> body (WIPED): prefix, the data object, suffix; until, records, skipped
 *    | false, until, 0, skipped when there is nothing to send | nil, message, code
 */
static int store_delta(lua_State *L)
{
	static const char *const names[] = { "since",        "through",          "max_records",
					     "max_bytes",    "max_record_bytes", "local_only",
					     "fingerprints", "base64",           "except",
					     "prefix",       "suffix",           NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);

	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	kms_delta_options options = delta_options(L);
	build_job *job = push_job(L, store, SIZE_MAX, delta_finish);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->build = delta_build;
	job->options = options;
	if (kms_store_sequence(store) > options.since) return bind_job_start(L, &job->job);
	job->delta.until = options.since; /* nothing new, as usual: not worth a thread */
	return delta_finish(L, &job->job);
}

/* ---- page ------------------------------------------------------------------------------------ */

static kms_status page_build(build_job *job)
{
	return kms_sync_page(&job->delta, job->body, job->store, &job->options);
}

static int page_finish(lua_State *L, bind_job *base)
{
	build_job *job = (build_job *)base;
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->body_index);
	lua_pushinteger(L, (lua_Integer)job->delta.records);
	return 2;
}

/*
 * store:page{ since=0, max_bytes=1 MiB, stubs=false, fingerprints=false, base64=false, prefix="", suffix="" }
 *   -> body (WIPED): prefix, the data object, its members "until" and "sequence", suffix; records
 *    | nil, message, code
 * Of the records about max_bytes, but one at least.
 */
static int store_page(lua_State *L)
{
	static const char *const names[] = { "since",  "max_bytes", "stubs",  "fingerprints",
					     "base64", "prefix",    "suffix", NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);
	kms_delta_options options = { .max_records = KMS_DELTA_MAX_RECORDS, .max_record_bytes = SIZE_MAX };

	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	options.since = (uint64_t)bind_option_integer(L, 2, "since", 0, LUA_MAXINTEGER, 0);
	options.max_bytes = (size_t)bind_option_integer(L, 2, "max_bytes", 1, MAX_BYTES, 1 << 20);
	options.stubs = bind_option_boolean(L, 2, "stubs");
	options.fingerprints = bind_option_boolean(L, 2, "fingerprints");
	options.base64 = bind_option_boolean(L, 2, "base64");
	build_job *job = push_job(L, store, SIZE_MAX, page_finish);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->build = page_build;
	job->options = options;
	return bind_job_start(L, &job->job);
}

/* ---- snapshot -------------------------------------------------------------------------------- */

static kms_status snapshot_build(build_job *job)
{
	return kms_sync_snapshot(&job->records, job->body, job->store, job->extras);
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
 * store:snapshot{ prefix="", suffix="", max_bytes=512 MiB, stubs=false, fingerprints=false, base64=false }
 *   -> body (WIPED): prefix, the data object, suffix, together at most max_bytes; records
 *    | nil, message, code (ERR_TOO_LARGE)
 */
static int store_snapshot(lua_State *L)
{
	static const char *const names[] = { "prefix",       "suffix", "max_bytes", "stubs",
					     "fingerprints", "base64", NULL };
	kms_store *store = bind_check(L, 1, &bind_store_type);

	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	size_t max = (size_t)bind_option_integer(L, 2, "max_bytes", 1, MAX_BYTES, (lua_Integer)512 << 20);
	unsigned extras = (bind_option_boolean(L, 2, "stubs") ? KMS_SYNC_STUBS : 0) |
			  (bind_option_boolean(L, 2, "fingerprints") ? KMS_SYNC_FINGERPRINTS : 0) |
			  (bind_option_boolean(L, 2, "base64") ? KMS_SYNC_BASE64 : 0);
	build_job *job = push_job(L, store, max, snapshot_finish);
	if (!job) return bind_fail(L, KMS_ERR_MEMORY);
	job->job.is_long = true;
	job->build = snapshot_build;
	job->extras = extras;
	return bind_job_start(L, &job->job);
}

void bind_add_sync_store(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "delta", store_delta },
		{ "page", store_page },
		{ "snapshot", store_snapshot },
		{ NULL, NULL },
	};
	bind_add_methods(L, &bind_store_type, methods);
}
