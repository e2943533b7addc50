/* A session that this node has opened, for the topics that open and use it. */
#ifndef BIND_SESSION_CALLER_H
#define BIND_SESSION_CALLER_H

#include "bind/bind.h"
#include "kms/session.h"

/* Jobs use the keys, so these outlive finish() until the last of them is done. */
typedef struct bind_caller {
	kms_session_caller *session; /* NULL: it has ended */
	unsigned jobs;
	bool finished;
} bind_caller;

extern const bind_type bind_caller_type; /* bind_caller */

#endif
