/*
 * The operations of one message of a session, and its answer (docs/protocol.md section 15): one operation, or
 * an array of them that run in their order, each on its own. In these steps: kms_operations_read on the
 * message's JSON; the caller refuses what it does not allow; kms_operations_execute; the caller refuses what
 * has failed, and says how many members hold the writes; kms_operations_finish.
 *
 * Memory for all answers that a write may need is reserved before it is made, so that no write is made whose
 * answer then fails.
 *
 * Threads: one at a time per object.
 */
#ifndef KMS_OPERATIONS_H
#define KMS_OPERATIONS_H

#include "kms/request.h"

#define KMS_OPERATIONS_MAX 256
/* Of the longest refusal: what an answer keeps free for each operation that follows. */
#define KMS_REFUSAL_BYTES 256

typedef struct kms_operation {
	kms_request request; /* its texts and value point into the message */
	kms_status status;   /* why it is refused: as kms_request_read, then as kms_request_execute; KMS_OK */
	const char *field;   /* the member at fault (static string), or NULL */
	kms_buf part;        /* what the answer gets at `at`: a refusal, or the result of a write (guarded) */
	size_t at;
	bool refused;  /* by kms_operations_refuse: is not executed, also where that had no memory */
	bool executed; /* without a failure */
} kms_operation;

typedef struct kms_operations kms_operations;

/*
 * Reads a message.
 * Returns: KMS_OK, also where single operations are refused; what kms_json_parse returns; ERR_FIELD_TYPE for
 * neither an object nor an array; ERR_FIELD_VALUE for an array without elements or with more than
 * KMS_OPERATIONS_MAX; ERR_OPERATION for a message of a member; ERR_MEMORY; ERR_ARGUMENT. Out: operations -
 * free with kms_operations_free; NULL on failure. In: text - changed; in guarded memory that outlives the
 * object.
 */
kms_status kms_operations_read(kms_operations **operations, char *text, size_t len,
			       const kms_request_limits *limits);
/* NULL is fine. */
void kms_operations_free(kms_operations *operations);
KMS_DEFINE_RELEASE(kms_operations_release, kms_operations, kms_operations_free)

/* How many there are, and one of them: index from 0; NULL beyond the last. */
size_t kms_operations_count(const kms_operations *operations);
kms_operation *kms_operations_at(kms_operations *operations, size_t index);

/* A refusal as the answer says it. */
typedef struct kms_refusal {
	unsigned status;        /* of HTTP */
	kms_text code;          /* docs/protocol.md section 2; at most 32 bytes */
	kms_text message;       /* cut to what fits */
	uint64_t retry_after_s; /* 0: does not say */
} kms_refusal;

/*
 * Appends {"code","message","status"} and where it is known "retry_after_s": at most KMS_REFUSAL_BYTES.
 * Returns: KMS_OK; ERR_RANGE for a longer code; ERR_UTF8; as kms_buf_append.
 */
kms_status kms_refusal_write(kms_buf *json, const kms_refusal *refusal);

/*
 * Refuses an operation: before it is executed, or in place of a failure or of what a write has answered.
 * Returns: as kms_refusal_write, and the operation is not executed then either; ERR_RANGE for an index beyond
 * the last; ERR_STATE for a read that was executed.
 */
kms_status kms_operations_refuse(kms_operations *operations, size_t index, const kms_refusal *refusal);

/*
 * Executes those that nobody has refused, in their order. One whose answer cannot fit, with KMS_REFUSAL_BYTES
 * for each that follows, gets ERR_TOO_LARGE; a write is not made then. Returns: KMS_OK, also where single
 * operations fail (their `status`); ERR_TOO_LARGE, ERR_MEMORY and ERR_LOCKED_MEMORY where there is no room
 * for refusals, before anything was executed; ERR_ARGUMENT. In-out: answer - guarded; the results of reads
 * are appended. In: execution - says_status is true and pop is absent. max_answer - bytes of the JSON.
 */
kms_status kms_operations_execute(kms_buf *answer, kms_operations *operations, const kms_execution *execution,
				  size_t max_answer);

/*
 * The same up to and with the next listing, and to be called again while kms_operations_are_left: a message
 * of hundreds of listings would have a thread to itself for seconds. Fails only in its first call.
 */
kms_status kms_operations_execute_some(kms_buf *answer, kms_operations *operations,
				       const kms_execution *execution, size_t max_answer);
/* Whether some have not had their turn. */
bool kms_operations_are_left(const kms_operations *operations);

/* Forgets the texts and values, so that the message they point into can be freed. NULL is fine. */
void kms_operations_forget(kms_operations *operations);

/* Whether a write was executed. */
bool kms_operations_wrote(const kms_operations *operations);

/*
 * Puts refusals and the results of writes in their places, and completes the JSON.
 * Returns: KMS_OK; ERR_STATE when an operation has no answer; as kms_buf_append; kms_request_add_copies.
 * In-out: answer - of kms_operations_execute. In: copies - the number of members that hold the writes, which
 * each result then says; 0: it does not.
 */
kms_status kms_operations_finish(kms_buf *answer, kms_operations *operations, uint64_t copies);

#endif
