/* Coroutines that wait, and native work on libuv's pool (docs/architecture.md). */
#ifndef BIND_JOB_H
#define BIND_JOB_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

/* The loop that luv runs. */
uv_loop_t *bind_loop(lua_State *L);

/*
 * A coroutine that waits for something outside Lua. bind_wait_yield suspends the running coroutine: the
 * binding returns its result. It throws when the caller cannot yield (the main thread). bind_wait_resume, on
 * the loop's thread, runs `finish` inside the coroutine, which pushes the results and returns their count.
 * Whatever `finish` uses stays alive on the coroutine's stack.
 *
 * bind_wait_reserve makes room for one more coroutine that waits (may throw): after it, the next one to wait
 * takes no memory of Lua. A binding calls it before it changes anything that a throw would leave behind.
 */
typedef struct bind_wait {
	lua_State *thread;  /* suspended coroutine, NULL when none is */
	lua_Integer anchor; /* its place in the table of those that wait */
	int (*finish)(lua_State *L, struct bind_wait *wait);
} bind_wait;

void bind_wait_reserve(lua_State *L);
int bind_wait_yield(lua_State *L, bind_wait *wait);
void bind_wait_resume(bind_wait *wait);

/*
 * A job for libuv's pool, at the start of a userdata that the caller leaves on its stack. `run` may be called
 * on any thread and must not touch Lua. The coroutine yields until it is done; when nothing else waits, or
 * where it cannot yield, it runs inline, which saves the wake-up. Long jobs leave one thread of the pool,
 * where it has several, to the others; those in the background take none of its threads.
 */
typedef struct bind_job {
	bind_wait wait;
	uv_work_t work;
	void (*run)(struct bind_job *job);
	int (*finish)(lua_State *L, struct bind_job *job);
	struct bind_job *next; /* in the list of those that have run, or of long ones that wait */
	bool heavy;            /* on the pool whenever the caller can yield: P-384, large bodies */
	bool is_long; /* likewise, and may take many times a heavy one: listings, snapshots, large input */
	bool in_background; /* likewise, on a thread that leaves the cores to requests (background.h) */
} bind_job;

/* A job with more input is long: it takes some milliseconds. */
#define BIND_LONG_BYTES (1u << 20)

/*
 * Pushes a userdata of `size` zero bytes for a structure that starts with a bind_job, and sets its functions
 * (may throw). Its start does not throw, as what that needs is reserved here (bind_wait_reserve).
 */
void *bind_job_push(lua_State *L, size_t size, void (*run)(bind_job *job),
		    int (*finish)(lua_State *L, bind_job *job));

int bind_job_start(lua_State *L, bind_job *job);
/* For work that is cheaper than a round trip to the pool: runs at once, unless it is heavy. */
int bind_job_start_small(lua_State *L, bind_job *job);

/* Runs at once in any case: for a request's last job when little of it is left. */
int bind_job_run(lua_State *L, bind_job *job);

/*
 * To be called before lua_close, which frees the memory that jobs work on. Returns when no job is running;
 * jobs that have not begun never run, and coroutines that wait for a job are not resumed.
 */
void bind_jobs_stop(void);

#endif
