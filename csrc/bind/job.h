/* Coroutines that wait, and native work on libuv's pool (docs/architecture.md). */
#ifndef BIND_JOB_H
#define BIND_JOB_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

/* The loop that luv runs. */
uv_loop_t *bind_loop(lua_State *L);

/*
 * A coroutine that waits for something outside Lua. bind_wait_yield suspends the running
 * coroutine (return its result from the binding function); `finish` runs inside the coroutine
 * after bind_wait_resume was called on the loop's thread, pushes the results and returns
 * their count. What `finish` needs is kept alive on the coroutine's stack. Where the caller
 * is not yieldable (the main thread) it throws.
 */
typedef struct bind_wait {
	lua_State *thread; /* suspended coroutine, NULL when none is */
	int anchor;        /* registry reference while suspended */
	int (*finish)(lua_State *L, struct bind_wait *wait);
} bind_wait;

int bind_wait_yield(lua_State *L, bind_wait *wait);
void bind_wait_resume(bind_wait *wait);

/*
 * A job for libuv's pool, at the start of a userdata that the caller leaves on its stack. `run` may be called
 * on any thread and must not touch Lua. The coroutine yields until it is done; when nothing else waits, or
 * where it cannot yield, it runs inline, which saves the wake-up.
 */
typedef struct bind_job {
	bind_wait wait;
	uv_work_t work;
	void (*run)(struct bind_job *job);
	int (*finish)(lua_State *L, struct bind_job *job);
	bool heavy; /* never inline where it can yield: P-384, large bodies */
} bind_job;

/*
 * Pushes a userdata of `size` zero bytes for a structure that starts with a bind_job, and sets its functions
 * (may throw).
 */
void *bind_job_push(lua_State *L, size_t size, void (*run)(bind_job *job),
		    int (*finish)(lua_State *L, bind_job *job));

int bind_job_start(lua_State *L, bind_job *job);
/* The same for work that costs less than the way to the pool: here and now, unless it is heavy. */
int bind_job_start_small(lua_State *L, bind_job *job);

/* The same here and now in any case: for a request's last job when it has become small. */
int bind_job_run(lua_State *L, bind_job *job);

/* Jobs that are on the pool or wait for it. */
unsigned bind_job_pending(void);

/*
 * Before lua_close, which frees what jobs work on: returns when none runs any more. Those that
 * have not begun never do, and nobody who waits for a job is resumed.
 */
void bind_jobs_stop(void);

#endif
