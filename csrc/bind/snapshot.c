/* Files of sealed snapshots: writing and reading them, as bodies that stay in C. Files themselves: files.c.
 */
#include "bind/bind.h"
#include "bind/body.h"
#include "bind/crypto.h"
#include "bind/job.h"
#include "bind/sync.h"
#include "bind/topics.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "kms/snapshot.h"

#define HASH_BYTES 32

static void writer_release(void *object)
{
	kms_snapshot_writer_free(object);
}

static const bind_type writer_type;
static const bind_type snapshot_type;

/* Arguments from `arg` on: kind, wallet, sequence (may throw). */
static kms_snapshot_name check_name(lua_State *L, int arg)
{
	static const char *const kinds[] = { "records", "manifest", NULL };
	kms_snapshot_name name = { .kind = luaL_checkoption(L, arg, NULL, kinds) == 0
					       ? KMS_SNAPSHOT_RECORDS
					       : KMS_SNAPSHOT_MANIFEST };
	bind_arg_address(name.wallet20, L, arg + 1);
	name.sequence = (uint64_t)bind_arg_integer(L, arg + 2, 0, LUA_MAXINTEGER);
	return name;
}

static void push_hash(lua_State *L, const uint8_t sha256[HASH_BYTES])
{
	char text[2 * HASH_BYTES];
	kms_hex_encode(text, kms_span_of(sha256, HASH_BYTES));
	lua_pushlstring(L, text, sizeof(text));
}

/* ---- writing --------------------------------------------------------------------------------- */

/* snapshot_writer(master, kind, wallet, sequence) -> writer | nil, message, code; kind: records, manifest */
static int snapshot_writer(lua_State *L)
{
	const kms_secret *master = bind_check_master(L, 1);
	kms_snapshot_name name = check_name(L, 2);
	kms_snapshot_writer **box = (kms_snapshot_writer **)bind_new(L, &writer_type);
	kms_status status = kms_snapshot_writer_new(box, master, &name);
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* writer:size(more) -> bytes of the file if a page of `more` bytes were its last; more: 0 */
static int writer_size(lua_State *L)
{
	const kms_snapshot_writer *writer = bind_check(L, 1, &writer_type);
	size_t more = (size_t)luaL_optinteger(L, 2, 0);
	if (more > KMS_SNAPSHOT_MAX_FILE) luaL_argerror(L, 2, "is larger than a file");
	lua_pushinteger(L, (lua_Integer)kms_snapshot_writer_size(writer, more));
	return 1;
}

typedef struct write_job {
	bind_job job;
	kms_snapshot_writer **writer; /* argument 1, held */
	kms_buf *page;                /* in the body that is argument 2, held */
	kms_buf *file;                /* in the body that is the result */
	int file_index;
	uint8_t sha256[HASH_BYTES];
	kms_status status;
} write_job;

static void add_run(bind_job *base)
{
	write_job *job = (write_job *)base;
	job->status = kms_snapshot_writer_add(*job->writer, kms_buf_span(job->page));
	kms_buf_free(job->page);
}

static int add_finish(lua_State *L, bind_job *base)
{
	write_job *job = (write_job *)base;
	bind_hold_end(L, 1, (void **)job->writer);
	return bind_result(L, job->status);
}

/* writer:add(body) -> true | nil, message, code: a page, or a manifest's text; the body is taken over */
static int writer_add(lua_State *L)
{
	(void)bind_check(L, 1, &writer_type);
	(void)bind_body_check(L, 2);
	lua_settop(L, 2);
	write_job *job = bind_job_push(L, sizeof(*job), add_run, add_finish);
	job->job.in_background = true;
	job->page = *(kms_buf **)bind_hold(L, 2, &bind_body_type);
	job->writer = (kms_snapshot_writer **)bind_hold(L, 1, &writer_type);
	return bind_job_start(L, &job->job);
}

static void finish_run(bind_job *base)
{
	write_job *job = (write_job *)base;
	job->status = kms_snapshot_writer_finish(job->file, job->sha256, *job->writer);
}

static int finish_finish(lua_State *L, bind_job *base)
{
	write_job *job = (write_job *)base;
	bind_hold_end(L, 1, (void **)job->writer);
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->file_index);
	push_hash(L, job->sha256);
	return 2;
}

/* writer:finish() -> body (the file), its SHA-256 in hexadecimal | nil, message, code */
static int writer_finish(lua_State *L)
{
	kms_buf empty = kms_buf_make(KMS_BUF_PLAIN, 0);
	(void)bind_check(L, 1, &writer_type);
	lua_settop(L, 1);
	if (!bind_body_push(L, &empty)) return bind_fail(L, KMS_ERR_MEMORY);
	write_job *job = bind_job_push(L, sizeof(*job), finish_run, finish_finish);
	job->job.in_background = true;
	job->file_index = 2;
	job->file = bind_body_check(L, job->file_index);
	job->writer = (kms_snapshot_writer **)bind_hold(L, 1, &writer_type);
	return bind_job_start(L, &job->job);
}

static const luaL_Reg writer_methods[] = {
	{ "size", writer_size },
	{ "add", writer_add },
	{ "finish", writer_finish },
	{ NULL, NULL },
};
static const bind_type writer_type = { "kms.snapshot_writer", writer_release, writer_methods, true };

/* ---- reading --------------------------------------------------------------------------------- */

/* An opened file. */
typedef struct snapshot {
	kms_buf plain;
	kms_reader pages;
} snapshot;

static void snapshot_release(void *object)
{
	snapshot *opened = object;
	kms_buf_free(&opened->plain);
	kms_heap_free(opened);
}

typedef struct open_job {
	bind_job job;
	snapshot *opened; /* in the userdata that is the result */
	int index;
	kms_buf *file; /* in the body that is argument 5, held */
	kms_secret **master;
	kms_snapshot_name name;
	size_t chunk;
	uint8_t sha256[HASH_BYTES];
	kms_status status;
} open_job;

static kms_status open_all(open_job *job)
{
	GUARD(kms_sha256(job->sha256, kms_buf_span(job->file)));
	GUARD(kms_snapshot_open(&job->opened->plain, &job->chunk, *job->master, &job->name,
				kms_buf_span(job->file)));
	job->opened->pages = kms_reader_make(kms_buf_span(&job->opened->plain));
	return KMS_OK;
}

static void open_run(bind_job *base)
{
	open_job *job = (open_job *)base;
	job->status = open_all(job);
	kms_buf_free(job->file);
	bind_drop_secret(job->master);
}

static int open_finish(lua_State *L, bind_job *base)
{
	const open_job *job = (open_job *)base;
	if (job->status != KMS_OK)
		return bind_fail_text(
		    L, job->status,
		    lua_pushfstring(L, "chunk %d: %s", (int)job->chunk, kms_status_text(job->status)));
	lua_pushvalue(L, job->index);
	push_hash(L, job->sha256);
	return 2;
}

/*
 * snapshot_open(master, kind, wallet, sequence, body) -> snapshot, SHA-256 of the file in hexadecimal
 *   | nil, message, code
 * The body is taken over. The message names the chunk at fault.
 */
static int snapshot_open(lua_State *L)
{
	kms_secret *master = bind_check_master(L, 1);
	kms_snapshot_name name = check_name(L, 2);
	(void)bind_body_check(L, 5);
	lua_settop(L, 5);
	void **box = bind_new(L, &snapshot_type);
	snapshot *opened = kms_heap_alloc(1, sizeof(*opened));
	if (!opened) return bind_fail(L, KMS_ERR_MEMORY);
	*box = opened;
	open_job *job = bind_job_push(L, sizeof(*job), open_run, open_finish);
	job->job.is_long = true;
	job->opened = opened;
	job->index = 6;
	job->name = name;
	job->master = bind_hold_secret(L, master);
	job->file = *(kms_buf **)bind_hold(L, 5, &bind_body_type);
	return bind_job_start(L, &job->job);
}

/* snapshot:text() -> the text of a manifest; of another file, bytes that are no use */
static int snapshot_text(lua_State *L)
{
	const snapshot *opened = bind_check(L, 1, &snapshot_type);
	kms_text text = kms_buf_text(&opened->plain);
	lua_pushlstring(L, text.len ? text.text : "", text.len);
	return 1;
}

typedef struct page_job {
	bind_job job;
	snapshot **opened;  /* argument 1, held */
	kms_sync **message; /* in the userdata that is the result */
	int index;
	kms_status status;
} page_job;

/* The file is this cluster's: its records are of applications that were admitted, and of nodes that settle.
 */
static kms_status parse_page(page_job *job)
{
	kms_span page;
	const char *field;
	GUARD(kms_snapshot_next_page(&page, &(*job->opened)->pages));
	kms_buf text = kms_buf_make(KMS_BUF_WIPED, KMS_SNAPSHOT_MAX_FILE);
	GUARD(kms_buf_append(&text, page));
	GUARD(kms_sync_parse(job->message, &field, &text));
	for (size_t i = 0; i < kms_sync_apps(*job->message); i++)
		kms_sync_admit(*job->message, i);
	kms_sync_set_settles(*job->message);
	return KMS_OK;
}

static void page_run(bind_job *base)
{
	page_job *job = (page_job *)base;
	job->status = parse_page(job);
}

static int page_finish(lua_State *L, bind_job *base)
{
	page_job *job = (page_job *)base;
	bind_hold_end(L, 1, (void **)job->opened);
	if (job->status == KMS_ERR_NOT_FOUND) {
		lua_pushboolean(L, 0);
		return 1;
	}
	if (job->status != KMS_OK) return bind_fail(L, job->status);
	lua_pushvalue(L, job->index);
	return 1;
}

/* snapshot:next() -> message with the next page's records, all admitted | false after the last page
 *   | nil, message, code */
static int snapshot_next(lua_State *L)
{
	(void)bind_check(L, 1, &snapshot_type);
	lua_settop(L, 1);
	kms_sync **message = (kms_sync **)bind_new(L, &bind_sync_type);
	page_job *job = bind_job_push(L, sizeof(*job), page_run, page_finish);
	job->job.is_long = true;
	job->message = message;
	job->index = 2;
	job->opened = (snapshot **)bind_hold(L, 1, &snapshot_type);
	return bind_job_start(L, &job->job);
}

static const luaL_Reg snapshot_methods[] = {
	{ "text", snapshot_text },
	{ "next", snapshot_next },
	{ NULL, NULL },
};
static const bind_type snapshot_type = { "kms.snapshot", snapshot_release, snapshot_methods, true };

void bind_add_snapshot(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "snapshot_writer", snapshot_writer },
		{ "snapshot_open", snapshot_open },
		{ NULL, NULL },
	};
	bind_define(L, &writer_type);
	bind_define(L, &snapshot_type);
	luaL_setfuncs(L, functions, 0);
}
