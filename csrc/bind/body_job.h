/*
 * Work from a body to another one, on the pool where it is large (bind/body.c has the handles).
 * The job owns what it works on: nobody can close that meanwhile, and it is freed (wiped) also
 * when the coroutine that waits is dropped.
 */
#ifndef KMS_BIND_BODY_JOB_H
#define KMS_BIND_BODY_JOB_H

#include "bind/bind.h"
#include "kms/envelope.h"

/* Bodies above this are worked on in the pool even when nothing else waits. */
#define CONVERT_INLINE_BYTES 16384
#define CONVERT_MAX_BYTES ((size_t)4 << 30)

typedef struct kms_convert {
	kms_job job;
	/* Thread-safe: from `in` or what else it was given to `out`. */
	kms_status (*run)(struct kms_convert *convert);
	/* Pushes what came of a run that succeeded; NULL: `out` as a body. */
	int (*push)(lua_State *L, struct kms_convert *convert);
	int index; /* of its userdata on the stack */
	kms_buf in;
	kms_buf out;
	kms_bind_loan loan;          /* instead of `in`: a body that is given back */
	struct kms_received *source; /* an envelope, lent likewise */
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
} kms_convert;

/* Pushes an empty one (may throw); NULL where there is no memory. */
kms_convert *kms_convert_new(lua_State *L, kms_status (*run)(kms_convert *convert));
/* Runs it and gives its results, or nil, message, code. heavy: never on the loop. */
int kms_convert_start(lua_State *L, kms_convert *convert, bool heavy);

/* Once, before the first one. */
void kms_convert_define(lua_State *L);

#endif
