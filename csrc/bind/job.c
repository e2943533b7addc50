#include "bind/job.h"

#include <lauxlib.h>
#include <luv/luv.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bind/background.h"
#include "bind/thread.h"
#include "bind/topics.h"

/* How busy the loop is, which tells whether anything else waits. Loop thread only. */
static struct {
	uv_prepare_t prepare;
	bool watching;
	unsigned pending;        /* on the pool or queued for it */
	unsigned pending_long;   /* those of them that are long */
	unsigned started;        /* jobs since this iteration began */
	unsigned started_before; /* jobs of the iteration before */
} load;

/*
 * Jobs that have run, whose coroutines go on a few at a time: libuv would resume them all before it looks for
 * input, and a small request would wait for dozens of large ones. Loop thread only.
 */
static struct {
	uv_idle_t idle; /* active while there are any */
	bind_job *first;
	bind_job *last;
	unsigned resumed; /* in this iteration of the loop, before the list was needed */
} finished;

/* From the pool and from the list, each. With 4, a derive cost 6 to 10 % more CPU time under load; with 8,
 * none. */
#define RESUMED_AT_ONCE 8

/* A request takes two jobs, one to authenticate and one to reply: no more in an iteration may be one
 * request's. */
#define JOBS_OF_A_REQUEST 2

/*
 * Long jobs that wait here, in their order: one thread of the pool is for short jobs, which would wait for
 * tens of milliseconds where long ones had all. Loop thread only.
 */
static struct {
	bind_job *first;
	bind_job *last;
	unsigned at_once;
} waiting_long;

/*
 * The pool's threads come behind the loop's, in steps of nice(2). Without that, where all cores are busy, the
 * loop waits for one each time that it wakes, and each small request with it: the median of GET /health under
 * load is 720 to 830 us with 0, 520 to 620 with 3, 470 to 520 with 5. More would leave the pool too little
 * beside other programs.
 */
#define NICER 5

#define UV_DEFAULT_THREADS 4 /* without UV_THREADPOOL_SIZE */

static atomic_bool stopping; /* read by pool threads */

static void on_prepare(uv_prepare_t *handle)
{
	(void)handle;
	load.started_before = load.started;
	load.started = 0;
	finished.resumed = 0;
}

/* How many long jobs may be on the pool, whose size libuv takes from the environment. */
static unsigned long_at_once(void)
{
	const char *text = getenv("UV_THREADPOOL_SIZE");
	long threads = text ? strtol(text, NULL, 10) : UV_DEFAULT_THREADS;
	return threads > 2 ? (unsigned)threads - 1 : 1;
}

uv_loop_t *bind_loop(lua_State *L)
{
	uv_loop_t *loop = luv_loop(L);
	if (load.watching) return loop;
	uv_prepare_init(loop, &load.prepare);
	uv_prepare_start(&load.prepare, on_prepare);
	uv_unref((uv_handle_t *)&load.prepare);
	uv_idle_init(loop, &finished.idle);
	waiting_long.at_once = long_at_once();
	load.watching = true;
	return loop;
}

static int wait_continue(lua_State *L, int status, lua_KContext context)
{
	bind_wait *wait = (bind_wait *)context;
	(void)status;
	return wait->finish(L, wait);
}

/*
 * Coroutines that wait stand in a table, or the collector would take them. Its free places form a list, in
 * which each names the next one (0: it is the last). Loop thread only.
 */
static const char anchors_key; /* its address is the table's key in the registry */
static struct {
	lua_Integer free; /* the first free place; 0: there is none */
	lua_Integer count;
} anchors;

/* Writes the value on top of the stack to a place that is there: that takes no memory. */
static void set_anchor(lua_State *L, lua_Integer place)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
	lua_insert(L, -2);
	lua_rawseti(L, -2, place);
	lua_pop(L, 1);
}

void bind_wait_reserve(lua_State *L)
{
	if (anchors.free) return;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
	lua_pushinteger(L, 0);
	lua_rawseti(L, -2, anchors.count + 1);
	lua_pop(L, 1);
	anchors.free = ++anchors.count;
}

/* Keeps the coroutine alive, and with it the job on its stack. */
static void wait_anchor(lua_State *L, bind_wait *wait)
{
	bind_wait_reserve(L); /* throws where the caller has not done so */
	wait->anchor = anchors.free;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
	lua_rawgeti(L, -1, wait->anchor);
	anchors.free = lua_tointeger(L, -1);
	lua_pop(L, 2);
	lua_pushthread(L);
	set_anchor(L, wait->anchor);
	wait->thread = L;
}

static void free_anchor(lua_State *L, lua_Integer place)
{
	lua_pushinteger(L, anchors.free);
	set_anchor(L, place);
	anchors.free = place;
}

static int wait_suspend(lua_State *L, bind_wait *wait)
{
	return lua_yieldk(L, 0, (lua_KContext)wait, wait_continue);
}

int bind_wait_yield(lua_State *L, bind_wait *wait)
{
	if (!lua_isyieldable(L)) return luaL_error(L, "this call waits: it needs a coroutine");
	wait_anchor(L, wait);
	return wait_suspend(L, wait);
}

void bind_wait_resume(bind_wait *wait)
{
	lua_State *thread = wait->thread;
	lua_Integer anchor = wait->anchor;
	int results = 0;

	/* `wait` may be gone once the coroutine has run: only the locals are used after. */
	wait->thread = NULL;
	lua_rawgeti(thread, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
	lua_State *from = lua_tothread(thread, -1);
	lua_pop(thread, 1);
	int status = lua_resume(thread, from, 0, &results);
	if (status != LUA_OK && status != LUA_YIELD) {
		/* Coroutines catch their own errors; one that did not must not end the node. */
		const char *text = lua_tostring(thread, -1);
		fprintf(stderr, "nova-kms: uncaught error in a coroutine: %s\n", text ? text : "?");
	}
	free_anchor(from, anchor);
}

static int job_finish(lua_State *L, bind_wait *wait)
{
	bind_job *job = (bind_job *)wait;
	return job->finish(L, job);
}

static void on_work(uv_work_t *work)
{
	bind_job *job = work->data;
	bind_thread_prepare(NICER);
	if (!atomic_load_explicit(&stopping, memory_order_relaxed)) job->run(job);
}

static void resume_finished(uv_idle_t *idle)
{
	for (int i = 0; i < RESUMED_AT_ONCE && finished.first; i++) {
		bind_job *job = finished.first;
		finished.first = job->next;
		bind_wait_resume(&job->wait);
	}
	if (!finished.first) uv_idle_stop(idle);
}

/* ---- the pool ---------------------------------------------------------------------------------- */

static void on_done(uv_work_t *work, int status);

static void queue_job(bind_job *job)
{
	load.pending++;
	if (job->is_long) load.pending_long++;
	/* Fails only without a function to call. */
	(void)uv_queue_work(load.prepare.loop, &job->work, on_work, on_done);
}

static void job_ended(bind_job *job);

/* Queues a job, or lets a long one wait for others. */
static void start_job(bind_job *job)
{
	if (job->in_background && bind_background_queue(load.prepare.loop, job, job_ended)) return;
	if (!job->is_long || load.pending_long < waiting_long.at_once) {
		queue_job(job);
		return;
	}
	job->next = NULL;
	if (waiting_long.first)
		waiting_long.last->next = job;
	else
		waiting_long.first = job;
	waiting_long.last = job;
}

static void start_next_long(void)
{
	bind_job *job = waiting_long.first;
	if (!job) return;
	waiting_long.first = job->next;
	queue_job(job);
}

/* Lets the coroutine of a job that has run go on, now or in its turn. */
static void job_ended(bind_job *job)
{
	if (!finished.first && finished.resumed++ < RESUMED_AT_ONCE) {
		bind_wait_resume(&job->wait);
		return;
	}
	job->next = NULL;
	if (finished.first)
		finished.last->next = job;
	else
		finished.first = job;
	finished.last = job;
	uv_idle_start(&finished.idle, resume_finished);
}

static void on_done(uv_work_t *work, int status)
{
	bind_job *job = work->data;
	(void)status; /* nothing cancels jobs */
	load.pending--;
	if (job->is_long) load.pending_long--;
	if (atomic_load_explicit(&stopping, memory_order_relaxed)) return;
	if (job->is_long) start_next_long();
	job_ended(job);
}

void bind_jobs_stop(void)
{
	atomic_store_explicit(&stopping, true, memory_order_relaxed);
	bind_background_stop();
	finished.first = NULL;
	waiting_long.first = NULL;
	if (load.watching) uv_idle_stop(&finished.idle);
	while (load.pending > 0)
		uv_run(load.prepare.loop, UV_RUN_ONCE);
}

void *bind_job_push(lua_State *L, size_t size, void (*run)(bind_job *job),
		    int (*finish)(lua_State *L, bind_job *job))
{
	bind_wait_reserve(L);
	bind_job *job = memset(lua_newuserdatauv(L, size, 0), 0, size);
	job->run = run;
	job->finish = finish;
	return job;
}

/* Whether no other request's jobs wait. Beside long ones, one short job after the other runs on the loop,
 * which has a core for it sooner than the pool has. */
static bool is_alone(void)
{
	return load.pending == load.pending_long && load.started < JOBS_OF_A_REQUEST &&
	       load.started_before <= JOBS_OF_A_REQUEST;
}

int bind_job_start(lua_State *L, bind_job *job)
{
	(void)bind_loop(L);
	bool alone = is_alone();

	load.started++;
	if (lua_isyieldable(L) && (job->heavy || job->is_long || job->in_background || !alone)) {
		job->wait.finish = job_finish;
		job->work.data = job;
		wait_anchor(L, &job->wait);
		start_job(job);
		return wait_suspend(L, &job->wait);
	}
	job->run(job);
	return job->finish(L, job);
}

int bind_job_run(lua_State *L, bind_job *job)
{
	(void)bind_loop(L);
	load.started++;
	job->run(job);
	return job->finish(L, job);
}

int bind_job_start_small(lua_State *L, bind_job *job)
{
	if (job->heavy || job->is_long) return bind_job_start(L, job);
	job->run(job);
	return job->finish(L, job);
}

void bind_add_job(lua_State *L)
{
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &anchors_key);
	anchors.free = anchors.count = 0;
}
