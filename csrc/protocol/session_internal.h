/* What both sides of a session are made of. */
#ifndef KMS_PROTOCOL_SESSION_INTERNAL_H
#define KMS_PROTOCOL_SESSION_INTERNAL_H

#include <pthread.h>

#include "kms/session.h"
#include "protocol/session_window_internal.h"

/* In guarded memory. */
typedef struct session_keys {
	uint8_t sid16[KMS_SESSION_SID];
	uint8_t salt32[32];
	uint8_t c2s32[32];
	uint8_t s2c32[32];
} session_keys;

typedef enum session_form {
	SESSION_REQUEST, /* sid || seq, under c2s */
	SESSION_ANSWER,  /* seq, under s2c */
} session_form;

/* In guarded memory. */
struct kms_session_caller {
	session_keys keys;
	pthread_mutex_t lock; /* guards what follows */
	uint64_t taken;       /* the last number that was taken */
	session_window sealed;
};

/* Derives the keys. In-out: own - erased and NULL afterwards, also on failure. */
kms_status kms_session_keys_derive(session_keys *keys, kms_x25519 **own, const kms_session_terms *terms);

kms_status kms_session_form_begin(kms_buf *message, session_form form, size_t json_len);

/* Seals what kms_session_form_begin made and JSON was appended to. The message is empty after a failure. */
kms_status kms_session_form_seal(kms_buf *message, session_form form, const session_keys *keys, uint64_t seq,
				 uint64_t time_ms);

/*
 * Authenticates a message in full, head included, and decrypts it where it stands. ERR_DECRYPT, also for
 * sizes that no message has. The message is empty after a failure. Out: content - the decrypted bytes, within
 * the message.
 */
kms_status kms_session_form_open(kms_span *plain, kms_buf *message, session_form form,
				 const session_keys *keys, uint64_t seq);

/* Reads decrypted content: KMS_OK; ERR_TRUNCATED; ERR_TRAILING. */
kms_status kms_session_content_read(kms_session_content *content, kms_span plain);

#endif
