/*
 * A thread wipes and frees large blocks: 64 MiB take tens of milliseconds, and bodies are mostly
 * freed on the loop thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/mem.h"
#include "kms/secret.h"

#define LARGE_BYTES ((size_t)256 << 10)
#define MAX_WAITING_BYTES ((size_t)1 << 30) /* beyond it the caller frees */

/* The header of a waiting block, in its own memory. */
typedef struct waiting {
	struct waiting *next;
	size_t size;
	bool wipe;
} waiting;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	waiting *first;
	size_t bytes;
	bool started;
} queue = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, false };

static void free_now(void *memory, size_t size, bool wipe)
{
	if (wipe) kms_wipe(memory, size);
	kms_heap_free(memory);
}

static waiting *take(void)
{
	pthread_mutex_lock(&queue.lock);
	while (!queue.first)
		pthread_cond_wait(&queue.more, &queue.lock);
	waiting *block = queue.first;
	queue.first = block->next;
	queue.bytes -= block->size;
	pthread_mutex_unlock(&queue.lock);
	return block;
}

static void *run(void *unused)
{
	(void)unused;
	for (;;) {
		waiting *block = take();
		free_now(block, block->size, block->wipe);
	}
	return NULL;
}

/* The thread blocks all signals: they belong to the main thread. */
static bool start(void)
{
	sigset_t all, before;
	pthread_t thread;
	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
	bool started = pthread_create(&thread, NULL, run, NULL) == 0;
	if (started) (void)pthread_detach(thread);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static bool put(waiting *block)
{
	pthread_mutex_lock(&queue.lock);
	if (!queue.started) queue.started = start();
	bool room = queue.started && block->size <= MAX_WAITING_BYTES - queue.bytes;
	if (room) {
		block->next = queue.first;
		queue.first = block;
		queue.bytes += block->size;
		pthread_cond_signal(&queue.more);
	}
	pthread_mutex_unlock(&queue.lock);
	return room;
}

void kms_heap_free_async(void *memory, size_t size, bool wipe)
{
	if (!memory) return;
	if (size >= LARGE_BYTES && size <= MAX_WAITING_BYTES) {
		waiting *block = memory;
		*block = (waiting){ NULL, size, wipe };
		if (put(block)) return;
	}
	free_now(memory, size, wipe);
}
