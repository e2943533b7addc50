/* One message of a session, between its opening and its answer. */
#ifndef BIND_SESSION_MESSAGE_H
#define BIND_SESSION_MESSAGE_H

#include "bind/bind.h"
#include "kms/operations.h"
#include "kms/session_table.h"

/* Larger messages, and those that read more, are worked on in the pool. */
#define BIND_MESSAGE_INLINE_BYTES 65536

typedef enum bind_message_stage {
	BIND_MESSAGE_OPEN,     /* nothing is executed */
	BIND_MESSAGE_EXECUTED, /* the answer has the results of reads */
	BIND_MESSAGE_REFUSED,  /* as a whole: the answer is one object */
	BIND_MESSAGE_CLOSED,
} bind_message_stage;

typedef struct bind_message {
	bind_message_stage stage;
	kms_session_call *call;
	kms_buf plain;  /* guarded: what the operations' texts point into */
	kms_buf answer; /* guarded */
	size_t begin;   /* of the JSON in the answer */
	size_t size;    /* bytes of the request as received */
	kms_session_content content;
	kms_operations *operations;  /* NULL, and why, where the content holds none */
	const kms_request *selected; /* of the operations: what the accessors are about; or NULL */
	kms_status problem;
	const char *field;
} bind_message;

extern const bind_type bind_message_type; /* more methods: session_answer.c */

/* Argument 1, in this stage; NULL in another one (may throw). */
bind_message *bind_message_check(lua_State *L, bind_message_stage stage);
/* Frees and wipes what the message holds; the object stays. */
void bind_message_clear(bind_message *message);
/* Whether work on it is more than some microseconds. */
bool bind_message_is_heavy(const bind_message *message);
/* Whether it is some milliseconds (csrc/bind/job.h). */
bool bind_message_is_long(const bind_message *message);

#endif
