/*
 * The application's side of sessions (docs/protocol.md section 15): opens one with a node, makes messages of
 * operations, and opens their answers. Session keys, values and results stay in guarded memory. The caller
 * does the transport.
 */
#ifndef KMS_CLIENT_SESSION_H
#define KMS_CLIENT_SESSION_H

#include "kms/client.h"
#include "kms/session.h"

#define KMS_CLIENT_OPERATIONS 256 /* of a message, at most */
/* Bytes of a message's JSON, unless one operation alone takes more. */
#define KMS_CLIENT_MESSAGE ((size_t)512 << 10)

/* ---- opening: one thread at a time per object ----------------------------------------------------- */

typedef struct kms_client_opening {
	char signature132[KMS_SIGNATURE_TEXT]; /* for X-App-Signature */
	kms_buf text;                          /* what was signed */
	kms_buf body;                          /* the request's */
	kms_x25519 *own;                       /* the ephemeral key, until the session is open */
} kms_client_opening;

/*
 * Makes an ephemeral key, and signs and seals what asks for a session.
 * Returns: KMS_OK; ERR_RANGE for a nonce out of range or too many ends; ERR_ARGUMENT; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_SYSTEM; ERR_CRYPTO.
 * Out: opening - free with kms_client_opening_clear; empty on failure.
 * In: ends - its ends16 are the sessions that were given up; the rest is ignored. NULL: none. nonce - as the
 * node issued it. timestamp_s - wall clock, Unix seconds.
 */
kms_status kms_client_opening_begin(kms_client_opening *opening, const kms_client *client,
				    const kms_session_offer *ends, kms_text nonce, uint64_t timestamp_s);

/*
 * Verifies the answer, in this order: its signature, which covers its body, the sender's key, decryption,
 * suite and members, the agreement; and derives the keys. Whatever is wrong, there is no session. Returns:
 * KMS_OK; ERR_STATE for an opening that has been answered; ERR_SIGNATURE; ERR_ENVELOPE; ERR_SENDER_KEY;
 * ERR_DECRYPT; as kms_session_grant_parse; ERR_PEER_KEY for an agreement on zero; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. Out: session - free with kms_session_caller_free; NULL on
 * failure. grant - zero on failure. In-out: opening - its ephemeral key is erased, also on failure. body -
 * decoded in place, unspecified afterwards. In: answer_signature - X-KMS-Session-Signature; may be absent.
 */
kms_status kms_client_opening_finish(kms_session_caller **session, kms_session_grant *grant,
				     kms_client_opening *opening, kms_buf *body, const kms_client *client,
				     kms_text answer_signature);

/* Erases and frees what an opening owns, not the opening itself. NULL is fine. */
void kms_client_opening_clear(kms_client_opening *opening);

/* ---- messages: one thread at a time per object -------------------------------------------------------- */

/* Operations that travel together; can be sealed again, each time with a new number. */
typedef struct kms_client_message kms_client_message;

/* Returns: KMS_OK; ERR_MEMORY; ERR_ARGUMENT. Out: message - empty; free with kms_client_message_free. */
kms_status kms_client_message_new(kms_client_message **message);
/* NULL is fine. */
void kms_client_message_free(kms_client_message *message);
KMS_DEFINE_RELEASE(kms_client_message_release, kms_client_message, kms_client_message_free)

/*
 * Adds an operation.
 * Returns: KMS_OK; ERR_BUSY when the message has no room for it: the message is as before; as
 * kms_client_begin for a request that no node takes; ERR_ARGUMENT. In: request - as kms_client_begin takes
 * it; LIST: prefix, after, limit, which may be absent.
 */
kms_status kms_client_message_add(kms_client_message *message, const kms_request *request);

/*
 * Reads an operation of a client's own: the JSON of one in a message (docs/protocol.md section 15). Unknown
 * members are refused. Returns: KMS_OK; as kms_json_parse and kms_request_read. Out: request - its texts and
 * value point into `line`. field - the member at fault (static string), or NULL. In-out: line - guarded;
 * changed by the parser; must outlive the request.
 */
kms_status kms_client_operation_read(kms_request *request, const char **field, kms_buf *line);

/* Returns: its operations; 0 for NULL. */
size_t kms_client_message_count(const kms_client_message *message);

/*
 * Seals the message for a session, under a new number.
 * Returns: KMS_OK; ERR_STATE for an empty message or a session that is used up; ERR_TOO_LARGE; ERR_MEMORY;
 * ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT.
 * Out: seq - 0 on failure.
 * In-out: sealed - guarded and empty; then what is sent; empty on failure.
 * In: time_ms - wall clock, Unix milliseconds.
 */
kms_status kms_client_message_seal(kms_buf *sealed, uint64_t *seq, const kms_client_message *message,
				   kms_session_caller *session, uint64_t time_ms);

/* An authentic answer. */
typedef struct kms_client_answer {
	kms_buf plain; /* guarded; of listings alone wiped, as they may be long and are no secrets */
	kms_json json; /* points into `plain` */
	bool whole;    /* one refusal of all operations */
} kms_client_answer;

/*
 * Opens the answer to a message.
 * Returns: KMS_OK; ERR_DECRYPT unless it is the node's answer to the message with this number; ERR_TRUNCATED,
 * ERR_TRAILING; what kms_json_parse returns; ERR_FIELD_TYPE and ERR_FIELD_VALUE unless it has one object an
 * operation, or is one refusal; ERR_MEMORY; ERR_LOCKED_MEMORY; ERR_CRYPTO; ERR_ARGUMENT. Out: answer - free
 * with kms_client_answer_clear; empty on failure. In: body - as received.
 */
kms_status kms_client_answer_open(kms_client_answer *answer, const kms_client_message *message,
				  const kms_session_caller *session, uint64_t seq, kms_span body);

/*
 * What came of an operation: its result, or its refusal (exchange->refusal.status).
 * Returns: KMS_OK, also for a refusal; ERR_RANGE for an index beyond the last; as kms_client_finish where the
 * object is not the result of this operation.
 * Out: exchange - free with kms_exchange_clear; empty on failure.
 */
kms_status kms_client_answer_result(kms_exchange *exchange, const kms_client_answer *answer,
				    const kms_client_message *message, size_t index);

/* Wipes and frees what an answer owns, not the answer itself. NULL is fine. */
void kms_client_answer_clear(kms_client_answer *answer);

#endif
