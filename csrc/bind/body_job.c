#include "bind/body_job.h"

#include "base/mem.h"

/* Frees what the job owns; the job can be used again. */
static void body_job_clear(bind_body_job *job)
{
	kms_buf_free(&job->in);
	kms_buf_free(&job->out);
	bind_body_drop_loan(&job->loan);
	bind_envelope_free(job->source);
	kms_secret_unref(job->secret);
	*job = (bind_body_job){ 0 };
}

static void body_job_release(void *object)
{
	body_job_clear(object);
	kms_heap_free(object);
}

/* Jobs with more input run on the pool even when nothing else waits. */
#define BODY_JOB_INLINE_BYTES 16384

static const bind_type body_job_type = { "kms.body_job", body_job_release, NULL, false };

/*
 * Idle jobs are kept in a table: a request takes several jobs, and making one costs as much as its work.
 * The last of the list is the next to be used.
 */
#define MAX_IDLE 64
static const char idle_key; /* its address is the table's key in the registry */
static int idle_count;      /* loop thread only */

bind_body_job *bind_body_job_new(lua_State *L, kms_status (*run)(bind_body_job *job))
{
	bind_body_job *job;
	bind_wait_reserve(L);
	if (idle_count) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &idle_key);
		lua_rawgeti(L, -1, idle_count);
		lua_pushboolean(L, 0); /* its place: what a throw leaves behind is collected */
		lua_rawseti(L, -3, idle_count--);
		lua_remove(L, -2);
		job = *(bind_body_job **)lua_touserdata(L, -1);
	} else {
		void **box = bind_new(L, &body_job_type);
		job = kms_heap_alloc(1, sizeof(*job));
		*box = job;
	}
	if (!job) return NULL;
	job->run = run;
	job->index = lua_gettop(L);
	job->out = kms_buf_make(KMS_BUF_PLAIN, BODY_JOB_MAX_BYTES);
	return job;
}

/* Keeps a cleared job for another use (may throw). */
static void put_back(lua_State *L, int index)
{
	if (idle_count == MAX_IDLE) return;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &idle_key);
	lua_pushvalue(L, index);
	lua_rawseti(L, -2, idle_count + 1);
	lua_pop(L, 1);
	idle_count++;
}

static void body_job_run(bind_job *base)
{
	bind_body_job *job = (bind_body_job *)base;
	job->status = job->run(job);
	/* Here and not on the loop, since wiping takes time. */
	kms_buf_free(&job->in);
	kms_secret_unref(job->secret);
	job->secret = NULL;
}

static int push_result(lua_State *L, bind_body_job *job)
{
	if (job->status != KMS_OK) return bind_fail_member(L, job->status, job->field);
	if (job->push) return job->push(L, job);
	return bind_body_push(L, &job->out) ? 1 : bind_fail(L, KMS_ERR_MEMORY);
}

static int body_job_finish(lua_State *L, bind_job *base)
{
	bind_body_job *job = (bind_body_job *)base;
	bind_body_give_back(&job->loan);
	if (job->source && job->consumes) bind_envelope_drop_body(job->source);
	if (job->source) *job->source_box = job->source;
	job->source = NULL;
	int results = push_result(L, job), index = job->index;
	body_job_clear(job);
	put_back(L, index);
	return results;
}

static size_t input_size(const bind_body_job *job)
{
	if (job->source) return job->source->size;
	return job->loan.body ? job->loan.body->len : job->in.len;
}

int bind_body_job_start(lua_State *L, bind_body_job *job, bool heavy)
{
	job->base.run = body_job_run;
	job->base.finish = body_job_finish;
	job->base.heavy = heavy || input_size(job) > BODY_JOB_INLINE_BYTES;
	job->base.is_long = input_size(job) > BIND_LONG_BYTES;
	return bind_job_start_small(L, &job->base);
}

void bind_body_job_define(lua_State *L)
{
	bind_define(L, &body_job_type);
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &idle_key);
	idle_count = 0;
}
