/* Bodies that are written to files and read from them, on the pool. */
#include <errno.h>

#include "base/file.h"
#include "bind/bind.h"
#include "bind/body.h"
#include "bind/job.h"
#include "bind/sync.h"
#include "bind/topics.h"

#define MAX_BYTES ((lua_Integer)1 << 30)

typedef struct file_job {
	bind_job job;
	const char *path; /* argument 1 */
	kms_buf *body;    /* of the body at `index` */
	void **held;      /* where it is meanwhile; NULL: at `index` */
	int index;
	int cause; /* errno after a failure */
	kms_status status;
} file_job;

static void write_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = kms_file_write(job->path, kms_buf_span(job->body), false);
	job->cause = errno;
}

static int write_finish(lua_State *L, bind_job *base)
{
	const file_job *job = (file_job *)base;
	bind_hold_end(L, job->index, job->held);
	return job->status == KMS_OK ? bind_result(L, KMS_OK) : bind_fail_file(L, job->status, job->cause);
}

/*
 * write_new_file(path, body) -> true | nil, message, code (ERR_STATE: there is such a file)
 * Mode 0600, synced, and there as a whole or not at all. The body must not be empty.
 */
static int write_new_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	if (bind_body_check(L, 2)->len == 0) luaL_argerror(L, 2, "is empty");
	lua_settop(L, 2);
	file_job *job = bind_job_push(L, sizeof(*job), write_run, write_finish);
	job->job.is_long = true;
	job->path = path;
	job->index = 2;
	job->held = bind_hold(L, 2, &bind_body_type);
	job->body = *(kms_buf **)job->held;
	return bind_job_start(L, &job->job);
}

static void read_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = kms_file_load(job->body, job->path);
	job->cause = errno;
}

static int read_finish(lua_State *L, bind_job *base)
{
	const file_job *job = (file_job *)base;
	if (job->status != KMS_OK) return bind_fail_file(L, job->status, job->cause);
	lua_pushvalue(L, job->index);
	return 1;
}

/* read_file(path, max) -> body with the bytes of a regular file of at most `max` bytes | nil, message, code
 */
static int read_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	kms_buf empty = kms_buf_make(KMS_BUF_PLAIN, (size_t)bind_arg_integer(L, 2, 1, MAX_BYTES));
	lua_settop(L, 1);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	file_job *job = bind_job_push(L, sizeof(*job), read_run, read_finish);
	job->job.is_long = true;
	job->path = path;
	job->index = 2;
	job->body = bind_body_check(L, 2);
	return bind_job_start(L, &job->job);
}

void bind_add_files(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "write_new_file", write_new_file },
		{ "read_file", read_file },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
