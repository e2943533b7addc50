/*
 * Files of folders that may belong to others (base/folder.h), on the pool. The first arguments of each
 * function are the base, which is trusted, and the path of folders below it, in which no symbolic link is
 * followed.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/file.h"
#include "base/folder.h"
#include "bind/bind.h"
#include "bind/body.h"
#include "bind/job.h"
#include "bind/sync.h"
#include "bind/topics.h"

#define MAX_BYTES ((lua_Integer)1 << 30)
#define MAX_NAMES ((size_t)64 << 20) /* bytes of a listing: more than a million names */

typedef struct file_job {
	bind_job job;
	const char *base, *below, *name; /* arguments */
	kms_buf *body;                   /* of the body at `index` */
	void **held;                     /* where it is meanwhile; NULL: at `index` */
	int index;
	int cause; /* errno after a failure */
	bool is_folder;
	kms_status status;
} file_job;

/* Pushes a job on the arguments, of which there are `count`; the third one is a name. */
static file_job *push_job(lua_State *L, int count, void (*run)(bind_job *),
			  int (*finish)(lua_State *, bind_job *))
{
	const char *base = luaL_checkstring(L, 1), *below = luaL_checkstring(L, 2);
	const char *name = count > 2 ? luaL_checkstring(L, 3) : NULL;
	file_job *job = bind_job_push(L, sizeof(*job), run, finish);
	job->job.is_long = true;
	job->base = base;
	job->below = below;
	job->name = name;
	return job;
}

static int push_outcome(lua_State *L, const file_job *job)
{
	return job->status == KMS_OK ? bind_result(L, KMS_OK) : bind_fail_file(L, job->status, job->cause);
}

/* ---- writing -------------------------------------------------------------------------------------- */

static kms_status write_new(const file_job *job)
{
	int fd;
	GUARD(kms_folder_open(&fd, job->base, job->below, true));
	kms_status status = kms_file_write_new(fd, job->name, kms_buf_span(job->body));
	int cause = errno;
	(void)close(fd);
	errno = cause;
	return status;
}

static void write_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = write_new(job);
	job->cause = errno;
}

static int write_finish(lua_State *L, bind_job *base)
{
	const file_job *job = (file_job *)base;
	bind_hold_end(L, job->index, job->held);
	return push_outcome(L, job);
}

/*
 * write_new_file(base, below, name, body) -> true | nil, message, code (ERR_STATE: there is such a file)
 * Makes the folders below `base` that are missing. The file has mode 0600, is synced, and is there as a whole
 * or not at all. The body must not be empty.
 */
static int write_new_file(lua_State *L)
{
	if (bind_body_check(L, 4)->len == 0) luaL_argerror(L, 4, "is empty");
	lua_settop(L, 4);
	file_job *job = push_job(L, 3, write_run, write_finish);
	job->job.is_long = false;
	job->job.in_background = true;
	job->index = 4;
	job->held = bind_hold(L, 4, &bind_body_type);
	job->body = *(kms_buf **)job->held;
	return bind_job_start(L, &job->job);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static kms_status load(const file_job *job)
{
	int fd;
	GUARD(kms_folder_open(&fd, job->base, job->below, false));
	kms_status status = kms_file_load(job->body, fd, job->name);
	int cause = errno;
	(void)close(fd);
	errno = cause;
	return status;
}

static void read_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = load(job);
	job->cause = errno;
}

static int read_finish(lua_State *L, bind_job *base)
{
	const file_job *job = (file_job *)base;
	if (job->status != KMS_OK) return push_outcome(L, job);
	lua_pushvalue(L, job->index);
	return 1;
}

/* read_file(base, below, name, max) -> body with the bytes of a regular file of at most `max` bytes | nil,
 * message, code */
static int read_file(lua_State *L)
{
	kms_buf empty = kms_buf_make(KMS_BUF_PLAIN, (size_t)bind_arg_integer(L, 4, 1, MAX_BYTES));
	lua_settop(L, 3);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	file_job *job = push_job(L, 3, read_run, read_finish);
	job->index = 4;
	job->body = bind_body_check(L, 4);
	return bind_job_start(L, &job->job);
}

/* ---- listing and removing ------------------------------------------------------------------------- */

static void list_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = kms_folder_list(job->body, job->base, job->below);
	job->cause = errno;
}

static int list_finish(lua_State *L, bind_job *base)
{
	const file_job *job = (file_job *)base;
	if (job->status != KMS_OK) return push_outcome(L, job);
	lua_newtable(L);
	for (size_t at = 0; at < job->body->len;) {
		const char *name = (const char *)job->body->data + at + 1;
		lua_pushboolean(L, job->body->data[at] == 'd');
		lua_setfield(L, -2, name);
		at += strlen(name) + 2;
	}
	return 1;
}

/* list_folder(base, below) -> { name -> whether it is a folder } | nil, message, code */
static int list_folder(lua_State *L)
{
	kms_buf empty = kms_buf_make(KMS_BUF_PLAIN, MAX_NAMES);
	lua_settop(L, 2);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	file_job *job = push_job(L, 2, list_run, list_finish);
	job->body = bind_body_check(L, 3);
	return bind_job_start(L, &job->job);
}

static void remove_run(bind_job *base)
{
	file_job *job = (file_job *)base;
	errno = 0;
	job->status = kms_folder_remove(job->base, job->below, job->name, job->is_folder);
	job->cause = errno;
}

static int remove_finish(lua_State *L, bind_job *base)
{
	return push_outcome(L, (file_job *)base);
}

/*
 * remove_file(base, below, name [, is_folder]) -> true | nil, message, code
 * What is missing is fine. is_folder: removes a folder where it is empty.
 */
static int remove_file(lua_State *L)
{
	lua_settop(L, 4);
	file_job *job = push_job(L, 3, remove_run, remove_finish);
	job->is_folder = lua_toboolean(L, 4);
	return bind_job_start(L, &job->job);
}

void bind_add_files(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "write_new_file", write_new_file },
		{ "read_file", read_file },
		{ "list_folder", list_folder },
		{ "remove_file", remove_file },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
