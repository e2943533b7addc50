/* Bodies that stay in C (kms.body): responses of other servers, plaintexts, envelopes. */
#ifndef BIND_BODY_H
#define BIND_BODY_H

#include "bind/bind.h"
#include "kms/buf.h"

extern const bind_type bind_body_type; /* kms_buf */

/*
 * Moves a buffer into a new body on top of the stack. Returns false when there is no memory: then the buffer
 * stays the caller's, and the value pushed is unspecified. May throw, so a userdata must own the buffer.
 */
bool bind_body_push(lua_State *L, kms_buf *body);
/* The buffer of argument `arg`, without taking it (may throw). */
kms_buf *bind_body_check(lua_State *L, int arg);
/* Takes the buffer out of argument `arg`, which must have been checked, and closes the handle. */
void bind_body_take(kms_buf *body, lua_State *L, int arg);

/* The kind of memory for plaintext that argument `arg` names: "guarded" or "wiped" (may throw). */
kms_buf_kind bind_arg_memory(lua_State *L, int arg);

/*
 * A body that is lent to a job or a call: until it is given back, its handle is closed. The handle stays on
 * the caller's stack meanwhile. When the coroutine was dropped instead, bind_body_drop_loan frees the buffer.
 */
typedef struct bind_body_loan {
	void **box;
	kms_buf *body; /* NULL: nothing is lent */
} bind_body_loan;

void bind_body_lend(bind_body_loan *loan, lua_State *L, int arg);
void bind_body_give_back(bind_body_loan *loan);
void bind_body_drop_loan(bind_body_loan *loan);

#endif
