/*
 * Jobs that make one body from another, on the pool when they are large. A job owns its input, so that Lua
 * cannot close it meanwhile, and frees (and wipes) it even when the coroutine that waits is dropped.
 */
#ifndef BIND_BODY_JOB_H
#define BIND_BODY_JOB_H

#include "bind/body.h"
#include "bind/envelope_handle.h"
#include "bind/job.h"
#include "kms/envelope.h"

#define BODY_JOB_MAX_BYTES ((size_t)4 << 30)

typedef struct bind_body_job {
	bind_job base;
	/* Does the work, on any thread: from `in`, `loan` or `source` to `out`. */
	kms_status (*run)(struct bind_body_job *job);
	/* Pushes the result after a run that succeeded; NULL: pushes `out` as a body. */
	int (*push)(lua_State *L, struct bind_body_job *job);
	int index; /* of its userdata on the stack */
	kms_buf in;
	kms_buf out;
	bind_body_loan loan;   /* instead of `in`: a body, given back after the run */
	bind_envelope *source; /* instead of `in`: an envelope, given back likewise */
	void **source_box;
	bool consumes;  /* whether the envelope loses its body when it is given back */
	kms_p384 *p384; /* borrowed, like `channels`: alive on the stack */
	kms_channels *channels;
	kms_secret *secret; /* a reference: channel key, or master secret */
	uint8_t key97[KMS_P384_POINT];
	uint8_t mac32[32];
	bool has_mac;
	size_t plain_len;
	const char *key;   /* text that stays on the caller's stack */
	const char *field; /* after a failure: the member at fault, or NULL */
	kms_status status;
} bind_body_job;

/* Pushes an empty job (may throw); NULL without memory. */
bind_body_job *bind_body_job_new(lua_State *L, kms_status (*run)(bind_body_job *job));
/*
 * Runs the job and returns its results, or nil, message, code.
 * In: heavy - whether to run on the pool, whatever the size of the input.
 */
int bind_body_job_start(lua_State *L, bind_body_job *job, bool heavy);

/* Defines the type; once, before the first job. */
void bind_body_job_define(lua_State *L);

#endif
