/*
 * A thread for jobs that are not urgent: sealing snapshots. Requests come first: its priority is low (nice 10
 * above the process's), and after each job it rests for three times the CPU time that the job took, so that
 * it uses a quarter of one core at most. Jobs must hold no lock that requests wait for.
 */
#ifndef BIND_BACKGROUND_H
#define BIND_BACKGROUND_H

#include <stdbool.h>
#include <uv.h>

struct bind_job;

/*
 * Queues a job, whose `run` is called on the thread, then `done` on the loop's. Loop thread only. Returns
 * false where there is no thread: the job is then the caller's.
 */
bool bind_background_queue(uv_loop_t *loop, struct bind_job *job, void (*done)(struct bind_job *job));

/* Ends the thread once the job that it runs has ended; the others never run, and `done` is not called. */
void bind_background_stop(void);

#endif
