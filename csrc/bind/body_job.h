/*
 * Work from a body to another one, on the pool where it is large (bind/body.c has the handles).
 * The job owns what it works on: nobody can close that meanwhile, and it is freed (wiped) also
 * when the coroutine that waits is dropped.
 */
#ifndef BIND_BODY_JOB_H
#define BIND_BODY_JOB_H

#include "bind/body.h"
#include "bind/envelope_handle.h"
#include "bind/job.h"
#include "kms/envelope.h"

/* Bodies above this are worked on in the pool even when nothing else waits. */
#define BODY_JOB_INLINE_BYTES 16384
#define BODY_JOB_MAX_BYTES ((size_t)4 << 30)

typedef struct bind_body_job {
	bind_job base;
	/* Thread-safe: from `in` or what else it was given to `out`. */
	kms_status (*run)(struct bind_body_job *job);
	/* Pushes what came of a run that succeeded; NULL: `out` as a body. */
	int (*push)(lua_State *L, struct bind_body_job *job);
	int index; /* of its userdata on the stack */
	kms_buf in;
	kms_buf out;
	bind_body_loan loan;   /* instead of `in`: a body that is given back */
	bind_envelope *source; /* an envelope, lent likewise */
	void **source_box;
	bool consumes;  /* the envelope's body is gone when it is given back */
	kms_p384 *p384; /* borrowed like `channels`: alive on the stack */
	kms_channels *channels;
	kms_secret *secret; /* a reference: channel key, or master secret */
	uint8_t key97[KMS_P384_POINT];
	uint8_t mac32[32];
	bool has_mac;
	size_t plain_len;
	const char *field; /* the member at fault after a failure, or NULL */
	kms_status status;
} bind_body_job;

/* Pushes an empty one (may throw); NULL where there is no memory. */
bind_body_job *bind_body_job_new(lua_State *L, kms_status (*run)(bind_body_job *job));
/* Runs it and gives its results, or nil, message, code. heavy: never on the loop. */
int bind_body_job_start(lua_State *L, bind_body_job *job, bool heavy);

/* Once, before the first one. */
void bind_body_job_define(lua_State *L);

#endif
