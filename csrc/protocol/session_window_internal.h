/* Which numbers of a session were used: the highest one, and a window behind it. */
#ifndef KMS_PROTOCOL_SESSION_WINDOW_INTERNAL_H
#define KMS_PROTOCOL_SESSION_WINDOW_INTERNAL_H

#include "kms/session.h"

/* Numbers share a word by 64; the highest one's word and those of the window are all different. */
#define SESSION_WINDOW_WORDS (KMS_SESSION_WINDOW / 64 + 1)

/* Zero: none was used. */
typedef struct session_window {
	uint64_t highest;
	uint64_t words[SESSION_WINDOW_WORDS]; /* a ring */
} session_window;

/* Whether a number is 1 to KMS_SESSION_MAX_SEQ, not too far behind, and unused. */
bool kms_session_window_is_new(const session_window *window, uint64_t seq);
/* The same, and uses it. */
bool kms_session_window_mark(session_window *window, uint64_t seq);

#endif
