/* What the threads that run jobs have in common. */
#ifndef BIND_THREAD_H
#define BIND_THREAD_H

/*
 * Makes the calling thread one for jobs: guards its stack (kms_stack_guard), and lowers its priority by so
 * many steps of nice(2) below what it was, at most to the lowest. Only the first call of each thread does
 * so.
 */
void bind_thread_prepare(int nicer);

#endif
