#include "bind/background.h"

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "bind/job.h"
#include "bind/thread.h"
#include "bind/topics.h"

#define NAME "kms-background" /* in the list of threads; 15 characters at most */
#define NICER 10
#define REST_FACTOR 3
#define NS_PER_S 1000000000u

/* Jobs in their order. */
typedef struct job_list {
	bind_job *first;
	bind_job *last;
} job_list;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* `waiting`, `rests` or `stopping` */
	job_list waiting;
	job_list ended;
	bool rests;
	bool stopping;
	/* Since the thread began. */
	uint64_t jobs;
	uint64_t work_ns; /* CPU time of the jobs */
	uint64_t rest_ns; /* that it was to rest after them */
	/* Loop thread only. */
	pthread_t thread;
	bool started;
	bool has_handle;
	unsigned pending;
	uv_async_t wake_up;
	void (*done)(bind_job *job);
} background = { .lock = PTHREAD_MUTEX_INITIALIZER, .rests = true };

static void list_add(job_list *list, bind_job *job)
{
	job->next = NULL;
	if (list->first)
		list->last->next = job;
	else
		list->first = job;
	list->last = job;
}

static bind_job *list_take(job_list *list)
{
	bind_job *job = list->first;
	if (job) list->first = job->next;
	return job;
}

/* ---- the thread ----------------------------------------------------------------------------------- */

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;
	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Under the lock. Until the time is over, or there is no more time to rest. */
static void rest(uint64_t rest_ns)
{
	uint64_t end_ns = now_ns(CLOCK_MONOTONIC) + rest_ns;
	struct timespec end = { (time_t)(end_ns / NS_PER_S), (long)(end_ns % NS_PER_S) };
	while (background.rests && !background.stopping && now_ns(CLOCK_MONOTONIC) < end_ns)
		(void)pthread_cond_timedwait(&background.changed, &background.lock, &end);
}

/* Under the lock, which is not held while the job runs. */
static void run_job(bind_job *job)
{
	pthread_mutex_unlock(&background.lock);
	uint64_t begun_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
	job->run(job);
	uint64_t work_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
	pthread_mutex_lock(&background.lock);
	list_add(&background.ended, job);
	(void)uv_async_send(&background.wake_up);
	uint64_t rest_ns = background.rests ? REST_FACTOR * work_ns : 0;
	background.jobs++;
	background.work_ns += work_ns;
	background.rest_ns += rest_ns;
	rest(rest_ns);
}

static void *run(void *unused)
{
	(void)unused;
	bind_thread_prepare(NICER);
	pthread_mutex_lock(&background.lock);
	while (!background.stopping) {
		bind_job *job = list_take(&background.waiting);
		if (job)
			run_job(job);
		else
			pthread_cond_wait(&background.changed, &background.lock);
	}
	pthread_mutex_unlock(&background.lock);
	return NULL;
}

/* ---- the loop's side ------------------------------------------------------------------------------ */

static bind_job *take_ended(void)
{
	pthread_mutex_lock(&background.lock);
	bind_job *job = list_take(&background.ended);
	pthread_mutex_unlock(&background.lock);
	return job;
}

static void on_wake_up(uv_async_t *handle)
{
	for (bind_job *job = take_ended(); job; job = take_ended()) {
		if (--background.pending == 0) uv_unref((uv_handle_t *)handle);
		background.done(job);
	}
}

/* Rests are measured on the clock that is never set. */
static bool make_condition(void)
{
	pthread_condattr_t attributes;
	if (pthread_condattr_init(&attributes) != 0) return false;
	bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
		    pthread_cond_init(&background.changed, &attributes) == 0;
	(void)pthread_condattr_destroy(&attributes);
	return made;
}

static bool make_handle(uv_loop_t *loop)
{
	if (background.has_handle) return true;
	if (!make_condition()) return false;
	background.has_handle = uv_async_init(loop, &background.wake_up, on_wake_up) == 0;
	if (background.has_handle) uv_unref((uv_handle_t *)&background.wake_up);
	return background.has_handle;
}

/* The thread blocks all signals: they belong to the main thread. */
static bool start(uv_loop_t *loop)
{
	sigset_t all, before;
	if (!make_handle(loop)) return false;
	(void)sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
	background.started = pthread_create(&background.thread, NULL, run, NULL) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (background.started) (void)pthread_setname_np(background.thread, NAME);
	return background.started;
}

bool bind_background_queue(uv_loop_t *loop, bind_job *job, void (*done)(bind_job *job))
{
	if (!background.started && !start(loop)) return false;
	background.done = done;
	if (background.pending++ == 0) uv_ref((uv_handle_t *)&background.wake_up);
	pthread_mutex_lock(&background.lock);
	list_add(&background.waiting, job);
	pthread_cond_signal(&background.changed);
	pthread_mutex_unlock(&background.lock);
	return true;
}

static void set_rests(bool rests)
{
	pthread_mutex_lock(&background.lock);
	background.rests = rests;
	if (background.started) pthread_cond_signal(&background.changed);
	pthread_mutex_unlock(&background.lock);
}

void bind_background_stop(void)
{
	if (!background.started) return;
	pthread_mutex_lock(&background.lock);
	background.stopping = true;
	pthread_cond_signal(&background.changed);
	pthread_mutex_unlock(&background.lock);
	(void)pthread_join(background.thread, NULL);
	background.started = false;
	background.waiting.first = background.ended.first = NULL;
}

/* ---- bindings ------------------------------------------------------------------------------------- */

/* background_rests(rests): whether the background's thread rests between jobs, as it does from the start */
static int background_rests(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TBOOLEAN);
	set_rests(lua_toboolean(L, 1));
	return 0;
}

/* background_counts() -> number of jobs that have run in the background, nanoseconds of CPU time that they
 * took, nanoseconds of rest after them */
static int background_counts(lua_State *L)
{
	pthread_mutex_lock(&background.lock);
	lua_pushinteger(L, (lua_Integer)background.jobs);
	lua_pushinteger(L, (lua_Integer)background.work_ns);
	lua_pushinteger(L, (lua_Integer)background.rest_ns);
	pthread_mutex_unlock(&background.lock);
	return 3;
}

void bind_add_background(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "background_rests", background_rests },
		{ "background_counts", background_counts },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
