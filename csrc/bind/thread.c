#include "bind/thread.h"

#include <stdbool.h>
#include <sys/resource.h>

#include "kms/secret.h"

/* Linux has a priority for each thread. A lower one needs no right; without it the thread works as well. */
static void lower_priority(int steps)
{
	(void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + steps);
}

void bind_thread_prepare(int nicer)
{
	static _Thread_local bool done;
	if (done) return;
	done = true;
	kms_stack_guard();
	lower_priority(nicer);
}
